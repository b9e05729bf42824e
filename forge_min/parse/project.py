"""Reads and checks all schema files of a project together, without importing them."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from .. import schema
from .condition import ConditionError, check_condition
from .diagnostic import Diagnostic, Source, problem, quote, read_source
from .evaluate import Evaluator, Node, report_all
from .ir import ANYBODY, ColumnIR, ResourceIR, attribute_of
from .lowering import ids_field, inverse_relations, lower, many_to_many_edge, resolve
from .names import did_you_mean, field_problem, folder_of, name_of, table_of, table_problem, unknown
from .report import report_problems
from .rules import Problems, problems
from .title import title_problems

RELATIONS = schema.BelongsTo | schema.Many
_EXAMPLE = 'country = schema.define("Country", schema.string("code"))'


@dataclass(frozen=True, slots=True)
class Definition:
    """A schema.define(...) as far as it could be evaluated."""

    source: Source
    call: Node

    @property
    def name(self) -> str:
        """The resource's name."""
        return str(self.call.value.name)

    @property
    def is_complete(self) -> bool:
        """Whether all of its columns could be evaluated."""
        columns = schema.Field | schema.Trait | RELATIONS
        nodes = [part for part in self.call.parts if isinstance(part.value, columns)]
        return all(node.is_complete for node in (self.call, *nodes))

    @property
    def is_reliable(self) -> bool:
        """Whether its name, table and relations are certain, so other files can be checked."""
        relations = (part for part in self.call.parts if isinstance(part.value, RELATIONS))
        valid = not any(found for _, found in problems(self.call.value))
        return valid and all(node.is_complete for node in (self.call, *relations))

    def resource(self) -> ResourceIR:
        """Return the IR. For a file with diagnostics only its relations are usable."""
        return lower(self.call.value, self.source.file)


def read_definition(source: Source) -> Definition | None:
    """Return the definition of the file, checked. All problems are reported to `source`."""
    tree = source.tree()
    if tree is None:
        return None
    calls = _define_calls(source, tree)
    for extra in calls[1:]:
        source.report(extra.span, problem("second_resource"))
    if not calls:
        if not source.diagnostics:
            source.report(source.top, problem("no_resource", example=_EXAMPLE))
        return None
    definition = Definition(source, calls[0])
    folder, right = source.folder, folder_of(definition.name)
    if folder != right:
        wrong = problem("wrong_folder", name=definition.name, folder=folder, right=right)
        source.report(calls[0].span_of("name"), wrong)
    _check_parts(source, calls[0].parts)
    return definition


def _define_calls(source: Source, tree: ast.Module) -> list[Node]:
    evaluator = Evaluator(source)
    calls: list[Node] = []
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
                if call and isinstance(call.value, schema.ResourceSchema):
                    calls.append(call)
                elif call:
                    _misplaced(source, statement)
            case _:
                _misplaced(source, statement)
    return calls


def _misplaced(source: Source, statement: ast.stmt) -> None:
    source.report(source.span(statement), problem("misplaced", example=_EXAMPLE))


def _check_parts(source: Source, parts: list[Node]) -> None:
    seen: dict[str, Node] = {}
    for part in parts:
        for name in _claimed_names(part.value):
            first = seen.setdefault(name, part)
            if first is not part:
                code = "F124" if name[0] == '"' else "F142"
                twice = problem("twice", code=code, name=name, line=first.span.line)
                source.report(part.span_of("name"), twice)
                break
    for second in [part for part in parts if getattr(part.value, "primary_key", False)][1:]:
        source.report(second.span_of("primary_key"), problem("second_key"))


def _check_fields(definition: Definition, resource: ResourceIR) -> None:
    """Check the fields that rules and indexes name. resource: of the definition, as resolved."""
    columns = {column.column: column for column in resource.columns}
    for part in definition.call.parts:
        match part.value:
            case schema.RowCheck():
                _check_condition(definition.source, part, "condition", columns)
            case schema.States() as states:
                report_all(definition.source, part, _state_problems(states, resource))
            case schema.Report() as report:
                report_all(definition.source, part, report_problems(report, resource))
            case schema.UniqueFields() | schema.FieldsIndex() if part.is_complete:
                report_all(definition.source, part, _field_problems(part.value, columns))
                if getattr(part.value, "where", ""):
                    _check_condition(definition.source, part, "where", columns)


def _state_problems(states: schema.States, resource: ResourceIR) -> Problems:
    if states.reason and not resource.auditable:
        yield "reason", problem("reason_without_history")
    lockable = [c.column for c in resource.members if not (c.immutable or c.visible_to)]
    for state, fields in states.locked.items():
        for name in fields:
            if name not in lockable:
                yield f"locked.{state}", unknown("not_lockable", name, lockable)
    columns = {column.column: column for column in resource.columns}
    operations = ("create", "update", *states.verbs)
    for verb, names in states.excluded.items():
        option = "not_by" if isinstance(states.not_by, str) else f"not_by.{verb}"
        for name in names:
            column = columns.get(name)
            if column is not None:
                is_user = column.type in ("uuid", "string", "text") and not column.target
                if not is_user or not (column.immutable or name == "created_by"):
                    yield option, problem("not_a_user", name=quote(name))
            elif name not in operations:
                yield option, unknown("no_field", name, (*columns, *operations))
            elif not resource.auditable:
                yield option, problem("not_by_without_history")


def _check_condition(
    source: Source, part: Node, option: str, columns: Mapping[str, ColumnIR]
) -> None:
    condition = part.args[option].value
    try:
        check_condition(condition, columns, of_index=option == "where")
    except ConditionError as err:
        span, node = part.span_of(option), err.node
        written = source.lines[span.line - 1][span.col : span.end_col - 2]
        # A text with escapes, or of several literals, has no such columns.
        if node is not None and written == condition and written.isascii():
            first = span.col + 1  # behind the quotation mark
            start, end = first + node.col_offset, first + (node.end_col_offset or 0)
            span = replace(span, col=start, end_col=end)
        source.report(span, err.problem)


def _field_problems(
    part: schema.UniqueFields | schema.FieldsIndex, columns: Mapping[str, ColumnIR]
) -> Problems:
    sign = "-" if isinstance(part, schema.FieldsIndex) else ""
    names = [name.removeprefix(sign) for name in part.fields]
    few = len(names) < (1 if getattr(part, "where", "") else 2)
    if few or len(set(names)) < len(names):
        yield "", problem("few_fields" if few else "field_twice")
        return
    for index, name in enumerate(names):
        if name not in columns:
            yield str(index), unknown("no_field", name, columns)
        elif (kind := columns[name].type).endswith(("json", "[]")):
            yield str(index), problem("not_indexable", type=kind)


def _claimed_names(part: schema.Part) -> tuple[str, ...]:
    """Return the names that no second part may use: columns, attributes, JSON fields, or itself."""
    if isinstance(part, schema.Permission):
        return (f'permission("{part.operation}")',)
    if isinstance(part, schema.Report):
        return (f'report("{part.name}")',)
    if isinstance(part, schema.RowCheck):
        return (f"check({part.condition!r})",)
    if isinstance(part, schema.UniqueFields):
        return (f"unique({', '.join(map(quote, part.fields))})",)
    if isinstance(part, schema.FieldsIndex):
        where = f", where={part.where!r}" if part.where else ""
        return (f"index({', '.join(map(quote, part.fields))}{where})",)
    if isinstance(part, schema.Trait | schema.WithHooks):
        return (f"{getattr(part, 'name', 'with_hooks')}()",)
    if isinstance(part, schema.States):
        author = ['"created_by"'] * part.authored
        verbs = (f'permission("{verb}")' for verb in part.verbs)
        return (f'"{part.name}"', f'"{attribute_of(part.name)}"', *author, *verbs)
    name = part.name if isinstance(part, schema.Field) else name_of(part)
    other = attribute_of(name)
    if isinstance(part, schema.BelongsTo):
        other = name + "_id"
    elif isinstance(part, schema.Many) and part.kind == "many_to_many":
        other = ids_field(part.target, name)
    return (f'"{name}"', f'"{other}"')


@dataclass(frozen=True, slots=True)
class Parsed:
    """The result of parsing.

    resources: those without problems, by folder.
    diagnostics: all problems, by file and position.
    """

    resources: tuple[ResourceIR, ...]
    diagnostics: tuple[Diagnostic, ...]


def parse_project(root: Path, roles: Sequence[str] = ()) -> Parsed:
    """Read resources/*/schema.py below `root` with `ast`. Never raises for the content of a file.

    roles: the roles that a schema may name; () means all.
    """
    paths = sorted((root / "resources").glob("*/schema.py"))
    sources = [read_source(path, path.relative_to(root).as_posix()) for path in paths]
    return parse_sources(sources, roles)


def parse_sources(sources: list[Source], roles: Sequence[str] = ()) -> Parsed:
    """Parse files that are already read. roles: as of `parse_project`."""
    readable = [source for source in sources if not source.diagnostics]
    definitions = [d for d in map(read_definition, readable) if d]
    cross_check(definitions, {source.folder for source in sources}, roles)
    diagnostics = [diagnostic for source in sources for diagnostic in source.diagnostics]
    return Parsed(
        resolve(d.resource() for d in definitions if not d.source.diagnostics),
        tuple(sorted(diagnostics, key=attrgetter("file", "line", "col", "code", "message"))),
    )


_ROLES = ("roles", "visible_to", "writable_by")


def cross_check(definitions: Sequence[Definition], folders: set[str], roles: Sequence[str]) -> None:
    """Check resources against each other, and report problems to their sources.

    folders: all folders with a schema file, even an invalid one.
    roles: of auth.roles; () allows all roles.
    """
    _check_unique(definitions)
    for definition in definitions if roles else ():
        for part in definition.call.parts:
            _check_roles(definition, part, {*roles, ANYBODY})
    checks = _RelationChecks(definitions, folders)
    for definition in definitions:
        for part in definition.call.parts:
            if isinstance(part.value, RELATIONS):
                report_all(definition.source, part, checks.problems(definition.name, part.value))
    resources = {r.name: r for r in resolve(d.resource() for d in definitions if d.is_reliable)}
    for resource in resources.values():
        for definition in definitions:
            if definition.source.file == resource.source and definition.is_complete:
                _check_fields(definition, resource)
                if resources.keys() >= {member.target for member in resource.relations}:
                    problems_of_title = title_problems(resource.title, resource, resources)
                    report_all(definition.source, definition.call, problems_of_title)


def _check_unique(definitions: Sequence[Definition]) -> None:
    seen: dict[tuple[str, str], Definition] = {}
    for second in definitions:
        table = table_of(second.call.value)
        parts = [part for part in second.call.parts if isinstance(part.value, schema.Report)]
        names = [(part, "report_taken", part.value.name) for part in parts]
        names += [(second.call, "name_taken", second.name), (second.call, "table_taken", table)]
        for node, entry, name in names:
            first = seen.setdefault((entry, name), second)
            if first is not second:
                taken = problem(entry, name=quote(name), file=first.source.file)
                second.source.report(node.span_of("name"), taken)
                if entry == "name_taken":
                    break


def _check_roles(definition: Definition, part: Node, known: set[str]) -> None:
    nodes = [part.args[option] for option in _ROLES if option in part.args]
    for node in nodes:  # grows in the loop: a list of roles, or a dict of lists
        nodes += node.args.values()
        if isinstance(node.value, str) and node.value not in known:
            definition.source.report(node.span, unknown("unknown_role", node.value, known))


class _RelationChecks:
    """The checks of relations between resources. Parameters as of `cross_check`."""

    def __init__(self, definitions: Sequence[Definition], folders: set[str]) -> None:
        self._names = {d.name for d in definitions}
        self._resources = {d.name: d.resource() for d in definitions if d.is_reliable}
        self._unreliable = folders - {r.folder for r in self._resources.values()}
        self._tables = {table_of(d.call.value): d.name for d in definitions}
        # (owner, target) of the relations so far, by join table
        self._joined: dict[str, list[tuple[str, str]]] = {}

    def problems(self, owner: str, part: schema.BelongsTo | schema.Many) -> Problems:
        """Yield the problems of a relation; unreliable files are assumed to be right."""
        invalid = {option for option, found in problems(part) if found}
        known = part.target in self._names or folder_of(part.target) in self._unreliable
        if not known and "target" not in invalid:
            yield "target", unknown("no_target", part.target, self._names)
        if owner not in self._resources or part.target not in self._resources:
            return
        here, there = self._resources[owner], self._resources[part.target]
        join = isinstance(part, schema.Many) and part.kind == "many_to_many"
        differ = here.tenant_scoped != there.tenant_scoped
        if differ and (join or (isinstance(part, schema.BelongsTo) and there.tenant_scoped)):
            without = owner if there.tenant_scoped else part.target
            yield "target", problem("crosses_tenants", without=without)
        if isinstance(part, schema.Many) and not (join and invalid):
            checks = self._join_problems if join else _inverse_problems
            yield from checks(here, part, there)

    def _join_problems(self, owner: ResourceIR, many: schema.Many, target: ResourceIR) -> Problems:
        edge, option = many_to_many_edge(owner, many, target), "table" if many.table else "name"
        join, ends = edge.join, self._joined.setdefault(edge.join, [])
        yield option, table_problem(join, "the join table")
        for column in {edge.column, edge.target_column}:
            yield "target", field_problem(column.removesuffix("_id"), "_id")
        if join in self._tables:
            yield option, problem("join_is_table", join=join, owner=self._tables[join])
        elif ends and (ends != [(target.name, owner.name)] or owner is target):
            yield option, problem("join_is_taken", join=join, ends=ends[0])
        ends.append((owner.name, target.name))


def _inverse_problems(owner: ResourceIR, many: schema.Many, target: ResourceIR) -> Problems:
    matches = inverse_relations(owner, many, target)
    if len(matches) != 1:
        back = [relation.name for relation in target.relations if relation.target == owner.name]
        named = f" named {quote(many.via)}" if many.via else ""
        words = {"target": target.name, "owner": owner.name, "count": len(matches) or "no"}
        hint = "choose one: " + " or ".join(f'via="{name}"' for name in back)
        if many.via or not back:
            hint = did_you_mean(many.via or "", back) or f"add it to {target.source}"
        missing = problem("no_way_back", **words, named=named, hint=hint)
        yield "via" if many.via else "target", missing
