"""Appointment as data: columns, rules, constraints, relations and hooks.

Generated from resources/appointment/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, Relation, Resource, Rule

from . import sql
from .model import AppointmentRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.uuid("slot_id", required=True)
    c.uuid("application_id", required=True)
    c.string("note", max_len=200)
    c.unknown()


RESOURCE: Resource[AppointmentRow] = Resource(
    name="Appointment",
    event="appointment",
    table="appointments",
    topic="appointments",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("slot_id", "uuid", nullable=False, filterable=True),
        Column("application_id", "uuid", nullable=False, filterable=True),
        Column("note", "string"),
        Column("version", "bigint", nullable=False),
        Column("created_at", "datetime", nullable=False, filterable=True, sortable=True),
        Column("updated_at", "datetime", nullable=False, filterable=True, sortable=True),
    ),
    row=AppointmentRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "appointments_pkey": "id",
        "appointments_tenant_key": "id",
        "appointments_slot_id_fkey": "slot_id",
        "appointments_application_id_fkey": "application_id",
    },
    source="appointments_tenant",
    timestamps=True,
    tenant_scoped=True,
    title='{application.number}',
    relations=(
        Relation("slot", "belongs_to", "slots", "slot_id"),
        Relation("application", "belongs_to", "applications", "application_id", on_delete='cascade'),
    ),
    permissions={
        "read": ('clerk', 'officer'),
        "create": ('clerk', 'officer'),
        "update": ('clerk', 'officer'),
        "delete": ('clerk', 'officer'),
    },
    rules={
        "appointments_slot_id_application_id_key": Rule(('slot_id', 'application_id'), message='This application has this slot already.'),
    },
)
