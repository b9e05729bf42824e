"""The other parts of a resource: relations, traits, permissions, rules and hooks.

As in `language`, each word makes a frozen value and checks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, TypeAlias

from .language import Field, MemberRules

__all__ = [
    "BelongsTo", "FieldsIndex", "Hooks", "JobRef", "Many", "ManyKind", "Member", "OnDelete", "Part",
    "Permission", "Report", "ResourceSchema", "RowCheck", "States", "Trait", "TraitName",
    "UniqueFields", "WithHooks", "auditable", "belongs_to", "check", "define", "has_many",
    "has_one", "index", "many_to_many", "permission", "report", "soft_delete", "states",
    "tenant_scoped", "timestamps", "unique", "version", "with_hooks",
]  # fmt: skip

Filters: TypeAlias = dict[str, str | int | float | bool | list[str] | list[int] | None]
OnDelete = Literal["restrict", "cascade", "set_null"]
ManyKind = Literal["has_many", "has_one", "many_to_many"]
TraitName = Literal["timestamps", "soft_delete", "tenant_scoped", "auditable", "version"]


@dataclass(frozen=True, slots=True)
class BelongsTo(MemberRules):
    """A reference to one row of the resource `target`, in a column `<name>_id`.

    The other options are those of every field, and:

    name: default the target's snake name.
    unique: no two rows refer to the same target.
    aggregatable: clients may group rows by it.
    on_delete: the effect of deleting the target: it is refused ("restrict"), this row is deleted
        too ("cascade"), or the reference becomes null ("set_null").
    """

    target: str
    name: str | None = None
    _: KW_ONLY
    on_delete: OnDelete = "restrict"


@dataclass(frozen=True, slots=True)
class Many:
    """A relation without a column in this table. None means the default of its function."""

    kind: ManyKind
    target: str
    name: str | None = None
    via: str | None = None
    table: str | None = None


@dataclass(frozen=True, slots=True)
class Trait:
    """A property of a resource that is on or off."""

    name: TraitName


@dataclass(frozen=True, slots=True)
class Permission:
    """Only users with one of `roles` may perform an operation. Without a permission it is open.

    operation: "read", "create", "update", "delete", "restore", "audit" (read the history) or the
        name of a verb.
    """

    operation: str
    roles: Sequence[str]


@dataclass(frozen=True, slots=True)
class JobRef:
    """A job that a hook enqueues.

    kind: the class name of the job.
    queue: the name of its queue.
    priority: 1 (first) to 4 (last).
    max_attempts: None means the configured number.
    delay: seconds before it may run.
    unique: no job is added while one for the same row waits; while one runs, one successor is.
    """

    kind: str
    queue: str = "default"
    priority: int = 2
    max_attempts: int | None = None
    delay: int = 0
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    """The jobs to enqueue, in the transaction of the write that causes them."""

    after_create: Sequence[JobRef] = ()
    after_update: Sequence[JobRef] = ()
    after_delete: Sequence[JobRef] = ()

    @property
    def all(self) -> tuple[JobRef, ...]:
        """All jobs; one that is in two hooks is listed twice."""
        return (*self.after_create, *self.after_update, *self.after_delete)


@dataclass(frozen=True, slots=True)
class WithHooks:
    """Enqueue jobs after a create, update or delete."""

    hooks: Hooks


@dataclass(frozen=True, slots=True)
class UniqueFields:
    """Fields with values that are unique together."""

    fields: tuple[str, ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class FieldsIndex:
    """An index of several fields, or of some rows.

    fields: with "-" before a name its values are in descending order.
    where: a condition; "" for all rows.
    """

    fields: tuple[str, ...]
    where: str = ""


@dataclass(frozen=True, slots=True)
class RowCheck:
    """Refuse rows for which the condition is false; one with a null value is not false.

    condition: an expression such as "discharged_at >= admitted_at": fields as in JSON, numbers,
        texts, True, False; comparisons, in, is None; and, or, not; +, -, * of numbers; len() of a
        text. Texts are compared with == and != only.
    message: the error of each of its fields.
    """

    condition: str
    message: str


@dataclass(frozen=True, slots=True)
class States:
    """Add a field with the state of the row. A new row is in `initial`; transitions change it.

    Clients may filter, sort and group by it.

    transitions: {state: {transition: next state}} with every state; a final one has {}. Each
        transition is `POST /<plural>/{id}/<transition>` and a button on the page of the row.
    roles: {transition: roles}, as a permission. The others need the permission "update".
    reason: the transitions that need a reason, which is kept in the history.
    not_by: {transition: field with a user}: this user must not perform it. One field for all
        transitions: "created_by", which is also added as the author of the row, or another name.
        {transition: operations}: "create", "update" and transitions; users that performed one
        of them on the row, as its history shows, must not perform it.
    locked: {state: fields}: no update changes them while the row is in this state.
    label, help: as of every field.
    """

    name: str
    initial: str
    transitions: Mapping[str, Mapping[str, str]]
    roles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    reason: Sequence[str] = ()
    not_by: Mapping[str, str | Sequence[str]] | str = field(default_factory=dict)
    locked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    label: str = ""
    help: str = ""

    @property
    def verbs(self) -> tuple[str, ...]:
        """The names of the transitions."""
        return tuple(dict.fromkeys(verb for verbs in self.transitions.values() for verb in verbs))

    @property
    def excluded(self) -> Mapping[str, Sequence[str]]:
        """`not_by` as a mapping: transition → a field and operations."""
        by_verb = self.not_by
        if isinstance(by_verb, str):
            by_verb = dict.fromkeys(self.verbs, by_verb)
        pairs = by_verb.items()
        return {verb: [names] if isinstance(names, str) else names for verb, names in pairs}

    @property
    def authored(self) -> bool:
        """Whether a row has its author."""
        return any("created_by" in names for names in self.excluded.values())


@dataclass(frozen=True, slots=True)
class Report:
    """A page with a table and a chart of groups of rows, at /-/reports/<name>.

    name: unique in the project. A permission of this name is that of the report, else "read" is.
    group: one or two fields, or the day, week, month or year of a time: "month(admitted_at)".
    measures: of each group: "count", or sum, avg, min or max of a field: "sum(cost)". The chart
        shows the first.
    filters: conditions on fields, as of a list: {"status": "open", "cost[gte]": 10}. None means
        null, and a condition [in] has a list of values.
    chart: "bar", "line" or "stacked"; its colours are the values of the second group.
    """

    name: str
    group: Sequence[str]
    measures: Sequence[str] = ("count",)
    filters: Filters | None = None
    chart: Literal["bar", "line", "stacked"] = "bar"


Member: TypeAlias = Field | BelongsTo | States  # the parts that are a column
Part: TypeAlias = (
    Member | Many | Trait | Permission | WithHooks | UniqueFields | FieldsIndex | RowCheck | Report
)


@dataclass(frozen=True, slots=True)
class ResourceSchema:
    """A resource in a schema. plural None means the rule (country → countries, bus → buses)."""

    name: str
    parts: tuple[Part, ...]
    plural: str | None = None
    title: str = ""


def define(name: str, *parts: Part, plural: str | None = None, title: str = "") -> ResourceSchema:
    """Define the resource of this file.

    name: its class name ("BoardingPass").
    plural: its table; default the plural of the name.
    title: names a row on pages: a text with fields in braces, also of rows to which it belongs:
        "{patient.name}, {admitted_at}". Default: a field for one line of text, such as `name`.
    """
    return ResourceSchema(name, parts, plural, title)


# These words of the language are the classes of their parts.
belongs_to = BelongsTo
check = RowCheck
permission = Permission
report = Report
states = States
with_hooks = WithHooks


def has_many(target: str, name: str | None = None, via: str | None = None) -> Many:
    """The rows of `target` that belong to this one.

    name: default the target's plural.
    via: the inverse belongs_to of `target`; needed if it has several.
    """
    return Many("has_many", target, name, via)


def has_one(target: str, name: str | None = None, via: str | None = None) -> Many:
    """The one row of `target` that belongs to this one; its belongs_to becomes unique.

    name: default the target's snake name.
    via: as of has_many.
    """
    return Many("has_one", target, name, via)


def many_to_many(target: str, name: str | None = None, table: str | None = None) -> Many:
    """Rows of `target`, each of which may belong to several rows of this resource.

    name: default the target's plural.
    table: the join table, default <this table>_<name>. Both ends may declare the relation with the
        same table.
    """
    return Many("many_to_many", target, name, table=table)


def timestamps() -> Trait:
    """Add created_at and updated_at, set by the database's clock."""
    return Trait("timestamps")


def soft_delete() -> Trait:
    """Keep deleted rows, marked by deleted_at; they can be restored."""
    return Trait("soft_delete")


def tenant_scoped() -> Trait:
    """Assign each row to a tenant; only that tenant can see it."""
    return Trait("tenant_scoped")


def auditable() -> Trait:
    """Record the author and the changes of every write, in its transaction."""
    return Trait("auditable")


def version() -> Trait:
    """Require that a change names the version that it is based on (If-Match)."""
    return Trait("version")


def unique(*fields: str, message: str = "") -> UniqueFields:
    """Allow no two rows with the same values of all these fields together.

    fields: names as in JSON ("ward_id"). Deleted rows do not count, nor do rows of other tenants,
        nor rows in which one of the values is null.
    message: the error of each field, default: "is already taken".
    """
    return UniqueFields(fields, message)


def index(*fields: str, where: str = "") -> FieldsIndex:
    """Add an index for queries that filter or sort by these fields together.

    fields: in order, names as in JSON; with "-" before a name its values are in descending order.
        One field is possible with `where`.
    where: only rows that fulfil this condition, written as of `check`.
    """
    return FieldsIndex(fields, where)
