"""One schema file as one checked definition; what can be wrong within a file is found here."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import PurePosixPath

from .. import schema
from .evaluate import Evaluator, Node
from .ir import ResourceIR
from .lower import lower
from .names import snake, table_of
from .rules import problems
from .source import Source

_EXAMPLE = 'country = schema.define("Country", schema.string("code"))'


@dataclass(frozen=True, slots=True)
class Definition:
    """A schema.define(...) as far as it could be read."""

    source: Source
    call: Node

    @property
    def name(self) -> str:
        """The resource's name."""
        return str(self.call.value.name)

    @property
    def table(self) -> str:
        """The resource's table."""
        return table_of(self.call.value)

    def resource(self) -> ResourceIR:
        """The IR. Only for a definition of a file without diagnostics."""
        spans = tuple(part.place("name") for part in self.call.parts)
        return lower(self.call.value, self.source.file, self.call.place("name"), spans)


def read_definition(source: Source) -> Definition | None:
    """The one definition of the file, checked; everything that is wrong is reported to `source`."""
    tree = source.tree()
    if tree is None:
        return None
    evaluator = Evaluator(source)
    found = _definitions(source, evaluator, tree.body)
    for call in evaluator.calls:
        for option, problem in problems(call.value):
            if problem:
                source.report(call.place(option), *problem)
    if not found and not source.diagnostics:
        source.report(source.top, "F110", "the file defines no resource", _EXAMPLE)
    for extra in found[1:]:
        message = "the file defines a second resource"
        source.report(extra.span, "F111", message, "give it a folder of its own under resources/")
    for call in found[:1]:
        _check_folder(source, call)
        _check_parts(source, call.parts)
        return Definition(source, call)
    return None


def _definitions(source: Source, evaluator: Evaluator, body: list[ast.stmt]) -> list[Node]:
    found: list[Node] = []
    for at, statement in enumerate(body):
        value = _value(statement)
        if isinstance(statement, ast.Import | ast.ImportFrom):
            evaluator.bind_import(statement)
        elif isinstance(value, ast.Call):
            call = evaluator.call(value)
            if call and isinstance(call.value, schema.Resource):
                found.append(call)
            elif call:
                _misplaced(source, statement)
        elif at > 0 or not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
            _misplaced(source, statement)
    return found


def _misplaced(source: Source, statement: ast.stmt) -> None:
    message = "a schema file holds imports and one schema.define(...), nothing else"
    source.report(source.span(statement), "F103", message, _EXAMPLE)


def _value(statement: ast.stmt) -> ast.expr | None:
    """What a statement evaluates or gives to a plain name; None for any other statement."""
    if isinstance(statement, ast.Expr):
        return statement.value
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    if targets and all(isinstance(target, ast.Name) for target in targets):
        return getattr(statement, "value", None)
    return None


def _check_folder(source: Source, call: Node) -> None:
    folder, right = PurePosixPath(source.file).parent.name, snake(call.value.name)
    if folder != right:
        message = f'the folder of "{call.value.name}" must be resources/{right}/'
        hint = f"rename resources/{folder}/ or the resource"
        source.report(call.place("name"), "F113", message, hint)


def _check_parts(source: Source, parts: list[Node]) -> None:
    seen: dict[str, Node] = {}
    for part in parts:
        for name in _taken(part.value):
            if seen.setdefault(name, part) is not part:
                message = f'"{name}" is there twice, first on line {seen[name].span.line}'
                source.report(part.place("name"), "F124", message, "rename one of them")
                break
    for kind in (schema.Timestamps, schema.WithHooks):
        for extra in [part for part in parts if isinstance(part.value, kind)][1:]:
            source.report(extra.span, "F142", "this part is there twice", "leave one out")


def _taken(part: schema.Part) -> tuple[str, ...]:
    """The names of attributes and columns that a part takes."""
    if isinstance(part, schema.Field):
        return (part.name,)
    if isinstance(part, schema.BelongsTo):
        name = part.name or snake(part.target)
        return (name, name + "_id")
    return ()
