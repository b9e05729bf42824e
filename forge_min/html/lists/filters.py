"""The conditions of a list page: the inputs of the filter form, and the chips that remove them."""

from __future__ import annotations

from contextlib import suppress

from ...fanout import iso_utc
from ...i18n import text
from ...wsgi import Raw, Request, first, hidden_inputs, join, tag, void
from ..columns import listed_fields
from ..fields import AnyActions, FormField, Texts, display_fields
from ..form import moment_of
from ..inputs import SEARCH, Options, RelationChoices, control, format_value, input_type, is_group

# Parameters of list pages.
COLUMNS = "_columns"  # those that are chosen
FROM = "_from"  # the number of the first row
FILTERS = "_filters"  # asks for the filter form, which needs further queries
POSITION = ("cursor", "limit")  # parameters that select a page of rows
# No column starts with "_". Lists of the API have numbered pages, those of pages do not. During an
# upgrade, redirects of the previous release have _undo.
_RESERVED = ("_done", "_undo", "_search", COLUMNS, FROM, FILTERS, "page", "per_page")
_RANGED = ("int", "bigint", "decimal", "float", "date", "datetime", "time", "duration")


class Filters:
    """The conditions of a request for a list, and the filters that the identity may use.

    fields: those by which the identity may filter.
    has_form: whether the page has the filter form: on demand, or for a search in it.
    params: the parameters of the URL, without empty and reserved ones.
    """

    def __init__(self, actions: AnyActions, request: Request) -> None:
        self._displayed = {f.name: f for f in display_fields(actions.resource)}
        self.fields = [f for f in listed_fields(actions) if f.column and f.column.filterable]
        searches = any(name.endswith(SEARCH) for name in request.query)
        self.has_form = searches or FILTERS in request.query
        self.params: dict[str, list[str]] = {}
        for name, values in request.query.items():
            values = [value for value in values if value.strip()]
            if values and name not in _RESERVED:
                self.params[name] = values

    def choice_fields(self) -> list[FormField]:
        """Return the fields for which the page needs choices: without the form, of conditions."""
        return [f for f in self.fields if self.has_form or f.name in self.params]

    def inputs(self, options: Options) -> list[Raw]:
        """Return the inputs of the filter form.

        options: the choices of relations that the user may read, by field.
        """
        return [self._filter(field, options) for field in self.fields]

    def chips(self, options: Options) -> list[tuple[str, Texts]]:
        """Return each condition as a text, with the parameters of the list without it."""
        chips: list[tuple[str, Texts]] = []
        for name, values in self.params.items():
            if name in ("sort", *POSITION) or name.endswith(SEARCH):
                continue
            for value in values:
                sentence = self._sentence(name, value, options.get(name))
                others = [other for other in values if other != value]
                chips.append((sentence, {**self.params, name: others, "cursor": []}))
        return chips

    def _sentence(self, name: str, value: str, choices: RelationChoices | None) -> str:
        if name == "q":
            return text("Search: {what}", what=value)
        name, _, operator = name.removesuffix("]").partition("[")
        field = self._displayed.get(name)
        if field is None:
            return _condition(name, operator, value)
        values = [value]
        if operator == "in":
            values = value.split(",")
        choices = choices or RelationChoices(())
        value_text = format_value(field, values, choices.all or choices.chosen)
        if field.kind == "datetime":
            value_text = value_text.replace("T", " ")
        return _condition(field.label, operator, value_text)

    def other_conditions(self, options: Options) -> Raw:
        """Return hidden inputs for conditions of the URL that have no input in the form.

        A search within such a list keeps its conditions.
        """
        names = {"q", "sort", *POSITION}
        if self.has_form:
            for field in self.fields:
                if field.relation is None or field.name in options:
                    names.update(_input_names(field))
        hidden = {
            name: values
            for name, values in self.params.items()
            if name not in names and not name.endswith(SEARCH)
        }
        return hidden_inputs(hidden)

    def _filter(self, field: FormField, options: Options) -> Raw:
        """Return the inputs of one condition: a list of choices, a range, or a part of a text."""
        choices = options.get(field.name)
        if field.kind == "enum[]":
            field = field._replace(name=f"{field.name}[contains]", kind="enum")
        if field.relation is not None and choices is None:
            return Raw()
        names = _input_names(field)
        if len(names) > 1:
            start, end = names
            ends = [
                self._range_end(field.kind, start, text("from")),
                self._range_end(field.kind, end, text("to")),
            ]
            return _group(field, tag("div", join(ends), class_="span"))
        (name,) = names
        if name != field.name:
            value = first(self.params, name)
            entry = void("input", type="text", id=f"field-{name}", name=name, value=value)
            return _labelled(name, field.label, entry)
        inputs = control(field, self.params.get(name, ()), options=choices)
        if is_group(field, choices):
            return _group(field, inputs)
        return _labelled(name, field.label, inputs)

    def _range_end(self, kind: str, name: str, label: str) -> Raw:
        value = first(self.params, name)
        type = input_type(kind, value)
        step = None
        if type == "number" and kind in ("decimal", "float"):
            step = "any"
        return void("input", type=type, name=name, step=step, value=value, aria_label=label)

    def api_params(self) -> Texts:
        """Return the parameters in the API's format: local times become UTC."""
        params = {}
        for name, values in self.params.items():
            if not name.endswith(SEARCH):
                field = self._displayed.get(name.partition("[")[0])
                params[name] = [_utc_time(field, value) for value in values]
        return params


def _condition(field: str, operator: str, value: str) -> str:
    """Return a condition in words."""
    if operator == "is_null" and value == "true":
        return text("{field} is empty", field=field)
    match operator:
        case "is_null":
            return text("{field} is not empty", field=field)
        case "ne":
            return text("{field} is not {value}", field=field, value=value)
        case "gt":
            return text("{field} above {value}", field=field, value=value)
        case "gte":
            return text("{field} from {value}", field=field, value=value)
        case "lt":
            return text("{field} below {value}", field=field, value=value)
        case "lte":
            return text("{field} to {value}", field=field, value=value)
        case "contains":
            return text("{field} contains {value}", field=field, value=value)
    return text("{field}: {value}", field=field, value=value)


def _utc_time(field: FormField | None, value: str) -> str:
    if field is None or field.kind != "datetime":
        return value
    if "+" in value or not value[-1:].isdigit():
        return value
    with suppress(OverflowError):  # a day outside the calendar
        moment = moment_of(value)
        if moment is not None:
            return iso_utc(moment)
    return value


def _input_names(field: FormField) -> tuple[str, ...]:
    """Return the names of a filter's inputs."""
    name = field.name
    if field.relation is not None or field.kind in ("enum", "bool"):
        return (name,)
    if field.kind in _RANGED:
        return (f"{name}[gte]", f"{name}[lte]")
    return (f"{name}[contains]",)


def _labelled(name: str, caption: str, control: Raw) -> Raw:
    label = tag("label", caption, for_=f"field-{name}")
    return tag("div", join([label, control]), class_="field")


def _group(field: FormField, controls: Raw) -> Raw:
    legend = tag("legend", field.label)
    return tag("fieldset", join([legend, controls]), class_="field")
