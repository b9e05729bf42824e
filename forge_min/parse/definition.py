"""One schema file as one checked definition; what can be wrong within a file is found here."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from .. import schema
from .diagnostic import problem
from .evaluate import Evaluator, Node
from .ir import ResourceIR, attribute_of
from .links import ids_field, lower
from .names import folder_of, name_of
from .rules import problems
from .source import Source

RELATIONS = schema.BelongsTo | schema.Many
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
    def sound(self) -> bool:
        """Whether other files may rely on its name, its table and its relations."""
        relations = (part for part in self.call.parts if isinstance(part.value, RELATIONS))
        named = not any(bad for _, bad in problems(self.call.value))
        return named and all(node.whole for node in (self.call, *relations))

    def resource(self) -> ResourceIR:
        """The IR; of a file with diagnostics it is good for looking at its relations only."""
        spans = tuple(part.place("name") for part in self.call.parts)
        return lower(self.call.value, self.source.file, self.call.place("name"), spans)


def read_definition(source: Source) -> Definition | None:
    """The one definition of the file, checked; everything that is wrong is reported to `source`."""
    tree = source.tree()
    if tree is None:
        return None
    found = _definitions(source, tree)
    for extra in found[1:]:
        source.report(extra.span, problem("second_resource"))
    if not found:
        if not source.diagnostics:
            source.report(source.top, problem("no_resource", example=_EXAMPLE))
        return None
    _check_folder(source, found[0])
    _check_parts(source, found[0].parts)
    return Definition(source, found[0])


def _definitions(source: Source, tree: ast.Module) -> list[Node]:
    evaluator = Evaluator(source)
    found: list[Node] = []
    documented = ast.get_docstring(tree, clean=False) is not None
    for statement in tree.body[documented:]:
        match statement:
            case ast.Import() | ast.ImportFrom():
                evaluator.bind_import(statement)
            case (
                ast.Expr(ast.Call() as expression)
                | ast.Assign([ast.Name()], ast.Call() as expression)
                | ast.AnnAssign(target=ast.Name(), value=ast.Call() as expression)
            ):
                call = evaluator.call(expression)
                if call and isinstance(call.value, schema.Resource):
                    found.append(call)
                elif call:
                    _misplaced(source, statement)
            case _:
                _misplaced(source, statement)
    return found


def _misplaced(source: Source, statement: ast.stmt) -> None:
    source.report(source.span(statement), problem("misplaced", example=_EXAMPLE))


def _check_folder(source: Source, call: Node) -> None:
    name, folder, right = call.value.name, source.folder, folder_of(call.value.name)
    if folder != right:
        said = problem("wrong_folder", name=name, folder=folder, right=right)
        source.report(call.place("name"), said)


def _check_parts(source: Source, parts: list[Node]) -> None:
    seen: dict[str, Node] = {}
    for part in parts:
        for name in _taken(part.value):
            first = seen.setdefault(name, part)
            if first is not part:
                code = "F124" if name[0] == '"' else "F142"
                said = problem("twice", code=code, name=name, line=first.span.line)
                source.report(part.place("name"), said)
                break
    for second in [part for part in parts if getattr(part.value, "primary_key", False)][1:]:
        source.report(second.place("primary_key"), problem("second_key"))


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
