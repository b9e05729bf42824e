"""A form: what a person writes, as texts by field, and what an action takes of it.

A field that still says what the row says is left out of a change, so a value that no input can
hold exactly, such as microseconds, is never changed by looking at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from ...actions.values import TYPES, to_text
from ...errors import Conflict, FieldError, Invalid
from ...expression import expression
from ...text import text
from ..html import local_time, show_time
from .fields import Field

Texts = Mapping[str, Sequence[str]]
"""What stands in the inputs, by field; several texts for a "many"."""

_LINE_END = expression("\r\n?")
LOCAL = "%Y-%m-%dT%H:%M:%S"  # of an input datetime-local, by the reader's clock


def texts_of(field: Field, value: object) -> list[str]:
    """The texts of one value."""
    if value is None or value == "":
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
    """The texts of a form that was sent, with the line ends of PostgreSQL's users."""
    found = {}
    for field in fields:
        sent = [_LINE_END.sub("\n", one) for one in pairs.get(field.name, ())]
        if field.kind == "bool" and field.required:
            sent = ["true" if sent else "false"]
        lines = field.kind in ("string", "text")
        found[field.name] = [one for one in sent if (one if lines else one.strip())]
    return found


def data_of(
    fields: Iterable[Field], texts: Texts, before: Texts | None = None
) -> dict[str, object]:
    """What an action takes. before: the texts of the row as it is; None for a new one."""
    data: dict[str, object] = {}
    for field in fields:
        now = texts.get(field.name, ())
        # The keys of a many_to_many have no order.
        if before is not None and sorted(now) == sorted(before.get(field.name, ())):
            continue
        if field.kind == "many":
            data[field.name] = list(now)
        elif now:
            data[field.name] = _value(field, now[0])
        elif before is not None or not field.required:
            data[field.name] = None
    return data


def errors_of(error: Invalid | Conflict, names: Iterable[str]) -> dict[str, list[str]]:
    """Sentences by the field that they are about; "" for what is about none of `names`."""
    found: dict[str, list[str]] = {}
    for one in error.errors:
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
