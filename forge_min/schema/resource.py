"""A resource and the parts that are no fields: relations, traits, permissions, hooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, Unpack

from .fields import Field, MemberOptions, MemberRules

__all__ = [
    "BelongsTo", "Hooks", "JobRef", "Many", "ManyKind", "OnDelete", "Part", "Permission",
    "Resource", "Trait", "TraitName", "WithHooks", "auditable", "belongs_to", "define",
    "has_many", "has_one", "many_to_many", "permission", "soft_delete", "tenant_scoped",
    "timestamps", "version", "with_hooks",
]  # fmt: skip

OnDelete = Literal["restrict", "cascade", "set_null"]
ManyKind = Literal["has_many", "has_one", "many_to_many"]
TraitName = Literal["timestamps", "soft_delete", "tenant_scoped", "auditable", "version"]


@dataclass(frozen=True, slots=True)
class BelongsTo(MemberRules):
    """A column `<name>_id` that refers to a row of `target`. name None: the target's snake name."""

    target: str
    name: str | None = None
    on_delete: OnDelete = "restrict"


class RelationOptions(MemberOptions, total=False):
    """Options of belongs_to.

    unique: no two rows refer to the same one. on_delete: what happens to this row when that one is
    deleted: refuse the deletion ("restrict"), delete this one too ("cascade"), or forget the
    reference ("set_null").
    """

    unique: bool
    on_delete: OnDelete


@dataclass(frozen=True, slots=True)
class Many:
    """A relation that needs no column in this table. None means the rule, as its function says."""

    kind: ManyKind
    target: str
    name: str | None = None
    via: str | None = None
    table: str | None = None


@dataclass(frozen=True, slots=True)
class Trait:
    """Something that a resource is or isn't."""

    name: TraitName


@dataclass(frozen=True, slots=True)
class Permission:
    """The roles that may do one operation."""

    operation: str
    roles: Sequence[str]


@dataclass(frozen=True, slots=True)
class JobRef:
    """A job that a hook enqueues.

    kind: the worker's class name. queue: where it waits. priority: 1 (first) to 4 (last).
    max_attempts: None is the configuration's. delay: seconds before it may run. unique: none is
    added while one for the same row waits; while one runs, one successor is.
    """

    kind: str
    queue: str = "default"
    priority: int = 2
    max_attempts: int | None = None
    delay: int = 0
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    """The jobs to enqueue, in the transaction of the write that they follow."""

    after_create: Sequence[JobRef] = ()
    after_update: Sequence[JobRef] = ()
    after_delete: Sequence[JobRef] = ()

    @property
    def all(self) -> tuple[JobRef, ...]:
        """Every reference; a kind that stands in two hooks comes twice."""
        return (*self.after_create, *self.after_update, *self.after_delete)


@dataclass(frozen=True, slots=True)
class WithHooks:
    """The part of a resource that carries its hooks."""

    hooks: Hooks


Part: TypeAlias = Field | BelongsTo | Many | Trait | Permission | WithHooks


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as written. plural None means the rule: country → countries, bus → buses."""

    name: str
    parts: tuple[Part, ...]
    plural: str | None = None


def define(name: str, *parts: Part, plural: str | None = None) -> Resource:
    """The resource of this file. name: its class name ("BoardingPass"). plural: its table."""
    return Resource(name, parts, plural)


def belongs_to(
    target: str, name: str | None = None, **options: Unpack[RelationOptions]
) -> BelongsTo:
    """A reference to one row of the resource `target`."""
    return BelongsTo(target, name, **options)


def has_many(target: str, name: str | None = None, via: str | None = None) -> Many:
    """The rows of `target` that belong to this one. name None: the target's plural.

    via: the belongs_to of `target` that leads back; None where it has only one.
    """
    return Many("has_many", target, name, via)


def has_one(target: str, name: str | None = None, via: str | None = None) -> Many:
    """The one row of `target` that belongs to this one; its belongs_to becomes unique.

    name None: the target's snake name. via: as of has_many.
    """
    return Many("has_one", target, name, via)


def many_to_many(target: str, name: str | None = None, table: str | None = None) -> Many:
    """Rows of `target`, of which each may belong to many of these. name None: the plural.

    table: the join table, <this table>_<name> when None. Both ends may declare the relation by
    naming the same one.
    """
    return Many("many_to_many", target, name, table=table)


def timestamps() -> Trait:
    """created_at and updated_at, kept by the database's clock."""
    return Trait("timestamps")


def soft_delete() -> Trait:
    """Deleted rows stay, marked by deleted_at, and can be restored."""
    return Trait("soft_delete")


def tenant_scoped() -> Trait:
    """Each row belongs to a tenant, and only that tenant can see it."""
    return Trait("tenant_scoped")


def auditable() -> Trait:
    """Every write leaves who changed what, in its own transaction."""
    return Trait("auditable")


def version() -> Trait:
    """A change must name the version that it is based on (If-Match)."""
    return Trait("version")


def permission(operation: str, roles: Sequence[str]) -> Permission:
    """Only a user with one of `roles` may do it; an operation without a permission is open.

    operation: "read", "create", "update", "delete", "restore", "audit" (read the history) or the
    name of a verb.
    """
    return Permission(operation, roles)


def with_hooks(hooks: Hooks) -> WithHooks:
    """Jobs that are enqueued after a create, update or delete."""
    return WithHooks(hooks)
