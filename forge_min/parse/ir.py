"""The intermediate representation of a resource: what `parse` reads and all of MAKE works on.

Plain frozen values, no I/O. Names are already checked identifiers; strings of the user are not, so
whoever writes them into code uses repr(), and whoever writes them into SQL quotes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldType = Literal["uuid", "string", "text", "int", "decimal", "bool", "datetime", "date", "enum"]
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
    precision: tuple[int, int] | None = None
    choices: tuple[str, ...] = ()
    label: str = ""
    help: str = ""

    @property
    def column(self) -> str:
        """The column's name in PostgreSQL."""
        return self.name


@dataclass(frozen=True, slots=True)
class RelationIR:
    """A belongs_to: a column `<name>_id` that refers to the target's id."""

    name: str
    target: str
    span: Span
    required: bool = False
    on_delete: Literal["restrict", "cascade", "set_null"] = "restrict"
    label: str = ""

    @property
    def column(self) -> str:
        """The column's name in PostgreSQL."""
        return self.name + "_id"


@dataclass(frozen=True, slots=True)
class JobRefIR:
    """A job that a hook enqueues. delay is in seconds."""

    kind: str
    queue: str = "default"
    priority: int = 2
    max_attempts: int | None = None
    delay: int = 0


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
    folder: str  # resources/<folder>/, gen/<folder>/: "boarding_pass"
    table: str  # table and topic: "boarding_passes"
    path: str  # URL: "boarding-passes"
    source: str  # "resources/boarding_pass/schema.py", always with "/"
    span: Span
    members: tuple[FieldIR | RelationIR, ...]
    timestamps: bool = False
    hooks: HooksIR = HooksIR()

    @property
    def fields(self) -> tuple[FieldIR, ...]:
        """The declared fields, without relations."""
        return tuple(m for m in self.members if isinstance(m, FieldIR))

    @property
    def relations(self) -> tuple[RelationIR, ...]:
        """The declared belongs_to relations."""
        return tuple(m for m in self.members if isinstance(m, RelationIR))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column in table order: id, the declared ones, version, the timestamps."""
        stamps = ("created_at", "updated_at") if self.timestamps else ()
        return ("id", *(m.column for m in self.members), "version", *stamps)
