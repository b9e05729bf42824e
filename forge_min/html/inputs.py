"""The inputs of a form, as HTML: one for each kind of field, usable without JavaScript.

A relation with many targets is picked by searching: a search field, a button that sends the form
to be shown again, and what was found as radio buttons. `forms.js` searches while one types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from math import isfinite
from typing import Any, NamedTuple

from ..actions import Actions, Filter, ListQuery, Sort
from ..errors import NotFound
from ..i18n import text
from ..lazy import lazy_pattern
from ..wsgi import Raw, join, tag, void
from .fields import Field
from .form import MINE, THEIRS

SEARCH = ".q"  # what a relation's search field has behind its name
CHOICE = ".choice"  # the suffix of the choice between two values of a field
_NUMBERS = {"int": "1", "bigint": "1", "decimal": "any"}
_TYPES = {"email": "email", "url": "url", "date": "date", "datetime": "datetime-local"}
_TYPES |= dict.fromkeys(_NUMBERS, "number")
_UNPROMPTED = ("date", "datetime-local")  # inputs without a placeholder
_FORMS = {
    "number": lazy_pattern(r"-?([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]+)?"),
    "date": lazy_pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "datetime-local": lazy_pattern(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?"
    ),
}
_READ: Mapping[str, Callable[[str], object]] = {
    "number": lambda written: isfinite(float(written)),
    "date": date.fromisoformat,
    "datetime-local": datetime.fromisoformat,
}
_AREAS = {"text": 6, "json": 8}  # rows
_LONG = 200  # characters that still fit a line
# The rules of a decimal's precision are for the validator; what HTML knows of is here.
_LIMITS = {"min_len": "minlength", "max_len": "maxlength", "min": "min", "max": "max"}
FEW = 50  # rows that fit a list to choose from
FOUND = 20  # rows that a search shows
Target = Actions[Any, Any, Any]


class Choice(NamedTuple):
    """One row. value: its key as text."""

    value: str
    label: str


_EMPTY = Choice("", "–")  # HTML wants a text in each option


class Options(NamedTuple):
    """What a relation's field may be. all: every row there is, or None where a search is needed.
    found: of a search. chosen: what is chosen now. words: what was searched. fetch: the address
    that gives `found` for more words.
    """

    all: Sequence[Choice] | None
    found: Sequence[Choice] = ()
    chosen: Sequence[Choice] = ()
    words: str = ""
    fetch: str = ""


def control(
    field: Field, texts: Sequence[str], *, options: Options | None = None, wrong: bool = False
) -> Raw:
    """The input of a field that holds these texts; for a screen reader its help and errors belong
    to it. options: of a relation whose targets may be read.
    """
    about: dict[str, Any] = {
        "id": f"field-{field.name}",
        "aria_describedby": described(field, wrong),
        "aria_invalid": "true" if wrong else None,
    }
    if options is not None:
        return _relation(field, texts, options, about)
    if field.is_box:
        on = texts == ["true"]
        return void("input", type="checkbox", name=field.name, value="true", checked=on, **about)
    about |= {"name": field.name, "required": field.required}
    if field.kind == "bool":
        both = [Choice("true", text("yes")), Choice("false", text("no"))]
        return _select(both, texts, about)
    if field.kind == "enum":
        choices = [Choice(one, text(one)) for one in field.choices]
        return _select(choices, texts, about)
    written = texts[0] if texts else ""
    about |= {"placeholder": field.placeholder or None, "autocomplete": "off"}
    about |= {html: field.rules.get(name) for name, html in _LIMITS.items()}
    long = field.kind == "string" and (field.rules.get("max_len", 0) > _LONG or "\n" in written)
    if field.kind in _AREAS or long:
        # HTML leaves out the first line end of a textarea.
        return tag("textarea", f"\n{written}", rows=_AREAS.get(field.kind, 3), **about)
    about["type"] = type = input_type(field.kind, written)
    if type == "number":
        about |= {"step": _NUMBERS[field.kind], "inputmode": "decimal"}
    else:
        about |= {"min": None, "max": None}
    if type == "datetime-local" and written.count(":") > 1:
        about["step"] = "1"
    if type in _UNPROMPTED:
        about["placeholder"] = None
    return void("input", value=written, **about)


def present(field: Field, options: Options | None) -> Raw:
    """A hidden input without a value before check boxes and radio buttons, because browsers send
    nothing for those that are off: a field that was not sent at all stays as it is.
    """
    boxes = field.is_box or is_group(field, options)
    return void("input", type="hidden", name=field.name, value="") if boxes else Raw()


def conflict_choice(field: Field, theirs: str, chosen: str) -> Raw:
    """Radio buttons for a field that two users changed. theirs: the row's value, for people."""
    name, label = field.name + CHOICE, text("Which value of {field}?", field=field.label)
    values = [
        Choice(THEIRS, text("The saved value: {value}", value=theirs)),
        Choice(MINE, text("My value, as entered above")),
    ]
    buttons = join([tag("legend", label), choice_list(name, "", values, [chosen])])
    return tag("fieldset", buttons, class_="conflict")


def spoken_value(field: Field, texts: Sequence[str], options: Sequence[Choice]) -> str:
    """The value of a field as people read it. options: the targets of a relation."""
    labels = {one.value: one.label for one in options} | {one: text(one) for one in field.choices}
    if field.kind == "bool":
        labels = {"true": text("yes"), "false": text("no")}
    if field.is_box:
        texts = texts or ["false"]
    return ", ".join(labels.get(one, one) for one in texts) or _EMPTY.label


def input_type(kind: str, written: str) -> str:
    """The type of the input: that of its kind, where browsers keep what is written in it (WHATWG
    HTML, sections 4.10.5.1.5, 7, 11 and 12), else text. An email with other letters they refuse or
    spell in another way, what is no number or time they leave out; and who changes another field
    would change this one.
    """
    type = _TYPES.get(kind, "text")
    if not written:
        return type
    if kind == "email":
        return type if written.isascii() else "text"
    form = _FORMS.get(type)
    if form is None:
        return type
    with suppress(ValueError):
        if form.fullmatch(written) and _READ[type](written):
            return type
    return "text"


def described(field: Field, wrong: bool) -> str | None:
    """The ids of what is said about the field, for aria-describedby."""
    said = [f"help-{field.name}"] * bool(field.help) + [f"error-{field.name}"] * wrong
    return " ".join(said) or None


def is_group(field: Field, options: Options | None) -> bool:
    """Whether the control is several inputs, which a fieldset holds and a legend names."""
    return options is not None and (options.all is None or field.kind == "many")


def choice_list(name: str, kind: str, choices: Sequence[Choice], chosen: Sequence[str]) -> Raw:
    """Radio buttons, or check boxes for a "many"; those of `chosen` are on."""
    shown = "checkbox" if kind == "many" else "radio"
    return join(
        tag(
            "label",
            join([
                void("input", type=shown, name=name, value=one.value, checked=one.value in chosen),
                tag("span", one.label),
            ]),
            class_="choice",
        )
        for one in choices
    )  # fmt: skip


def _relation(field: Field, texts: Sequence[str], options: Options, about: dict[str, Any]) -> Raw:
    if options.all is not None and field.kind != "many":
        return _select(options.all, texts, about | {"name": field.name, "required": field.required})
    known = {one.value: one for one in (*options.chosen, *(options.all or ()), *options.found)}
    choices = _with_present(list(known.values()), texts)
    if field.kind != "many" and not field.required and choices:
        choices.insert(0, Choice("", text("none")))
    boxes = tag(
        "div", choice_list(field.name, field.kind, choices, texts or [""]), class_="choices"
    )
    if options.all is not None:
        return tag("div", boxes, class_="pick", **about | {"id": about["id"], "tabindex": "-1"})
    search = join([
        void(
            "input", type="search", name=field.name + SEARCH, value=options.words, maxlength=200,
            placeholder=text("Search"), aria_label=text("Search: {what}", what=field.label),
            autocomplete="off", **about,
        ),
        tag("button", text("Search"), type="submit", name="_search", value=field.name,
            formnovalidate=True, class_="quiet"),
    ])  # fmt: skip
    none = text("nothing was found") if options.words and not options.found else ""
    told = tag("p", none, class_="help", role="status")
    return tag(
        "div", join([tag("div", search, class_="search"), boxes, told]), class_="pick",
        data_pick=options.fetch, data_none=text("nothing was found"),
    )  # fmt: skip


def _with_present(choices: Sequence[Choice], texts: Sequence[str]) -> list[Choice]:
    """The choices, and what is there now and is none of them any more, such as a deleted row: who
    changes another field must not change this one.
    """
    known = {one.value for one in choices}
    return [*(Choice(one, one) for one in texts if one and one not in known), *choices]


def _select(choices: Sequence[Choice], texts: Sequence[str], about: dict[str, Any]) -> Raw:
    """A list to choose one from. Where one must be chosen and one is, there is no way to none: so
    it is not `required`, which HTML allows only with an empty option (section 4.10.7).
    """
    given = _with_present(choices, texts)
    if about["required"] and texts:
        about = about | {"required": None, "aria_required": "true"}
    else:
        given.insert(0, _EMPTY)
    options = [tag("option", c.label, value=c.value, selected=c.value in texts) for c in given]
    return tag("select", join(options), **about)


def few(target: Target) -> list[Choice] | None:
    """All rows by label; None if they are more than FEW, or too large for one list.

    Raises Unauthenticated, Forbidden.
    """
    page = target.list(ListQuery(limit=FEW))
    if page.next is not None:
        return None
    return sorted(_choices(target, page.rows), key=lambda choice: choice.label.casefold())


def search(target: Target, words: str) -> list[Choice]:
    """The best rows for these words, at most FOUND.

    Full-text search comes first, if the resource has it, then a search in the label.
    Raises Unauthenticated, Forbidden.
    """
    words, rows, column = words.strip()[:200], [], target.label_column()
    if not words or "\0" in words:
        return []
    if target.resource.searchable:
        rows = target.list(ListQuery(limit=FOUND, q=words)).rows
    if not rows and column is not None:
        contains = (Filter(column, "contains", words),)
        rows = target.list(ListQuery(contains, (Sort(column),), FOUND)).rows
    return _choices(target, rows)


def named(target: Target, keys: Iterable[str]) -> list[Choice]:
    """The rows of these keys, those that there are. Raises Unauthenticated, Forbidden."""
    read = []
    for key in keys:
        with suppress(NotFound):
            read.append(target.read_key(key))
    if not read:
        return []
    return _choices(target, target.stream(ListQuery((Filter(target.resource.key, "in", read),))))


def _choices(target: Target, rows: Iterable[Any]) -> list[Choice]:
    return [Choice(str(target.key_of(row)), target.label(row)) for row in rows]
