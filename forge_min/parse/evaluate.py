"""Calls of the schema language, read from the syntax tree: their values, and where each stands.

Runs nothing but the schema language itself. What may be written is taken from the signatures of
`forge_min.schema`, so that a file means the same when it is imported.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from .. import schema
from .diagnostic import Source, Span, problem, quote
from .names import did_you_mean
from .rules import Problems, problems

Hint: TypeAlias = Any  # an annotation at run time: a class, a union, Sequence[...], Literal[...]

PARTS = [word for word in schema.__all__ if word.islower() and word != "define"]


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of one function.

    hints: annotation by name. variadic: that of *parts, or None.
    """

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


@dataclass(frozen=True, slots=True)
class Node:
    """A value as written.

    args, parts: the arguments of a call of the schema language; parts are also the items of a list.
    whole: no argument was left out because it could not be understood.
    """

    value: Any
    span: Span
    args: dict[str, Node] = field(default_factory=dict)
    parts: list[Node] = field(default_factory=list)
    whole: bool = True

    def span_of(self, name: str) -> Span:
        """Where the argument `name` stands, else the call."""
        return self.args[name].span if name in self.args else self.span


def report_all(source: Source, node: Node, bad: Problems) -> None:
    """Report the problems that were found, each at its option of `node`."""
    for option, reason in bad:
        if reason:
            source.report(node.span_of(option), reason)


class Evaluator:
    """Reads the calls of one file; what it cannot read it reports to the Source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._modules: set[str] = set()

    def bind_import(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Remember under which names the schema language is known from here on."""
        level, module = getattr(statement, "level", 1), getattr(statement, "module", None)
        for alias in statement.names:
            local = alias.asname or alias.name.partition(".")[0]
            ours = (level, module, alias.name) == (0, "forge_min", "schema")
            (self._modules.add if ours else self._modules.discard)(local)

    def call(self, node: ast.Call) -> Node | None:
        """Return the call, checked against the signature and the rules.

        None, and that is reported, if it cannot be understood.
        """
        match node.func:
            case ast.Attribute(ast.Name(module), word) if module in self._modules:
                if word not in FUNCTIONS:
                    hint = did_you_mean(word, PARTS)
                    return self._report(node.func, "unknown_word", word=quote(word), hint=hint)
                return self._arguments(word, node)
        return self._dynamic(node)

    def _arguments(self, function: str, node: ast.Call) -> Node | None:
        known, parts = FUNCTIONS[function], list[Node]()
        args: dict[str, Node | None] = {}
        for name, expression in self._pairs(function, node):
            found = self._typed(expression, known.hints.get(name, known.variadic), name)
            if not name:
                parts.extend([found] if found else [])
            elif name in args:
                self._report(expression, "given_twice", option=quote(name))
            else:
                args[name] = found
        for missing in [name for name in known.required if name not in args]:
            said = f"missing_{missing}" if missing in ("kind", "choices") else "missing"
            self._report(node.func, said, function=function, option=missing)
        good = {name: found for name, found in args.items() if found}
        if not good.keys() >= set(known.required):
            return None
        named = {name: found.value for name, found in good.items()}
        first = [named.pop(name) for name in known.required]
        value = known.function(*first, *(part.value for part in parts), **named)
        whole = len(good) + len(parts) == len(node.args) + len(node.keywords)
        call = Node(value, self._source.span(node.func), good, parts, whole)
        report_all(self._source, call, problems(value))
        return call

    def _pairs(self, function: str, node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
        """(parameter, expression) of each argument; "" for one of *parts."""
        known = FUNCTIONS[function]
        count = len(known.positional)
        yield from zip(known.positional, node.args)
        for more in node.args[count:]:
            if known.variadic is None:
                options = ", ".join(sorted(known.hints))
                self._report(more, "too_many", function=function, count=count, options=options)
            else:
                yield "", more
        for keyword in node.keywords:
            if keyword.arg is None:
                self._dynamic(keyword.value)
            elif keyword.arg not in known.hints:
                others = [word for word, one in FUNCTIONS.items() if keyword.arg in one.hints]
                hint = did_you_mean(keyword.arg, known.hints)
                hint += f"; {', '.join(sorted(others))} have it" if others else ""
                words = {"function": function, "word": quote(keyword.arg), "hint": hint}
                self._report(keyword, "unknown_option", **words)
            else:
                yield keyword.arg, keyword.value

    def _typed(self, node: ast.expr, hint: Hint, name: str) -> Node | None:
        found = self._value(node)
        if found is None or accepts(hint, found.value):
            return found
        return self._report(node, "wrong_type", option=name or "a part", kind=describe(hint))

    def _value(self, node: ast.expr) -> Node | None:
        if isinstance(node, ast.Call):
            return self.call(node)
        span = self._source.span(node)
        if isinstance(node, ast.List | ast.Tuple):
            items = [self._value(item) for item in node.elts]
            values = [item.value for item in items if item]
            if len(values) < len(items):
                return None
            value = values if isinstance(node, ast.List) else tuple(values)
            return Node(value, span, parts=[item for item in items if item])
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError):
            return self._dynamic(node)
        if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
            return self._report(node, "not_storable")
        return Node(value, span)

    def _dynamic(self, node: ast.expr) -> Node | None:
        unknown = isinstance(node, ast.Call) and not self._modules
        return self._report(node, "no_import" if unknown else "dynamic")

    def _report(self, node: ast.expr | ast.keyword, entry: str, /, **words: object) -> Node | None:
        self._source.report(self._source.span(node), problem(entry, **words))
        return None
