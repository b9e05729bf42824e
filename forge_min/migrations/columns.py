"""A field or relation as a column: its type, default and checks in SQL text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from ..parse.ir import FieldIR, RelationIR, ResourceIR
from ..parse.names import constraint_name
from .names import identifier, literal

TYPES = {
    "string": "text",
    "url": "text",
    "enum": "text",
    "int": "integer",
    "bool": "boolean",
    "datetime": "timestamptz",
    "json": "jsonb",
    "decimal": "numeric",
}  # all others have PostgreSQL's names
SHORT = ("string", "slug", "email")  # whose length is part of the type; of others it is a CHECK
SLUG = "^[a-z0-9]+(-[a-z0-9]+)*$"


def column_sql(member: FieldIR | RelationIR, resources: Mapping[str, ResourceIR]) -> str:
    """The column's definition without name and constraints: `varchar(2) not null`. resources: all
    by name. Raises as default_sql.
    """
    parts = [column_type(member, resources)]
    if isinstance(member, FieldIR) and member.default is not None:
        parts += ["default", default_sql(member)]
    if member.required or (isinstance(member, FieldIR) and member.primary_key):
        parts.append("not null")
    return " ".join(parts)


def column_type(member: FieldIR | RelationIR, resources: Mapping[str, ResourceIR]) -> str:
    """The PostgreSQL type; a relation's is that of the key it refers to."""
    if isinstance(member, RelationIR):
        return column_type(resources[member.target].key, resources)
    if member.type in SHORT and member.longest:
        return f"varchar({member.longest:d})"
    if member.precision:
        return "numeric({:d}, {:d})".format(*member.precision)
    return TYPES.get(member.type, member.type)


def default_sql(field: FieldIR) -> str:
    """The default as a literal, never as an expression: `default="now()"` is a text.

    Raises BuildError F330 for a text that PostgreSQL cannot hold.
    """
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if field.type in ("int", "bigint", "decimal"):
        return str(Decimal(str(field.default)))
    return literal(str(field.default))


def checks(table: str, field: FieldIR) -> list[tuple[str, str]]:
    """The CHECKs of a field: (name, condition)."""
    rules = (
        ("check", "{} in ({})", ", ".join(map(literal, field.choices)) or None),
        ("check", "{} ~ {}", literal(SLUG) if field.type == "slug" else None),
        ("min", "{} >= {:d}", field.min),
        ("max", "{} <= {:d}", field.max),
        ("min_len", "char_length({}) >= {:d}", field.min_len),
        ("max_len", "char_length({}) <= {:d}", None if field.type in SHORT else field.longest),
    )
    return [
        (constraint_name(table, field.column, kind), rule.format(identifier(field.column), limit))
        for kind, rule, limit in rules
        if limit is not None
    ]
