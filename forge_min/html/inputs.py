"""The inputs of a form as HTML, one for each kind of field; usable without JavaScript.

A relation with many targets has a search field, a button that submits the form to show it again,
and the results as radio buttons. `forms.js` searches while the user types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from math import isfinite
from typing import Any, NamedTuple

from ..actions import Filter, ListQuery, Sort, limit_of, to_text
from ..errors import NotFound
from ..i18n import text
from ..lazy import lazy_pattern
from ..wsgi import Raw, join, tag, void
from .columns import title_column
from .fields import AnyActions, FormField
from .form import MINE, THEIRS
from .titles import titles, titles_of_keys

SEARCH = ".q"  # the suffix of a relation's search field
CHOICE = ".choice"  # the suffix of the choice between two values of a field
_NUMBERS = {"int": "1", "bigint": "1", "decimal": "any", "float": "any"}
_TYPES = {"email": "email", "url": "url", "date": "date", "datetime": "datetime-local"}
_TYPES |= dict.fromkeys(_NUMBERS, "number") | {"time": "time"}
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?"
_FORMATS: Mapping[str, tuple[re.Pattern[str], Callable[[str], object]]] = {
    "email": (lazy_pattern(r"[\x00-\x7f]+"), bool),
    "number": (
        lazy_pattern(r"-?([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]+)?"),
        lambda value: isfinite(float(value)),
    ),
    "date": (lazy_pattern(_DATE), date.fromisoformat),
    "time": (lazy_pattern(_TIME), time.fromisoformat),
    "datetime-local": (lazy_pattern(f"{_DATE}T{_TIME}"), datetime.fromisoformat),
}
"""Values that browsers leave unchanged, by the type of the input: their form, and a parser."""
_AREAS = {"text": 6, "json": 8, "string[]": 4, "int[]": 4}  # rows
_LONG = 200  # characters that fit one line
# Rules that are HTML attributes too. The others, such as precision, are for the validator only.
_LENGTHS = {"min_len": "minlength", "max_len": "maxlength"}
MAX_LISTED = 50  # rows of a <select>; more need a search
MAX_FOUND = 20  # rows that a search returns


class Choice(NamedTuple):
    """One row to choose. value: its key as text."""

    value: str
    label: str


_EMPTY = Choice("", "–")  # HTML requires a text in each option


class RelationChoices(NamedTuple):
    """The choices of a relation's field.

    all: every row; None if the field needs a search.
    matches: the results of the search.
    chosen: the current choices.
    words: the words searched for.
    fetch: URL that returns the results for other words.
    problem: the reason if the search was refused, else "".
    """

    all: Sequence[Choice] | None
    matches: Sequence[Choice] = ()
    chosen: Sequence[Choice] = ()
    words: str = ""
    fetch: str = ""
    problem: str = ""


Options = Mapping[str, RelationChoices]
"""The choices of relations that the user may read, by field."""


def control(
    field: FormField,
    texts: Sequence[str],
    *,
    options: RelationChoices | None = None,
    wrong: bool = False,
) -> Raw:
    """Return the input of a field with these texts. ARIA attributes refer to its help and errors.

    options: the choices of a relation, if the user may read its targets.
    wrong: whether the field has errors.
    """
    name = field.name
    kind = field.kind
    about: dict[str, Any] = {"id": f"field-{name}"}
    described_by = []
    if field.help:
        described_by.append(f"help-{name}")
    if wrong:
        described_by.append(f"error-{name}")
    if described_by:
        about["aria_describedby"] = " ".join(described_by)
    if wrong:
        about["aria_invalid"] = "true"
    if options is not None:
        return _relation(field, texts, options, about)
    if field.is_box:
        checked = texts == ["true"]
        return void("input", type="checkbox", name=name, value="true", checked=checked, **about)
    if kind == "enum[]":
        boxes = choice_list(name, "many", _with_current(_values(field), texts), texts)
        return tag("div", boxes, class_="choices", **about, tabindex="-1")
    about["name"] = name
    about["required"] = field.required
    if kind in ("bool", "enum"):
        return _select(_values(field), texts, about)
    value = ""
    if texts:
        value = texts[0]
    about["placeholder"] = field.placeholder or None
    about["autocomplete"] = "off"
    for rule, attribute in _LENGTHS.items():
        about[attribute] = field.rules.get(rule)
    rows = _AREAS.get(kind)
    if kind == "string" and (field.rules.get("max_len", 0) > _LONG or "\n" in value):
        rows = 3
    if rows is not None:
        # HTML ignores the first line end of a textarea.
        return tag("textarea", f"\n{value}", rows=rows, **about)
    type = input_type(kind, value)
    about["type"] = type
    if type == "number":
        about["step"] = _NUMBERS[kind]
        about["inputmode"] = "decimal"
    if type in ("number", "date", "time"):  # not datetime-local, which counts its steps from min
        for rule in ("min", "max"):
            limit = limit_of(kind, field.rules.get(rule))
            if limit is not None:
                about[rule] = to_text(limit)
    if type in ("datetime-local", "time") and value.count(":") > 1:
        about["step"] = "1"
    if type in ("date", "datetime-local", "time"):  # have no placeholder
        about["placeholder"] = None
    return void("input", value=value, **about)


def empty_marker(field: FormField, options: RelationChoices | None) -> Raw:
    """Return an empty hidden input for check boxes and radio buttons, else nothing.

    Browsers send nothing for unchecked ones, and a field that was not sent is not changed.
    """
    if field.is_box or is_group(field, options):
        return void("input", type="hidden", name=field.name, value="")
    return Raw()


def conflict_choice(field: FormField, theirs: str, chosen: str) -> Raw:
    """Return radio buttons for a field that two users changed. theirs: the row's value as shown."""
    legend = tag("legend", text("Which value of {field}?", field=field.label))
    choices = [
        Choice(THEIRS, text("The saved value: {value}", value=theirs)),
        Choice(MINE, text("My value, as entered above")),
    ]
    buttons = choice_list(field.name + CHOICE, "", choices, [chosen])
    return tag("fieldset", join([legend, buttons]), class_="conflict")


def format_value(field: FormField, texts: Sequence[str], options: Sequence[Choice]) -> str:
    """Return the value of a field as text to show. options: the targets of a relation."""
    labels = {choice.value: choice.label for choice in (*options, *_values(field))}
    if field.is_box:
        texts = texts or ["false"]
    return ", ".join(labels.get(value, value) for value in texts) or _EMPTY.label


def input_type(kind: str, value: str) -> str:
    """Return the type of the input: "text" if browsers would change the value in its usual type.

    Browsers drop an invalid number or time, and refuse or re-encode an email that is not ASCII
    (WHATWG HTML, sections 4.10.5.1.5, 7, 11 and 12). Saving another field would then change this
    one.
    """
    type = _TYPES.get(kind, "text")
    if not value or type not in _FORMATS:
        return type
    pattern, parse = _FORMATS[type]
    with suppress(ValueError):
        if pattern.fullmatch(value) and parse(value):
            return type
    return "text"


def is_group(field: FormField, options: RelationChoices | None) -> bool:
    """Whether the control is several inputs in a fieldset with a legend."""
    if options is None:
        return field.kind == "enum[]"
    return options.all is None or field.kind in ("many", "enum[]")


def choice_list(name: str, kind: str, choices: Sequence[Choice], chosen: Sequence[str]) -> Raw:
    """Return radio buttons, or check boxes for a "many"; those of `chosen` are checked."""
    type = "radio"
    if kind == "many":
        type = "checkbox"
    labels = []
    for value, label in choices:
        box = void("input", type=type, name=name, value=value, checked=value in chosen)
        labels.append(tag("label", join([box, tag("span", label)]), class_="choice"))
    return join(labels)


def _values(field: FormField) -> list[Choice]:
    """Return the values of an enum or a bool; [] for other kinds."""
    if field.kind == "bool":
        return [Choice("true", text("yes")), Choice("false", text("no"))]
    return [Choice(value, text(value)) for value in field.choices]


def _relation(
    field: FormField, texts: Sequence[str], options: RelationChoices, about: dict[str, Any]
) -> Raw:
    if options.all is not None and field.kind != "many":
        about["name"] = field.name
        about["required"] = field.required
        return _select(options.all, texts, about)
    possible = (*options.chosen, *(options.all or ()), *options.matches)
    by_key = {choice.value: choice for choice in possible}
    choices = _with_current([*by_key.values()], texts)
    if field.kind != "many" and not field.required and choices:
        choices.insert(0, Choice("", text("none")))
    inputs = choice_list(field.name, field.kind, choices, texts or [""])
    boxes = tag("div", inputs, class_="choices")
    if options.all is not None:
        return tag("div", boxes, class_="pick", **about, tabindex="-1")
    label = text("Search: {what}", what=field.label)
    about["name"] = field.name + SEARCH
    about["value"] = options.words
    about["maxlength"] = 200
    about["placeholder"] = text("Search")
    about["autocomplete"] = "off"
    entry = void("input", aria_label=label, **about, type="search")
    button = tag(
        "button",
        text("Search"),
        formnovalidate=True,
        type="submit",
        name="_search",
        value=field.name,
        class_="quiet",
    )
    nothing = text("No matches. Try other words.")
    status = options.problem
    if options.words and not options.matches:
        status = status or nothing
    search = tag("div", join([entry, button]), class_="search")
    content = join([search, boxes, tag("p", status, class_="help", role="status")])
    return tag("div", content, class_="pick", data_pick=options.fetch, data_none=nothing)


def _with_current(choices: Sequence[Choice], texts: Sequence[str]) -> list[Choice]:
    """Add the current values that are not among the choices, such as the key of a deleted row.

    Saving another field must not change this one.
    """
    values = {choice.value for choice in choices}
    missing = [Choice(key, key) for key in texts if key and key not in values]
    return [*missing, *choices]


def _select(choices: Sequence[Choice], texts: Sequence[str], about: dict[str, Any]) -> Raw:
    """Return a <select>. A required one with a value has no empty option.

    Such a one is not marked `required`, because HTML allows that only with an empty option
    (section 4.10.7).
    """
    choices = _with_current(choices, texts)
    if about["required"] and texts:
        about["required"] = None
        about["aria_required"] = "true"
    else:
        choices.insert(0, _EMPTY)
    options = []
    for value, label in choices:
        options.append(tag("option", label, value=value, selected=value in texts))
    return tag("select", join(options), **about)


def all_choices(target: AnyActions) -> list[Choice] | None:
    """Return all rows by label; None if there are more than MAX_LISTED, or too large for one list.

    Raises Unauthenticated, Forbidden.
    """
    page = target.list(ListQuery(limit=MAX_LISTED))
    if page.next is not None:
        return None
    choices = _choices(target, page.rows)
    return sorted(choices, key=lambda choice: choice.label.casefold())


def search_choices(target: AnyActions, words: str) -> list[Choice]:
    """Return the best rows for these words, at most MAX_FOUND.

    Full-text search comes first, if the resource has it, then a search in the label.
    Raises Unauthenticated, Forbidden, and BadRequest F650 for too many rows without an index.
    """
    words = words.strip()[:200]
    if not words or "\0" in words:
        return []
    rows = []
    if target.resource.searchable:
        rows = target.list(ListQuery(limit=MAX_FOUND, q=words)).rows
    column = title_column(target)
    if not rows and column is not None:
        condition = Filter(column, "contains", words)
        query = ListQuery((condition,), (Sort(column),), MAX_FOUND)
        rows = target.list(query).rows
    return _choices(target, rows)


def choices_of_keys(target: AnyActions, keys: Iterable[str]) -> list[Choice]:
    """Return the existing rows of these keys. Raises Unauthenticated, Forbidden."""
    values = []
    for key in keys:
        with suppress(NotFound):
            values.append(target.read_key(key))
    labels = titles_of_keys(target, values)
    return [Choice(str(key), label) for key, label in labels.items()]


def _choices(target: AnyActions, rows: Sequence[Any]) -> list[Choice]:
    choices = []
    for row, title in zip(rows, titles(target, rows), strict=True):
        choices.append(Choice(str(target.key_of(row)), title))
    return choices
