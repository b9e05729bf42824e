"""Item as data: columns, rules, constraints, relations and hooks.

Generated from resources/item/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, JobHook, Resource

from . import sql
from .model import ItemRow, to_json


def check(c: Check) -> None:
    """The rules of the schema, one line per field."""
    c.string("title", min_len=1, max_len=120, required=True)
    c.bool("done", default=False, required=True)
    c.unknown()


RESOURCE: Resource[ItemRow] = Resource(
    name="Item",
    event="item",
    table="items",
    topic="items",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("title", "string", nullable=False, filterable=True, sortable=True),
        Column("done", "bool", nullable=False, filterable=True),
        Column("version", "bigint", nullable=False),
        Column("created_at", "datetime", nullable=False, filterable=True, sortable=True),
        Column("updated_at", "datetime", nullable=False, filterable=True, sortable=True),
    ),
    row=ItemRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "items_pkey": "id",
        "items_title_idx": "title",
        "items_title_min_len": "title",
        "items_done_idx": "done",
    },
    timestamps=True,
    after_create=(
        JobHook("ItemCreated", "default", priority=2),
    ),
)
