"""A form: what a person writes, as texts by field, and what an action takes of it.

A field whose text is as it was rendered is left out of a change (merge.py), so a value that no
input can hold exactly, such as microseconds, is never changed by looking at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from ...actions.check import LinkChanges
from ...actions.values import TYPES, to_text
from ...errors import Conflict, ConstraintViolation, FieldError, Invalid
from ...expression import expression
from ...text import text
from ..html import local_time, show_time
from .fields import Field

Texts = Mapping[str, Sequence[str]]
"""What stands in the inputs, by field; several texts for a "many"."""

_LINE_END = expression("\r\n?")
LOCAL = "%Y-%m-%dT%H:%M:%S"  # of an input datetime-local, by the reader's clock


def texts_of(field: Field, value: object) -> list[str]:
    """The texts of one value; a check box that is off has none."""
    if value is None or value == "" or (field.is_box and not value):
        return []
    if field.kind == "many":
        return [to_text(key) for key in _list(value)]
    if field.kind == "json":
        return [json.dumps(value, ensure_ascii=False, indent=2)]
    if isinstance(value, datetime):
        return [local_text(value)]
    return [_LINE_END.sub("\n", to_text(value))]  # as a browser sends it back


def local_text(moment: datetime) -> str:
    """A moment as an input datetime-local has it: seconds only where there are some."""
    shown = show_time(moment, LOCAL)
    return shown.removesuffix(":00") if local_time(moment).second == 0 else shown


def defaults(fields: Iterable[Field]) -> dict[str, list[str]]:
    """The texts of an empty form."""
    found = {}
    for field in fields:
        value = field.rules.get("default")
        if isinstance(value, str) and field.kind == "datetime":
            with suppress(ValueError):
                value = TYPES["datetime"].read(value)
        found[field.name] = texts_of(field, value)
    return found


def posted(fields: Iterable[Field], pairs: Texts) -> dict[str, list[str]]:
    """The texts of the inputs that were sent, with the line ends of PostgreSQL's users."""
    found = {}
    for field in fields:
        if field.name in pairs:
            sent = [_LINE_END.sub("\n", one) for one in pairs[field.name]]
            lines = field.kind in ("string", "text")
            found[field.name] = [one for one in sent if (one if lines else one.strip())]
    return found


def data_of(fields: Iterable[Field], texts: Texts, seen: Texts | None = None) -> dict[str, object]:
    """The data for an action, of the fields in `texts`. seen: the texts of the row that a change
    was made from; None for a new row.
    """
    data: dict[str, object] = {}
    for field in fields:
        given = texts.get(field.name)
        if given is None:
            continue
        if field.kind == "many":
            keys = list(given)
            data[field.name] = keys if seen is None else LinkChanges(keys, seen[field.name])
        elif given:
            data[field.name] = _value(field, given[0])
        elif field.is_box:
            data[field.name] = False
        elif seen is not None or not field.required:
            data[field.name] = None
    return data


def errors_of(
    error: Invalid | Conflict | ConstraintViolation, names: Iterable[str]
) -> dict[str, list[str]]:
    """Sentences by the field that they are about; "" for what is about none of `names`."""
    found: dict[str, list[str]] = {}
    for one in () if isinstance(error, ConstraintViolation) else error.errors:
        name = one.pointer[1:].partition("/")[0].replace("~1", "/").replace("~0", "~")
        known = name in names
        said = _said(one) if known else f"{name}: {one.message}"
        found.setdefault(name if known else "", []).append(said)
    return found or {"": [text(error.message)]}


def _said(error: FieldError) -> str:
    return text("is required") if error.code == "required" else error.message


def _value(field: Field, written: str) -> object:
    """What an action reads; what it cannot read stays a text, of which it says what is wrong."""
    if field.kind == "datetime":
        return _moment(written)
    if field.relation is not None:
        return written
    kind = TYPES.get(field.kind)
    return written if kind is None else kind.from_text(written)


def moment_of(written: str) -> datetime | None:
    """The moment that an input datetime-local means by the reader's clock; None for none."""
    with suppress(ValueError, OverflowError):
        return local_time(datetime.fromisoformat(written.strip()))
    return None


def _moment(written: str) -> object:
    return moment_of(written) or written


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
