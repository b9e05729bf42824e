"""The intermediate representation of a resource: what `parse` reads and all of MAKE works on.

Plain frozen values, no I/O. Names are already checked identifiers; strings of the user are not, so
whoever writes them into code uses repr(), and whoever writes them into SQL quotes them.
"""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from typing import Literal

from ..schema import FieldType, OnDelete

Default = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a source file. line and col count from 1; end_col is the first column after it."""

    file: str
    line: int
    col: int
    end_col: int


@dataclass(frozen=True, slots=True)
class FieldIR:
    """One column that the user declared with schema.<type>(name, ...)."""

    name: str
    type: FieldType
    span: Span
    required: bool = False
    has_default: bool = False
    default: Default = None
    unique: bool = False
    index: bool = False
    sortable: bool = False
    filterable: bool = False
    searchable: bool = False
    min: int | None = None
    max: int | None = None
    min_len: int | None = None
    max_len: int | None = None
    pattern: str | None = None
    precision: tuple[int, int] | None = None
    choices: tuple[str, ...] = ()
    primary_key: bool = False
    immutable: bool = False
    visible_to: tuple[str, ...] = ()
    writable_by: tuple[str, ...] = ()
    label: str = ""
    placeholder: str = ""
    help: str = ""

    @property
    def column(self) -> str:
        """The column's name in PostgreSQL, and the field's in JSON."""
        return self.name

    @property
    def attribute(self) -> str:
        """The attribute's name in Python: class → class_."""
        return attribute_of(self.name)


@dataclass(frozen=True, slots=True)
class RelationIR:
    """A belongs_to: a column `<name>_id` that refers to the target's primary key."""

    name: str
    target: str
    span: Span
    required: bool = False
    unique: bool = False
    immutable: bool = False
    visible_to: tuple[str, ...] = ()
    writable_by: tuple[str, ...] = ()
    on_delete: OnDelete = "restrict"
    label: str = ""
    help: str = ""

    @property
    def column(self) -> str:
        """The column's name in PostgreSQL."""
        return self.name + "_id"

    @property
    def attribute(self) -> str:
        """The attribute's name in Python."""
        return self.column


@dataclass(frozen=True, slots=True)
class ManyIR:
    """A relation that needs no column here: has_many, has_one or many_to_many, as written.

    via: the belongs_to of the target that leads back; table: the join table of a many_to_many. ""
    means the rule, which `links` applies.
    """

    kind: Literal["has_many", "has_one", "many_to_many"]
    name: str
    target: str
    span: Span
    via: str = ""
    table: str = ""


@dataclass(frozen=True, slots=True)
class PermissionIR:
    """Who may do what. operation: read, create, update, delete, restore or a verb of the user's."""

    operation: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobRefIR:
    """A job that a hook enqueues. delay is in seconds."""

    kind: str
    queue: str = "default"
    priority: int = 2
    max_attempts: int | None = None
    delay: int = 0
    unique: bool = False


@dataclass(frozen=True, slots=True)
class HooksIR:
    """The jobs of each hook, in the order written."""

    after_create: tuple[JobRefIR, ...] = ()
    after_update: tuple[JobRefIR, ...] = ()
    after_delete: tuple[JobRefIR, ...] = ()

    @property
    def all(self) -> tuple[JobRefIR, ...]:
        """Every reference; a kind that stands in two hooks comes twice."""
        return self.after_create + self.after_update + self.after_delete


@dataclass(frozen=True, slots=True)
class ResourceIR:
    """One resource. `members` keeps the declared order of fields and relations."""

    name: str  # class name: "BoardingPass"
    folder: str  # resources/<folder>/, gen/<folder>/: "boarding_pass"; "class_" for Class
    table: str  # table and topic: "boarding_passes"
    path: str  # URL: "boarding-passes"
    source: str  # "resources/boarding_pass/schema.py", always with "/"
    span: Span
    members: tuple[FieldIR | RelationIR, ...]
    many: tuple[ManyIR, ...] = ()
    permissions: tuple[PermissionIR, ...] = ()
    hooks: HooksIR = HooksIR()
    timestamps: bool = False
    soft_delete: bool = False
    tenant_scoped: bool = False
    auditable: bool = False
    versioned: bool = False  # If-Match is mandatory; the column version is always there

    @property
    def fields(self) -> tuple[FieldIR, ...]:
        """The declared fields, without relations."""
        return tuple(m for m in self.members if isinstance(m, FieldIR))

    @property
    def relations(self) -> tuple[RelationIR, ...]:
        """The declared belongs_to relations."""
        return tuple(m for m in self.members if isinstance(m, RelationIR))

    @property
    def searchable(self) -> tuple[FieldIR, ...]:
        """The fields that full-text search reads, the weightiest first."""
        return tuple(field for field in self.fields if field.searchable)

    @property
    def key(self) -> FieldIR:
        """The primary key: the declared one, or id."""
        declared = [field for field in self.fields if field.primary_key]
        return declared[0] if declared else FieldIR("id", "uuid", self.span, primary_key=True)

    @property
    def others(self) -> tuple[FieldIR | RelationIR, ...]:
        """The members without the primary key."""
        return tuple(m for m in self.members if isinstance(m, RelationIR) or not m.primary_key)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of a row in order: the key, the declared ones, version, the times.

        tenant_id is none of them: it is the tenant's that asks.
        """
        times: tuple[str, ...] = ("created_at", "updated_at") if self.timestamps else ()
        times += ("deleted_at",) if self.soft_delete else ()
        return (self.key.column, *(m.column for m in self.others), "version", *times)


def attribute_of(name: str) -> str:
    """A name that Python allows: words of the language get an underscore."""
    return name + "_" if keyword.iskeyword(name) else name
