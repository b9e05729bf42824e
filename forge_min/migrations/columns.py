"""A field or relation as a column: its type, default and checks in SQL text. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from uuid import UUID

from ..errors import BuildError
from ..parse.ir import FieldIR, RelationIR, ResourceIR
from ..parse.names import constraint_name
from .names import identifier, literal

PLAIN_TYPES = {
    "uuid": "uuid",
    "text": "text",
    "int": "integer",
    "bigint": "bigint",
    "bool": "boolean",
    "datetime": "timestamptz",
    "date": "date",
    "enum": "text",
    "json": "jsonb",
    "url": "text",
}
LENGTHS = {"slug": 100, "email": 320, "url": 2048}  # characters, where the schema says nothing
TEXTS = ("string", "text", "enum", "slug", "email", "url")
SLUG = "^[a-z0-9]+(-[a-z0-9]+)*$"
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
READERS: dict[str, Callable[[str], object]] = {
    "uuid": UUID,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
}


def column_sql(member: FieldIR | RelationIR, resources: Mapping[str, ResourceIR]) -> str:
    """The column's definition without name and constraints: `varchar(2) not null`. resources: all
    by name. Raises as column_type and default_sql.
    """
    parts = [column_type(member, resources)]
    if isinstance(member, FieldIR) and member.has_default and member.default is not None:
        parts += ["default", default_sql(member)]
    if member.required or (isinstance(member, FieldIR) and member.primary_key):
        parts.append("not null")
    return " ".join(parts)


def column_type(member: FieldIR | RelationIR, resources: Mapping[str, ResourceIR]) -> str:
    """The PostgreSQL type; a relation's is that of the key it refers to.

    Raises BuildError F330 for a relation to no resource.
    """
    if isinstance(member, RelationIR):
        if member.target not in resources:
            raise BuildError(
                f"{member.span.file}:{member.span.line}: there is no resource {member.target}",
                code="F330",
            )
        return column_type(resources[member.target].key, resources)
    if member.type in ("string", "slug", "email"):
        length = member.max_len or LENGTHS.get(member.type)
        return f"varchar({int(length)})" if length else "text"
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
    if field.type in ("int", "bigint") and isinstance(value, int):
        return str(int(value))
    if field.type == "decimal" and NUMBER.fullmatch(str(value)):
        return str(value)
    if field.type in TEXTS and isinstance(value, str):
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
    if field.type == "slug":
        found.append(("check", f"{column} ~ {literal(SLUG)}"))
    if field.min is not None:
        found.append(("min", f"{column} >= {int(field.min)}"))
    if field.max is not None:
        found.append(("max", f"{column} <= {int(field.max)}"))
    if field.min_len is not None:
        found.append(("min_len", f"char_length({column}) >= {int(field.min_len)}"))
    longest = field.max_len or LENGTHS.get(field.type)
    if longest and field.type in ("text", "url"):
        found.append(("max_len", f"char_length({column}) <= {int(longest)}"))
    return [(constraint_name(table, field.column, kind), condition) for kind, condition in found]
