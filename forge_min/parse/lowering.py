"""Lowers values of the schema language to the IR, and computes the columns of each relation.

`lower` makes the IR of parsed and of imported schemas. Relation edges need resources with
relations that `parse_project` has checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar

from .. import schema
from .condition import condition_fields
from .ir import ColumnIR, ResourceIR
from .names import constraint_name, kebab, name_of, plural, snake, table_of

_T = TypeVar("_T")


def lower(resource: schema.ResourceSchema, source: str) -> ResourceIR:
    """Return the IR of a valid resource; `resolve` completes it with other resources.

    source: its file, relative to the project.
    """
    parts = resource.parts
    traits = {trait.name: True for trait in _of_type(schema.Trait, parts)}
    states = _of_type(schema.States, parts)
    hooks = [part.hooks for part in _of_type(schema.WithHooks, parts)]
    table = table_of(resource)
    return ResourceIR(
        name=resource.name,
        folder=PurePosixPath(source).parent.name,
        table=table,
        path=kebab(table),
        source=source,
        members=tuple(_member(part) for part in parts if isinstance(part, schema.Member)),
        many=_of_type(schema.Many, parts),
        permissions=_permissions(parts, states),
        uniques=_of_type(schema.UniqueFields, parts),
        indexes=_of_type(schema.FieldsIndex, parts),
        checks=_of_type(schema.RowCheck, parts),
        states=states,
        reports=_of_type(schema.Report, parts),
        title=resource.title,
        hooks=hooks[0] if hooks else schema.Hooks(),
        versioned=traits.pop("version", False),
        **traits,
    )


def _of_type(type_: type[_T], parts: Iterable[object]) -> tuple[_T, ...]:
    return tuple(part for part in parts if isinstance(part, type_))


def resolve(resources: Iterable[ResourceIR]) -> tuple[ResourceIR, ...]:
    """Set the type of each belongs_to, and make it unique if it is the inverse of a has_one."""
    by_name = {resource.name: resource for resource in resources}
    inverses = set()
    for owner in by_name.values():
        for many in owner.many:
            if many.kind == "has_one" and many.target in by_name:
                for relation in inverse_relations(owner, many, by_name[many.target]):
                    inverses.add((many.target, relation.name))
    resolved = []
    for resource in by_name.values():
        members = []
        for member in resource.members:
            if member.target in by_name:
                key = by_name[member.target].key
                unique = member.unique or (resource.name, member.name) in inverses
                member = replace(member, type=key.type, max_len=key.longest, unique=unique)
            members.append(member)
        resolved.append(replace(resource, members=tuple(members)))
    return tuple(resolved)


def _permissions(
    parts: Sequence[schema.Part], states: Sequence[schema.States]
) -> tuple[schema.Permission, ...]:
    """The permissions, also of the transitions: without one of their own it is that of "update"."""
    declared = _of_type(schema.Permission, parts)
    roles = {permission.operation: tuple(permission.roles) for permission in declared}
    for part in states:
        for verb in part.verbs:
            verb_roles = part.roles.get(verb, roles.get("update"))
            if verb_roles is not None:
                roles[verb] = tuple(verb_roles)
    return tuple(schema.Permission(operation, names) for operation, names in roles.items())


# The options of states and of a primary key.
_ALWAYS: dict[str, Any] = dict.fromkeys(("required", "immutable", "filterable", "sortable"), True)


def _member(part: schema.Member) -> ColumnIR:
    if isinstance(part, schema.States):
        return ColumnIR(
            part.name,
            "enum",
            choices=tuple(part.transitions),
            default=part.initial,
            aggregatable=True,
            label=part.label,
            help=part.help,
            **_ALWAYS,
        )
    values: dict[str, Any] = {field.name: getattr(part, field.name) for field in fields(part)}
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
        name = constraint_name(resource.table, fields, "rule")
        if name in names:
            name = f"{name[:57]}_{len(names)}"
        names[name] = check
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
        edge = RelationEdge(
            resource,
            relation.name,
            "belongs_to",
            target,
            relation.column,
            on_delete=relation.on_delete,
        )
        edges.append(edge)
    for many in resource.many:
        target = resources[many.target]
        if many.kind == "many_to_many":
            edges.append(many_to_many_edge(resource, many, target))
        else:
            column = inverse_relations(resource, many, target)[0].column
            edges.append(RelationEdge(resource, name_of(many), many.kind, target, column))
    return tuple(edges)


def inverse_relations(
    resource: ResourceIR, many: schema.Many, target: ResourceIR
) -> list[ColumnIR]:
    """Return the belongs_to relations of `target` that match a has_one or has_many.

    A valid schema has exactly one.
    """
    inverses = [relation for relation in target.relations if relation.target == resource.name]
    if many.via:
        return [relation for relation in inverses if relation.name == many.via]
    return inverses


def join_edges(resources: Iterable[ResourceIR]) -> tuple[RelationEdge, ...]:
    """Return one edge per join table, by its name; the first one if both ends declare it."""
    by_name = {resource.name: resource for resource in resources}
    edges = [edge for owner in by_name.values() for edge in edges_of(owner, by_name)]
    by_table = {edge.join: edge for edge in reversed(edges) if edge.join}
    return tuple(by_table[table] for table in sorted(by_table))


def ids_field(target: str, name: str) -> str:
    """Return the JSON field with the target keys of a many_to_many: tags → tag_ids."""
    word = snake(target)
    if name == plural(word):
        return f"{word}_ids"
    if name.endswith("ies"):
        return f"{name[:-3]}y_ids"
    return f"{name.removesuffix('s')}_ids"


def many_to_many_edge(owner: ResourceIR, many: schema.Many, target: ResourceIR) -> RelationEdge:
    """Return the edge of a many_to_many."""
    name = name_of(many)
    target_column = f"{snake(target.name)}_id"
    if target is owner:
        target_column = f"other_{target_column}"
    return RelationEdge(
        owner,
        name,
        "many_to_many",
        target,
        column=f"{snake(owner.name)}_id",
        join=many.table or f"{owner.table}_{name}",
        target_column=target_column,
        field=ids_field(target.name, name),
    )
