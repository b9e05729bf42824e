"""A field or relation as a column: its type, default and checks in SQL text. Pure."""

from __future__ import annotations

from decimal import Decimal

from ..parse.ir import TYPES, ColumnIR
from .names import identifier, literal

# Of columns that no schema declares.
DEFAULTS = {"id": "forge_uuid7()", "created_at": "now()", "updated_at": "now()"}
SLUG = f"^{TYPES['slug']['written']}$"


def column_sql(column: ColumnIR) -> str:
    """The column's definition without name and constraints: `varchar(2) not null`.

    Raises BuildError F330 for a default that PostgreSQL cannot hold.
    """
    default = "" if column.declared else DEFAULTS.get(column.name, "")
    if column.default is not None:
        default = default_sql(column)
    words = f" default {default}" * bool(default) + " not null" * column.required
    return column_type(column) + words


def column_type(column: ColumnIR) -> str:
    """The PostgreSQL type."""
    about = TYPES[column.type]
    if "sized" in about and column.longest:
        return f"varchar({column.longest:d})"
    if column.precision:
        return "numeric({:d}, {:d})".format(*column.precision)
    return str(about["sql"])


def default_sql(field: ColumnIR) -> str:
    """The default as a literal, never as an expression: `default="now()"` is a text."""
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if field.type in ("int", "bigint", "decimal"):
        return str(Decimal(str(field.default)))
    return literal(str(field.default))


def checks(field: ColumnIR) -> list[tuple[str, str]]:
    """The CHECKs of a field: (kind, as constraint_name has it; condition)."""
    sized = "sized" in TYPES[field.type]
    rules = (
        ("check", "{} in ({})", ", ".join(map(literal, field.choices)) or None),
        ("check", "{} ~ {}", literal(SLUG) if field.type == "slug" else None),
        ("min", f"{{}} >= {{:{_number(field.min)}}}", field.min),
        ("max", f"{{}} <= {{:{_number(field.max)}}}", field.max),
        ("min_len", "char_length({}) >= {:d}", field.min_len),
        ("max_len", "char_length({}) <= {:d}", None if sized else field.longest),
    )
    name = identifier(field.column)
    return [(kind, rule.format(name, limit)) for kind, rule, limit in rules if limit is not None]


def _number(limit: int | Decimal | None) -> str:
    """The format of a number in SQL: never an exponent, and no text passes."""
    return "f" if isinstance(limit, Decimal) else "d"
