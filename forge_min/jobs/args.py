"""The arguments of a job as a dataclass: its JSON form, and back with a check of every value.

A field may have these types: str, int, float, bool, None, UUID, Decimal, datetime, date, an Enum, a
Literal, Any, list[T], tuple[T, ...], dict[str, T], a union of these, another such dataclass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from ..errors import FieldError, Invalid

Errors = list[FieldError]
Read = Callable[[Any, str, Errors], Any]
"""(value, pointer, list of errors to append to) → the value of the field."""


def pack(value: Any) -> Any:
    """Return the JSON form of a value. Values of unknown types are returned unchanged.

    A dataclass becomes an object, a tuple a list, a UUID, Decimal or time a text.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return {name: pack(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {name: pack(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [pack(entry) for entry in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    return value


def read_args(cls: type, value: Any, kind: str) -> Any:
    """Return the arguments of a job as its kind's dataclass. Raises Invalid F711."""
    wrong: Errors = []
    result = reader(cls)(value, "/args", wrong)
    if wrong:
        reasons = "; ".join(f"{error.pointer} {error.message}" for error in wrong)
        raise Invalid(wrong, f"{kind} does not take these arguments: {reasons}", code="F711")
    return result


@lru_cache(None)
def reader(hint: Any) -> Read:
    """Return the function that reads a value of this type from JSON.

    Raises TypeError for a type that arguments cannot have.
    """
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin = get_origin(hint)
    inner = get_args(hint)
    if origin in (Union, UnionType):
        return partial(_union, [reader(arm) for arm in inner], hint)
    if origin is Literal:
        return partial(_one_of, {value: value for value in inner})
    if origin is list or (origin is tuple and inner[1:] == (...,)):
        return partial(_many, reader(inner[0]), origin)
    if origin is dict and inner[0] is str:
        return partial(_named, reader(inner[1]))
    if isinstance(hint, type) and origin is None:
        if dataclasses.is_dataclass(hint):
            return _fields(hint)
        if issubclass(hint, Enum):
            return partial(_one_of, {member.value: member for member in hint})
    name = getattr(hint, "__name__", hint)
    raise TypeError(f"{name} is not a type for the arguments of a job")


def _refuse(wrong: Errors, at: str, code: str, message: str) -> None:
    wrong.append(FieldError(at, code, message))


def _plain(types: tuple[type, ...], message: str, value: Any, at: str, wrong: Errors) -> Any:
    # True is an int in Python, but not a number in JSON.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        _refuse(wrong, at, "type", message)
    return value


def _from_text(make: Callable[[str], Any], name: str, value: Any, at: str, wrong: Errors) -> Any:
    text = value if isinstance(value, str) else ""
    try:
        return make(text)
    except (ValueError, ArithmeticError):
        return _refuse(wrong, at, "type", f"must be the text of a {name}")


def _datetime(text: str) -> datetime:
    if len(text) <= len("2000-01-01"):
        raise ValueError("a date without a time")
    return datetime.fromisoformat(text)


_SCALARS: dict[Any, Read] = {
    Any: lambda value, at, wrong: value,
    str: partial(_plain, (str,), "must be a text"),
    int: partial(_plain, (int,), "must be a whole number"),
    float: partial(_plain, (int, float), "must be a number"),
    bool: partial(_plain, (bool,), "must be true or false"),
    NoneType: partial(_plain, (NoneType,), "must be null"),
    UUID: partial(_from_text, UUID, "UUID"),
    Decimal: partial(_from_text, Decimal, "Decimal"),
    datetime: partial(_from_text, _datetime, "datetime"),
    date: partial(_from_text, date.fromisoformat, "date"),
}


def _one_of(values: Mapping[Any, Any], value: Any, at: str, wrong: Errors) -> Any:
    for choice, result in values.items():
        if value == choice and type(value) is type(choice):
            return result
    return _refuse(wrong, at, "choice", f"must be one of {', '.join(map(repr, values))}")


def _union(arms: list[Read], hint: Any, value: Any, at: str, wrong: Errors) -> Any:
    for arm in arms:
        errors: list[FieldError] = []
        result = arm(value, at, errors)
        if not errors:
            return result
    return _refuse(wrong, at, "type", f"must be {hint}")


def _many(item: Read, into: Callable[[list[Any]], Any], value: Any, at: str, wrong: Errors) -> Any:
    if not isinstance(value, list):
        return _refuse(wrong, at, "type", "must be a list")
    entries = [item(entry, f"{at}/{index}", wrong) for index, entry in enumerate(value)]
    return into(entries)


def _named(item: Read, value: Any, at: str, wrong: Errors) -> Any:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        return _refuse(wrong, at, "type", "must be an object")
    return {name: item(entry, f"{at}/{name}", wrong) for name, entry in value.items()}


def _fields(cls: type) -> Read:
    hints = get_type_hints(cls)
    readers = {}
    required = set()
    for field in dataclasses.fields(cls):
        if field.init:
            readers[field.name] = reader(hints[field.name])
            if field.default is field.default_factory is dataclasses.MISSING:
                required.add(field.name)

    def read(value: Any, at: str, wrong: Errors) -> Any:
        if not isinstance(value, dict):
            return _refuse(wrong, at, "type", "must be an object")
        errors_before = len(wrong)
        for name in sorted(required - value.keys()):
            _refuse(wrong, f"{at}/{name}", "required", "is required")
        for name in value.keys() - readers.keys():
            _refuse(wrong, f"{at}/{name}", "unknown", "is not an argument of this kind")
        values = {}
        for name in readers.keys() & value.keys():
            values[name] = readers[name](value[name], f"{at}/{name}", wrong)
        if len(wrong) > errors_before:
            return None
        try:
            return cls(**values)
        except Exception as err:  # raised by its __post_init__
            return _refuse(wrong, at, "value", str(err) or type(err).__name__)

    return read
