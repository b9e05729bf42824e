"""How the resources of a project hang together: each relation with its columns filled in.

Only for resources whose relations `parse_project` has found to be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..schema import OnDelete
from .ir import ColumnIR, ManyIR, ResourceIR
from .names import plural, snake

Kind = Literal["belongs_to", "has_one", "has_many", "many_to_many"]


@dataclass(frozen=True, slots=True)
class Link:
    """One relation as seen from its owner.

    column: the key that leads there: of the owner's own table (belongs_to), of the target's
    (has_one, has_many), or the one of the join table that holds the owner (many_to_many). join,
    target_column: the join table and its other column. field: the JSON field with the targets' ids,
    only of a many_to_many. on_delete: what happens to the owner with its target; of a belongs_to.
    """

    owner: ResourceIR
    name: str
    kind: Kind
    target: ResourceIR
    column: str
    join: str = ""
    target_column: str = ""
    field: str = ""
    on_delete: OnDelete = "restrict"


def links(resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> tuple[Link, ...]:
    """The relations of `resource`, belongs_to first. resources: all of them by name."""
    found = []
    for relation in resource.relations:
        target = resources[relation.target]
        rule, column = relation.on_delete, relation.column
        found.append(Link(resource, relation.name, "belongs_to", target, column, on_delete=rule))
    for many in resource.many:
        target = resources[many.target]
        if many.kind == "many_to_many":
            found.append(across(resource, many, target))
        else:
            (back, *_) = way_back(resource, many, target)
            found.append(Link(resource, many.name, many.kind, target, back.column))
    return tuple(found)


def way_back(resource: ResourceIR, many: ManyIR, target: ResourceIR) -> list[ColumnIR]:
    """The belongs_to relations of `target` that a has_one or has_many may mean; right is one."""
    back = [r for r in target.relations if r.target == resource.name]
    return [r for r in back if not many.via or r.name == many.via]


def joins(resources: Iterable[ResourceIR]) -> tuple[Link, ...]:
    """One link for each join table, by its name. Two resources may name the same one: the first."""
    by_name = {resource.name: resource for resource in resources}
    every = [link for owner in by_name.values() for link in links(owner, by_name) if link.join]
    found = {link.join: link for link in reversed(every)}
    return tuple(found[table] for table in sorted(found))


def ids_field(target: str, name: str) -> str:
    """The JSON field with the keys of a many_to_many's targets: tags → tag_ids."""
    word = snake(target)
    if name != plural(word):
        word = name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")
    return f"{word}_ids"


def across(owner: ResourceIR, many: ManyIR, target: ResourceIR) -> Link:
    """The link of a many_to_many."""
    word = snake(target.name)
    column = snake(owner.name) + "_id"
    other = word + "_id" if target is not owner else f"other_{word}_id"
    table = many.table or f"{owner.table}_{many.name}"
    ids = ids_field(target.name, many.name)
    return Link(owner, many.name, "many_to_many", target, column, table, other, ids)
