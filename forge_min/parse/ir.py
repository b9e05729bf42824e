"""The intermediate representation of a resource: what `parse` reads and all of MAKE works on.

Plain frozen values, no I/O. Names are already checked identifiers; strings of the user are not, so
whoever writes them into code uses repr(), and whoever writes them into SQL quotes them.
"""

from __future__ import annotations

import keyword
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..data import files
from ..schema import Field, Hooks, ManyKind, OnDelete, Permission
from ..schema.fields import MemberRules
from .diagnostic import Span

_TYPES = files(__package__).joinpath("types.toml").read_text("utf-8")
ANYBODY = "anybody"
"""What a permission names to be open to anonymous users; auth.roles need not name it."""
TYPES: Mapping[str, Mapping[str, Any]] = tomllib.loads(_TYPES)


@dataclass(frozen=True, slots=True)
class FieldIR(Field):
    """One column that the user declared with schema.<type>(name, ...). Nobody named in visible_to
    or writable_by means everybody; it is () then.
    """

    span: Span

    @property
    def column(self) -> str:
        """The column's name in PostgreSQL, and the field's in JSON."""
        return self.name

    @property
    def longest(self) -> int | None:
        """The most characters that a value may have, None where there is no limit."""
        return self.max_len or TYPES[self.type].get("longest")


@dataclass(frozen=True, slots=True)
class RelationIR(MemberRules):
    """A belongs_to: a column `<name>_id` that refers to the target's primary key."""

    name: str
    target: str
    span: Span
    on_delete: OnDelete = "restrict"

    @property
    def column(self) -> str:
        """The column's name in PostgreSQL, and the field's in JSON."""
        return self.name + "_id"


@dataclass(frozen=True, slots=True)
class ManyIR:
    """A relation that needs no column here: has_many, has_one or many_to_many, as written.

    via: the belongs_to of the target that leads back; table: the join table of a many_to_many. ""
    means the rule, which `links` applies.
    """

    kind: ManyKind
    name: str
    target: str
    span: Span
    via: str = ""
    table: str = ""


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
    permissions: tuple[Permission, ...] = ()
    hooks: Hooks = Hooks()  # as `permissions`, with tuples for every list
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
