"""The field types: one function a type, each giving a frozen Field. Nothing here checks values.

`parse` checks them, without running the file: the signatures and typed options below are its only
table of what may be written. Names that would hide a builtin end in "_" here, not in the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack

FieldType = Literal["uuid", "string", "text", "int", "decimal", "bool", "datetime", "date", "enum"]


@dataclass(frozen=True, slots=True)
class Field:
    """One column. `default` None means no default; FieldOptions explains the other options."""

    name: str
    type: FieldType
    required: bool = False
    default: str | int | bool | None = None
    unique: bool = False
    index: bool = False
    sortable: bool = False
    filterable: bool = False
    searchable: bool = False
    min: int | None = None
    max: int | None = None
    min_len: int | None = None
    max_len: int | None = None
    precision: tuple[int, int] | None = None
    choices: tuple[str, ...] = ()
    label: str = ""
    help: str = ""


class FieldOptions(TypedDict, total=False):
    """Options of every type.

    required: a create must give it, and it is never null. unique: no two rows share it. index: an
    index of its own. sortable, filterable: clients may sort, filter by it. label, help: what people
    read in forms.
    """

    required: bool
    unique: bool
    index: bool
    sortable: bool
    filterable: bool
    label: str
    help: str


class TextOptions(FieldOptions, total=False):
    """Options of string and text. Lengths count characters."""

    default: str | None
    searchable: bool
    min_len: int | None
    max_len: int | None


class IntOptions(FieldOptions, total=False):
    """Options of int. min and max are allowed values themselves."""

    default: int | None
    min: int | None
    max: int | None


class DecimalOptions(FieldOptions, total=False):
    """Options of decimal. precision: (digits in all, digits after the point), as numeric(p, s)."""

    default: str | int | None
    min: int | None
    max: int | None
    precision: tuple[int, int] | None


class BoolOptions(FieldOptions, total=False):
    """Options of bool."""

    default: bool | None


class WrittenOptions(FieldOptions, total=False):
    """Options of the types whose default is written as text: uuid, datetime, date, enum."""

    default: str | None


def string(name: str, **options: Unpack[TextOptions]) -> Field:
    """A line of text."""
    return Field(name, "string", **options)


def text(name: str, **options: Unpack[TextOptions]) -> Field:
    """Text of many lines."""
    return Field(name, "text", **options)


def int_(name: str, **options: Unpack[IntOptions]) -> Field:
    """A whole number of PostgreSQL's `integer`: -2147483648 to 2147483647."""
    return Field(name, "int", **options)


def decimal(name: str, **options: Unpack[DecimalOptions]) -> Field:
    """An exact number. A default with a fraction is written as text: default="0.5"."""
    return Field(name, "decimal", **options)


def bool_(name: str, **options: Unpack[BoolOptions]) -> Field:
    """True or False."""
    return Field(name, "bool", **options)


def datetime(name: str, **options: Unpack[WrittenOptions]) -> Field:
    """A moment, stored in UTC. A default is ISO 8601 with an offset: "2026-01-31T12:00:00Z"."""
    return Field(name, "datetime", **options)


def date(name: str, **options: Unpack[WrittenOptions]) -> Field:
    """A calendar day. A default is ISO 8601: "2026-01-31"."""
    return Field(name, "date", **options)


def uuid(name: str, **options: Unpack[WrittenOptions]) -> Field:
    """A UUID. A default is its canonical text."""
    return Field(name, "uuid", **options)


def enum(name: str, choices: Sequence[str], **options: Unpack[WrittenOptions]) -> Field:
    """One of the texts of `choices`."""
    return Field(name, "enum", choices=tuple(choices), **options)
