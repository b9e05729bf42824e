"""A resource as generated code sees it: every column with its type, every relation with its keys.

Nothing here is text of a file yet.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..parse import TYPES, ColumnIR, RelationEdge, ResourceIR, constraint_name, links
from .templating import read_template


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


_TABLE = tomllib.loads(read_template("types.toml"))
MODULES: Mapping[str, str] = _TABLE["modules"]
KINDS = {n: Kind(sql=TYPES[n]["sql"], **values) for n, values in _TABLE["types"].items()}


def operators(column: ColumnIR) -> tuple[str, ...]:
    """What a filter can do beside "equal"; () where there is no filter."""
    found = (*KINDS[column.type].operators, *("is_null",) * (not column.required))
    return found if column.filterable else ()


@dataclass(frozen=True, slots=True)
class Shape:
    """A resource with all that its generated code needs.

    columns: in the order of the table. links: its relations. names: of all resources.
    """

    resource: ResourceIR
    columns: tuple[ColumnIR, ...]
    links: tuple[RelationEdge, ...]
    names: frozenset[str]

    @property
    def written(self) -> tuple[ColumnIR, ...]:
        """The columns that the data of a write may have."""
        return tuple(column for column in self.columns if column.declared)

    @property
    def across(self) -> tuple[RelationEdge, ...]:
        """The relations whose keys are a field of the resource."""
        return tuple(link for link in self.links if link.field)

    @property
    def source(self) -> str:
        """What its rows are read from: a tenant's go through the view."""
        r = self.resource
        return constraint_name(r.table, "", "tenant") if r.tenant_scoped else r.table


def shape_of(resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> Shape:
    """The shape of one of `resources` (by name)."""
    return Shape(resource, resource.columns, links(resource, resources), frozenset(resources))


def constraints_of(shape: Shape) -> dict[str, str]:
    """Constraint name → field, for every constraint that a migration of this resource makes."""
    resource, key = shape.resource, shape.resource.key.column
    found = {constraint_name(resource.table, "", "pkey"): key}
    if resource.tenant_scoped and not resource.key.declared:
        found[constraint_name(resource.table, "", "tenant_key")] = key
    for member in resource.members:
        for kind in _rules(member):
            found[constraint_name(resource.table, member.column, kind)] = member.column
    for link in shape.across:
        found[constraint_name(link.join, link.target_column, "fkey")] = link.field
    return found


def _rules(member: ColumnIR) -> list[str]:
    if member.target:
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
