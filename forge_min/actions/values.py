"""The types of columns: how a value is read from JSON, from a URL, and written back.

A reader returns the Python value or raises ValueError with a sentence for the person who sent it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

_INT = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)  # RFC 3339 section 5.6
_TIME = re.compile(
    _DATE.pattern + r"[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?",
    re.ASCII,
)
_DECIMAL = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?", re.ASCII)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if "\x00" in value:
        raise ValueError("must not contain a null character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain a lone surrogate") from None
    return value


def _whole(value: object, bits: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    limit = 1 << (bits - 1)
    if not -limit <= value < limit:
        raise ValueError(f"must lie between {-limit} and {limit - 1}")
    return value


def _int(value: object) -> int:
    return _whole(value, 32)


def _bigint(value: object) -> int:
    return _whole(value, 64)


def _decimal(value: object) -> Decimal:
    """Exact: a JSON number comes as Decimal (the JSON reader sees to that), a string is taken as
    digits.
    """
    if isinstance(value, bool):
        raise ValueError("must be a decimal number")
    if isinstance(value, (int, Decimal)) or isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = Decimal(value)
    else:
        raise ValueError("must be a decimal number")
    if not number.is_finite():
        raise ValueError("must be a finite decimal number")
    return number


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _datetime(value: object) -> datetime:
    """RFC 3339 with an offset; kept in UTC."""
    text = _string(value)
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError("must be a date and time as in RFC 3339, 2026-11-25T08:30:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("must have a UTC offset, such as Z or +02:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1 and 9999") from None


def _date(value: object) -> date:
    text = _string(value)
    try:
        if not _DATE.fullmatch(text):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a date, 2026-11-25") from None


def _uuid(value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    text = _string(value)
    if len(text) != 36:
        raise ValueError("must be a UUID")
    try:
        return UUID(text)
    except ValueError:
        raise ValueError("must be a UUID") from None


def _int_from_text(text: str) -> object:
    return int(text) if _INT.fullmatch(text) else text


def _bool_from_text(text: str) -> object:
    return {"true": True, "false": False}.get(text, text)


def _same(text: str) -> object:
    return text


def iso_utc(value: datetime) -> str:
    """RFC 3339 in UTC with "Z"."""
    text = value.isoformat()
    if not text.endswith("+00:00"):
        text = value.astimezone(UTC).isoformat()
    return text[:-6] + "Z"


@dataclass(frozen=True, slots=True)
class ValueType:
    """read: from a JSON value. from_text: from a URL or CSV cell to what `read` takes."""

    read: Callable[[object], Any]
    from_text: Callable[[str], object] = _same


TYPES: dict[str, ValueType] = {
    "string": ValueType(_string),
    "text": ValueType(_string),
    "enum": ValueType(_string),
    "int": ValueType(_int, _int_from_text),
    "bigint": ValueType(_bigint, _int_from_text),
    "decimal": ValueType(_decimal),
    "bool": ValueType(_bool, _bool_from_text),
    "datetime": ValueType(_datetime),
    "date": ValueType(_date),
    "uuid": ValueType(_uuid),
}


def read_text(type_name: str, text: str) -> Any:
    """The value that `text` (from a URL, a CSV cell or a cursor) means for this type. Raises
    ValueError.
    """
    kind = TYPES[type_name]
    return kind.read(kind.from_text(text))


def to_text(value: object) -> str:
    """The text that `read_text` reads back to the same value."""
    if isinstance(value, datetime):
        return iso_utc(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
