"""Officer as data: columns, rules, constraints, relations and hooks.

Generated from resources/officer/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, Relation, Resource

from . import sql
from .model import OfficerRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.string("name", max_len=80, required=True)
    c.string("room", max_len=10, required=True)
    c.array("languages", "enum", ('de', 'en', 'fr', 'tr'), max_items=1000)
    c.unknown()


RESOURCE: Resource[OfficerRow] = Resource(
    name="Officer",
    event="officer",
    table="officers",
    topic="officers",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("name", "string", nullable=False, sortable=True, personal=True),
        Column("room", "string", nullable=False, filterable=True),
        Column("languages", "enum[]", filterable=True, choices=('de', 'en', 'fr', 'tr')),
        Column("version", "bigint", nullable=False),
    ),
    row=OfficerRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "officers_pkey": "id",
        "officers_tenant_key": "id",
        "officers_name_idx": "name",
        "officers_room_idx": "room",
        "officers_languages_idx": "languages",
        "officers_languages_check": "languages",
        "officers_languages_max_items": "languages",
    },
    source="officers_tenant",
    tenant_scoped=True,
    relations=(
        Relation("slots", "has_many", "slots", "officer_id"),
    ),
    permissions={
        "read": ('clerk', 'officer'),
        "create": ('officer',),
        "update": ('officer',),
        "delete": ('officer',),
    },
)
