"""Calls of the schema language, read from the syntax tree: their values, and where each stands.

Runs nothing but the schema language itself. What may be written is taken from the signatures of
`forge_min.schema`, so that a file means the same when it is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..diagnostic import quote
from ..ir import Span
from ..names import did_you_mean
from .signature import FUNCTIONS, PARTS, Hint, accepts, describe
from .source import Source

_MISSING = {
    ("JobRef", "kind"): ("F130", 'for example JobRef(kind="SendWelcome")'),
    ("enum", "choices"): ("F128", 'for example schema.enum("status", ["open", "closed"])'),
}


@dataclass(frozen=True, slots=True)
class Node:
    """A value as written. args, parts: what a call of the schema language was given."""

    value: Any
    span: Span
    args: dict[str, Node] = field(default_factory=dict)
    parts: list[Node] = field(default_factory=list)

    def place(self, name: str) -> Span:
        """Where the argument `name` stands, else the call."""
        return self.args[name].span if name in self.args else self.span


class Evaluator:
    """Reads the calls of one file; what it cannot read it reports to the Source."""

    def __init__(self, source: Source) -> None:
        self.calls: list[Node] = []  # every call that could be understood, the inner ones first
        self._source = source
        self._modules: set[str] = set()

    def bind_import(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Remember under which names the schema language is known from here on."""
        ours = isinstance(statement, ast.ImportFrom) and statement.level == 0
        ours = ours and getattr(statement, "module", None) == "forge_min"
        for alias in statement.names:
            local = alias.asname or alias.name.partition(".")[0]
            self._modules.discard(local)
            if ours and alias.name == "schema":
                self._modules.add(local)

    def call(self, node: ast.Call) -> Node | None:
        """The call with its arguments checked against the signature; None if it was reported."""
        target = node.func
        if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
            return self._dynamic(node)
        if target.value.id not in self._modules:
            return self._dynamic(node)
        if target.attr not in FUNCTIONS:
            message = f"the schema language has no field type or part {quote(target.attr)}"
            return self._report(target, "F105", message, did_you_mean(target.attr, PARTS))
        call = self._arguments(target.attr, node)
        if call:
            self.calls.append(call)
        return call

    def _arguments(self, function: str, node: ast.Call) -> Node | None:
        known, parts = FUNCTIONS[function], list[Node]()
        args: dict[str, Node | None] = {}
        for name, expression in self._pairs(function, node):
            found = self._typed(expression, known.hints.get(name, known.variadic), name)
            if not name:
                parts.extend([found] if found else [])
            elif name in args:
                self._report(expression, "F109", f"{quote(name)} is given twice")
            else:
                args[name] = found
        for missing in [name for name in known.required if name not in args]:
            code, hint = _MISSING.get((function, missing), ("F108", ""))
            self._report(node.func, code, f"{function} needs {missing}", hint)
        good = {name: found for name, found in args.items() if found}
        if not good.keys() >= set(known.required):
            return None
        named = {name: found.value for name, found in good.items()}
        first = [named.pop(name) for name in known.required]
        value = known.function(*first, *(part.value for part in parts), **named)
        return Node(value, self._source.span(node.func), good, parts)

    def _pairs(self, function: str, node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
        """(parameter, expression) of each argument; "" for one of *parts."""
        known = FUNCTIONS[function]
        for at, arg in enumerate(node.args):
            if at < len(known.positional):
                yield known.positional[at], arg
            elif known.variadic is not None:
                yield "", arg
            else:
                message = f"{function} takes {len(known.positional)} values without a name"
                options = "its options: " + ", ".join(sorted(known.hints))
                self._report(arg, "F109", message, options)
        for keyword in node.keywords:
            if keyword.arg is None:
                self._dynamic(keyword.value)
            elif keyword.arg not in known.hints:
                message = f"{function} has no option {quote(keyword.arg)}"
                others = [word for word, one in FUNCTIONS.items() if keyword.arg in one.hints]
                hint = did_you_mean(keyword.arg, known.hints)
                hint += f"; {', '.join(sorted(others))} have it" if others else ""
                self._report(keyword, "F106", message, hint)
            else:
                yield keyword.arg, keyword.value

    def _typed(self, node: ast.expr, hint: Hint, name: str) -> Node | None:
        found = self._value(node)
        if found is None or accepts(hint, found.value):
            return found
        return self._report(node, "F107", f"{name or 'a part'} must be {describe(hint)}")

    def _value(self, node: ast.expr) -> Node | None:
        if isinstance(node, ast.Call):
            return self.call(node)
        span = self._source.span(node)
        if isinstance(node, ast.List | ast.Tuple):
            items = [self._value(item) for item in node.elts]
            values = [item.value for item in items if item]
            if len(values) < len(items):
                return None
            return Node(values if isinstance(node, ast.List) else tuple(values), span)
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError):
            return self._dynamic(node)
        if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
            message = "the text holds a null byte or half a surrogate pair"
            return self._report(node, "F150", message, "PostgreSQL cannot store it: leave it out")
        return Node(value, span)

    def _dynamic(self, node: ast.expr) -> Node | None:
        hint = "write the value itself: text, number, True, False, None or a list of these"
        if isinstance(node, ast.Call) and not self._modules:
            hint = "begin the file with: from forge_min import schema"
        return self._report(node, "F104", "this cannot be read without running the file", hint)

    def _report(
        self, node: ast.expr | ast.keyword, code: str, message: str, hint: str = ""
    ) -> Node | None:
        self._source.report(self._source.span(node), code, message, hint)
        return None
