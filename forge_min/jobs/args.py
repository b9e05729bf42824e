"""A job's arguments as a dataclass: what JSON says of one, and back, every value checked.

What a field may be: str, int, float, bool, None, UUID, Decimal, datetime, date, an Enum, a
Literal, Any, list[T], tuple[T, ...], dict[str, T], a union of these, another such dataclass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from ..errors import FieldError

Read = Callable[[Any, str, list[FieldError]], Any]
"""(value, pointer, errors to add to) → what the field holds."""

_PLAIN: dict[type, tuple[tuple[type, ...], str]] = {
    str: ((str,), "must be a text"),
    int: ((int,), "must be a whole number"),
    float: ((int, float), "must be a number"),
    bool: ((bool,), "must be true or false"),
    NoneType: ((NoneType,), "must be null"),
}
_TOLD: dict[type, Callable[[str], Any]] = {
    UUID: UUID,
    Decimal: Decimal,
    datetime: lambda text: _moment(text),
    date: date.fromisoformat,
}


def _moment(text: str) -> datetime:
    if len(text) <= len("2000-01-01"):
        raise ValueError("a date, which has no time")
    return datetime.fromisoformat(text)


def pack(value: Any) -> Any:
    """The value as JSON says it: dataclasses as objects, a UUID as text. What is unknown stays."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: pack(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    if isinstance(value, Mapping):
        return {name: pack(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [pack(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID | Decimal) else value


def reader(hint: Any) -> Read:
    """What reads a value of this type from JSON. Raises TypeError for a type that it does not
    know.
    """
    return _reader(hint)


@lru_cache(None)
def _reader(hint: Any) -> Read:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda value, at, wrong: value
    if origin in (Union, UnionType):
        return _union([reader(each) for each in inner], hint)
    if origin is Literal:
        return _one_of({each: each for each in inner})
    if origin is list or (origin is tuple and inner[1:] == (...,)):
        return _many(reader(inner[0]), origin)
    if origin is dict and inner[0] is str:
        return _named(reader(inner[1]))
    if isinstance(hint, type) and origin is None:
        if dataclasses.is_dataclass(hint):
            return _fields(hint)
        if issubclass(hint, Enum):
            return _one_of({each.value: each for each in hint})
        if hint in _PLAIN:
            return _plain(*_PLAIN[hint])
        if hint in _TOLD:
            return _told(_TOLD[hint], hint.__name__)
    raise TypeError(f"{getattr(hint, '__name__', hint)} is no type that a job's arguments have")


def _plain(types: tuple[type, ...], message: str) -> Read:
    def read(value: Any, at: str, wrong: list[FieldError]) -> Any:
        # True is an int to Python, and none to JSON.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            wrong.append(FieldError(at, "type", message))
        return value

    return read


def _told(make: Callable[[str], Any], name: str) -> Read:
    def read(value: Any, at: str, wrong: list[FieldError]) -> Any:
        try:
            return make(value if isinstance(value, str) else "")
        except (ValueError, ArithmeticError):
            wrong.append(FieldError(at, "type", f"must be the text of a {name}"))
            return None

    return read


def _one_of(values: Mapping[Any, Any]) -> Read:
    def read(value: Any, at: str, wrong: list[FieldError]) -> Any:
        for each, meant in values.items():
            if value == each and type(value) is type(each):
                return meant
        told = ", ".join(map(repr, values))
        wrong.append(FieldError(at, "choice", f"must be one of {told}"))
        return None

    return read


def _union(arms: list[Read], hint: Any) -> Read:
    def read(value: Any, at: str, wrong: list[FieldError]) -> Any:
        for arm in arms:
            errors: list[FieldError] = []
            found = arm(value, at, errors)
            if not errors:
                return found
        wrong.append(FieldError(at, "type", f"must be {hint}"))
        return None

    return read


def _many(item: Read, into: Callable[[list[Any]], Any]) -> Read:
    def read(value: Any, at: str, wrong: list[FieldError]) -> Any:
        if not isinstance(value, list):
            wrong.append(FieldError(at, "type", "must be a list"))
            return None
        return into([item(each, f"{at}/{n}", wrong) for n, each in enumerate(value)])

    return read


def _named(item: Read) -> Read:
    def read(value: Any, at: str, wrong: list[FieldError]) -> Any:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            wrong.append(FieldError(at, "type", "must be an object"))
            return None
        return {name: item(each, f"{at}/{name}", wrong) for name, each in value.items()}

    return read


def _fields(cls: type) -> Read:
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    readers = {name: reader(hints[name]) for name in fields}
    missing = dataclasses.MISSING
    needed = {n for n, f in fields.items() if f.default is f.default_factory is missing}

    def read(value: Any, at: str, wrong: list[FieldError]) -> Any:
        if not isinstance(value, dict):
            wrong.append(FieldError(at, "type", "must be an object"))
            return None
        before = len(wrong)
        for name in sorted(needed - value.keys()):
            wrong.append(FieldError(f"{at}/{name}", "required", "is required"))
        for name in value.keys() - fields.keys():
            wrong.append(FieldError(f"{at}/{name}", "unknown", "is no argument of this kind"))
        known = fields.keys() & value.keys()
        given = {name: readers[name](value[name], f"{at}/{name}", wrong) for name in known}
        if len(wrong) > before:
            return None
        try:
            return cls(**given)
        except Exception as err:  # what its __post_init__ says
            wrong.append(FieldError(at, "value", str(err) or type(err).__name__))
            return None

    return read
