"""A field or relation as a column: its type, default and checks in SQL text."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

from ..errors import BuildError
from ..parse.ir import FieldIR, RelationIR
from ..parse.names import constraint_name
from .names import identifier, literal

PLAIN_TYPES = {
    "uuid": "uuid",
    "text": "text",
    "int": "integer",
    "bool": "boolean",
    "datetime": "timestamptz",
    "date": "date",
    "enum": "text",
}
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
READERS: dict[str, Callable[[str], object]] = {
    "uuid": UUID,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
}


def column_sql(member: FieldIR | RelationIR) -> str:
    """The column's definition without its constraints: `code varchar(2) not null`."""
    parts = [identifier(member.column), column_type(member)]
    if isinstance(member, FieldIR) and member.has_default and member.default is not None:
        parts += ["default", default_sql(member)]
    if member.required:
        parts.append("not null")
    return " ".join(parts)


def column_type(member: FieldIR | RelationIR) -> str:
    """The PostgreSQL type."""
    if isinstance(member, RelationIR):
        return "uuid"
    if member.type == "string":
        return f"varchar({member.max_len})" if member.max_len else "text"
    if member.type == "decimal":
        return "numeric({}, {})".format(*member.precision) if member.precision else "numeric"
    return PLAIN_TYPES[member.type]


def default_sql(field: FieldIR) -> str:
    """The default as a literal of its type, never as an expression: `default="now()"` is a text.

    Raises BuildError F330 when the value is none of that type. ("now" would be read once, when the
    table is made.)
    """
    value = field.default
    if field.type == "bool" and isinstance(value, bool):
        return "true" if value else "false"
    if field.type == "int" and isinstance(value, int):
        return str(int(value))
    if field.type == "decimal" and NUMBER.fullmatch(str(value)):
        return str(value)
    if field.type in ("string", "text", "enum") and isinstance(value, str):
        return literal(value)
    if field.type in READERS and isinstance(value, str):
        try:
            READERS[field.type](value)
        except ValueError:
            pass
        else:
            return literal(value)
    raise BuildError(
        f"{field.span.file}:{field.span.line}: {value!r} cannot be the default of a {field.type}",
        code="F330",
    )


def checks(table: str, field: FieldIR) -> list[tuple[str, str]]:
    """The CHECKs of a field: (name, condition)."""
    column = identifier(field.column)
    found = []
    if field.type == "enum":
        choices = ", ".join(literal(choice) for choice in field.choices)
        found.append(("check", f"{column} in ({choices})"))
    if field.min is not None:
        found.append(("min", f"{column} >= {int(field.min)}"))
    if field.max is not None:
        found.append(("max", f"{column} <= {int(field.max)}"))
    if field.min_len is not None:
        found.append(("min_len", f"char_length({column}) >= {int(field.min_len)}"))
    if field.max_len is not None and field.type == "text":
        found.append(("max_len", f"char_length({column}) <= {int(field.max_len)}"))
    return [(constraint_name(table, field.column, kind), condition) for kind, condition in found]
