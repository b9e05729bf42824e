"""A resource as data: what gen/<resource>/ declares and `Actions` works from. No behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from ..jobs import JobHook
from .check import Check

# PERF: all of these are NamedTuples: a dataclass with slots takes eight times as long to define
# (benchmarks/observe/traces.py, until a page is there).

R = TypeVar("R")
_NONE: Mapping[str, Any] = MappingProxyType({})

ANYBODY = "anybody"
"""The role in a permission that everybody has, also who is not signed in."""


class Column(NamedTuple):
    """One column of a row. name: in PostgreSQL and in JSON. type: a name of `values.TYPES`.

    attribute: in Python, where that differs ("class_"). unique: no two rows (of a tenant, not
    deleted) share it. immutable: only a create gives it. visible_to, writable_by: the roles that
    may see, write it; () means everybody. label, help, placeholder: what people read in forms.
    """

    name: str
    type: str
    nullable: bool = True
    filterable: bool = False
    sortable: bool = False
    unique: bool = False
    immutable: bool = False
    choices: tuple[str, ...] = ()
    visible_to: tuple[str, ...] = ()
    writable_by: tuple[str, ...] = ()
    attribute: str = ""
    label: str = ""
    help: str = ""
    placeholder: str = ""


class Sort(NamedTuple):
    """One sort key of a list."""

    column: Column
    descending: bool = False


class Relation(NamedTuple):
    """A way to other rows. target: their topic.

    column: the key that leads there: of this table (belongs_to), of the target's (has_one,
    has_many), or of the join table, holding this resource's key (many_to_many). join,
    target_column: the join table and its other column. field: the JSON field with the targets'
    keys, type: theirs; only of a many_to_many. on_delete: what a deletion of the target does to
    this resource's row; only of a belongs_to.
    """

    name: str
    kind: Literal["belongs_to", "has_one", "has_many", "many_to_many"]
    target: str
    column: str
    join: str = ""
    target_column: str = ""
    field: str = ""
    type: str = "uuid"
    on_delete: Literal["restrict", "cascade", "set_null"] = "restrict"


class Resource(NamedTuple, Generic[R]):
    """Everything that differs from one resource to the next.

    columns: in the order of `select` and of `row`, the primary key first. select: `select <columns>
    from <source>`; source is the table, or the view through which a tenant's rows are read. insert:
    `insert into ... values (...) returning *` with one named placeholder per column, and one
    %(forge_tenant)s where tenant_scoped. insert_many: the same from unnest of arrays. constraints:
    PostgreSQL constraint name → field. check: the straight-line validator. permissions: operation →
    roles. versioned: a change must name the version that it is based on.
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
    source: str = ""
    constraints: Mapping[str, str] = _NONE
    relations: tuple[Relation, ...] = ()
    permissions: Mapping[str, tuple[str, ...]] = _NONE
    timestamps: bool = False
    soft_delete: bool = False
    tenant_scoped: bool = False
    auditable: bool = False
    versioned: bool = False
    searchable: bool = False
    after_create: tuple[JobHook, ...] = ()
    after_update: tuple[JobHook, ...] = ()
    after_delete: tuple[JobHook, ...] = ()

    @property
    def hooks(self) -> tuple[JobHook, ...]:
        """The jobs of every operation."""
        return (*self.after_create, *self.after_update, *self.after_delete)

    @property
    def key(self) -> Column:
        """The primary key."""
        return self.columns[0]

    def roles(self, operation: str) -> tuple[str, ...] | None:
        """The roles of which one is needed for an operation; None = none is.

        A resource without permissions is open. In one that has some, what none is declared for is
        refused to everybody, (), and what names the role "anybody" is open. A permission for
        "audit" does not close the other operations.
        """
        found = self.permissions.get(operation)
        if found is None:
            return () if len(self.permissions) > ("audit" in self.permissions) else None
        return None if ANYBODY in found else found


class Page(NamedTuple, Generic[R]):
    """One page of a list. next, prev: opaque cursors, or None. total: only when it was asked
    for.
    """

    rows: list[R]
    next: str | None = None
    prev: str | None = None
    total: int | None = None


def quote(name: str) -> str:
    """A checked identifier (letters, digits, underscore) as a quoted SQL name."""
    return f'"{name}"'
