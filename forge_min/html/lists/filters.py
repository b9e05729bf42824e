"""The conditions of a list page: the inputs of the filter form, and the chips that remove them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from ...fanout import iso_utc
from ...i18n import text
from ...wsgi import Raw, Request, first, hidden_inputs, join, tag, void
from ..columns import listed_fields
from ..fields import AnyActions, FormField, display_fields
from ..form import moment_of
from ..inputs import SEARCH, Options, RelationChoices, control, format_value, input_type, is_group

QueryParams = Mapping[str, Sequence[str]]
COLUMNS, FROM, FILTERS = "_columns", "_from", "_filters"
"""Parameters of list pages: the chosen columns, the number of the first row, and a request for the
filter form, which needs further queries.
"""
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

    def chips(self, options: Options) -> list[tuple[str, QueryParams]]:
        """Return each condition as a text, with the parameters of the list without it."""
        chips: list[tuple[str, QueryParams]] = []
        for name, values in self.params.items():
            if name in ("sort", *POSITION) or name.endswith(SEARCH):
                continue
            for value in values:
                rest = {**self.params, name: [v for v in values if v != value], "cursor": []}
                chips.append((self._sentence(name, value, options.get(name)), rest))
        return chips

    def _sentence(self, name: str, value: str, choices: RelationChoices | None) -> str:
        if name == "q":
            return text("Search: {what}", what=value)
        name, _, operator = name.removesuffix("]").partition("[")
        field = self._displayed.get(name)
        label = field.label if field else name
        known = [*(choices.all or choices.chosen)] if choices else []
        values = value.split(",") if operator == "in" else [value]
        shown = format_value(field, values, known) if field else value
        if field and field.kind == "datetime":
            shown = shown.replace("T", " ")
        return _condition(label, operator, shown)

    def other_conditions(self, options: Options) -> Raw:
        """Return hidden inputs for conditions of the URL that have no input in the form.

        A search within such a list keeps its conditions.
        """
        shown = {"q", "sort", *POSITION}
        for field in self.fields if self.has_form else ():
            if field.relation is None or field.name in options:
                shown.update(_input_names(field))
        params = self.params.items()
        kept = {n: values for n, values in params if n not in shown and not n.endswith(SEARCH)}
        return hidden_inputs(kept)

    def _filter(self, field: FormField, options: Options) -> Raw:
        """Return the inputs of one condition: a list of choices, a range, or a part of a text."""
        choices = options.get(field.name)
        if field.kind == "enum[]":
            field = field._replace(name=f"{field.name}[contains]", kind="enum")
        if field.relation is not None and choices is None:
            return Raw()
        if field.relation is not None or field.kind in ("enum", "bool"):
            inputs = control(field, self.params.get(field.name, ()), options=choices)
            if is_group(field, choices):
                return _group(field, inputs)
            return _labelled(f"field-{field.name}", field.label, inputs)
        if field.kind in _RANGED:
            labels = text("from"), text("to")
            ends = [
                _range_end(field.kind, name, first(self.params, name), label)
                for name, label in zip(_input_names(field), labels, strict=True)
            ]
            return _group(field, tag("div", join(ends), class_="span"))
        (name,) = _input_names(field)
        entry = void(
            "input", type="text", id=f"field-{name}", name=name, value=first(self.params, name)
        )
        return _labelled(f"field-{name}", field.label, entry)

    def api_params(self) -> QueryParams:
        """Return the parameters in the API's format: local times become UTC."""
        return {
            name: [_utc_time(self._displayed.get(name.partition("[")[0]), v) for v in values]
            for name, values in self.params.items()
            if not name.endswith(SEARCH)
        }


def _condition(field: str, operator: str, value: str) -> str:
    """Return a condition in words."""
    match operator, value:
        case "is_null", "true":
            return text("{field} is empty", field=field)
        case "is_null", _:
            return text("{field} is not empty", field=field)
        case "ne", _:
            return text("{field} is not {value}", field=field, value=value)
        case "gt", _:
            return text("{field} above {value}", field=field, value=value)
        case "gte", _:
            return text("{field} from {value}", field=field, value=value)
        case "lt", _:
            return text("{field} below {value}", field=field, value=value)
        case "lte", _:
            return text("{field} to {value}", field=field, value=value)
        case "contains", _:
            return text("{field} contains {value}", field=field, value=value)
    return text("{field}: {value}", field=field, value=value)


def _utc_time(field: FormField | None, value: str) -> str:
    if field is not None and field.kind == "datetime" and value[-1:].isdigit():
        with suppress(OverflowError):  # a day outside the calendar
            moment = moment_of(value) if "+" not in value else None
            return iso_utc(moment) if moment else value
    return value


def _input_names(field: FormField) -> tuple[str, ...]:
    """Return the names of a filter's inputs."""
    if field.relation is not None or field.kind in ("enum", "bool"):
        return (field.name,)
    operators = ("gte", "lte") if field.kind in _RANGED else ("contains",)
    return tuple(f"{field.name}[{operator}]" for operator in operators)


def _range_end(kind: str, name: str, value: str, label: str) -> Raw:
    type = input_type(kind, value)
    step = "any" if kind in ("decimal", "float") and type == "number" else None
    return void("input", type=type, name=name, step=step, value=value, aria_label=label)


def _labelled(id: str, label: str, control: Raw) -> Raw:
    return tag("div", join([tag("label", label, for_=id), control]), class_="field")


def _group(field: FormField, controls: Raw) -> Raw:
    return tag("fieldset", join([tag("legend", field.label), controls]), class_="field")
