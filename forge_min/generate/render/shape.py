"""A resource as generated code sees it: every column with its type, every relation with its keys.

Nothing here is text of a file yet.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...parse.ir import TYPES, FieldIR, RelationIR, ResourceIR, attribute_of
from ...parse.links import Link, links
from ...parse.names import constraint_name
from ...schema import FieldType
from .fill import read


class Kind(NamedTuple):
    """A type of fields, as templates/types.toml describes it. sql: PostgreSQL's, without a size."""

    row: str
    given: str
    sql: str
    schema: Mapping[str, Any]
    operators: Sequence[str]
    json: str = "{}"
    value: str = ""
    around: Sequence[str] = ()
    example: Any = None


_TABLE = tomllib.loads(read("types.toml"))
MODULES: Mapping[str, str] = _TABLE["modules"]
KINDS = {n: Kind(sql=TYPES[n]["sql"], **values) for n, values in _TABLE["types"].items()}
_RULES = ("pattern", "precision", "min", "max", "min_len", "max_len")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a row. member: what declared it; version and the times have one of ours.
    written: whether the data of a write may have it. longest: characters of the key that a relation
    refers to.
    """

    member: FieldIR | RelationIR
    type: FieldType
    written: bool = False
    longest: int | None = None

    @property
    def name(self) -> str:
        """Its name in the database and in JSON."""
        return self.member.column

    @property
    def attribute(self) -> str:
        """Its name in Python."""
        return attribute_of(self.name)

    @property
    def kind(self) -> Kind:
        """Its types."""
        return KINDS[self.type]

    @property
    def rules(self) -> dict[str, Any]:
        """What limits its values, by the names of the schema language, but for choices."""
        if not isinstance(self.member, FieldIR):
            return {"max_len": self.longest} if self.longest else {}
        found = {name: getattr(self.member, name) for name in _RULES}
        found["max_len"] = self.member.longest
        return {name: value for name, value in found.items() if value is not None}

    @property
    def is_key(self) -> bool:
        """Whether it is the primary key."""
        return isinstance(self.member, FieldIR) and self.member.primary_key

    @property
    def nullable(self) -> bool:
        """Whether the database may hold null here."""
        return not (self.member.required or self.is_key)

    @property
    def optional(self) -> bool:
        """Whether a row may have None here: it is null, or hidden from who asks."""
        return self.nullable or bool(self.member.visible_to)

    @property
    def filterable(self) -> bool:
        """Whether lists may be filtered by it: the key, relations and times, and by choice."""
        return self.is_key or getattr(self.member, "filterable", True)

    @property
    def operators(self) -> tuple[str, ...]:
        """What a filter can do beside "equal"; () where there is no filter."""
        found = (*self.kind.operators, *("is_null",) * self.nullable)
        return found if self.filterable else ()

    @property
    def sortable(self) -> bool:
        """Whether lists may be sorted by it."""
        return self.is_key or getattr(self.member, "sortable", False)

    @property
    def needed(self) -> bool:
        """Whether a create must give it."""
        default = getattr(self.member, "default", None)
        return self.written and not self.nullable and default is None


@dataclass(frozen=True, slots=True)
class Shape:
    """columns: in the order of the table. links: its relations. names: of all resources."""

    resource: ResourceIR
    columns: tuple[Column, ...]
    links: tuple[Link, ...]
    names: frozenset[str]

    @property
    def written(self) -> tuple[Column, ...]:
        """The columns that the data of a write may have."""
        return tuple(column for column in self.columns if column.written)

    @property
    def across(self) -> tuple[Link, ...]:
        """The relations whose keys are a field of the resource."""
        return tuple(link for link in self.links if link.field)

    @property
    def source(self) -> str:
        """What its rows are read from: a tenant's go through the view."""
        r = self.resource
        return constraint_name(r.table, "", "tenant") if r.tenant_scoped else r.table


def shape_of(resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> Shape:
    """The shape of one of `resources` (by name)."""
    key, span = resource.key, resource.span
    columns = [Column(key, key.type, key in resource.members)]
    for member in resource.others:
        field = resources[member.target].key if isinstance(member, RelationIR) else member
        columns.append(Column(member, field.type, True, field.longest))
    columns.append(Column(FieldIR("version", "bigint", span, required=True), "bigint"))
    for name in resource.columns[len(columns) :]:
        stays = name != "deleted_at"
        times = FieldIR(name, "datetime", span, required=stays, sortable=stays, filterable=stays)
        columns.append(Column(times, "datetime"))
    return Shape(resource, tuple(columns), links(resource, resources), frozenset(resources))


def constraints_of(shape: Shape) -> dict[str, str]:
    """Constraint name → field, for every constraint that a migration of this resource makes."""
    resource, key = shape.resource, shape.resource.key.column
    found = {constraint_name(resource.table, "", "pkey"): key}
    if resource.tenant_scoped and resource.key not in resource.members:
        found[constraint_name(resource.table, "", "tenant_key")] = key
    for member in resource.members:
        for kind in _rules(member):
            found[constraint_name(resource.table, member.column, kind)] = member.column
    for link in shape.across:
        found[constraint_name(link.join, link.target_column, "fkey")] = link.field
    return found


def _rules(member: FieldIR | RelationIR) -> list[str]:
    if isinstance(member, RelationIR):
        return ["key", "fkey"] if member.unique else ["fkey"]
    indexed = member.index or member.filterable or member.sortable
    kinds = ["key"] if member.unique else ["idx"] if indexed else []
    kinds = [] if member.primary_key else kinds
    if member.type in ("enum", "slug"):
        kinds.append("check")
    kinds += [rule for rule in ("min", "max", "min_len") if getattr(member, rule) is not None]
    if member.type == "url" or (member.type == "text" and member.max_len is not None):
        kinds.append("max_len")
    return kinds
