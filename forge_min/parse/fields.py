"""What can be wrong with one field: the rules of PostgreSQL and of Python. Plain functions."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from .. import schema
from . import names
from .diagnostic import quote
from .names import Problem
from .pattern import pattern_problem

Problems: TypeAlias = Iterator[tuple[str, Problem | None]]  # (option, its problem or None)

_INTS = {"int": (-(1 << 31), (1 << 31) - 1)}  # PostgreSQL manual, section 8.1.1
_BIGINT = (-(1 << 63), (1 << 63) - 1)  # and of a decimal's min and max: what JSON Schema tools keep
_TEXTS = ("string", "text", "slug", "email", "url")
_IMPLIED = {"slug": 100, "email": 320, "url": 2048}  # max_len where none is given
_MAX_LENGTH = 10_485_760  # of varchar(n), PostgreSQL manual, section 8.3
_MAX_PRECISION = 1000  # of numeric(p, s), PostgreSQL manual, section 8.1.2
# How a default is written: (a pattern, an example).
_WRITTEN = {
    "decimal": (r"-?\d{1,1000}(\.\d{1,1000})?", "12.50"),
    "uuid": (r"(?i)[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}", "2f1f7c5e-0f3c-4b6e-9b53-0d1f6b1f6a10"),
    "date": (r"\d{4}-\d\d-\d\d", "2026-01-31"),
    "datetime": (r"[\d-]{10}[T ][\d:]{8}(\.\d{1,6})?(Z|[+-][\d:]{5})", "2026-01-31T12:00:00+00:00"),
    "slug": (r"[a-z\d]+(-[a-z\d]+)*", "my-first-post"),
    "email": (r"(?i)[\w.+-]{1,64}@([a-z\d]+(-[a-z\d]+)*\.)+[a-z\d]+", "me@example.org"),
    "url": (r"https?://[a-z\d.-]+(:\d{1,4})?([/?#][!#-;=?-\[\]_a-z~]*)?", "https://example.org/"),
}
# (code, why, the option that excludes, the excluded ones)
_CONFLICTS = (
    ("F147", "a primary key cannot have", "primary_key", ("visible_to", "writable_by", "default")),
    ("F148", "visible_to would leak by", "visible_to", ("searchable", "sortable", "filterable")),
)


def field_problems(field: schema.Field) -> Problems:
    """What is wrong with a field."""
    yield "name", names.field_problem(field.name, free="id" if field.primary_key else "")
    if (field.filterable or field.primary_key) and field.name in names.LIST_PARAMETERS:
        message = f'a filter "{field.name}" cannot be told from the list parameter of that name'
        place = "filterable" if field.filterable else "name"
        yield place, Problem("F121", message, "rename the field")
    yield from role_problems(field)
    for code, why, one, others in _CONFLICTS:
        for other in others if getattr(field, one) else ():
            if getattr(field, other) is not None and getattr(field, other) is not False:
                yield other, Problem(code, f"{why} {other}", f"leave out {other} or {one}")
    if field.type == "enum":
        yield from _choices(field.choices)
    yield from _limits(field)
    bad = None if field.pattern is None else pattern_problem(field.pattern)
    yield "pattern", bad
    if field.default is not None:
        yield "default", _default(field, None if bad else field.pattern)


def role_problems(part: schema.Field | schema.BelongsTo) -> Problems:
    """What is wrong with the roles that may see and write it."""
    for option in ("visible_to", "writable_by"):
        roles = getattr(part, option)
        if roles is not None:
            yield option, roles_problem(option, roles)


def roles_problem(option: str, roles: Sequence[str]) -> Problem | None:
    """What is wrong with a list of roles."""
    if not roles:
        return Problem("F149", f"{option} names no role", 'for example ["admin"]')
    found = (names.label_problem(role, "F149", "the role") for role in roles)
    return next(filter(None, found), None)


def out_of_range(part: object, limits: Mapping[str, tuple[int, int]], code: str) -> Problems:
    """The options of `part` that are outside of their limits."""
    for name, (low, high) in limits.items():
        number = getattr(part, name)
        if number is not None and not low <= number <= high:
            yield name, Problem(code, f"{name} must be between {low} and {high}", "")


def _limits(field: schema.Field) -> Problems:
    numbers = _INTS.get(field.type, _BIGINT)
    longest = (1, _IMPLIED["email"] if field.type == "email" else _MAX_LENGTH)
    limits = {"min": numbers, "max": numbers, "min_len": (0, _MAX_LENGTH), "max_len": longest}
    yield from out_of_range(field, limits, "F127")
    low, least, most = _bounds(field)
    if least is not None and most is not None and least > most:
        yield low, Problem("F126", f"{low} is above the upper limit", "swap them")
    if field.precision:
        yield from _precision(field, field.precision)


def _bounds(field: schema.Field) -> tuple[str, int | None, int | None]:
    """(the lower limit's option, lower limit, upper limit)."""
    if field.type in _TEXTS:
        return "min_len", field.min_len, field.max_len or _IMPLIED.get(field.type)
    return "min", field.min, field.max


def _choices(choices: tuple[str, ...]) -> Problems:
    if not choices or "" in choices:
        hint = 'for example ["open", "closed"]'
        yield "choices", Problem("F128", "an enum needs choices, none of them empty", hint)
    twice = next((one for at, one in enumerate(choices) if one in choices[:at]), None)
    if twice is not None:
        message = f"the choice {quote(twice)} is there twice"
        yield "choices", Problem("F129", message, "leave one out")


def _precision(field: schema.Field, precision: tuple[int, int]) -> Problems:
    digits, places = precision
    if not (1 <= digits <= _MAX_PRECISION and 0 <= places <= digits):
        message = f"precision is (1 to {_MAX_PRECISION} digits, how many of them are decimals)"
        yield "precision", Problem("F127", message, "for example precision=(9, 2)")
        return
    for name in ("min", "max"):
        number = getattr(field, name)
        if number is not None and not _fits(decimal.Decimal(number), precision):
            yield name, Problem("F127", f"{name} does not fit precision={precision}", "")


def _fits(number: decimal.Decimal, precision: tuple[int, int]) -> bool:
    digits, places = precision
    short = -int(number.as_tuple().exponent) <= places
    return short and number.copy_abs() < 10 ** max(digits - places, 0)


def _default(field: schema.Field, pattern: str | None) -> Problem | None:
    """Why the field's default may not stand."""
    value: Any = field.default
    right = False
    with contextlib.suppress(ValueError, OverflowError):
        right = _is_value(field.type, value)
    if not right:
        hint = f'for example "{_WRITTEN[field.type][1]}"' if field.type in _WRITTEN else ""
        return Problem("F125", f"the default is no value of the type {field.type}", hint)
    if field.type == "enum" and value not in field.choices:
        hint = names.did_you_mean(value, field.choices)
        return Problem("F125", f"the default {quote(value)} is not among the choices", hint)
    if pattern is not None and not re.fullmatch(pattern, value, re.ASCII):
        return Problem("F125", "the default does not match the pattern", "")
    size: Any = decimal.Decimal(value) if field.type == "decimal" else value
    if field.type in _TEXTS:
        size = len(value)
    _, least, most = _bounds(field)
    if (least is not None and size < least) or (most is not None and size > most):
        return Problem("F125", "the default is not between the limits", "")
    if field.precision and not _fits(size, field.precision):
        return Problem("F125", f"the default does not fit precision={field.precision}", "")
    return None


def _is_value(kind: str, default: Any) -> bool:
    """Whether a default is written as its type is. ValueError, OverflowError: it is not."""
    if kind in ("int", "bigint"):
        low, high = _INTS.get(kind, _BIGINT)
        return bool(low <= default <= high)
    if kind in _WRITTEN and not re.fullmatch(_WRITTEN[kind][0], str(default), re.ASCII):
        return False
    if kind == "date":
        return bool(datetime.date.fromisoformat(default))
    if kind == "datetime":
        return bool(datetime.datetime.fromisoformat(default).astimezone(datetime.UTC))
    return True
