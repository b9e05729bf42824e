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
        is_valid = not any(invalid for _, invalid in problems(self.call.value))
        return is_valid and all(node.is_complete for node in (self.call, *relations))

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
    name = definition.name
    folder = folder_of(name)
    if source.folder != folder:
        wrong = problem("wrong_folder", name=name, folder=source.folder, right=folder)
        source.report(calls[0].span_of("name"), wrong)
    _check_parts(source, calls[0].parts)
    return definition


def _define_calls(source: Source, tree: ast.Module) -> list[Node]:
    evaluator = Evaluator(source)
    calls = []
    statements = tree.body
    if ast.get_docstring(tree, clean=False) is not None:
        statements = statements[1:]
    for statement in statements:
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
    parts_by_name: dict[str, Node] = {}
    for part in parts:
        for name in _claimed_names(part.value):
            first = parts_by_name.setdefault(name, part)
            if first is not part:
                twice = problem("twice", name=name, line=first.span.line)
                source.report(part.span_of("name"), twice)
                break
    keys = [part for part in parts if getattr(part.value, "primary_key", False)]
    for second in keys[1:]:
        source.report(second.span_of("primary_key"), problem("second_key"))


def _check_fields(definition: Definition, resource: ResourceIR) -> None:
    """Check the fields that rules and indexes name. resource: of the definition, as resolved."""
    source = definition.source
    columns = {column.column: column for column in resource.columns}
    for part in definition.call.parts:
        match part.value:
            case schema.RowCheck():
                _check_condition(source, part, "condition", columns)
            case schema.States() as states:
                report_all(source, part, _state_problems(states, resource))
            case schema.Report() as report:
                report_all(source, part, report_problems(report, resource))
            case schema.UniqueFields() | schema.FieldsIndex() as index if part.is_complete:
                report_all(source, part, _field_problems(index, columns))
                if isinstance(index, schema.FieldsIndex) and index.where:
                    _check_condition(source, part, "where", columns)


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
        option = f"not_by.{verb}"
        if isinstance(states.not_by, str):
            option = "not_by"
        for name in names:
            if name in columns:
                if not _is_user(columns[name]):
                    yield option, problem("not_a_user", name=quote(name))
            elif name not in operations:
                yield option, unknown("no_field", name, (*columns, *operations))
            elif not resource.auditable:
                yield option, problem("not_by_without_history")


def _is_user(column: ColumnIR) -> bool:
    """Return whether a column names the same user for ever."""
    if column.target or column.type not in ("uuid", "string", "text"):
        return False
    return column.immutable or column.column == "created_by"


def _check_condition(
    source: Source, part: Node, option: str, columns: Mapping[str, ColumnIR]
) -> None:
    condition = part.args[option].value
    try:
        check_condition(condition, columns, of_index=option == "where")
    except ConditionError as err:
        node = err.node
        span = part.span_of(option)
        literal = source.lines[span.line - 1][span.col : span.end_col - 2]
        # A text with escapes, or of several literals, has no such columns.
        if node is not None and literal == condition and literal.isascii():
            start = span.col + 1  # behind the quotation mark
            end_col = start + (node.end_col_offset or 0)
            span = replace(span, col=start + node.col_offset, end_col=end_col)
        source.report(span, err.problem)


def _field_problems(
    part: schema.UniqueFields | schema.FieldsIndex, columns: Mapping[str, ColumnIR]
) -> Problems:
    names = list(part.fields)
    least = 2
    if isinstance(part, schema.FieldsIndex):
        names = [name.removeprefix("-") for name in names]
        if part.where:
            least = 1
    if len(names) < least:
        yield "", problem("few_fields")
        return
    if len(set(names)) < len(names):
        yield "", problem("field_twice")
        return
    for index, name in enumerate(names):
        if name not in columns:
            yield str(index), unknown("no_field", name, columns)
        elif columns[name].type.endswith(("json", "[]")):
            yield str(index), problem("not_indexable", type=columns[name].type)


def _claimed_names(part: schema.Part) -> tuple[str, ...]:
    """Return the names that no second part may use: columns, attributes, JSON fields, or itself."""
    match part:
        case schema.Permission():
            return (f'permission("{part.operation}")',)
        case schema.Report():
            return (f'report("{part.name}")',)
        case schema.RowCheck():
            return (f"check({part.condition!r})",)
        case schema.UniqueFields():
            return (f"unique({', '.join(map(quote, part.fields))})",)
        case schema.FieldsIndex():
            where = f", where={part.where!r}" if part.where else ""
            return (f"index({', '.join(map(quote, part.fields))}{where})",)
        case schema.Trait():
            return (f"{part.name}()",)
        case schema.WithHooks():
            return ("with_hooks()",)
        case schema.States():
            names = [f'"{part.name}"', f'"{attribute_of(part.name)}"']
            if part.authored:
                names.append('"created_by"')
            return (*names, *(f'permission("{verb}")' for verb in part.verbs))
        case schema.Field():
            return (f'"{part.name}"', f'"{attribute_of(part.name)}"')
    name = name_of(part)
    if isinstance(part, schema.BelongsTo):
        return (f'"{name}"', f'"{name}_id"')
    if part.kind == "many_to_many":
        return (f'"{name}"', f'"{ids_field(part.target, name)}"')
    return (f'"{name}"', f'"{attribute_of(name)}"')


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
    definitions = [definition for definition in map(read_definition, readable) if definition]
    cross_check(definitions, {source.folder for source in sources}, roles)
    diagnostics = [diagnostic for source in sources for diagnostic in source.diagnostics]
    diagnostics.sort(key=attrgetter("file", "line", "col", "code", "message"))
    valid = [definition for definition in definitions if not definition.source.diagnostics]
    resources = resolve(definition.resource() for definition in valid)
    return Parsed(resources, tuple(diagnostics))


_ROLES = ("roles", "visible_to", "writable_by")


def cross_check(definitions: Sequence[Definition], folders: set[str], roles: Sequence[str]) -> None:
    """Check resources against each other, and report problems to their sources.

    folders: all folders with a schema file, even an invalid one.
    roles: of auth.roles; () allows all roles.
    """
    _check_unique(definitions)
    if roles:
        for definition in definitions:
            for part in definition.call.parts:
                _check_roles(definition, part, {*roles, ANYBODY})
    checks = _RelationChecks(definitions, folders)
    for definition in definitions:
        for part in definition.call.parts:
            if isinstance(part.value, RELATIONS):
                report_all(definition.source, part, checks.problems(definition.name, part.value))
    reliable = [definition for definition in definitions if definition.is_reliable]
    resources = {r.name: r for r in resolve(definition.resource() for definition in reliable)}
    by_file = {resource.source: resource for resource in resources.values()}
    for definition in definitions:
        resource = by_file.get(definition.source.file)
        if resource and definition.is_complete:
            _check_fields(definition, resource)
            if resources.keys() >= {member.target for member in resource.relations}:
                problems_of_title = title_problems(resource.title, resource, resources)
                report_all(definition.source, definition.call, problems_of_title)


def _check_unique(definitions: Sequence[Definition]) -> None:
    owners: dict[tuple[str, str], Definition] = {}
    for definition in definitions:
        call = definition.call
        reports = [part for part in call.parts if isinstance(part.value, schema.Report)]
        names = [(report, "report_taken", report.value.name) for report in reports]
        names.append((call, "name_taken", definition.name))
        names.append((call, "table_taken", table_of(call.value)))
        for node, entry, name in names:
            owner = owners.setdefault((entry, name), definition)
            if owner is not definition:
                taken = problem(entry, name=quote(name), file=owner.source.file)
                definition.source.report(node.span_of("name"), taken)
                if entry == "name_taken":
                    break


def _check_roles(definition: Definition, part: Node, roles: set[str]) -> None:
    nodes = [part.args[option] for option in _ROLES if option in part.args]
    for node in nodes:  # grows in the loop: a list of roles, or a dict of lists
        nodes += node.args.values()
        if isinstance(node.value, str) and node.value not in roles:
            definition.source.report(node.span, unknown("unknown_role", node.value, roles))


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
        invalid = {option for option, wrong in problems(part) if wrong}
        is_known = part.target in self._names or folder_of(part.target) in self._unreliable
        if not is_known and "target" not in invalid:
            yield "target", unknown("no_target", part.target, self._names)
        resource = self._resources.get(owner)
        target = self._resources.get(part.target)
        if resource is None or target is None:
            return
        is_join = isinstance(part, schema.Many) and part.kind == "many_to_many"
        if target.tenant_scoped and not resource.tenant_scoped:
            if is_join or isinstance(part, schema.BelongsTo):
                yield "target", problem("crosses_tenants", without=owner)
        elif is_join and resource.tenant_scoped and not target.tenant_scoped:
            yield "target", problem("crosses_tenants", without=part.target)
        if isinstance(part, schema.Many):
            if not is_join:
                yield from _inverse_problems(resource, part, target)
            elif not invalid:
                yield from self._join_problems(resource, part, target)

    def _join_problems(self, owner: ResourceIR, many: schema.Many, target: ResourceIR) -> Problems:
        edge = many_to_many_edge(owner, many, target)
        join = edge.join
        ends = self._joined.setdefault(join, [])
        option = "table" if many.table else "name"
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
    if len(matches) == 1:
        return
    inverses = [relation.name for relation in target.relations if relation.target == owner.name]
    option = "target"
    named = ""
    if many.via:
        option = "via"
        named = f" named {quote(many.via)}"
    if many.via or not inverses:
        hint = did_you_mean(many.via or "", inverses) or f"add it to {target.source}"
    else:
        hint = "choose one: " + " or ".join(f'via="{name}"' for name in inverses)
    count = len(matches) or "no"
    words = {"target": target.name, "owner": owner.name, "count": count, "named": named}
    yield option, problem("no_way_back", **words, hint=hint)
