"""A field or relation as a column: its type, default and checks in SQL text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from ..parse.ir import TYPES, FieldIR, RelationIR, ResourceIR
from .names import identifier, literal

SLUG = f"^{TYPES['slug']['written']}$"


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
    about = TYPES[member.type]
    if "sized" in about and member.longest:
        return f"varchar({member.longest:d})"
    if member.precision:
        return "numeric({:d}, {:d})".format(*member.precision)
    return str(about["sql"])


def default_sql(field: FieldIR) -> str:
    """The default as a literal, never as an expression: `default="now()"` is a text.

    Raises BuildError F330 for a text that PostgreSQL cannot hold.
    """
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if field.type in ("int", "bigint", "decimal"):
        return str(Decimal(str(field.default)))
    return literal(str(field.default))


def checks(field: FieldIR) -> list[tuple[str, str]]:
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
