"""Slot as data: columns, rules, constraints, relations and hooks.

Generated from resources/slot/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, Relation, Resource, Rule

from . import sql
from .model import SlotRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.uuid("officer_id", required=True)
    c.date("day", required=True)
    c.time("begins_at", min='07:00:00', max='19:00:00', required=True)
    c.duration("length", min='PT10M', max='PT4H', required=True)
    c.int("places", default=1, min=1, max=20, required=True)
    c.unknown()


RESOURCE: Resource[SlotRow] = Resource(
    name="Slot",
    event="slot",
    table="slots",
    topic="slots",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("officer_id", "uuid", nullable=False, filterable=True, immutable=True),
        Column("day", "date", nullable=False, filterable=True, sortable=True),
        Column("begins_at", "time", nullable=False),
        Column("length", "duration", nullable=False),
        Column("places", "int", nullable=False),
        Column("version", "bigint", nullable=False),
    ),
    row=SlotRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "slots_pkey": "id",
        "slots_tenant_key": "id",
        "slots_officer_id_fkey": "officer_id",
        "slots_day_idx": "day",
        "slots_begins_at_check": "begins_at",
        "slots_begins_at_min": "begins_at",
        "slots_begins_at_max": "begins_at",
        "slots_length_check": "length",
        "slots_length_min": "length",
        "slots_length_max": "length",
        "slots_places_min": "places",
        "slots_places_max": "places",
    },
    source="slots_tenant",
    tenant_scoped=True,
    title='{officer.name}, {day} {begins_at}',
    relations=(
        Relation("officer", "belongs_to", "officers", "officer_id"),
        Relation("appointments", "has_many", "appointments", "slot_id"),
    ),
    permissions={
        "read": ('clerk', 'officer'),
        "create": ('officer',),
        "update": ('officer',),
        "delete": ('officer',),
    },
    rules={
        "slots_officer_id_day_begins_at_key": Rule(('officer_id', 'day', 'begins_at'), message='The officer has this slot already.'),
    },
)
