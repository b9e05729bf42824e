"""The intermediate representation (IR) of a resource, produced by `parse`, used by all of MAKE.

Plain frozen values, no I/O. Names are checked identifiers. Other strings of the user are not
checked: code that contains them needs repr(), SQL that contains them needs quoting.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import schema
from ..resources import table
from ..temporal import is_relative

ANYBODY = "anybody"
"""The role of a permission for anonymous users too; not listed in auth.roles."""
TYPES: Mapping[str, Mapping[str, Any]] = table(__package__, "types.toml")
_RULES = ("pattern", "precision", "min", "max", "min_len", "max_len", "max_items")


@dataclass(frozen=True, slots=True)
class ColumnIR(schema.Field):
    """One column of a row: a field, a belongs_to, or an implicit column.

    visible_to, writable_by: roles; () or None means all users.
    target, on_delete: of a belongs_to. Its type and max_len are those of the referenced key.
    declared: whether the schema declares it.
    """

    target: str = ""
    on_delete: schema.OnDelete = "restrict"
    declared: bool = True

    @property
    def column(self) -> str:
        """The column's name in PostgreSQL, and the field's in JSON."""
        if self.target:
            return f"{self.name}_id"
        return self.name

    @property
    def attribute(self) -> str:
        """The column's name in Python."""
        return attribute_of(self.column)

    @property
    def longest(self) -> int | None:
        """The maximum length in characters; None means no limit."""
        return self.max_len or TYPES[self.type].get("longest")

    @property
    def has_trigrams(self) -> bool:
        """Whether it has a trigram index, which serves the filter `contains`."""
        return self.searchable == "substring"

    @property
    def is_array(self) -> bool:
        """Whether its values are lists."""
        return self.type.endswith("[]")

    @property
    def rules(self) -> dict[str, Any]:
        """The limits of its values by option of the schema language, without choices."""
        rules = {name: getattr(self, name) for name in _RULES} | {"max_len": self.longest}
        return {name: value for name, value in rules.items() if value is not None}

    @property
    def check_rules(self) -> dict[str, Any]:
        """The rules that are a CHECK in PostgreSQL, not part of the type, without relative limits.

        PostgreSQL checks a condition also when it restores a dump, which may be years later.
        """
        limits = self.rules
        limits.pop("pattern", None)
        limits.pop("precision", None)
        if "sized" in TYPES[self.type]:
            limits.pop("max_len", None)
        return {name: limit for name, limit in limits.items() if not is_relative(limit)}

    @property
    def optional(self) -> bool:
        """Whether a row may have None here: the value is null, or hidden from the client."""
        return not self.required or bool(self.visible_to)

    @property
    def needed(self) -> bool:
        """Whether a create must set it, if it is a declared column."""
        return self.required and self.default is None


@dataclass(frozen=True, slots=True)
class ResourceIR:
    """One resource. `members` are the declared columns, in order."""

    name: str  # class name: "BoardingPass"
    folder: str  # resources/<folder>/, gen/<folder>/: "boarding_pass"; "class_" for Class
    table: str  # table and topic: "boarding_passes"
    path: str  # URL: "boarding-passes"
    source: str  # "resources/boarding_pass/schema.py", always with "/"
    members: tuple[ColumnIR, ...]
    many: tuple[schema.Many, ...] = ()
    permissions: tuple[schema.Permission, ...] = ()
    uniques: tuple[schema.UniqueFields, ...] = ()
    indexes: tuple[schema.FieldsIndex, ...] = ()
    checks: tuple[schema.RowCheck, ...] = ()
    states: tuple[schema.States, ...] = ()
    reports: tuple[schema.Report, ...] = ()
    title: str = ""
    hooks: schema.Hooks = schema.Hooks()
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
    def authored(self) -> bool:
        """Whether a row has its author."""
        return any(states.authored for states in self.states)

    @property
    def searchable(self) -> tuple[ColumnIR, ...]:
        """The fields of full-text search, highest weight first."""
        return tuple(field for field in self.fields if field.searchable)

    @property
    def aggregatable(self) -> bool:
        """Whether clients may group its rows: one of the members is aggregatable."""
        return any(member.aggregatable for member in self.members)

    @property
    def key(self) -> ColumnIR:
        """The primary key: the declared one, or id."""
        for field in self.fields:
            if field.primary_key:
                return field
        return _undeclared(
            "id", "uuid", primary_key=True, unique=True, filterable=True, sortable=True
        )

    @property
    def other_members(self) -> tuple[ColumnIR, ...]:
        """The members without the primary key."""
        return tuple(member for member in self.members if not member.primary_key)

    @property
    def columns(self) -> tuple[ColumnIR, ...]:
        """Every column of a row in order: the key, declared columns, version, times, author.

        tenant_id is not included: its value is always that of the current tenant.
        """
        columns = [self.key, *self.other_members, _undeclared("version", "bigint", default=1)]
        if self.timestamps:
            options = {"sortable": True, "filterable": True, "aggregatable": self.aggregatable}
            for name in ("created_at", "updated_at"):
                columns.append(_undeclared(name, "datetime", **options))
        if self.soft_delete:
            columns.append(_undeclared("deleted_at", "datetime", required=False))
        if self.authored:
            columns.append(_undeclared("created_by", "text", required=False))
        return tuple(columns)


def _undeclared(name: str, type: schema.FieldType, **options: Any) -> ColumnIR:
    options = {"required": True, "declared": False} | options
    return ColumnIR(name, type, **options)


def attribute_of(name: str) -> str:
    """Return a valid Python name: keywords get an underscore."""
    if keyword.iskeyword(name):
        return name + "_"
    return name
