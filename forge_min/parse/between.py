"""What can only be wrong between the schema files of a project: names, targets, relations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import schema
from .diagnostic import quote
from .fields import Problems
from .ir import ManyIR, ResourceIR
from .links import across, way_back
from .names import Problem, did_you_mean, field_problem, folder_of, name_of, table_of, word_problem
from .reading import Definition, report_all


def check_between(definitions: Sequence[Definition], spoilt: set[str]) -> None:
    """Report it to the sources. spoilt: folders whose file is too broken to give a definition."""
    _check_unique(definitions)
    sound = {d.name: d.resource() for d in definitions if not d.source.diagnostics}
    tables = {table_of(d.call.value): d.name for d in definitions}
    project = _Project({d.name for d in definitions}, spoilt, sound, tables)
    for definition in definitions:
        for part in definition.call.parts:
            if isinstance(part.value, schema.BelongsTo | schema.Many):
                report_all(definition.source, part, project.problems(definition.name, part.value))


def _check_unique(definitions: Sequence[Definition]) -> None:
    seen: dict[tuple[str, str], Definition] = {}
    for second in definitions:
        table = table_of(second.call.value)
        for code, what, name in (("F114", "name", second.name), ("F115", "table", table)):
            first = seen.setdefault((code, name), second)
            if first is not second:
                message = f"the {what} {quote(name)} is already that of {first.source.file}"
                hint = 'rename one of them, or give a table of its own with plural="..."'
                second.source.report(second.call.place("name"), code, message, hint)
                break


@dataclass(frozen=True, slots=True)
class _Project:
    names: set[str]
    spoilt: set[str]
    sound: dict[str, ResourceIR]  # those without a mistake of their own
    tables: dict[str, str]  # table → resource
    joined: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def problems(self, owner: str, part: schema.BelongsTo | schema.Many) -> Problems:
        """What is wrong with a relation; a file with mistakes is given the benefit of doubt."""
        if part.target not in self.names and folder_of(part.target) not in self.spoilt:
            message = f"there is no resource {quote(part.target)}"
            yield "target", Problem("F140", message, did_you_mean(part.target, self.names))
        if owner not in self.sound or part.target not in self.sound:
            return
        here, there = self.sound[owner], self.sound[part.target]
        join = isinstance(part, schema.Many) and part.kind == "many_to_many"
        differ = here.tenant_scoped != there.tenant_scoped
        if differ and (join or (isinstance(part, schema.BelongsTo) and there.tenant_scoped)):
            without = owner if there.tenant_scoped else part.target
            message = f'the other end of this relation is tenant-scoped, and "{without}" is not'
            yield "target", Problem("F145", message, f'give "{without}" schema.tenant_scoped()')
        for many in here.many if isinstance(part, schema.Many) else ():
            if many.name == name_of(part):
                yield from (self._join if join else _way_back)(here, many, there)

    def _join(self, owner: ResourceIR, many: ManyIR, target: ResourceIR) -> Problems:
        link, hint = across(owner, many, target), 'give it another: table="..."'
        place, ends = ("table" if many.table else "name"), self.joined[link.join]
        yield place, word_problem(link.join, "the join table")
        for column in {link.column, link.target_column}:
            yield "target", field_problem(column.removesuffix("_id"), "_id")
        if link.join in self.tables:
            message = f'the join table "{link.join}" is that of "{self.tables[link.join]}"'
            yield place, Problem("F144", message, hint)
        elif ends and (ends != [(target.name, owner.name)] or owner is target):
            message = f'the join table "{link.join}" joins "{ends[0][0]}" to "{ends[0][1]}" already'
            yield place, Problem("F144", message, hint)
        ends.append((owner.name, target.name))


def _way_back(owner: ResourceIR, many: ManyIR, target: ResourceIR) -> Problems:
    found = way_back(owner, many, target)
    if len(found) != 1:
        back = [relation.name for relation in target.relations if relation.target == owner.name]
        named = f" named {quote(many.via)}" if many.via else ""
        count = f'"{target.name}" has {len(found) or "no"} belongs_to("{owner.name}"){named}'
        hint = "say which: " + " or ".join(f'via="{name}"' for name in back)
        if many.via or not back:
            hint = did_you_mean(many.via, back) or f"write it into {target.source}"
        place = "via" if many.via else "target"
        yield place, Problem("F143", f"{count}, and one must lead back", hint)
