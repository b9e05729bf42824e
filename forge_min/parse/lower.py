"""From the values of the schema language to the IR: the one way there, parsed or imported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from .. import schema
from .diagnostic import Span
from .ir import ColumnIR, ManyIR, ResourceIR
from .links import way_back
from .names import kebab, name_of, table_of

_Member: TypeAlias = schema.Field | schema.BelongsTo


def lower(
    resource: schema.Resource, source: str, span: Span, spans: Sequence[Span] = ()
) -> ResourceIR:
    """The IR of a resource without mistakes; `settle` adds what other resources say about it.

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


def settle(resources: Iterable[ResourceIR]) -> tuple[ResourceIR, ...]:
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
