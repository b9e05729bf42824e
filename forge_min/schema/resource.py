"""A resource and the parts that are no fields: relations, timestamps, hooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .fields import Field

OnDelete = Literal["restrict", "cascade", "set_null"]


@dataclass(frozen=True, slots=True)
class BelongsTo:
    """A column `<name>_id` that refers to a row of `target`. name None: the target's snake name."""

    target: str
    name: str | None = None
    required: bool = False
    on_delete: OnDelete = "restrict"
    label: str = ""


@dataclass(frozen=True, slots=True)
class Timestamps:
    """The columns created_at and updated_at."""


@dataclass(frozen=True, slots=True)
class JobRef:
    """A job that a hook enqueues.

    kind: the worker's class name. queue: where it waits. priority: 1 (first) to 4 (last).
    max_attempts: None is the configuration's. delay: seconds before it may run.
    """

    kind: str
    queue: str = "default"
    priority: int = 2
    max_attempts: int | None = None
    delay: int = 0


@dataclass(frozen=True, slots=True)
class Hooks:
    """The jobs to enqueue, in the transaction of the write that they follow."""

    after_create: Sequence[JobRef] = ()
    after_update: Sequence[JobRef] = ()
    after_delete: Sequence[JobRef] = ()


@dataclass(frozen=True, slots=True)
class WithHooks:
    """The part of a resource that carries its hooks."""

    hooks: Hooks


Part: TypeAlias = Field | BelongsTo | Timestamps | WithHooks


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
    target: str,
    name: str | None = None,
    required: bool = False,
    on_delete: OnDelete = "restrict",
    label: str = "",
) -> BelongsTo:
    """A reference to one row of the resource `target`.

    on_delete: what happens to this row when that one is deleted: refuse the deletion ("restrict"),
    delete this one too ("cascade"), or forget the reference ("set_null").
    """
    return BelongsTo(target, name, required, on_delete, label)


def timestamps() -> Timestamps:
    """created_at and updated_at, kept by the database's clock."""
    return Timestamps()


def with_hooks(hooks: Hooks) -> WithHooks:
    """Jobs that are enqueued after a create, update or delete."""
    return WithHooks(hooks)
