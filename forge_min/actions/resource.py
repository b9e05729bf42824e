"""A resource as data: gen/<resource>/ declares it, `Actions` reads it. No behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from ..jobs import JobHook
from .check import Check

# PERF: these are NamedTuples, because a dataclass with slots takes eight times as long to define
# (benchmarks/observe/traces.py, until a page is served).

R = TypeVar("R")
_NONE: Mapping[str, Any] = MappingProxyType({})

ANYBODY = "anybody"
"""The role in a permission that every client has, signed in or not."""


class Column(NamedTuple):
    """One column of a row.

    name: in PostgreSQL and in JSON.
    type: a name of `values.TYPES`.
    aggregatable: clients may group rows by it and compute with it.
    unique: no two rows (of a tenant, not deleted) have the same value.
    immutable: only a create sets it.
    visible_to, writable_by: the roles that may see it, write it; () means every client.
    personal: its values are about a person.
    attribute: in Python, if it differs from the name ("class_").
    has_trigrams: a trigram index serves the filter `contains`.
    label, help, placeholder: for forms.
    """

    name: str
    type: str
    nullable: bool = True
    filterable: bool = False
    has_trigrams: bool = False
    sortable: bool = False
    aggregatable: bool = False
    unique: bool = False
    immutable: bool = False
    choices: tuple[str, ...] = ()
    visible_to: tuple[str, ...] = ()
    writable_by: tuple[str, ...] = ()
    personal: bool = False
    attribute: str = ""
    label: str = ""
    help: str = ""
    placeholder: str = ""

    def value_of(self, row: Any) -> Any:
        """Return the value of this column in a row."""
        return getattr(row, self.attribute or self.name)


class Sort(NamedTuple):
    """One sort key of a list."""

    column: Column
    descending: bool = False

    @property
    def spelled(self) -> str:
        """The key as clients spell it, with "-" for descending."""
        return f"-{self.column.name}" if self.descending else self.column.name


class Rule(NamedTuple):
    """A rule about several fields, which a constraint of PostgreSQL enforces.

    message, code: of the error of each field; "" means those of the kind of constraint.
    """

    fields: tuple[str, ...]
    message: str = ""
    code: str = ""


class DeclaredReport(NamedTuple):
    """A declared aggregate with a page. The fields are the options of `schema.report`."""

    group: tuple[str, ...]
    measures: tuple[str, ...]
    filters: Mapping[str, Any] = _NONE
    chart: Literal["bar", "line", "stacked"] = "bar"


class Relation(NamedTuple):
    """A relation to other rows.

    target: the topic of their resource.
    column: the foreign key: of this table (belongs_to), of the target's (has_one, has_many), or the
        column of the join table with this resource's key (many_to_many).
    join, target_column: the join table and its other column; many_to_many only.
    field, type: the JSON field with the keys of the targets, and their type; many_to_many only.
    on_delete: the effect of deleting the target on this resource's row; belongs_to only.
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


class Transition(NamedTuple):
    """A change of the state of a row.

    name: of the operation.
    column: with the state.
    steps: state → next state.
    needs_reason: whether the caller must give a reason.
    not_by: excludes users: a column with a user, operations that they have performed on the row,
        or several, as "create, update"; "" for none.
    """

    name: str
    column: str
    steps: Mapping[str, str]
    needs_reason: bool = False
    not_by: str = ""


class Resource(NamedTuple, Generic[R]):
    """Everything that differs between resources.

    columns: in the order of `select` and of `row`, the primary key first.
    row: makes a row of the columns.
    check: the straight-line validator.
    select: `select <columns> from <source>`.
    insert: `insert into ... values (...) returning *`, with a named placeholder per column, and
        %(forge_tenant)s if tenant_scoped.
    insert_many: the same from unnest of arrays.
    source: the table, or the view through which the rows of a tenant are read.
    constraints: name of a PostgreSQL constraint → field.
    rules: name of a PostgreSQL constraint → the rule that it enforces, about several fields.
    permissions: operation → roles.
    authored: the column created_by has the author of the row.
    locked: column with states → state → the columns that no update changes in this state.
    reports: the reports by name.
    title: the template of the title of a row, "{patient.name}, {day}"; see html/titles.py.
    versioned: a change must name the version on which it is based.
    has_rule: its statements return what `Actions.rule` needs; set by the actions.
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
    rules: Mapping[str, Rule] = _NONE
    relations: tuple[Relation, ...] = ()
    permissions: Mapping[str, tuple[str, ...]] = _NONE
    reports: Mapping[str, DeclaredReport] = _NONE
    title: str = ""
    timestamps: bool = False
    soft_delete: bool = False
    tenant_scoped: bool = False
    auditable: bool = False
    authored: bool = False
    versioned: bool = False
    searchable: bool = False
    has_rule: bool = False
    transitions: tuple[Transition, ...] = ()
    after_create: tuple[JobHook, ...] = ()
    after_update: tuple[JobHook, ...] = ()
    after_delete: tuple[JobHook, ...] = ()
    locked: Mapping[str, Mapping[str, Sequence[str]]] = _NONE

    @property
    def hooks(self) -> tuple[JobHook, ...]:
        """The jobs of all operations."""
        return (*self.after_create, *self.after_update, *self.after_delete)

    def hooks_of(self, operation: str) -> tuple[JobHook, ...]:
        """Return the jobs that an operation enqueues; a restore counts as an update."""
        by_operation = {"create": self.after_create, "delete": self.after_delete}
        return by_operation.get(operation, self.after_update)

    @property
    def key(self) -> Column:
        """The primary key."""
        return self.columns[0]

    @property
    def quoted_source(self) -> str:
        """The table or view from which rows are read, as a quoted SQL name."""
        return quote(self.source or self.table)

    @property
    def by_name(self) -> dict[str, Column]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}

    def transition(self, name: str) -> Transition:
        """Return the transition of this name. Raises KeyError."""
        return {transition.name: transition for transition in self.transitions}[name]

    def roles(self, operation: str) -> tuple[str, ...] | None:
        """Return the roles of which an operation needs one, None if it needs none.

        A resource without permissions is open to every client. If it has some, an operation without
        a permission is for the system only, (), and one for the role "anybody" is open. A
        permission for "audit" or a report does not close the other operations; for the operation
        "audit" see `BaseActions.allow`.
        """
        roles = self.permissions.get(operation)
        if roles is not None:
            if ANYBODY in roles:
                return None
            return roles
        if self.permissions.keys() - {"audit", *self.reports}:
            return ()
        return None


AnyResource = Resource[Any]


class Page(NamedTuple, Generic[R]):
    """One page of a list.

    next, prev: opaque cursors, or None.
    total: of all pages, for a query with a page number or a counted one; else None.
    is_estimate: whether the total is PostgreSQL's estimate.
    """

    rows: list[R]
    next: str | None = None
    prev: str | None = None
    total: int | None = None
    is_estimate: bool = False


def quote(name: str) -> str:
    """Return an identifier as a quoted SQL name.

    The caller has checked that it has only letters, digits and underscores.
    """
    return f'"{name}"'
