"""The types of columns: how values are read from JSON and from text, and written as text.

A reader takes a JSON value, or the Python value of a row, and returns the Python value. It raises
ValueError with a sentence for the user, in the current language.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from functools import partial
from typing import Any, NamedTuple
from unicodedata import category
from urllib.parse import urlsplit
from uuid import UUID

from .. import db, temporal
from ..fanout import iso_utc
from ..i18n import gettext_noop, shortest_number, text
from ..lazy import lazy_pattern

EXACT = Context(prec=200_000)  # more digits than a numeric of PostgreSQL has
JSON_DEPTH = 64  # of arrays and objects inside each other
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and a symbol that show nothing

_INT = lazy_pattern(r"-?[0-9]{1,20}")
_DATE = lazy_pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # RFC 3339 section 5.6
_TIME = lazy_pattern(
    _DATE.pattern + r"[Tt ][0-9]{2}(:[0-9]{2}){2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_PARTIAL_TIME = lazy_pattern(r"([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]{1,6})?")
_CALENDAR = lazy_pattern(r"P[^T]*[0-9][YM].*")
_DECIMAL = lazy_pattern(r"-?[0-9]{1,1000}(\.[0-9]{1,1000})?")
_LONE = lazy_pattern(r"[\ud800-\udfff]")  # surrogates
_UUID = lazy_pattern(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SLUG = lazy_pattern(r"[a-z0-9]+(-[a-z0-9]+)*")
_NOT_A_SLUG = gettext_noop("must be lower-case letters and digits, joined by single hyphens")
# An unquoted local part, with dots anywhere, and a domain of RFC 5321 section 4.1.2, both with the
# letters of RFC 6531.
# PERF: a negated set, because a set up to U+10FFFF takes 17 ms to compile.
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
_NOT_A_URL = gettext_noop("must be a web address that begins with http:// or https://")


def is_visible(value: str) -> bool:
    """Return whether a text has a visible letter, number, mark of punctuation or symbol."""
    return any(category(sign)[0] in "LNPS" and sign not in _BLANK for sign in value)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(text("must be text"))
    if "\x00" in value:
        raise ValueError(text("must not contain a null character"))
    # PERF: most strings are ASCII, which Python knows without a search (benchmarks/http, create).
    if not value.isascii() and _LONE.search(value):
        raise ValueError(text("must not contain half of a character (a lone surrogate)"))
    return value


def _matching(pattern: re.Pattern[str], message: str, value: object) -> str:
    """A printable string that matches the pattern as a whole."""
    word = _string(value)
    if not pattern.fullmatch(word) or not word.isprintable():
        raise ValueError(text(message))
    return word


def _url(value: object) -> str:
    """A URL. If it has a port or an IPv6 address, these are valid (a port is at most 65535)."""
    word = _matching(_URL, _NOT_A_URL, value)
    try:
        _ = urlsplit(word).port
    except ValueError:
        raise ValueError(text(_NOT_A_URL)) from None
    return word


def _whole(value: object, bits: int) -> int:
    # OpenAPI declares an integer, and 5.0 is one in JSON Schema (2020-12, section 6.1.1).
    # adjusted(), the decimal exponent, is a cheap bound before int().
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < bits:
        number = int(value)
        if value == number:
            value = number
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(text("must be a whole number"))
    limit = 1 << (bits - 1)
    if not -limit <= value < limit:
        raise ValueError(text("must be between {min} and {max}", min=-limit, max=limit - 1))
    return value


def _decimal(value: object) -> Decimal:
    """An exact number: the JSON reader returns Decimal; a string must be as -12.50, no exponent."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        number = Decimal(value)
        if number.is_finite():
            return number
    raise ValueError(text("must be a number, for example 12.50"))


def _float(value: object) -> float:
    """A double: any number of JSON in its range. Minus zero becomes zero, as in jsonb."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        value = None
    if value is None or not _is_double(value):
        raise ValueError(text("must be a number, for example 12.5"))
    return float(value) + 0.0


def _is_double(value: int | float | Decimal) -> bool:
    """Whether a number is in the range of a double; false for NaN."""
    if not isinstance(value, int):
        value = float(value)
    return -_LARGEST <= value <= _LARGEST


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(text("must be true or false"))
    return value


def _datetime(value: object) -> datetime:
    """A time of RFC 3339 with an offset, converted to UTC."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        with suppress(ValueError):
            value = datetime.fromisoformat(value.upper())
    if not isinstance(value, datetime):
        raise ValueError(text("must be a date and time, for example 2026-11-25T08:30:00Z"))
    if value.utcoffset() is None:
        raise ValueError(text("must have a time zone at the end, for example Z or +02:00"))
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(text("must be between the years 1 and 9999")) from None


def _date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        with suppress(ValueError):
            return date.fromisoformat(value)
    raise ValueError(text("must be a date, for example 2026-11-25"))


def _time(value: object) -> time:
    """A partial-time of RFC 3339 section 5.6, without a leap second."""
    if isinstance(value, str) and _PARTIAL_TIME.fullmatch(value):
        value = time.fromisoformat(value)
    if isinstance(value, time) and value.tzinfo is None:
        return value
    raise ValueError(text("must be a time of day, for example 08:30:00"))


def _duration(value: object) -> timedelta:
    if isinstance(value, str):
        if _CALENDAR.fullmatch(value):
            raise ValueError(text("must not have years or months: their length varies"))
        with suppress(ValueError, OverflowError):
            value = temporal.parse_duration(value)
    if isinstance(value, timedelta) and value >= timedelta():
        return value
    raise ValueError(text("must be a duration, for example PT1H30M"))


def _list(value: object) -> list[Any]:
    """A new list; its entries are not read."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(text("must be a list"))
    return list(value)


def _uuid(value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError(text("must be an id of 36 characters (a UUID)"))
    return UUID(value)


_SIZE = 10  # random bytes of one UUID
_drawn: list[bytes] = []  # LOCK: not needed, `pop` is atomic
os.register_at_fork(after_in_child=_drawn.clear)  # SAFETY: else parent and child share bytes


def uuid7() -> UUID:
    """Return a new UUID of version 7 (RFC 9562 section 5.7).

    So the id of a row is known before its insert. The UUID has 48 bits of Unix milliseconds and 74
    random bits. Hosts with different clocks agree on the order, because the time is that of the
    database. Safe from any thread and after a fork.
    """
    millis = int(db.primary_time() * 1000) & 0xFFFFFFFFFFFF
    random = int.from_bytes(_random()) & ~(0xF << 76 | 0x3 << 62)
    return UUID(int=millis << 80 | 0x7 << 76 | 0x2 << 62 | random)


def _random() -> bytes:
    """Random bytes for one UUID."""
    try:
        return _drawn.pop()
    except IndexError:
        # PERF: each call releases the GIL, which costs a switch of threads (benchmarks/http,
        # create).
        block = os.urandom(_SIZE * 256)
        _drawn.extend(block[start : start + _SIZE] for start in range(_SIZE, len(block), _SIZE))
        return block[:_SIZE]


def _json(value: object, depth: int = JSON_DEPTH) -> Any:
    """A value that jsonb can store: text without NUL, whole numbers, doubles (RFC 7493)."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (int, float, Decimal)):
        if not _is_double(value):
            raise ValueError(text("must not contain numbers outside the range of a double"))
        if isinstance(value, int):
            return shortest_number(value)
        number = float(value)
        if 1e16 <= abs(number) < 1e21:
            # jsonb writes all digits, so this number is read back as a whole number.
            return int(Decimal(repr(number)))
        return number
    if not isinstance(value, (Mapping, list, tuple)):
        raise ValueError(text("must be a JSON value"))
    if depth == 0:
        raise ValueError(text("must not be nested deeper than {max} levels", max=JSON_DEPTH))
    if isinstance(value, Mapping):
        return {_string(name): _json(item, depth - 1) for name, item in value.items()}
    return [_json(item, depth - 1) for item in value]


_LARGEST = int(sys.float_info.max)


def fits_json(value: object, max_bytes: int) -> bool:
    """Whether PostgreSQL's text of a JSON value, without exponents, has at most this size."""
    return len(json.dumps(value, ensure_ascii=False).encode()) + _digits(value) <= max_bytes


def _digits(value: object) -> int:
    """Estimate the additional characters of a JSON value without exponents."""
    if isinstance(value, float):
        _, _, exponent = repr(value).partition("e")
        return abs(int(exponent or 0))
    if isinstance(value, dict):
        return sum(map(_digits, value.values()))
    if isinstance(value, list):
        return sum(map(_digits, value))
    return 0


def _int_from_text(cell: str) -> object:
    return int(cell) if _INT.fullmatch(cell) else cell


def _time_from_text(cell: str) -> object:
    return f"{cell}:00" if len(cell) == len("08:30") else cell


def _lines(of: str, cell: str) -> object:
    if cell.startswith("["):  # as `shown_text` writes entries that no line can hold
        return _json_from_text(cell)
    lines = map(str.strip, cell.split("\n"))
    return [TYPES[of].from_text(line) for line in lines if line]


def _json_from_text(cell: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell.encode()  # no reader takes bytes


class ValueType(NamedTuple):
    """How values of a type are read.

    read: reads a JSON or Python value.
    from_text: converts a cell of a URL or CSV file for `read`.
    """

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
    "time": ValueType(_time, _time_from_text),
    "duration": ValueType(_duration, temporal.clock_to_duration),
    "float": ValueType(_float, _json_from_text),
    "uuid": ValueType(_uuid),
    "slug": ValueType(partial(_matching, _SLUG, _NOT_A_SLUG)),
    "email": ValueType(partial(_matching, _EMAIL, gettext_noop("must be an email address"))),
    "url": ValueType(_url),
    "json": ValueType(_json, _json_from_text),
    **{f"{of}[]": ValueType(_list, partial(_lines, of)) for of in ("string", "int", "enum")},
}


def read_text(type_name: str, cell: str) -> Any:
    """Return the value that a text means for a type. Raises ValueError.

    cell: from a URL, a CSV file or a cursor.
    """
    kind = TYPES[type_name]
    return kind.read(kind.from_text(cell))


def limit_of(type_name: str, limit: Any) -> Any:
    """Return the value of a limit of the schema; one as "today-18y" is relative to now, in UTC."""
    if not isinstance(limit, str):
        return limit
    return temporal.relative_limit(limit, datetime.now(UTC)) or TYPES[type_name].read(limit)


def to_text(value: object) -> str:
    """Return the text that `read_text` reads back to the same value, except for the type json."""
    if isinstance(value, datetime):
        return iso_utc(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return temporal.format_duration(value)
    if isinstance(value, Decimal):
        return format(value, "f")  # no exponent
    return str(value)


def shown_text(value: object) -> str:
    """Return a value as pages show it, and as `from_text` of its type accepts it."""
    if isinstance(value, list):
        lines = "\n".join(map(str, value))
        if _lines("string", lines) == [*map(str, value)]:
            return lines
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, time):
        return str(value).removesuffix(":00")
    if isinstance(value, timedelta):
        return temporal.format_clock(value)
    return to_text(value)
