"""Document as data: columns, rules, constraints, relations and hooks.

Generated from resources/document/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, Resource

from . import sql
from .model import DocumentRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.string("name", max_len=100)
    c.json("content")
    c.unknown()


RESOURCE: Resource[DocumentRow] = Resource(
    name="Document",
    event="document",
    table="documents",
    topic="documents",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("name", "string", filterable=True, sortable=True),
        Column("content", "json"),
        Column("version", "bigint", nullable=False),
    ),
    row=DocumentRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "documents_pkey": "id",
        "documents_name_idx": "name",
    },

)
