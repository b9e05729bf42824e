"""One schema file as one checked definition; what can be wrong within a file is found here."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import PurePosixPath

from ... import schema
from ..fields import Problems
from ..ir import ResourceIR, attribute_of
from ..links import ids_field
from ..lower import lower
from ..names import folder_of, name_of
from ..rules import problems
from .evaluate import Evaluator, Node
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
        report_all(source, call, problems(call.value))
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


def report_all(source: Source, node: Node, found: Problems) -> None:
    """Report the problems that were found, each at its option of `node`."""
    for option, problem in found:
        if problem:
            source.report(node.place(option), *problem)


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
    folder, right = PurePosixPath(source.file).parent.name, folder_of(call.value.name)
    if folder != right:
        message = f'the folder of "{call.value.name}" must be resources/{right}/'
        hint = f"rename resources/{folder}/ or the resource"
        source.report(call.place("name"), "F113", message, hint)


def _check_parts(source: Source, parts: list[Node]) -> None:
    seen: dict[str, Node] = {}
    for part in parts:
        for name in _taken(part.value):
            first = seen.setdefault(name, part)
            if first is not part:
                message = f"{name} is there twice, first on line {first.span.line}"
                code = "F124" if name[0] == '"' else "F142"
                source.report(part.place("name"), code, message, "rename one, or leave it out")
                break
    for second in [part for part in parts if getattr(part.value, "primary_key", False)][1:]:
        source.report(second.place("primary_key"), "F146", "a second primary key", "leave one out")


def _taken(part: schema.Part) -> tuple[str, ...]:
    """What no second part may take: names of columns, attributes and JSON fields, or itself."""
    if isinstance(part, schema.Permission):
        return (f'permission("{part.operation}")',)
    if isinstance(part, schema.Trait | schema.WithHooks):
        return (f"{getattr(part, 'name', 'with_hooks')}()",)
    name = part.name if isinstance(part, schema.Field) else name_of(part)
    other = attribute_of(name)
    if isinstance(part, schema.BelongsTo):
        other = name + "_id"
    elif isinstance(part, schema.Many) and part.kind == "many_to_many":
        other = ids_field(part.target, name)
    return (f'"{name}"', f'"{other}"')
