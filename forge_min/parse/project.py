"""All schema files of a project, read and checked together. Imports none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from .. import schema
from .definition import RELATIONS, Definition, read_definition
from .diagnostic import Diagnostic, problem, quote
from .evaluate import Node, report_all
from .ir import ANYBODY, ManyIR, ResourceIR
from .links import across, many_ir, settle, way_back
from .names import did_you_mean, field_problem, folder_of, table_of, table_problem
from .rules import Problems, problems
from .source import Source, read_source


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
    check_between(definitions, {source.folder for source in sources}, roles)
    found = [diagnostic for source in sources for diagnostic in source.diagnostics]
    return Parsed(
        settle(d.resource() for d in definitions if not d.source.diagnostics),
        tuple(sorted(found, key=attrgetter("file", "line", "col", "code", "message"))),
    )


_ROLES = ("roles", "visible_to", "writable_by")


def check_between(
    definitions: Sequence[Definition], folders: set[str], roles: Sequence[str] = ()
) -> None:
    """Report it to the sources. folders: those that have a schema file, of whatever kind. roles: of
    auth.roles; if it names none, a schema may name any.
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
                second.source.report(second.call.place("name"), said)
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
