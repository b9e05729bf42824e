"""Calls of the schema language and their literal values, read from the syntax tree. Runs nothing.

What may be written is taken from the signatures of `forge_min.schema` itself, so that a file means
the same when it is imported.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TypeAlias

from .diagnostic import quote
from .ir import Span
from .names import did_you_mean
from .signature import FUNCTIONS, PARTS, Hint, accepts, describe, item_hint, result
from .source import Source

_MISSING = {
    ("JobRef", "kind"): ("F130", 'JobRef(kind="SendWelcome")'),
    ("enum", "choices"): ("F128", 'schema.enum("status", ["open", "closed"])'),
}


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as written. items: the elements of a list or tuple, else empty."""

    value: object
    span: Span
    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the schema language; args and parts hold what could be understood."""

    function: str
    span: Span
    args: dict[str, Node] = field(default_factory=dict)
    parts: list[Node] = field(default_factory=list)

    def get(self, name: str) -> Literal | None:
        """The literal argument `name`, if it was given and not None."""
        found = self.args.get(name)
        return found if isinstance(found, Literal) and found.value is not None else None

    def text(self, name: str) -> str | None:
        """The argument `name`, if it is a text."""
        found = self.get(name)
        return found.value if found and isinstance(found.value, str) else None

    def number(self, name: str) -> int | None:
        """The argument `name`, if it is a whole number."""
        found = self.get(name)
        return found.value if found and isinstance(found.value, int) else None

    def place(self, name: str) -> Span:
        """Where the argument `name` stands, else the call."""
        found = self.args.get(name)
        return found.span if found else self.span


Node: TypeAlias = Literal | Call


class Evaluator:
    """Reads the calls of one file; what it cannot read it reports to the Source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._modules: set[str] = set()
        self._functions: dict[str, str] = {}

    def bind_import(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Remember under which names the schema language is known from here on."""
        module = statement.module if isinstance(statement, ast.ImportFrom) else None
        if isinstance(statement, ast.ImportFrom) and statement.level:
            module = None
        for alias in statement.names:
            local = alias.asname or alias.name.partition(".")[0]
            self._modules.discard(local)
            self._functions.pop(local, None)
            direct = isinstance(statement, ast.Import) and alias.asname is not None
            if (module, alias.name) == ("forge_min", "schema") or (
                direct and alias.name == "forge_min.schema"
            ):
                self._modules.add(local)
            elif module == "forge_min.schema":
                self._functions[local] = alias.name

    def function(self, call: ast.Call) -> str | None:
        """The word of the schema language that is called, known or not; None for any other call."""
        target = call.func
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            return target.attr if target.value.id in self._modules else None
        return self._functions.get(target.id) if isinstance(target, ast.Name) else None

    def call(self, node: ast.Call) -> Call | None:
        """The call with its arguments checked against the signature; None if it is not ours."""
        name = self.function(node)
        if name is None:
            self._dynamic(node)
            return None
        if name not in FUNCTIONS:
            message = f"the schema language has no field type or part {quote(name)}"
            self._report(node.func, "F105", message, did_you_mean(name, PARTS))
            return None
        call = Call(name, self._source.span(node.func))
        self._positional(call, node.args)
        for keyword in node.keywords:
            self._keyword(call, keyword)
        for missing in sorted(FUNCTIONS[name].required - call.args.keys()):
            if not self._failed(node, missing):
                code, example = _MISSING.get((name, missing), ("F108", ""))
                hint = f"for example {example}" if example else ""
                self._source.report(call.span, code, f"{name} needs {missing}", hint)
        return call

    def _failed(self, node: ast.Call, name: str) -> bool:
        """Whether the argument was written but not understood, which was reported already."""
        at = FUNCTIONS[self.function(node) or ""].positional.index(name)
        starred = any(isinstance(arg, ast.Starred) for arg in node.args)
        return len(node.args) > at or starred or any(k.arg in (name, None) for k in node.keywords)

    def _positional(self, call: Call, args: list[ast.expr]) -> None:
        known = FUNCTIONS[call.function]
        for at, arg in enumerate(args):
            if isinstance(arg, ast.Starred):
                self._report(arg, "F104", "a starred argument cannot be read", "write each out")
            elif at < len(known.positional):
                name = known.positional[at]
                self._argument(call, name, arg)
            elif known.variadic is not None:
                part = self.value(arg, known.variadic)
                call.parts.extend([part] if part else [])
            else:
                message = f"{call.function} takes {len(known.positional)} values without a name"
                self._report(arg, "F109", message, self._options(call.function))

    def _keyword(self, call: Call, keyword: ast.keyword) -> None:
        known = FUNCTIONS[call.function]
        span = self._source.span(keyword)
        if keyword.arg is None:
            self._report(keyword.value, "F104", '"**" cannot be read', "write the options out")
        elif keyword.arg not in known.hints:
            message = f"{call.function} has no option {quote(keyword.arg)}"
            self._source.report(span, "F106", message, did_you_mean(keyword.arg, known.hints))
        elif keyword.arg in call.args:
            self._source.report(span, "F109", f"{quote(keyword.arg)} is given twice")
        else:
            self._argument(call, keyword.arg, keyword.value)

    def _argument(self, call: Call, name: str, node: ast.expr) -> None:
        found = self.value(node, FUNCTIONS[call.function].hints[name], name)
        if found:
            call.args[name] = found

    def value(self, node: ast.expr, hint: Hint, name: str = "") -> Node | None:
        """The value of an expression that must be of the type `hint`; None if it was reported."""
        found = self._read(node, hint)
        if found is None:
            return None
        if isinstance(found, Call):
            right = result(found.function, hint)
        else:
            right = bool(found.items) or accepts(hint, found.value)
        if right:
            return found
        wrong = found.function if isinstance(found, Call) else _show(found.value)
        what = f"{name} must be" if name else "here must stand"
        fix = "schema.with_hooks(schema.Hooks(...))" if wrong == "Hooks" else ""
        self._report(node, "F107", f"{what} {describe(hint)}, not {wrong}", fix)
        return None

    def _read(self, node: ast.expr, hint: Hint) -> Node | None:
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, (ast.List, ast.Tuple)):
            return self._list(node, hint)
        value = node
        negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
        if isinstance(node, ast.UnaryOp) and negative:
            value = node.operand
        if not isinstance(value, ast.Constant) or (negative and type(value.value) is not int):
            self._dynamic(node)
            return None
        constant = value.value
        if isinstance(constant, str) and not _storable(constant):
            message = "the text holds a null byte or half a surrogate pair"
            self._report(node, "F150", message, "PostgreSQL cannot store it: leave it out")
            return None
        if isinstance(constant, int) and negative:
            constant = -constant
        return Literal(constant, self._source.span(node))

    def _list(self, node: ast.List | ast.Tuple, hint: Hint) -> Literal | None:
        span = self._source.span(node)
        inner = item_hint(hint, len(node.elts) if isinstance(node, ast.Tuple) else None)
        if inner is None:
            return Literal([] if isinstance(node, ast.List) else (), span)
        items = [self.value(item, inner) for item in node.elts]
        whole = tuple(item for item in items if item is not None)
        if len(whole) < len(items):
            return None
        return Literal(tuple(i.value for i in whole if isinstance(i, Literal)), span, whole)

    def _dynamic(self, node: ast.expr) -> None:
        what = {
            ast.Name: "a name",
            ast.Attribute: "a name",
            ast.Call: "a call",
            ast.JoinedStr: "an f-string",
            ast.BinOp: "a computed value",
            ast.Starred: "a starred value",
        }.get(type(node), "an expression")
        message = f"{what} cannot be read without running the file"
        hint = "write the value itself: text, number, True, False, None or a list of these"
        if isinstance(node, ast.Call) and not self._modules and not self._functions:
            hint = "begin the file with: from forge_min import schema"
        self._report(node, "F104", message, hint)

    def _options(self, function: str) -> str:
        return "its options: " + ", ".join(sorted(FUNCTIONS[function].hints))

    def _report(self, node: ast.expr, code: str, message: str, hint: str = "") -> None:
        self._source.report(self._source.span(node), code, message, hint)


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _show(value: object) -> str:
    if isinstance(value, str):
        return f"the text {quote(value)}"
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"the number {value}" if abs(value) < 1 << 64 else "so large a number"
    return {float: "a number with a point", bytes: "bytes", list: "a list", tuple: "a tuple"}.get(
        type(value), "that"
    )
