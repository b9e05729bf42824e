"""All schema files of a project, read and checked together. Imports none of them."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from .. import schema
from .diagnostic import Diagnostic, Source, problem, quote, read_source
from .evaluate import Evaluator, Node, report_all
from .ir import ANYBODY, ManyIR, ResourceIR, attribute_of
from .lowering import across, ids_field, lower, many_ir, resolve, way_back
from .names import did_you_mean, field_problem, folder_of, name_of, table_of, table_problem
from .rules import Problems, problems

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
        spans = tuple(part.span_of("name") for part in self.call.parts)
        return lower(self.call.value, self.source.file, self.call.span_of("name"), spans)


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
        source.report(call.span_of("name"), said)


def _check_parts(source: Source, parts: list[Node]) -> None:
    seen: dict[str, Node] = {}
    for part in parts:
        for name in _taken(part.value):
            first = seen.setdefault(name, part)
            if first is not part:
                code = "F124" if name[0] == '"' else "F142"
                said = problem("twice", code=code, name=name, line=first.span.line)
                source.report(part.span_of("name"), said)
                break
    for second in [part for part in parts if getattr(part.value, "primary_key", False)][1:]:
        source.report(second.span_of("primary_key"), problem("second_key"))


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


@dataclass(frozen=True, slots=True)
class Parsed:
    """resources: those without a mistake, by folder. diagnostics: every mistake, in file order."""

    resources: tuple[ResourceIR, ...]
    diagnostics: tuple[Diagnostic, ...]


def parse_project(root: Path, roles: Sequence[str] = ()) -> Parsed:
    """Read resources/*/schema.py below `root` with `ast`. Never raises for what a file holds.

    roles: the only ones that a schema may name; none means any.
    """
    paths = sorted((root / "resources").glob("*/schema.py"))
    sources = [read_source(path, path.relative_to(root).as_posix()) for path in paths]
    return parse_sources(sources, roles)


def parse_sources(sources: list[Source], roles: Sequence[str] = ()) -> Parsed:
    """The same for files that were read already."""
    readable = [source for source in sources if not source.diagnostics]
    definitions = [found for found in map(read_definition, readable) if found]
    cross_check(definitions, {source.folder for source in sources}, roles)
    found = [diagnostic for source in sources for diagnostic in source.diagnostics]
    return Parsed(
        resolve(d.resource() for d in definitions if not d.source.diagnostics),
        tuple(sorted(found, key=attrgetter("file", "line", "col", "code", "message"))),
    )


_ROLES = ("roles", "visible_to", "writable_by")


def cross_check(
    definitions: Sequence[Definition], folders: set[str], roles: Sequence[str] = ()
) -> None:
    """Report to the sources what can only be wrong between the files of a project.

    folders: those that have a schema file, of whatever kind. roles: of auth.roles; if it names
    none, a schema may name any.
    """
    _check_unique(definitions)
    for definition in definitions if roles else ():
        for part in definition.call.parts:
            _check_roles(definition, part, {*roles, ANYBODY})
    sound = {d.name: d.resource() for d in definitions if d.sound}
    spoilt = folders - {d.source.folder for d in definitions if d.sound}
    tables = {table_of(d.call.value): d.name for d in definitions}
    project = _Project({d.name for d in definitions}, spoilt, sound, tables)
    for definition in definitions:
        for part in definition.call.parts:
            if isinstance(part.value, RELATIONS):
                report_all(definition.source, part, project.problems(definition.name, part.value))


def _check_unique(definitions: Sequence[Definition]) -> None:
    seen: dict[tuple[str, str], Definition] = {}
    for second in definitions:
        table = table_of(second.call.value)
        for what, name in (("name_taken", second.name), ("table_taken", table)):
            first = seen.setdefault((what, name), second)
            if first is not second:
                said = problem(what, name=quote(name), file=first.source.file)
                second.source.report(second.call.span_of("name"), said)
                break


def _check_roles(definition: Definition, part: Node, known: set[str]) -> None:
    for role in [
        item for option in _ROLES if option in part.args for item in part.args[option].parts
    ]:
        if role.value not in known:
            hint = did_you_mean(role.value, known)
            bad = problem("unknown_role", role=quote(role.value), hint=hint)
            definition.source.report(role.span, bad)


@dataclass(frozen=True, slots=True)
class _Project:
    names: set[str]
    spoilt: set[str]  # folders whose file does not say for sure what it defines
    sound: dict[str, ResourceIR]
    tables: dict[str, str]  # table → resource
    joined: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def problems(self, owner: str, part: schema.BelongsTo | schema.Many) -> Problems:
        """What is wrong with a relation; a file that is not sound has the benefit of doubt."""
        bad = {option for option, found in problems(part) if found}
        known = part.target in self.names or folder_of(part.target) in self.spoilt
        if not known and "target" not in bad:
            hint = did_you_mean(part.target, self.names)
            yield "target", problem("no_target", name=quote(part.target), hint=hint)
        if owner not in self.sound or part.target not in self.sound:
            return
        here, there = self.sound[owner], self.sound[part.target]
        join = isinstance(part, schema.Many) and part.kind == "many_to_many"
        differ = here.tenant_scoped != there.tenant_scoped
        if differ and (join or (isinstance(part, schema.BelongsTo) and there.tenant_scoped)):
            without = owner if there.tenant_scoped else part.target
            yield "target", problem("crosses_tenants", without=without)
        if isinstance(part, schema.Many) and not (join and bad):
            yield from (self._join if join else _way_back)(here, many_ir(part, here.span), there)

    def _join(self, owner: ResourceIR, many: ManyIR, target: ResourceIR) -> Problems:
        link, place = across(owner, many, target), "table" if many.table else "name"
        join, ends = link.join, self.joined.setdefault(link.join, [])
        yield place, table_problem(join, "the join table")
        for column in {link.column, link.target_column}:
            yield "target", field_problem(column.removesuffix("_id"), "_id")
        if join in self.tables:
            yield place, problem("join_is_table", join=join, owner=self.tables[join])
        elif ends and (ends != [(target.name, owner.name)] or owner is target):
            yield place, problem("join_is_taken", join=join, ends=ends[0])
        ends.append((owner.name, target.name))


def _way_back(owner: ResourceIR, many: ManyIR, target: ResourceIR) -> Problems:
    found = way_back(owner, many, target)
    if len(found) != 1:
        back = [relation.name for relation in target.relations if relation.target == owner.name]
        named = f" named {quote(many.via)}" if many.via else ""
        words = {"target": target.name, "owner": owner.name, "count": len(found) or "no"}
        hint = "say which: " + " or ".join(f'via="{name}"' for name in back)
        if many.via or not back:
            hint = did_you_mean(many.via, back) or f"write it into {target.source}"
        said = problem("no_way_back", **words, named=named, hint=hint)
        yield "via" if many.via else "target", said
