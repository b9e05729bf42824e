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

from ..resources import files
from ..schema import Field, FieldType, Hooks, ManyKind, OnDelete, Permission
from .diagnostic import Span

_TYPES = files(__package__).joinpath("types.toml").read_text("utf-8")
ANYBODY = "anybody"
"""What a permission names to be open to anonymous users; auth.roles need not name it."""
TYPES: Mapping[str, Mapping[str, Any]] = tomllib.loads(_TYPES)
_RULES = ("pattern", "precision", "min", "max", "min_len", "max_len")


@dataclass(frozen=True, slots=True)
class ColumnIR(Field):
    """One column of a row: a field, a belongs_to, or one that a resource has without declaring it.

    In visible_to and writable_by, () means everybody. target, on_delete: of a belongs_to; its type
    and max_len are those of the key that it refers to. declared: whether the schema names it.
    """

    span: Span
    target: str = ""
    on_delete: OnDelete = "restrict"
    declared: bool = True

    @property
    def column(self) -> str:
        """The column's name in PostgreSQL, and the field's in JSON."""
        return f"{self.name}_id" if self.target else self.name

    @property
    def attribute(self) -> str:
        """The column's name in Python."""
        return attribute_of(self.column)

    @property
    def longest(self) -> int | None:
        """The most characters that a value may have, None where there is no limit."""
        return self.max_len or TYPES[self.type].get("longest")

    @property
    def rules(self) -> dict[str, Any]:
        """What limits its values, by the names of the schema language, without choices."""
        found = {name: getattr(self, name) for name in _RULES} | {"max_len": self.longest}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def optional(self) -> bool:
        """Whether a row may have None here: it is null, or hidden from the client."""
        return not self.required or bool(self.visible_to)

    @property
    def needed(self) -> bool:
        """Whether a create must give it, if it is a declared column."""
        return self.required and self.default is None


@dataclass(frozen=True, slots=True)
class ManyIR:
    """A relation that needs no column here: has_many, has_one or many_to_many, as written.

    via: the belongs_to of the target that leads back; table: the join table of a many_to_many. ""
    means the rule, which `lowering` applies.
    """

    kind: ManyKind
    name: str
    target: str
    span: Span
    via: str = ""
    table: str = ""


@dataclass(frozen=True, slots=True)
class ResourceIR:
    """One resource. `members` are the declared columns, in order."""

    name: str  # class name: "BoardingPass"
    folder: str  # resources/<folder>/, gen/<folder>/: "boarding_pass"; "class_" for Class
    table: str  # table and topic: "boarding_passes"
    path: str  # URL: "boarding-passes"
    source: str  # "resources/boarding_pass/schema.py", always with "/"
    span: Span
    members: tuple[ColumnIR, ...]
    many: tuple[ManyIR, ...] = ()
    permissions: tuple[Permission, ...] = ()
    hooks: Hooks = Hooks()  # as `permissions`, with tuples for every list
    timestamps: bool = False
    soft_delete: bool = False
    tenant_scoped: bool = False
    auditable: bool = False
    versioned: bool = False  # If-Match is mandatory; the column version is always there

    @property
    def fields(self) -> tuple[ColumnIR, ...]:
        """The declared fields, without relations."""
        return tuple(member for member in self.members if not member.target)

    @property
    def relations(self) -> tuple[ColumnIR, ...]:
        """The declared belongs_to relations."""
        return tuple(member for member in self.members if member.target)

    @property
    def searchable(self) -> tuple[ColumnIR, ...]:
        """The fields that full-text search reads, the weightiest first."""
        return tuple(field for field in self.fields if field.searchable)

    @property
    def key(self) -> ColumnIR:
        """The primary key: the declared one, or id."""
        declared = (field for field in self.fields if field.primary_key)
        return next(declared, None) or self._undeclared(
            "id", "uuid", primary_key=True, unique=True, filterable=True, sortable=True
        )

    @property
    def others(self) -> tuple[ColumnIR, ...]:
        """The members without the primary key."""
        return tuple(member for member in self.members if not member.primary_key)

    @property
    def columns(self) -> tuple[ColumnIR, ...]:
        """Every column of a row in order: the key, the declared ones, version, the times.

        tenant_id is none of them: it is the tenant's that asks.
        """
        found = [self.key, *self.others, self._undeclared("version", "bigint", default=1)]
        for name in ("created_at", "updated_at") if self.timestamps else ():
            found.append(self._undeclared(name, "datetime", sortable=True, filterable=True))
        if self.soft_delete:
            found.append(self._undeclared("deleted_at", "datetime", required=False))
        return tuple(found)

    def _undeclared(self, name: str, type: FieldType, **options: Any) -> ColumnIR:
        options = {"required": True, "declared": False} | options
        return ColumnIR(name, type, self.span, **options)


def attribute_of(name: str) -> str:
    """A name that Python allows: words of the language get an underscore."""
    return name + "_" if keyword.iskeyword(name) else name
