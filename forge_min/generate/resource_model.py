"""The data from which the code of a resource is generated: columns, relations, constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..parse import TYPES, ColumnIR, RelationEdge, ResourceIR, constraint_name, edges_of, title_of


def operators(column: ColumnIR) -> tuple[str, ...]:
    """Return the filter operators of a filterable column beside `eq`."""
    return (*TYPES[column.type]["operators"], *("is_null",) * (not column.required))


@dataclass(frozen=True, slots=True)
class Shape:
    """A resource with the data of its generated code.

    columns: in the order of the table.
    links: its relations.
    names: of all resources.
    title: the template of the title of a row.
    """

    resource: ResourceIR
    columns: tuple[ColumnIR, ...]
    links: tuple[RelationEdge, ...]
    names: frozenset[str]
    title: str

    @property
    def written(self) -> tuple[ColumnIR, ...]:
        """The columns that a write may set."""
        return tuple(column for column in self.columns if column.declared)

    @property
    def across(self) -> tuple[RelationEdge, ...]:
        """The relations with a key that is a field of the resource."""
        return tuple(link for link in self.links if link.field)

    @property
    def filters(self) -> tuple[tuple[str, ColumnIR], ...]:
        """The documented filters: their names in a query, such as "ward.code", and their columns.

        A field of a related row is included if it is declared, and the relation leads to at most
        one row, not from rows without a tenant to those of a tenant.
        """
        own = [(c.column, c) for c in self.columns if c.filterable]
        tenant = self.resource.tenant_scoped
        return tuple(own) + tuple(
            (f"{link.name}.{c.column}", c)
            for link in self.links
            if link.kind in ("belongs_to", "has_one") and (tenant or not link.target.tenant_scoped)
            for c in link.target.members
            if c.filterable
        )

    @property
    def source(self) -> str:
        """The table or, for rows of a tenant, the view from which rows are read."""
        r = self.resource
        return constraint_name(r.table, "", "tenant") if r.tenant_scoped else r.table


def shape_of(resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> Shape:
    """Return the shape of one of `resources` (by name)."""
    edges, title = edges_of(resource, resources), title_of(resource, resources)
    return Shape(resource, resource.columns, edges, frozenset(resources), title)


def constraints_of(shape: Shape) -> dict[str, str]:
    """Return the field of each constraint that migrations of this resource create, by name."""
    resource, key = shape.resource, shape.resource.key.column
    fields = {constraint_name(resource.table, "", "pkey"): key}
    if resource.tenant_scoped and not resource.key.declared:
        fields[constraint_name(resource.table, "", "tenant_key")] = key
    for member in resource.members:
        for kind in _rules(member):
            fields[constraint_name(resource.table, member.column, kind)] = member.column
    for link in shape.across:
        fields[constraint_name(link.join, link.target_column, "fkey")] = link.field
    return fields


def _rules(member: ColumnIR) -> list[str]:
    if member.target:
        return ["key", "fkey"] if member.unique else ["fkey"]
    indexed = member.index or member.filterable or member.sortable
    kinds = ["key"] if member.unique else ["idx"] if indexed else []
    kinds = [] if member.primary_key else kinds
    if member.choices or "check" in TYPES[member.type]:
        kinds.append("check")
    return [*kinds, *member.check_rules]
