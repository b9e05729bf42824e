"""The words of the schema language; each function gives a frozen value. Nothing here checks values.

`parse` checks them, without running the file: the signatures and typed options below are its only
table of what may be written. Names that would hide a builtin end in "_" here, not in the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from decimal import Decimal
from typing import Literal, TypeAlias, TypedDict, Unpack

__all__ = [
    "BelongsTo", "Field", "FieldType", "Hooks", "JobRef", "Many", "ManyKind", "OnDelete",
    "Part", "Permission", "Resource", "Trait", "TraitName", "WithHooks", "auditable",
    "belongs_to", "bigint", "date", "datetime", "decimal", "define", "email", "enum",
    "has_many", "has_one", "json", "many_to_many", "permission", "slug", "soft_delete",
    "string", "tenant_scoped", "text", "timestamps", "url", "uuid", "version", "with_hooks",
]  # fmt: skip

FieldType = Literal[
    Literal["uuid", "string", "text", "int", "bigint", "decimal", "bool"],
    Literal["datetime", "date", "enum", "json", "slug", "email", "url"],
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRules:
    """What a field and a belongs_to may say alike: `MemberOptions` explains it."""

    required: bool = False
    unique: bool = False
    immutable: bool = False
    visible_to: Sequence[str] | None = None
    writable_by: Sequence[str] | None = None
    label: str = ""
    help: str = ""


@dataclass(frozen=True, slots=True)
class Field(MemberRules):
    """One column. `default` None means no default; the typed options below explain the others."""

    name: str
    type: FieldType
    _: KW_ONLY
    default: str | int | bool | None = None
    index: bool = False
    sortable: bool = False
    filterable: bool = False
    searchable: bool = False
    min: int | Decimal | None = None
    max: int | Decimal | None = None
    min_len: int | None = None
    max_len: int | None = None
    pattern: str | None = None
    precision: tuple[int, int] | None = None
    choices: tuple[str, ...] = ()
    primary_key: bool = False
    placeholder: str = ""


class MemberOptions(TypedDict, total=False):
    """Options of every field and of belongs_to.

    required: a create must give it, and it is never null. immutable: only a create gives it.
    visible_to, writable_by: the roles that see it, that may give it; None means everybody. label,
    help: what people read in forms.
    """

    required: bool
    immutable: bool
    visible_to: Sequence[str] | None
    writable_by: Sequence[str] | None
    label: str
    help: str


class FieldOptions(MemberOptions, total=False):
    """Options of every type. placeholder: what an empty input of a form shows."""

    placeholder: str


class ColumnOptions(FieldOptions, total=False):
    """Options of every type but json.

    unique: no two rows share it; of one tenant, where the resource is tenant-scoped, and deleted
    rows don't count. index: an index of its own. sortable, filterable: clients may sort, filter by
    it.
    """

    unique: bool
    index: bool
    sortable: bool
    filterable: bool


class KeyOptions(ColumnOptions, total=False):
    """Options of the types that may be the primary key.

    primary_key: takes the place of `id`; it is then required, unique and immutable.
    """

    primary_key: bool


class WrittenOptions(ColumnOptions, total=False):
    """Options of the types whose default is written as text: datetime, date."""

    default: str | None


class UuidOptions(WrittenOptions, KeyOptions, total=False):
    """Options of uuid."""


class EnumOptions(WrittenOptions, total=False):
    """Options of enum. searchable: full-text search reads it."""

    searchable: bool


class TextOptions(EnumOptions, total=False):
    """Options of email and url. Lengths count characters."""

    min_len: int | None
    max_len: int | None


class SlugOptions(TextOptions, KeyOptions, total=False):
    """Options of slug."""


class PatternOptions(TextOptions, total=False):
    """Options of text.

    pattern: a regular expression that the whole value matches, of what Python and ECMAScript have
    in common. Requests are checked by it; the database is not told.
    """

    pattern: str | None


class StringOptions(PatternOptions, KeyOptions, total=False):
    """Options of string."""


class IntOptions(KeyOptions, total=False):
    """Options of int and bigint. min and max are allowed values themselves."""

    default: int | None
    min: int | None
    max: int | None


class DecimalOptions(ColumnOptions, total=False):
    """Options of decimal. precision: (digits in all, digits after the point), as numeric(p, s)."""

    default: str | int | None
    precision: tuple[int, int] | None


class BoolOptions(ColumnOptions, total=False):
    """Options of bool."""

    default: bool | None


def string(name: str, **options: Unpack[StringOptions]) -> Field:
    """A line of text."""
    return Field(name, "string", **options)


def text(name: str, **options: Unpack[PatternOptions]) -> Field:
    """Text of many lines."""
    return Field(name, "text", **options)


def slug(name: str, **options: Unpack[SlugOptions]) -> Field:
    """A part of an address, as "my-first-post": a-z, 0-9 and single "-". max_len None is 100."""
    return Field(name, "slug", **options)


def email(name: str, **options: Unpack[TextOptions]) -> Field:
    """An e-mail address of at most 320 characters, kept as it was given."""
    return Field(name, "email", **options)


def url(name: str, **options: Unpack[TextOptions]) -> Field:
    """An address that begins with http:// or https://. max_len None is 2048."""
    return Field(name, "url", **options)


def int_(name: str, **options: Unpack[IntOptions]) -> Field:
    """A whole number of PostgreSQL's `integer`: -2147483648 to 2147483647."""
    return Field(name, "int", **options)


def bigint(name: str, **options: Unpack[IntOptions]) -> Field:
    """A whole number of 64 bits. Readers of JSON that use doubles keep it exact up to 2^53."""
    return Field(name, "bigint", **options)


def decimal(
    name: str,
    *,
    min: int | float | None = None,
    max: int | float | None = None,
    **options: Unpack[DecimalOptions],
) -> Field:
    """An exact number.

    A default with a fraction is written as text: default="0.5". min and max are allowed values
    themselves, exactly as they are written: 0.1 is one tenth.
    """
    return Field(name, "decimal", min=_exact(min), max=_exact(max), **options)


def bool_(name: str, **options: Unpack[BoolOptions]) -> Field:
    """True or False."""
    return Field(name, "bool", **options)


def datetime(name: str, **options: Unpack[WrittenOptions]) -> Field:
    """A moment, stored in UTC. A default is ISO 8601 with an offset: "2026-01-31T12:00:00Z"."""
    return Field(name, "datetime", **options)


def date(name: str, **options: Unpack[WrittenOptions]) -> Field:
    """A calendar day. A default is ISO 8601: "2026-01-31"."""
    return Field(name, "date", **options)


def uuid(name: str, **options: Unpack[UuidOptions]) -> Field:
    """A UUID. A default is its canonical text."""
    return Field(name, "uuid", **options)


def enum(name: str, choices: Sequence[str], **options: Unpack[EnumOptions]) -> Field:
    """One of the texts of `choices`."""
    return Field(name, "enum", choices=tuple(choices), **options)


def json(name: str, **options: Unpack[FieldOptions]) -> Field:
    """Any JSON value. JSON's null is no value: the column's NULL."""
    return Field(name, "json", **options)


def _exact(limit: int | float | None) -> int | Decimal | None:
    """The number that the shortest spelling of a float stands for."""
    if isinstance(limit, float):
        return int(limit) if limit.is_integer() else Decimal(str(limit))
    return limit


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
    """The resource of this file.

    name: its class name ("BoardingPass"). plural: its table.
    """
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
