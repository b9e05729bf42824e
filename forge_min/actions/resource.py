"""A resource as data: what gen/<resource>/ declares and `Actions` works from. No behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .check import Check

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table. type: a name of `values.TYPES`. field: the name in JSON."""

    name: str
    type: str
    nullable: bool = True
    filterable: bool = False
    sortable: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key of a list."""

    column: Column
    descending: bool = False


@dataclass(frozen=True, slots=True)
class JobHook:
    """A job that a write enqueues in its own statement. delay in seconds; max_attempts None = the
    default.
    """

    kind: str
    queue: str = "default"
    priority: int = 2
    max_attempts: int | None = None
    delay: int = 0


@dataclass(frozen=True, slots=True)
class Resource(Generic[R]):
    """Everything that differs from one resource to the next.

    select: `select <columns> from <table>`. insert: `insert into ... values (...) returning *` with
    one named placeholder per column. insert_many: the same from unnest of arrays. columns: in the
    order of `select` and of `row`. constraints: PostgreSQL constraint name → field. check: the
    straight-line validator.
    """

    name: str
    event: str
    table: str
    topic: str
    columns: tuple[Column, ...]
    row: Callable[..., R]
    to_json: Callable[[R], dict[str, Any]]
    check: Callable[[Check], None]
    select: str
    insert: str
    insert_many: str
    constraints: Mapping[str, str] = field(default_factory=dict)
    timestamps: bool = False
    after_create: tuple[JobHook, ...] = ()
    after_update: tuple[JobHook, ...] = ()
    after_delete: tuple[JobHook, ...] = ()

    @property
    def hooks(self) -> tuple[JobHook, ...]:
        """Every hook of every operation."""
        return self.after_create + self.after_update + self.after_delete

    def column(self, name: str) -> Column | None:
        """The column of this name, or None."""
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """One page of a list. next, prev: opaque cursors, or None. total: only when it was asked
    for.
    """

    rows: list[R]
    next: str | None = None
    prev: str | None = None
    total: int | None = None
