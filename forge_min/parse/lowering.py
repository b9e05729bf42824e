"""Lowers values of the schema language to the IR, and computes the columns of each relation.

`lower` makes the IR of parsed and of imported schemas. Relation edges need resources with
relations that `parse_project` has checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from .. import schema
from .condition import condition_fields
from .ir import ColumnIR, ResourceIR
from .names import constraint_name, kebab, name_of, plural, snake, table_of


def lower(resource: schema.ResourceSchema, source: str) -> ResourceIR:
    """Return the IR of a valid resource; `resolve` completes it with other resources.

    source: its file, relative to the project.
    """
    parts = resource.parts
    traits: dict[str, Any] = {p.name: True for p in parts if isinstance(p, schema.Trait)}
    states = tuple(part for part in parts if isinstance(part, schema.States))
    hooks = (part.hooks for part in parts if isinstance(part, schema.WithHooks))
    table = table_of(resource)
    return ResourceIR(
        name=resource.name,
        folder=PurePosixPath(source).parent.name,
        table=table,
        path=kebab(table),
        source=source,
        members=tuple(_member(part) for part in parts if isinstance(part, schema.Member)),
        many=tuple(part for part in parts if isinstance(part, schema.Many)),
        permissions=_permissions(parts, states),
        uniques=tuple(part for part in parts if isinstance(part, schema.UniqueFields)),
        indexes=tuple(part for part in parts if isinstance(part, schema.FieldsIndex)),
        checks=tuple(part for part in parts if isinstance(part, schema.RowCheck)),
        states=states,
        reports=tuple(part for part in parts if isinstance(part, schema.Report)),
        title=resource.title,
        hooks=next(hooks, schema.Hooks()),
        versioned=traits.pop("version", False),
        **traits,
    )


def resolve(resources: Iterable[ResourceIR]) -> tuple[ResourceIR, ...]:
    """Set the type of each belongs_to, and make it unique if it is the inverse of a has_one."""
    by_name = {resource.name: resource for resource in resources}
    unique = {
        (many.target, back.name)
        for owner in by_name.values()
        for many in owner.many
        if many.kind == "has_one" and many.target in by_name
        for back in inverse_relations(owner, many, by_name[many.target])
    }

    def resolved(owner: ResourceIR, member: ColumnIR) -> ColumnIR:
        if member.target not in by_name:
            return member
        key = by_name[member.target].key
        rule = member.unique or (owner.name, member.name) in unique
        return replace(member, type=key.type, max_len=key.longest, unique=rule)

    return tuple(
        replace(r, members=tuple(resolved(r, m) for m in r.members)) for r in by_name.values()
    )


def _permissions(
    parts: Sequence[schema.Part], states: Sequence[schema.States]
) -> tuple[schema.Permission, ...]:
    """The permissions, also of the transitions: without one of their own it is that of "update"."""
    declared = [part for part in parts if isinstance(part, schema.Permission)]
    roles = {part.operation: tuple(part.roles) for part in declared}
    for each in states:
        for verb in each.verbs:
            allowed = each.roles.get(verb, roles.get("update"))
            if allowed is not None:
                roles[verb] = tuple(allowed)
    return tuple(schema.Permission(operation, names) for operation, names in roles.items())


# The options of states and of a primary key.
_ALWAYS: dict[str, Any] = dict.fromkeys(("required", "immutable", "filterable", "sortable"), True)


def _member(part: schema.Member) -> ColumnIR:
    values: dict[str, Any]
    if isinstance(part, schema.States):
        values = {"choices": tuple(part.transitions), "default": part.initial, "aggregatable": True}
        values |= {"label": part.label, "help": part.help}
        return ColumnIR(part.name, "enum", **_ALWAYS, **values)
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    for roles in ("visible_to", "writable_by"):
        values[roles] = tuple(values[roles] or ())
    if isinstance(part, schema.BelongsTo):
        values |= {"name": name_of(part), "type": "uuid", "filterable": True}
    elif part.primary_key:
        values |= _ALWAYS | {"unique": True}
    return ColumnIR(**values)


def check_names(resource: ResourceIR) -> dict[str, schema.RowCheck]:
    """Return the checks of a resource by the names of their constraints."""
    names: dict[str, schema.RowCheck] = {}
    for check in resource.checks:
        fields = "_".join(condition_fields(check.condition))
        first = constraint_name(resource.table, fields, "rule")
        names[first if first not in names else f"{first[:57]}_{len(names)}"] = check
    return names


@dataclass(frozen=True, slots=True)
class RelationEdge:
    """One relation, seen from its owner.

    column: the foreign key: in the owner's table (belongs_to), in the target's (has_one, has_many),
        or the column of the join table that refers to the owner (many_to_many).
    join, target_column: the join table of a many_to_many and its other column.
    field: the JSON field with the targets' ids of a many_to_many.
    on_delete: the effect on the owner when the target of a belongs_to is deleted.
    """

    owner: ResourceIR
    name: str
    kind: Literal["belongs_to"] | schema.ManyKind
    target: ResourceIR
    column: str
    join: str = ""
    target_column: str = ""
    field: str = ""
    on_delete: schema.OnDelete = "restrict"


def edges_of(resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> tuple[RelationEdge, ...]:
    """Return the relations of a resource, belongs_to first. resources: all by name."""
    edges = []
    for relation in resource.relations:
        target = resources[relation.target]
        edge = RelationEdge(resource, relation.name, "belongs_to", target, relation.column)
        edges.append(replace(edge, on_delete=relation.on_delete))
    for many in resource.many:
        target = resources[many.target]
        if many.kind == "many_to_many":
            edges.append(many_to_many_edge(resource, many, target))
        else:
            (back, *_) = inverse_relations(resource, many, target)
            edges.append(RelationEdge(resource, name_of(many), many.kind, target, back.column))
    return tuple(edges)


def inverse_relations(
    resource: ResourceIR, many: schema.Many, target: ResourceIR
) -> list[ColumnIR]:
    """Return the belongs_to relations of `target` that match a has_one or has_many.

    A valid schema has exactly one.
    """
    back = [r for r in target.relations if r.target == resource.name]
    return [r for r in back if not many.via or r.name == many.via]


def join_edges(resources: Iterable[ResourceIR]) -> tuple[RelationEdge, ...]:
    """Return one edge per join table, by its name; the first one if both ends declare it."""
    by_name = {resource.name: resource for resource in resources}
    edges = [edge for owner in by_name.values() for edge in edges_of(owner, by_name)]
    by_table = {edge.join: edge for edge in reversed(edges) if edge.join}
    return tuple(by_table[table] for table in sorted(by_table))


def ids_field(target: str, name: str) -> str:
    """Return the JSON field with the target keys of a many_to_many: tags → tag_ids."""
    word = snake(target)
    if name != plural(word):
        word = name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")
    return f"{word}_ids"


def many_to_many_edge(owner: ResourceIR, many: schema.Many, target: ResourceIR) -> RelationEdge:
    """Return the edge of a many_to_many."""
    name, word = name_of(many), snake(target.name)
    column = snake(owner.name) + "_id"
    other = word + "_id" if target is not owner else f"other_{word}_id"
    table = many.table or f"{owner.table}_{name}"
    ids = ids_field(target.name, name)
    return RelationEdge(owner, name, "many_to_many", target, column, table, other, ids)
