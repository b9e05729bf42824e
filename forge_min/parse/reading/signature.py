"""The signatures of the schema language as a table, and which values fit which annotation."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from ... import schema

Hint: TypeAlias = Any  # an annotation at run time: a class, a union, Sequence[...], Literal[...]

PARTS = [word for word in schema.__all__ if word.islower() and word != "define"]


@dataclass(frozen=True, slots=True)
class Signature:
    """What one function takes. hints: annotation by name. variadic: that of *parts, or None."""

    function: Callable[..., Any]
    positional: tuple[str, ...]
    required: tuple[str, ...]
    hints: Mapping[str, Hint]
    variadic: Hint | None


def _signature(function: Callable[..., Any]) -> Signature:
    found = inspect.signature(function, eval_str=True).parameters
    hints: dict[str, Hint] = {}
    variadic = None
    for name, parameter in found.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            variadic = parameter.annotation
        elif parameter.kind is parameter.VAR_KEYWORD:
            hints |= get_type_hints(get_args(parameter.annotation)[0])
        else:
            hints[name] = parameter.annotation
    positional = tuple(p.name for p in found.values() if p.kind is p.POSITIONAL_OR_KEYWORD)
    required = tuple(p.name for p in found.values() if p.name in hints and p.default is p.empty)
    return Signature(function, positional, required, hints, variadic)


FUNCTIONS = {
    word: _signature(getattr(schema, word)) for word in (*PARTS, "define", "Hooks", "JobRef")
}


def accepts(hint: Hint, value: object) -> bool:
    """Whether a value is of the type `hint`. True is no number here."""
    origin: Any = get_origin(hint)
    args = get_args(hint)
    if origin is types.UnionType:
        return any(accepts(one, value) for one in args)
    if origin is Literal:
        return value in args
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(accepts(args[0], one) for one in value)
    if origin is tuple:
        return isinstance(value, tuple) and tuple(map(type, value)) == args
    return type(value) is hint


_WORDS = {
    get_type_hints(one.function).get("return", one.function): f"schema.{word}(...)"
    for word, one in FUNCTIONS.items()
}
_WORDS |= {schema.Field: "a field", str: "a text", int: "a whole number", bool: "True or False"}
_WORDS |= {float: "a number with a fraction"}


def describe(hint: Hint) -> str:
    """The annotation in words."""
    origin: Any = get_origin(hint)
    args = get_args(hint)
    if origin is types.UnionType:
        return " or ".join(describe(one) for one in args if one is not types.NoneType)
    if origin is Literal:
        return " or ".join(f'"{one}"' for one in args)
    if origin is Sequence:
        return f"a list of {describe(args[0])}"
    if origin is tuple:
        return "two whole numbers in parentheses, as (9, 2)"
    return _WORDS[hint]
