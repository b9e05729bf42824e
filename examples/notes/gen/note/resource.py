"""Note as data: columns, rules, constraints, relations and hooks.

Generated from resources/note/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, Resource

from . import sql
from .model import NoteRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.string("title", min_len=1, max_len=120, required=True)
    c.text("body")
    c.bool("done", default=False, required=True)
    c.unknown()


RESOURCE: Resource[NoteRow] = Resource(
    name="Note",
    event="note",
    table="notes",
    topic="notes",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("title", "string", nullable=False, sortable=True),
        Column("body", "text"),
        Column("done", "bool", nullable=False, filterable=True),
        Column("version", "bigint", nullable=False),
        Column("created_at", "datetime", nullable=False, filterable=True, sortable=True),
        Column("updated_at", "datetime", nullable=False, filterable=True, sortable=True),
    ),
    row=NoteRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "notes_pkey": "id",
        "notes_title_idx": "title",
        "notes_title_min_len": "title",
        "notes_done_idx": "done",
    },
    timestamps=True,
    searchable=True,
)
