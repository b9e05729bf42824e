"""The functions of the schema language. Each returns a frozen value; nothing here checks values.

`parse` checks them without running the file, by the signatures and typed options of this module.
Names that would hide a builtin end in "_" here, but not in the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from decimal import Decimal
from typing import Literal, TypeAlias, TypedDict, Unpack

__all__ = [
    "BelongsTo", "Check", "Field", "FieldType", "Hooks", "Index", "JobRef", "Many", "ManyKind",
    "OnDelete", "Part", "Permission", "ResourceSchema", "Trait", "TraitName", "Unique", "WithHooks",
    "auditable", "belongs_to", "bigint", "check", "date", "datetime", "decimal", "define", "email",
    "enum", "has_many", "has_one", "index", "json", "many_to_many", "permission", "slug",
    "soft_delete", "string", "tenant_scoped", "text", "timestamps", "unique", "url", "uuid",
    "version", "with_hooks",
]  # fmt: skip

FieldType = Literal[
    Literal["uuid", "string", "text", "int", "bigint", "decimal", "bool"],
    Literal["datetime", "date", "enum", "json", "slug", "email", "url"],
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRules:
    """The common options of fields and belongs_to, described in `MemberOptions`."""

    required: bool = False
    unique: bool = False
    immutable: bool = False
    visible_to: Sequence[str] | None = None
    writable_by: Sequence[str] | None = None
    personal: bool = False
    label: str = ""
    help: str = ""


@dataclass(frozen=True, slots=True)
class Field(MemberRules):
    """One column. `default` None means no default; the typed options below describe the others."""

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

    required: a create must set it, and it is never null.
    immutable: only a create can set it.
    visible_to: the roles that may read it; None means all users.
    writable_by: the roles that may set it; None means all users.
    personal: whether its values are about a person; shown in the manual of the application.
    label: shown in forms; the `title` in OpenAPI.
    help: shown in forms; the `description` in OpenAPI.
    """

    required: bool
    immutable: bool
    visible_to: Sequence[str] | None
    writable_by: Sequence[str] | None
    personal: bool
    label: str
    help: str


class FieldOptions(MemberOptions, total=False):
    """Options of every type.

    placeholder: shown in an empty input of a form; an example of a text field in OpenAPI.
    """

    placeholder: str


class ColumnOptions(FieldOptions, total=False):
    """Options of every type except json.

    unique: no two rows have the same value. Deleted rows do not count; if the resource is
        tenant-scoped, only rows of the same tenant count.
    index: the column gets its own index.
    sortable: clients may sort by it.
    filterable: clients may filter by it.
    """

    unique: bool
    index: bool
    sortable: bool
    filterable: bool


class KeyOptions(ColumnOptions, total=False):
    """Options of the types that may be the primary key.

    primary_key: replaces `id`; the field is then required, unique and immutable.
    """

    primary_key: bool


class TextDefaultOptions(ColumnOptions, total=False):
    """Options of types with a default written as text."""

    default: str | None


class UuidOptions(TextDefaultOptions, KeyOptions, total=False):
    """Options of uuid."""


class EnumOptions(TextDefaultOptions, total=False):
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

    pattern: regular expression for the whole value, in the common syntax of Python and ECMAScript.
        It is checked in requests, but not in the database.
    """

    pattern: str | None


class StringOptions(PatternOptions, KeyOptions, total=False):
    """Options of string."""


class IntOptions(KeyOptions, total=False):
    """Options of int and bigint. min and max are included in the range."""

    default: int | None
    min: int | None
    max: int | None


class DecimalOptions(ColumnOptions, total=False):
    """Options of decimal. precision: (total digits, decimal places), as numeric(p, s)."""

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
    """A part of a URL, as "my-first-post": a-z, 0-9 and single "-". max_len defaults to 100."""
    return Field(name, "slug", **options)


def email(name: str, **options: Unpack[TextOptions]) -> Field:
    """An e-mail address of at most 320 characters, stored unchanged."""
    return Field(name, "email", **options)


def url(name: str, **options: Unpack[TextOptions]) -> Field:
    """A URL that starts with http:// or https://. max_len defaults to 2048."""
    return Field(name, "url", **options)


def int_(name: str, **options: Unpack[IntOptions]) -> Field:
    """A whole number of PostgreSQL's `integer`: -2147483648 to 2147483647."""
    return Field(name, "int", **options)


def bigint(name: str, **options: Unpack[IntOptions]) -> Field:
    """A whole number of 64 bits. JSON clients that use doubles keep it exact up to 2^53."""
    return Field(name, "bigint", **options)


def decimal(
    name: str,
    *,
    min: int | float | None = None,
    max: int | float | None = None,
    **options: Unpack[DecimalOptions],
) -> Field:
    """An exact number.

    A default with a fraction is written as text: default="0.5". min and max are included in the
    range and exact: 0.1 is one tenth.
    """
    return Field(name, "decimal", min=_exact(min), max=_exact(max), **options)


def bool_(name: str, **options: Unpack[BoolOptions]) -> Field:
    """True or False."""
    return Field(name, "bool", **options)


def datetime(name: str, **options: Unpack[TextDefaultOptions]) -> Field:
    """A date and time, stored in UTC. A default needs an offset: "2026-01-31T12:00:00Z"."""
    return Field(name, "datetime", **options)


def date(name: str, **options: Unpack[TextDefaultOptions]) -> Field:
    """A calendar day. A default is in ISO 8601: "2026-01-31"."""
    return Field(name, "date", **options)


def uuid(name: str, **options: Unpack[UuidOptions]) -> Field:
    """A UUID. A default is its canonical text."""
    return Field(name, "uuid", **options)


def enum(name: str, choices: Sequence[str], **options: Unpack[EnumOptions]) -> Field:
    """One of the texts of `choices`."""
    return Field(name, "enum", choices=tuple(choices), **options)


def json(name: str, **options: Unpack[FieldOptions]) -> Field:
    """Any JSON value. JSON's null is stored as the column's NULL."""
    return Field(name, "json", **options)


def _exact(limit: int | float | None) -> int | Decimal | None:
    """Return a float as the exact number of its shortest decimal representation."""
    if isinstance(limit, float):
        return int(limit) if limit.is_integer() else Decimal(str(limit))
    return limit


OnDelete = Literal["restrict", "cascade", "set_null"]
ManyKind = Literal["has_many", "has_one", "many_to_many"]
TraitName = Literal["timestamps", "soft_delete", "tenant_scoped", "auditable", "version"]


@dataclass(frozen=True, slots=True)
class BelongsTo(MemberRules):
    """A column `<name>_id` that refers to a row of `target`. name: default target's snake name."""

    target: str
    name: str | None = None
    on_delete: OnDelete = "restrict"


class RelationOptions(MemberOptions, total=False):
    """Options of belongs_to.

    unique: no two rows refer to the same target.
    on_delete: the effect of deleting the target: it is refused ("restrict"), this row is deleted
        too ("cascade"), or the reference becomes null ("set_null").
    """

    unique: bool
    on_delete: OnDelete


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
    """The roles that may perform one operation."""

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
    """The part of a resource with its hooks."""

    hooks: Hooks


@dataclass(frozen=True, slots=True)
class Unique:
    """Fields whose values together are unique."""

    fields: tuple[str, ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """An index of several fields; "-" before a name: descending."""

    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """A condition that every row fulfils."""

    condition: str
    message: str


Part: TypeAlias = Field | BelongsTo | Many | Trait | Permission | WithHooks | Unique | Index | Check


@dataclass(frozen=True, slots=True)
class ResourceSchema:
    """A resource in a schema. plural None means the rule (country → countries, bus → buses)."""

    name: str
    parts: tuple[Part, ...]
    plural: str | None = None


def define(name: str, *parts: Part, plural: str | None = None) -> ResourceSchema:
    """Define the resource of this file.

    name: its class name ("BoardingPass").
    plural: its table; default the plural of the name.
    """
    return ResourceSchema(name, parts, plural)


def belongs_to(
    target: str, name: str | None = None, **options: Unpack[RelationOptions]
) -> BelongsTo:
    """A reference to one row of the resource `target`."""
    return BelongsTo(target, name, **options)


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


def permission(operation: str, roles: Sequence[str]) -> Permission:
    """Allow an operation only for users with one of `roles`. Without a permission it is open.

    operation: "read", "create", "update", "delete", "restore", "audit" (read the history) or the
    name of a verb.
    """
    return Permission(operation, roles)


def unique(*fields: str, message: str = "") -> Unique:
    """Allow no two rows with the same values of all these fields together.

    fields: names as in JSON ("ward_id"). Deleted rows do not count, nor do rows of other tenants,
        nor rows in which one of the values is null.
    message: the error of each field, default: "is already taken".
    """
    return Unique(fields, message)


def index(*fields: str) -> Index:
    """Add an index for queries that filter or sort by these fields together.

    fields: in order, names as in JSON; with "-" before a name its values are in descending order.
    """
    return Index(fields)


def check(condition: str, message: str) -> Check:
    """Refuse rows for which the condition is false; one with a null value is not false.

    condition: an expression such as "discharged_at >= admitted_at": fields as in JSON, numbers,
        texts, True, False; comparisons, in, is None; and, or, not; +, -, * of numbers; len() of a
        text. Texts are compared with == and != only.
    message: the error of each of its fields.
    """
    return Check(condition, message)


def with_hooks(hooks: Hooks) -> WithHooks:
    """Enqueue jobs after a create, update or delete."""
    return WithHooks(hooks)
