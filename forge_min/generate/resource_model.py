"""The data from which the code of a resource is generated: columns, relations, constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..parse import TYPES, ColumnIR, RelationEdge, ResourceIR, constraint_name, edges_of, title_of
from ..schema import States


def operators(column: ColumnIR) -> tuple[str, ...]:
    """Return the filter operators of a filterable column beside `eq`."""
    names: tuple[str, ...] = tuple(TYPES[column.type]["operators"])
    if column.required:
        return names
    return (*names, "is_null")


def transition_steps(states: States, verb: str) -> dict[str, str]:
    """Return the next state of a transition for each state in which it may begin."""
    transitions = states.transitions.items()
    return {state: verbs[verb] for state, verbs in transitions if verb in verbs}


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
        filters = [(column.column, column) for column in self.columns if column.filterable]
        for link in self.links:
            if link.kind not in ("belongs_to", "has_one"):
                continue
            if link.target.tenant_scoped and not self.resource.tenant_scoped:
                continue
            for member in link.target.members:
                if member.filterable:
                    filters.append((f"{link.name}.{member.column}", member))
        return tuple(filters)

    @property
    def source(self) -> str:
        """The table or, for rows of a tenant, the view from which rows are read."""
        table = self.resource.table
        if self.resource.tenant_scoped:
            return constraint_name(table, "", "tenant")
        return table


def shape_of(resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> Shape:
    """Return the shape of one of `resources` (by name)."""
    edges = edges_of(resource, resources)
    title = title_of(resource, resources)
    return Shape(resource, resource.columns, edges, frozenset(resources), title)


def constraints_of(shape: Shape) -> dict[str, str]:
    """Return the field of each constraint that migrations of this resource create, by name."""
    resource = shape.resource
    key = resource.key
    fields = {constraint_name(resource.table, "", "pkey"): key.column}
    if resource.tenant_scoped and not key.declared:
        fields[constraint_name(resource.table, "", "tenant_key")] = key.column
    for member in resource.members:
        for kind in _constraint_kinds(member):
            fields[constraint_name(resource.table, member.column, kind)] = member.column
    for link in shape.across:
        fields[constraint_name(link.join, link.target_column, "fkey")] = link.field
    return fields


def _constraint_kinds(member: ColumnIR) -> list[str]:
    """Return the kinds of a member's constraints and index, as of `constraint_name`."""
    kinds = []
    if member.primary_key:
        pass  # the constraint of the table
    elif member.unique:
        kinds.append("key")
    elif not member.target and (member.index or member.filterable or member.sortable):
        kinds.append("idx")
    if member.target:
        return [*kinds, "fkey"]
    if member.choices or "check" in TYPES[member.type]:
        kinds.append("check")
    return [*kinds, *member.check_rules]
