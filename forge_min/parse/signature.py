"""The signatures of the schema language as a table, and which literal fits which annotation."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from .. import schema

Hint: TypeAlias = Any  # an annotation at run time: a class, a union, Sequence[...], Literal[...]

FIELD_TYPES: tuple[str, ...] = get_args(schema.FieldType)
PARTS = (*FIELD_TYPES, "belongs_to", "timestamps", "with_hooks")
_WORDS = (*PARTS, "define", "Hooks", "JobRef")
_UNIONS = (types.UnionType, Union)


@dataclass(frozen=True, slots=True)
class Signature:
    """What one function takes. hints: annotation by name. variadic: that of *parts, or None."""

    function: Callable[..., Any]
    positional: tuple[str, ...]
    required: frozenset[str]
    hints: Mapping[str, Hint]
    variadic: Hint | None
    returns: type


def _signature(function: Callable[..., Any]) -> Signature:
    annotations = get_type_hints(function)
    positional, required, variadic = [], set(), None
    hints: dict[str, Hint] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            variadic = annotations[name]
        elif parameter.kind is parameter.VAR_KEYWORD:
            hints |= get_type_hints(get_args(annotations[name])[0])
        else:
            hints[name] = annotations[name]
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                positional.append(name)
            if parameter.default is parameter.empty:
                required.add(name)
    returns = function if isinstance(function, type) else annotations["return"]
    return Signature(function, tuple(positional), frozenset(required), hints, variadic, returns)


FUNCTIONS: dict[str, Signature] = {word: _signature(getattr(schema, word)) for word in _WORDS}


def accepts(hint: Hint, value: object) -> bool:
    """Whether a literal without elements is of the type `hint`. True is no number here."""
    origin: Any = get_origin(hint)
    if origin in _UNIONS:
        return any(accepts(one, value) for one in get_args(hint))
    if origin is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if origin is Sequence:
        return value == ()
    return type(value) is hint


def item_hint(hint: Hint, length: int | None) -> Hint | None:
    """The annotation of the elements if `hint` takes a list, or a tuple of `length`; else None."""
    outer: Any = get_origin(hint)
    for one in get_args(hint) if outer in _UNIONS else (hint,):
        origin: Any = get_origin(one)
        if origin is Sequence:
            return get_args(one)[0]
        if origin is tuple and length == len(get_args(one)):
            return get_args(one)[0]
    return None


def result(function: str, hint: Hint) -> bool:
    """Whether a call of `function` may stand where `hint` is asked for."""
    returns = FUNCTIONS[function].returns
    return returns is hint or returns in get_args(hint)


_DESCRIPTIONS = {
    str: "text in quotes",
    int: "a whole number",
    bool: "True or False",
    schema.JobRef: 'schema.JobRef(kind="...")',
    schema.Hooks: "schema.Hooks(...)",
    schema.Field: "a field",
    schema.BelongsTo: "a relation",
    schema.Timestamps: "schema.timestamps()",
    schema.WithHooks: "schema.with_hooks(...)",
    types.NoneType: "None",
}


def describe(hint: Hint) -> str:
    """The annotation in words."""
    origin: Any = get_origin(hint)
    args = get_args(hint)
    if origin in _UNIONS:
        return " or ".join(describe(one) for one in args if one is not types.NoneType)
    if origin is Literal:
        return " or ".join(f'"{one}"' for one in args)
    if origin is Sequence:
        return f"a list of {describe(args[0])}"
    if origin is tuple:
        return "two whole numbers in parentheses, as (9, 2)"
    return _DESCRIPTIONS[hint]
