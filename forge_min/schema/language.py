"""The fields of the schema language. Each function returns a frozen value and checks nothing.

`parse` checks them without running the file, by the signatures and typed options of this module.
Names that would hide a builtin end in "_" here, but not in the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from decimal import Decimal
from typing import Any, Literal, TypedDict, Unpack, cast

__all__ = [
    "Field", "FieldType", "array", "bigint", "date", "datetime", "decimal", "duration", "email",
    "enum", "json", "slug", "string", "text", "time", "url", "uuid",
]  # fmt: skip

FieldType = Literal[
    Literal["uuid", "string", "text", "int", "bigint", "decimal", "float", "bool"],
    Literal["datetime", "date", "time", "duration", "enum", "json", "slug", "email", "url"],
    Literal["string[]", "int[]", "enum[]"],
]
EntryType = Literal["string", "int", "enum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRules:
    """The common options of fields and belongs_to, described in `MemberOptions`."""

    required: bool = False
    unique: bool = False
    immutable: bool = False
    visible_to: Sequence[str] | None = None
    writable_by: Sequence[str] | None = None
    personal: bool = False
    aggregatable: bool = False
    label: str = ""
    help: str = ""


@dataclass(frozen=True, slots=True)
class Field(MemberRules):
    """One column. `default` None means no default; the typed options below describe the others.

    type: of an array, the type of its entries with "[]".
    min, max: int, float, Decimal, or a text for dates, times and durations.
    """

    name: str
    type: FieldType
    _: KW_ONLY
    default: str | int | float | bool | None = None
    index: bool = False
    sortable: bool = False
    filterable: bool = False
    searchable: bool | Literal["substring"] = False
    min: Any = None
    max: Any = None
    min_len: int | None = None
    max_len: int | None = None
    max_items: int | None = None
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
    aggregatable: clients may group rows by it, and compute what its type allows.
    """

    unique: bool
    index: bool
    sortable: bool
    filterable: bool
    aggregatable: bool


class KeyOptions(ColumnOptions, total=False):
    """Options of the types that may be the primary key.

    primary_key: replaces `id`; the field is then required, unique and immutable.
    """

    primary_key: bool


class TextDefaultOptions(ColumnOptions, total=False):
    """Options of types with a default written as text."""

    default: str | None


class TimeOptions(TextDefaultOptions, total=False):
    """Options of date, datetime, time and duration.

    min and max are texts as a default, and included in the range. Those of a date may also be
    relative, "today", "today-18y" or "today+30d" (d, w, m, y: days, weeks, months, years); those of
    a datetime "now" or "now+2h" (also h: hours). Only actions check relative limits.
    """

    min: str | None
    max: str | None


class UuidOptions(TextDefaultOptions, KeyOptions, total=False):
    """Options of uuid."""


class EnumOptions(TextDefaultOptions, total=False):
    """Options of enum. searchable: full-text search reads it."""

    searchable: bool


class TextOptions(TextDefaultOptions, total=False):
    """Options of email and url. Lengths count characters.

    searchable: full-text search reads it; "substring" also adds a trigram index, with which the
        filter `contains` is fast on a large table.
    """

    searchable: bool | Literal["substring"]
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


class FloatOptions(ColumnOptions, total=False):
    """Options of float. min and max are included in the range."""

    default: int | float | None
    min: int | float | None
    max: int | float | None


class DecimalOptions(ColumnOptions, total=False):
    """Options of decimal. precision: (total digits, decimal places), as numeric(p, s)."""

    default: str | int | None
    min: int | float | None
    max: int | float | None
    precision: tuple[int, int] | None


class BoolOptions(ColumnOptions, total=False):
    """Options of bool."""

    default: bool | None


class ArrayOptions(FieldOptions, total=False):
    """Options of array.

    max_items: the greatest number of entries, at most 1000, which is the default.
    filterable: clients may filter by an entry; the column gets an index.
    """

    max_items: int
    filterable: bool


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


def decimal(name: str, **options: Unpack[DecimalOptions]) -> Field:
    """An exact number.

    A default with a fraction is written as text: default="0.5". min and max are included in the
    range and exact: 0.1 is one tenth.
    """
    low = _exact(options.pop("min", None))
    high = _exact(options.pop("max", None))
    return replace(Field(name, "decimal", **options), min=low, max=high)


def float_(name: str, **options: Unpack[FloatOptions]) -> Field:
    """A number of 64 bits with about 16 digits, as JSON's clients have; no NaN and no infinity."""
    return Field(name, "float", **options)


def bool_(name: str, **options: Unpack[BoolOptions]) -> Field:
    """True or False."""
    return Field(name, "bool", **options)


def datetime(name: str, **options: Unpack[TimeOptions]) -> Field:
    """A date and time, stored in UTC. A default needs an offset: "2026-01-31T12:00:00Z"."""
    return Field(name, "datetime", **options)


def date(name: str, **options: Unpack[TimeOptions]) -> Field:
    """A calendar day. A default is in ISO 8601: "2026-01-31"."""
    return Field(name, "date", **options)


def time(name: str, **options: Unpack[TimeOptions]) -> Field:
    """A time of day without a time zone, up to microseconds. A default is as "08:30:00"."""
    return Field(name, "time", **options)


def duration(name: str, **options: Unpack[TimeOptions]) -> Field:
    """An exact length of time, not negative, up to microseconds; a day has 24 hours.

    A default is in ISO 8601, with weeks or days, hours, minutes and seconds: "PT1H30M".
    """
    return Field(name, "duration", **options)


def uuid(name: str, **options: Unpack[UuidOptions]) -> Field:
    """A UUID. A default is its canonical text."""
    return Field(name, "uuid", **options)


def enum(name: str, choices: Sequence[str], **options: Unpack[EnumOptions]) -> Field:
    """One of the texts of `choices`."""
    return Field(name, "enum", choices=tuple(choices), **options)


def array(
    name: str, of: EntryType, choices: Sequence[str] = (), **options: Unpack[ArrayOptions]
) -> Field:
    """A list of texts, whole numbers (of int) or choices, in the order written; it may be empty.

    of: the type of its entries, which are never null.
    choices: of "enum".
    """
    options.setdefault("max_items", 1000)
    return Field(name, cast("FieldType", f"{of}[]"), choices=tuple(choices), **options)


def json(name: str, **options: Unpack[FieldOptions]) -> Field:
    """Any JSON value. JSON's null is stored as the column's NULL."""
    return Field(name, "json", **options)


def _exact(limit: int | float | None) -> int | Decimal | None:
    """Return a float as the exact number of its shortest decimal representation."""
    if not isinstance(limit, float):
        return limit
    if limit.is_integer():
        return int(limit)
    return Decimal(str(limit))
