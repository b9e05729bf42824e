"""What can be wrong with one value of the schema language: the rules of PostgreSQL and of Python.

Plain functions on values, each giving the option and its problem. Places are none of their affair.
"""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from .. import schema
from . import names
from .diagnostic import quote
from .names import Problem

Problems: TypeAlias = Iterator[tuple[str, Problem | None]]

_INT = (-(1 << 31), (1 << 31) - 1)  # PostgreSQL manual, section 8.1.1
_LIMIT = (-(1 << 63), (1 << 63) - 1)  # of a decimal's min and max: what JSON Schema tools keep
_MAX_LENGTH = 10_485_760  # of varchar(n), PostgreSQL manual, section 8.3
_MAX_PRECISION = 1000  # of numeric(p, s), PostgreSQL manual, section 8.1.2
_JOB_LIMITS = {"priority": (1, 4), "max_attempts": (1, 32767), "delay": (0, 10 * 366 * 86400)}
_DECIMAL = re.compile(r"-?[0-9]{1,1000}(\.[0-9]{1,1000})?")


def problems(value: object) -> Problems:
    """(option, its problem or None) of a part, a job or a resource; parts of it are left out."""
    if isinstance(value, schema.Field):
        yield from _field(value)
    elif isinstance(value, schema.BelongsTo):
        yield from _relation(value)
    elif isinstance(value, schema.JobRef):
        yield "kind", names.kind_problem(value.kind)
        yield "queue", names.queue_problem(value.queue)
        yield from _out_of_range(value, _JOB_LIMITS, "F132")
    elif isinstance(value, schema.Resource):
        bad = names.resource_problem(value.name)
        yield "name", bad
        if value.plural or not bad:
            yield "plural" if value.plural else "name", names.table_problem(names.table_of(value))


def _relation(relation: schema.BelongsTo) -> Problems:
    if relation.required and relation.on_delete == "set_null":
        message = "a required relation cannot be set to null"
        yield "on_delete", Problem("F141", message, 'use "restrict" or "cascade"')
    bad = names.resource_problem(relation.target)
    yield "target", bad
    if relation.name or not bad:
        name = relation.name or names.snake(relation.target)
        yield "name", names.field_problem(name, "_id") or names.field_problem(name)


def _field(field: schema.Field) -> Problems:
    yield "name", names.field_problem(field.name)
    if field.filterable and field.name in names.LIST_PARAMETERS:
        message = f'a filter "{field.name}" cannot be told from the list parameter of that name'
        yield "filterable", Problem("F121", message, "rename the field")
    if field.type == "enum":
        yield from _choices(field.choices)
    numbers = _INT if field.type == "int" else _LIMIT
    limits = {"min": numbers, "max": numbers, "min_len": (0, _MAX_LENGTH)}
    yield from _out_of_range(field, limits | {"max_len": (1, _MAX_LENGTH)}, "F127")
    for low, high in (("min", "max"), ("min_len", "max_len")):
        least, most = getattr(field, low), getattr(field, high)
        if least is not None and most is not None and least > most:
            yield low, Problem("F126", f"{low} is greater than {high}", "swap them")
    if field.precision:
        yield from _precision(field, field.precision)
    if field.default is not None:
        yield "default", _default(field)


def _out_of_range(part: object, limits: Mapping[str, tuple[int, int]], code: str) -> Problems:
    for name, (low, high) in limits.items():
        number = getattr(part, name)
        if number is not None and not low <= number <= high:
            yield name, Problem(code, f"{name} must be between {low} and {high}", "")


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


_EXAMPLES = {
    "decimal": 'as "12.50"',
    "uuid": 'as "2f1f7c5e-0f3c-4b6e-9b53-0d1f6b1f6a10"',
    "date": 'as "2026-01-31"',
    "datetime": 'with its offset, as "2026-01-31T12:00:00+00:00"',
}


def _default(field: schema.Field) -> Problem | None:
    """Why the field's default may not stand."""
    value: Any = field.default
    try:
        right = _is_value(field.type, value)
    except (ValueError, OverflowError):
        right = False
    if not right:
        hint = _EXAMPLES.get(field.type, "")
        return Problem("F125", f"the default is no value of the type {field.type}", hint)
    if field.type == "enum" and value not in field.choices:
        hint = names.did_you_mean(value, field.choices)
        return Problem("F125", f"the default {quote(value)} is not among the choices", hint)
    size, low, high = value, "min", "max"
    if field.type in ("string", "text"):
        size, low, high = len(value), "min_len", "max_len"
    elif field.type == "decimal":
        size = decimal.Decimal(value)
    least, most = getattr(field, low), getattr(field, high)
    if (least is not None and size < least) or (most is not None and size > most):
        return Problem("F125", f"the default is not between {low} and {high}", "")
    if field.precision and not _fits(size, field.precision):
        return Problem("F125", f"the default does not fit precision={field.precision}", "")
    return None


def _is_value(kind: str, default: Any) -> bool:
    """Whether a default is written as its type is. ValueError, OverflowError: it is not."""
    if kind == "int":
        return bool(_INT[0] <= default <= _INT[1])
    if kind == "decimal":
        return _DECIMAL.fullmatch(str(default)) is not None
    if kind == "uuid":
        return str(default).lower() == str(uuid.UUID(default))
    if kind == "date":
        return str(default) == str(datetime.date.fromisoformat(default))
    if kind == "datetime":
        moment = datetime.datetime.fromisoformat(default)
        return moment.tzinfo is not None and bool(moment.astimezone(datetime.UTC))
    return True
