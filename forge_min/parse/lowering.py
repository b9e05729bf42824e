"""From the values of the schema language to the IR, and each relation with its columns.

`lower` is the one way to the IR, whether a schema is parsed or imported. Links are only for
resources whose relations `parse_project` has found to be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import PurePosixPath
from typing import Any, Literal, TypeAlias

from .. import schema
from ..schema import OnDelete
from .diagnostic import Span
from .ir import ColumnIR, ManyIR, ResourceIR
from .names import kebab, name_of, plural, snake, table_of

_Member: TypeAlias = schema.Field | schema.BelongsTo


def lower(
    resource: schema.Resource, source: str, span: Span, spans: Sequence[Span] = ()
) -> ResourceIR:
    """The IR of a resource without mistakes; `resolve` adds what other resources say about it.

    source: its file, relative to the project. span: where its name stands. spans: one for each
    part; none (a resource that was imported) means `span` for all.
    """
    parts = tuple(zip(resource.parts, spans or (span,) * len(resource.parts), strict=True))
    is_a: dict[str, Any] = {p.name: True for p in resource.parts if isinstance(p, schema.Trait)}
    permissions = [part for part in resource.parts if isinstance(part, schema.Permission)]
    table = table_of(resource)
    return ResourceIR(
        name=resource.name,
        folder=PurePosixPath(source).parent.name,
        table=table,
        path=kebab(table),
        source=source,
        span=span,
        members=tuple(_member(part, at) for part, at in parts if isinstance(part, _Member)),
        many=tuple(many_ir(part, at) for part, at in parts if isinstance(part, schema.Many)),
        permissions=tuple(schema.Permission(p.operation, tuple(p.roles)) for p in permissions),
        hooks=_hooks(resource.parts),
        versioned=is_a.pop("version", False),
        **is_a,
    )


def resolve(resources: Iterable[ResourceIR]) -> tuple[ResourceIR, ...]:
    """The same, with the type of each belongs_to; it is unique if a has_one leads back by it."""
    by_name = {resource.name: resource for resource in resources}
    unique = {
        (many.target, back.name)
        for owner in by_name.values()
        for many in owner.many
        if many.kind == "has_one" and many.target in by_name
        for back in way_back(owner, many, by_name[many.target])
    }

    def settled(owner: ResourceIR, member: ColumnIR) -> ColumnIR:
        if member.target not in by_name:
            return member
        key = by_name[member.target].key
        rule = member.unique or (owner.name, member.name) in unique
        return replace(member, type=key.type, max_len=key.longest, unique=rule)

    return tuple(
        replace(r, members=tuple(settled(r, m) for m in r.members)) for r in by_name.values()
    )


def _member(part: _Member, span: Span) -> ColumnIR:
    values: dict[str, Any] = {field.name: getattr(part, field.name) for field in fields(part)}
    for roles in ("visible_to", "writable_by"):
        values[roles] = tuple(values[roles] or ())
    if isinstance(part, schema.BelongsTo):
        values |= {"name": name_of(part), "type": "uuid", "filterable": True}
    elif part.primary_key:
        always = ("required", "unique", "immutable", "filterable", "sortable")
        values |= dict.fromkeys(always, True)
    return ColumnIR(span=span, **values)


def many_ir(part: schema.Many, span: Span) -> ManyIR:
    """The IR of a relation without a column."""
    return ManyIR(part.kind, name_of(part), part.target, span, part.via or "", part.table or "")


def _hooks(parts: Sequence[schema.Part]) -> schema.Hooks:
    given = [part.hooks for part in parts if isinstance(part, schema.WithHooks)]
    hooks = given[0] if given else schema.Hooks()
    return schema.Hooks(*map(tuple, (hooks.after_create, hooks.after_update, hooks.after_delete)))


Kind = Literal["belongs_to", "has_one", "has_many", "many_to_many"]


@dataclass(frozen=True, slots=True)
class RelationEdge:
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


def links(resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> tuple[RelationEdge, ...]:
    """The relations of `resource`, belongs_to first. resources: all of them by name."""
    found = []
    for relation in resource.relations:
        target = resources[relation.target]
        edge = RelationEdge(resource, relation.name, "belongs_to", target, relation.column)
        found.append(replace(edge, on_delete=relation.on_delete))
    for many in resource.many:
        target = resources[many.target]
        if many.kind == "many_to_many":
            found.append(across(resource, many, target))
        else:
            (back, *_) = way_back(resource, many, target)
            found.append(RelationEdge(resource, many.name, many.kind, target, back.column))
    return tuple(found)


def way_back(resource: ResourceIR, many: ManyIR, target: ResourceIR) -> list[ColumnIR]:
    """The belongs_to relations of `target` that a has_one or has_many may mean; right is one."""
    back = [r for r in target.relations if r.target == resource.name]
    return [r for r in back if not many.via or r.name == many.via]


def joins(resources: Iterable[ResourceIR]) -> tuple[RelationEdge, ...]:
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


def across(owner: ResourceIR, many: ManyIR, target: ResourceIR) -> RelationEdge:
    """The link of a many_to_many."""
    word = snake(target.name)
    column = snake(owner.name) + "_id"
    other = word + "_id" if target is not owner else f"other_{word}_id"
    table = many.table or f"{owner.table}_{many.name}"
    ids = ids_field(target.name, many.name)
    return RelationEdge(owner, many.name, "many_to_many", target, column, table, other, ids)
