"""The types of columns: how a value is read from JSON, from a URL, and written back.

A reader takes a JSON value, or the Python value that a row holds, and returns the latter. It raises
ValueError with a sentence, in the current language, for the person who sent it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from ..fanout import iso_utc
from ..i18n import gettext_noop, shortest_number, text
from ..lazy import lazy_pattern

JSON_DEPTH = 64  # of arrays and objects inside each other

_INT = lazy_pattern(r"-?[0-9]{1,20}")
_DATE = lazy_pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # RFC 3339 section 5.6
_TIME = lazy_pattern(
    _DATE.pattern + r"[Tt ][0-9]{2}(:[0-9]{2}){2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_DECIMAL = lazy_pattern(r"-?[0-9]{1,1000}(\.[0-9]{1,1000})?")
_LONE = lazy_pattern(r"[\ud800-\udfff]")  # surrogates
_UUID = lazy_pattern(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SLUG = lazy_pattern(r"[a-z0-9]+(-[a-z0-9]+)*")
_NO_SLUG = gettext_noop("must be lowercase letters and digits, joined by single hyphens")
# A dot-string and a domain of RFC 5321 section 4.1.2 with the letters of RFC 6531; no quoting.
# PERF: said by what it is not: a set that goes to U+10FFFF takes 17 ms to compile.
_LETTER = r"[^\x00-/:-@\[-`{-\x7f]"
_LABEL = rf"{_LETTER}(?:(?:{_LETTER}|-){{0,61}}{_LETTER})?"
_EMAIL = lazy_pattern(rf'[^\s@"(),:;<>\[\]\\]{{1,64}}@(?=.{{1,255}}$){_LABEL}(\.{_LABEL})+')
# An absolute URI of RFC 3986 section 3 with the letters of RFC 3987: user, host, port, the rest.
_URL = lazy_pattern(
    r"(?!.*%(?![0-9a-f]{2}))"  # each % begins an escape
    r'https?://([^\s/?#@\\<>"{}|^`]*@)?(\[[0-9a-f:.]+\]|[^\s/?#@:\\<>"{}|^`\[\]]+)(:[0-9]{1,5})?'
    r'([/?#][^\s\\<>"{}|^`]*)?',
    re.IGNORECASE,
)
_NO_URL = gettext_noop("must be a URL of http or https")


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(text("must be a string"))
    if "\x00" in value:
        raise ValueError(text("must not contain a null character"))
    # PERF: most strings are ASCII, and know it (benchmarks/http, create).
    if not value.isascii() and _LONE.search(value):
        raise ValueError(text("must not contain a lone surrogate"))
    return value


def _written(pattern: re.Pattern[str], refusal: str, value: object) -> str:
    """A printable string that matches as a whole."""
    if not (pattern.fullmatch(word := _string(value)) and word.isprintable()):
        raise ValueError(text(refusal))
    return word


def _url(value: object) -> str:
    """As _written, and what RFC 3986 says of a port and an IPv6 address."""
    word = _written(_URL, _NO_URL, value)
    try:
        _ = urlsplit(word).port
    except ValueError:
        raise ValueError(text(_NO_URL)) from None
    return word


def _whole(value: object, bits: int) -> int:
    # As the API's document says it: 5.0 is an integer of JSON Schema (2020-12, section 6.1.1).
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < bits:
        value = int(value) if value == int(value) else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(text("must be a whole number"))
    limit = 1 << (bits - 1)
    if not -limit <= value < limit:
        raise ValueError(text("must lie between {min} and {max}", min=-limit, max=limit - 1))
    return value


def _decimal(value: object) -> Decimal:
    """Exact: a JSON number comes as Decimal (the JSON reader sees to that), a string is taken as
    digits.
    """
    exact = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    if exact or isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = Decimal(value)  # type: ignore[arg-type]
        if number.is_finite():
            return number
    raise ValueError(text("must be a decimal number"))


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(text("must be true or false"))
    return value


def _datetime(value: object) -> datetime:
    """RFC 3339 with an offset; kept in UTC."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        with suppress(ValueError):
            value = datetime.fromisoformat(value.upper())
    if not isinstance(value, datetime):
        raise ValueError(text("must be a date and time as in RFC 3339, 2026-11-25T08:30:00Z"))
    if value.utcoffset() is None:
        raise ValueError(text("must have a UTC offset, such as Z or +02:00"))
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(text("must lie between the years 1 and 9999")) from None


def _date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        with suppress(ValueError):
            return date.fromisoformat(value)
    raise ValueError(text("must be a date, 2026-11-25"))


def _uuid(value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError(text("must be a UUID"))
    return UUID(value)


_SIZE = 10  # random bytes of one
_drawn: list[bytes] = []  # LOCK: none, `pop` is atomic
os.register_at_fork(after_in_child=_drawn.clear)  # SAFETY: or a child's were its parent's


def uuid7() -> UUID:
    """Return a new UUID of version 7 (RFC 9562 section 5.7), so that a row knows its id early.

    48 bits of Unix milliseconds, 74 random bits. Safe from any thread and after a fork.
    """
    millis = time.time_ns() // 1_000_000 & 0xFFFFFFFFFFFF
    random = int.from_bytes(_random()) & ~(0xF << 76 | 0x3 << 62)
    return UUID(int=millis << 80 | 0x7 << 76 | 0x2 << 62 | random)


def _random() -> bytes:
    """Bytes that nobody else gets."""
    try:
        return _drawn.pop()
    except IndexError:
        # PERF: the kernel is asked without the GIL, which is another's then (benchmarks/http,
        # create).
        many = os.urandom(_SIZE * 256)
        _drawn.extend(many[start : start + _SIZE] for start in range(_SIZE, len(many), _SIZE))
        return many[:_SIZE]


def _json(value: object, depth: int = JSON_DEPTH) -> Any:
    """What jsonb takes and gives back: text without NUL, whole numbers, doubles (RFC 7493)."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (int, float, Decimal)):
        number = value if isinstance(value, int) else float(value)
        if not -_LARGEST <= number <= _LARGEST:  # false for NaN too
            raise ValueError(text("must contain only numbers that a double holds"))
        if isinstance(number, int):
            return shortest_number(number)
        # jsonb spells digits out: what comes back from there is a whole number.
        return int(Decimal(repr(number))) if 1e16 <= abs(number) < 1e21 else number
    if not isinstance(value, (Mapping, list, tuple)):
        raise ValueError(text("must be a JSON value"))
    if depth == 0:
        raise ValueError(text("must not be nested deeper than {max} levels", max=JSON_DEPTH))
    if isinstance(value, Mapping):
        return {_string(name): _json(item, depth - 1) for name, item in value.items()}
    return [_json(item, depth - 1) for item in value]


_LARGEST = int(sys.float_info.max)


def fits_json(value: object, most: int) -> bool:
    """Whether PostgreSQL writes this JSON value, which it does without exponents, in at most so
    many bytes.
    """
    return len(json.dumps(value, ensure_ascii=False).encode()) + _digits(value) <= most


def _digits(value: object) -> int:
    """About how many more characters a JSON value has without exponents."""
    if isinstance(value, float):
        short = repr(value)
        return abs(int(short.partition("e")[2] or 0))
    if isinstance(value, dict):
        return sum(map(_digits, value.values()))
    return sum(map(_digits, value)) if isinstance(value, list) else 0


def _int_from_text(cell: str) -> object:
    return int(cell) if _INT.fullmatch(cell) else cell


def _json_from_text(cell: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell.encode()  # which no reader takes


class ValueType(NamedTuple):
    """read: from a JSON or Python value. from_text: from a URL or CSV cell to what `read` takes."""

    read: Callable[[object], Any]
    from_text: Callable[[str], object] = str


TYPES: dict[str, ValueType] = {
    **dict.fromkeys(("string", "text", "enum"), ValueType(_string)),
    "int": ValueType(partial(_whole, bits=32), _int_from_text),
    "bigint": ValueType(partial(_whole, bits=64), _int_from_text),
    "decimal": ValueType(_decimal),
    "bool": ValueType(_bool, lambda cell: {"true": True, "false": False}.get(cell, cell)),
    "datetime": ValueType(_datetime),
    "date": ValueType(_date),
    "uuid": ValueType(_uuid),
    "slug": ValueType(partial(_written, _SLUG, _NO_SLUG)),
    "email": ValueType(partial(_written, _EMAIL, gettext_noop("must be an email address"))),
    "url": ValueType(_url),
    "json": ValueType(_json, _json_from_text),
}


def read_text(type_name: str, cell: str) -> Any:
    """The value that a text (of a URL, a CSV cell or a cursor) means for this type. Raises
    ValueError.
    """
    kind = TYPES[type_name]
    return kind.read(kind.from_text(cell))


def to_text(value: object) -> str:
    """The text that `read_text` reads back to the same value."""
    if isinstance(value, datetime):
        return iso_utc(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)  # no exponent
