"""Evaluates calls of the schema language in a syntax tree: their values and positions.

Runs only the schema language itself. Allowed arguments come from the signatures of
`forge_min.schema`, so a file has the same meaning when it is imported.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from .. import schema
from .diagnostic import Source, SourceSpan, is_storable, problem, quote
from .names import did_you_mean
from .rules import Problems, problems

Hint: TypeAlias = Any  # an annotation at run time: a class, a union, Sequence[...], Literal[...]

_UNIONS = (types.UnionType, Union)  # one class since Python 3.14
PARTS = [word for word in schema.__all__ if word.islower() and word != "define"]


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of one function.

    hints: parameter → annotation; that of *parts is "".
    """

    function: Callable[..., Any]
    positional: tuple[str, ...]
    required: tuple[str, ...]
    hints: Mapping[str, Hint]


def _signature(function: Callable[..., Any]) -> Signature:
    params = inspect.signature(function, eval_str=True).parameters
    hints = {}
    for name, parameter in params.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            hints[""] = parameter.annotation
        elif parameter.kind is parameter.VAR_KEYWORD:
            hints |= get_type_hints(get_args(parameter.annotation)[0])
        else:
            hints[name] = parameter.annotation
    positional = tuple(p.name for p in params.values() if p.kind is p.POSITIONAL_OR_KEYWORD)
    required = tuple(p.name for p in params.values() if p.name in hints and p.default is p.empty)
    return Signature(function, positional, required, hints)


FUNCTIONS = {
    word: _signature(getattr(schema, word)) for word in (*PARTS, "define", "Hooks", "JobRef")
}


def accepts(hint: Hint, value: object) -> bool:
    """Whether a value has the type `hint`. A bool is not a number here."""
    origin: Any = get_origin(hint)
    args = get_args(hint)
    if origin in _UNIONS:
        return any(accepts(member, value) for member in args)
    if origin is Literal:
        return value in args
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(accepts(args[0], item) for item in value)
    if origin is Mapping:
        key_hint, item_hint = args
        return isinstance(value, dict) and all(
            accepts(key_hint, key) and accepts(item_hint, item) for key, item in value.items()
        )
    if origin is dict:  # of its values, each has a check of its own
        return isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if origin is tuple:
        return isinstance(value, tuple) and tuple(map(type, value)) == args
    return type(value) is hint


_WORDS: dict[Hint, str] = {
    get_type_hints(signature.function).get("return", signature.function): f"schema.{word}(...)"
    for word, signature in FUNCTIONS.items()
}
_WORDS |= {schema.Field: "a field", str: "a text", int: "a whole number", bool: "True or False"}
_WORDS |= {float: "a number with a fraction"}


def describe(hint: Hint) -> str:
    """Return an annotation in words."""
    origin: Any = get_origin(hint)
    args = get_args(hint)
    if origin in _UNIONS:
        return " or ".join(describe(member) for member in args if member is not types.NoneType)
    if origin is Literal:
        return " or ".join(f'"{value}"' for value in args)
    if origin is Sequence:
        return f"a list of {describe(args[0])}"
    if origin is Mapping:
        return f"{{{describe(args[0])}: {describe(args[1])}}}"
    if origin is dict:
        return 'a dictionary, as {"status": "open"}'
    if origin is tuple:
        return "two whole numbers in parentheses, as (9, 2)"
    return _WORDS[hint]


@dataclass(frozen=True, slots=True)
class Node:
    """A value in the source.

    args: the named arguments of a call of the schema language, the values of a dict by key, or the
        items of a list and the positional parts of a call by index ("0").
    parts: the positional parts of a call.
    is_complete: whether every argument could be evaluated.
    """

    value: Any
    span: SourceSpan
    args: dict[str, Node] = field(default_factory=dict)
    parts: list[Node] = field(default_factory=list)
    is_complete: bool = True

    def span_of(self, name: str) -> SourceSpan:
        """Return the range of the argument `name`, or of the call without it.

        "transitions.draft" is the value of "draft" in the argument `transitions`, a dict; "group.0"
        is the first item of a list.
        """
        node = self
        for word in name.split("."):
            node = node.args.get(word, node)
        return node.span


def _by_index(nodes: Sequence[Node | None]) -> dict[str, Node]:
    return {str(index): node for index, node in enumerate(nodes) if node}


def report_all(source: Source, node: Node, checks: Problems) -> None:
    """Report the problems of `checks`, each at its option of `node`."""
    for option, invalid in checks:
        if invalid:
            source.report(node.span_of(option), invalid)


def _option_hint(option: str, hints: Mapping[str, Hint]) -> str:
    hint = did_you_mean(option, filter(None, hints))
    functions = [word for word, signature in FUNCTIONS.items() if option in signature.hints]
    if functions:
        hint += f"; {', '.join(sorted(functions))} have it"
    return hint


class Evaluator:
    """Evaluates the calls of one file. Reports invalid expressions to the Source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._modules: set[str] = set()

    def bind_import(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Record the names that refer to the schema language after this import."""
        is_package = (
            isinstance(statement, ast.ImportFrom)
            and statement.level == 0
            and statement.module == "forge_min"
        )
        for alias in statement.names:
            local = alias.asname or alias.name.partition(".")[0]
            if is_package and alias.name == "schema":
                self._modules.add(local)
            else:
                self._modules.discard(local)

    def call(self, node: ast.Call) -> Node | None:
        """Return the call, checked against its signature and rules.

        Returns None, after a report, if it cannot be evaluated.
        """
        match node.func:
            case ast.Attribute(ast.Name(module), word) if module in self._modules:
                if word not in FUNCTIONS:
                    hint = did_you_mean(word, PARTS)
                    return self._report(node.func, "unknown_word", word=quote(word), hint=hint)
                return self._arguments(word, node)
        return self._dynamic(node)

    def _arguments(self, function: str, node: ast.Call) -> Node | None:
        signature = FUNCTIONS[function]
        parts = []
        names = set()
        args = {}
        for name, expression in self._pairs(function, node):
            argument = self._typed(expression, signature.hints[name], name)
            if name in names:
                self._report(expression, "given_twice", option=quote(name))
            elif name:
                names.add(name)
                if argument:
                    args[name] = argument
            elif argument:
                parts.append(argument)
        for name in signature.required:
            if name not in names:
                entry = f"missing_{name}" if name in ("kind", "choices") else "missing"
                self._report(node.func, entry, function=function, option=name)
        if not args.keys() >= set(signature.required):
            return None
        options = {name: argument.value for name, argument in args.items()}
        values = [options.pop(name) for name in signature.required]
        values += [part.value for part in parts]
        value = signature.function(*values, **options)
        is_complete = len(args) + len(parts) == len(node.args) + len(node.keywords)
        span = self._source.span(node.func)
        call = Node(value, span, args | _by_index(parts), parts, is_complete)
        report_all(self._source, call, problems(value))
        return call

    def _pairs(self, function: str, node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
        """Yield (parameter, expression) of each argument; the parameter of *parts is ""."""
        signature = FUNCTIONS[function]
        hints = signature.hints
        count = len(signature.positional)
        yield from zip(signature.positional, node.args)
        for part in node.args[count:]:
            if "" in hints:
                yield "", part
            else:
                options = ", ".join(sorted(hints))
                self._report(part, "too_many", function=function, count=count, options=options)
        for keyword in node.keywords:
            option = keyword.arg
            if option is None:
                self._dynamic(keyword.value)
            elif option in hints:
                yield option, keyword.value
            else:
                hint = _option_hint(option, hints)
                word = quote(option)
                self._report(keyword, "unknown_option", function=function, word=word, hint=hint)

    def _typed(self, node: ast.expr, hint: Hint, name: str) -> Node | None:
        value = self._value(node)
        if value is None or accepts(hint, value.value):
            return value
        return self._report(node, "wrong_type", option=name or "a part", kind=describe(hint))

    def _value(self, node: ast.expr) -> Node | None:
        if isinstance(node, ast.Call):
            return self.call(node)
        span = self._source.span(node)
        if isinstance(node, ast.List | ast.Tuple):
            items = [self._value(item) for item in node.elts]
            value: Any = [item.value for item in items if item]
            if len(value) < len(items):
                return None
            if isinstance(node, ast.Tuple):
                value = tuple(value)
            return Node(value, span, _by_index(items))
        if isinstance(node, ast.Dict):
            return self._dict(node, span)
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError):
            return self._dynamic(node)
        if isinstance(value, str) and not is_storable(value):
            return self._report(node, "not_storable")
        return Node(value, span)

    def _dict(self, node: ast.Dict, span: SourceSpan) -> Node | None:
        items: dict[str, Node | None] = {}
        for key, expression in zip(node.keys, node.values):
            if key is None:  # **
                return self._dynamic(node)
            name = self._typed(key, str, "a key")
            item = self._value(expression)
            if name is None:
                items[""] = None
                continue
            if name.value in items:
                self._report(key, "given_twice", option=quote(name.value))
            items[name.value] = item
        args = {name: item for name, item in items.items() if item}
        if len(args) < len(items):
            return None
        return Node({name: item.value for name, item in args.items()}, span, args)

    def _dynamic(self, node: ast.expr) -> Node | None:
        if isinstance(node, ast.Call) and not self._modules:
            return self._report(node, "no_import")
        return self._report(node, "dynamic")

    def _report(self, node: ast.expr | ast.keyword, entry: str, /, **words: object) -> Node | None:
        self._source.report(self._source.span(node), problem(entry, **words))
        return None
