"""What the values of a field's options must keep to: the rules of PostgreSQL and of the types."""

from __future__ import annotations

import datetime
import decimal
import re
import uuid

from .diagnostic import quote
from .evaluate import Call, Literal
from .names import did_you_mean
from .source import Source

INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1  # PostgreSQL manual, section 8.1.1
MAX_LENGTH = 10_485_760  # of varchar(n), PostgreSQL manual, section 8.3
MAX_PRECISION = 1000  # of numeric(p, s), PostgreSQL manual, section 8.1.2
_DECIMAL = re.compile(r"-?[0-9]{1,1000}(\.[0-9]{1,1000})?")


def check_field(source: Source, field: Call) -> None:
    """Report every option whose value is of the right type and still cannot be."""
    _check_choices(source, field)
    _check_lengths(source, field)
    _check_range(source, field)
    _check_precision(source, field)
    default = field.get("default")
    if default is None:
        return
    problem = _DEFAULTS[field.function](field, default)
    if problem:
        message, hint = problem
        source.report(default.span, "F125", message, hint)


def check_number(source: Source, call: Call, name: str, low: int, high: int, code: str) -> None:
    """Report the option `name` when it is a number outside low..high."""
    number = call.number(name)
    if number is not None and not low <= number <= high:
        source.report(call.place(name), code, f"{name} must be between {low} and {high}")


def _check_choices(source: Source, field: Call) -> None:
    choices = field.get("choices")
    if choices is None:
        return
    if not choices.items:
        source.report(choices.span, "F128", "an enum needs at least one choice")
    seen: set[object] = set()
    for item in choices.items:
        if isinstance(item, Literal) and item.value == "":
            source.report(item.span, "F128", "a choice is empty", "give it a text")
        elif isinstance(item, Literal) and item.value in seen:
            message = f"the choice {quote(str(item.value))} is there twice"
            source.report(item.span, "F129", message, "leave one out")
        seen.add(item.value if isinstance(item, Literal) else None)


def _check_order(source: Source, field: Call, low: str, high: str) -> None:
    least, most = field.number(low), field.number(high)
    if least is not None and most is not None and least > most:
        source.report(field.place(low), "F126", f"{low} is greater than {high}", "swap them")


def _check_lengths(source: Source, field: Call) -> None:
    check_number(source, field, "min_len", 0, MAX_LENGTH, "F127")
    check_number(source, field, "max_len", 1, MAX_LENGTH, "F127")
    _check_order(source, field, "min_len", "max_len")


def _check_range(source: Source, field: Call) -> None:
    low, high = INT_MIN, INT_MAX
    if field.function == "decimal":
        low, high = -(1 << 63), (1 << 63) - 1
    check_number(source, field, "min", low, high, "F127")
    check_number(source, field, "max", low, high, "F127")
    _check_order(source, field, "min", "max")


def _precision(field: Call) -> tuple[int, int] | None:
    found = field.get("precision")
    if found is None or not isinstance(found.value, tuple) or len(found.value) != 2:
        return None
    digits, places = found.value
    return (digits, places) if 1 <= digits <= MAX_PRECISION and 0 <= places <= digits else None


def _check_precision(source: Source, field: Call) -> None:
    given = field.get("precision")
    if given is None:
        return
    limits = _precision(field)
    if limits is None:
        message = f"precision must be (digits, places), 1 to {MAX_PRECISION} digits, places in them"
        source.report(given.span, "F127", message, "for example precision=(9, 2)")
        return
    for name in ("min", "max"):
        number = field.number(name)
        if number is not None and not _fits(decimal.Decimal(number), limits):
            source.report(field.place(name), "F127", f"{name} does not fit precision={limits}")


def _fits(number: decimal.Decimal, limits: tuple[int, int]) -> bool:
    digits, places = limits
    _, figures, exponent = number.as_tuple()
    fraction = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    whole = 0 if number == 0 else max(len(figures) - fraction, 0)
    return fraction <= places and whole <= digits - places


# -- defaults: each gives (message, hint), or None when the default may stand ---------------------

_Answer = tuple[str, str] | None


def _text_default(field: Call, default: Literal) -> _Answer:
    length = len(str(default.value))
    least, most = field.number("min_len"), field.number("max_len")
    if least is not None and length < least:
        return f"the default has {length} characters, min_len is {least}", ""
    if most is not None and length > most:
        return f"the default has {length} characters, max_len is {most}", ""
    return None


def _in_range(field: Call, number: int | decimal.Decimal) -> _Answer:
    least, most = field.number("min"), field.number("max")
    if least is not None and number < least:
        return "the default is below min", ""
    if most is not None and number > most:
        return "the default is above max", ""
    return None


def _int_default(field: Call, default: Literal) -> _Answer:
    number = field.number("default") or 0
    if not INT_MIN <= number <= INT_MAX:
        return f"the default must be between {INT_MIN} and {INT_MAX}", ""
    return _in_range(field, number)


def _decimal_default(field: Call, default: Literal) -> _Answer:
    hint = 'write it as text: default="12.50"'
    if isinstance(default.value, int) and abs(default.value) >= 1 << 63:
        return "the default is too large", hint
    written = str(default.value)
    if not _DECIMAL.fullmatch(written):
        return f"the default {quote(written)} is not a decimal number", hint
    number = decimal.Decimal(written)
    limits = _precision(field)
    if limits and not _fits(number, limits):
        return f"the default {quote(written)} does not fit precision={limits}", ""
    return _in_range(field, number)


def _bool_default(field: Call, default: Literal) -> _Answer:
    return None


def _uuid_default(field: Call, default: Literal) -> _Answer:
    written = str(default.value)
    try:
        right = str(uuid.UUID(written)) == written.lower()
    except ValueError:
        right = False
    example = "2f1f7c5e-0f3c-4b6e-9b53-0d1f6b1f6a10"
    return None if right else (f"the default {quote(written)} is not a UUID", f"as {example}")


def _date_default(field: Call, default: Literal) -> _Answer:
    written = str(default.value)
    try:
        right = datetime.date.fromisoformat(written).isoformat() == written
    except ValueError:
        right = False
    return None if right else (f"the default {quote(written)} is not a date", 'as "2026-01-31"')


def _datetime_default(field: Call, default: Literal) -> _Answer:
    written = str(default.value)
    hint = 'with its offset, as "2026-01-31T12:00:00+00:00"'
    try:
        moment = datetime.datetime.fromisoformat(written)
        moment.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return f"the default {quote(written)} is not a date with a time", hint
    if moment.tzinfo is None:
        return f"the default {quote(written)} has no offset from UTC", hint
    return None


def _enum_default(field: Call, default: Literal) -> _Answer:
    choices = field.get("choices")
    known = choices.value if choices and isinstance(choices.value, tuple) else ()
    if default.value in known or not known:
        return None
    written = str(default.value)
    return f"the default {quote(written)} is not among the choices", did_you_mean(written, known)


_DEFAULTS = {
    "string": _text_default,
    "text": _text_default,
    "int": _int_default,
    "decimal": _decimal_default,
    "bool": _bool_default,
    "uuid": _uuid_default,
    "date": _date_default,
    "datetime": _datetime_default,
    "enum": _enum_default,
}
