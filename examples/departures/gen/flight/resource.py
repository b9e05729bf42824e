"""Flight as data: columns, rules, constraints, relations and hooks.

Generated from resources/flight/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, JobHook, Relation, Resource

from . import sql
from .model import FlightRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.string("number", max_len=8, required=True)
    c.uuid("origin_id", required=True)
    c.uuid("destination_id", required=True)
    c.enum("status", ('scheduled', 'boarding', 'delayed', 'departed', 'cancelled'), default='scheduled', required=True)
    c.string("gate", max_len=4)
    c.datetime("departs_at", required=True)
    c.datetime("arrives_at", required=True)
    c.unknown()


RESOURCE: Resource[FlightRow] = Resource(
    name="Flight",
    event="flight",
    table="flights",
    topic="flights",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("number", "string", nullable=False, filterable=True, sortable=True),
        Column("origin_id", "uuid", nullable=False, filterable=True),
        Column("destination_id", "uuid", nullable=False, filterable=True),
        Column("status", "enum", nullable=False, filterable=True, sortable=True, choices=('scheduled', 'boarding', 'delayed', 'departed', 'cancelled')),
        Column("gate", "string", filterable=True),
        Column("departs_at", "datetime", nullable=False, filterable=True, sortable=True),
        Column("arrives_at", "datetime", nullable=False, sortable=True),
        Column("version", "bigint", nullable=False),
        Column("created_at", "datetime", nullable=False, filterable=True, sortable=True),
        Column("updated_at", "datetime", nullable=False, filterable=True, sortable=True),
    ),
    row=FlightRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "flights_pkey": "id",
        "flights_number_idx": "number",
        "flights_origin_id_fkey": "origin_id",
        "flights_destination_id_fkey": "destination_id",
        "flights_status_idx": "status",
        "flights_status_check": "status",
        "flights_gate_idx": "gate",
        "flights_departs_at_idx": "departs_at",
        "flights_arrives_at_idx": "arrives_at",
    },
    timestamps=True,
    auditable=True,
    relations=(
        Relation("origin", "belongs_to", "airports", "origin_id"),
        Relation("destination", "belongs_to", "airports", "destination_id"),
    ),
    permissions={
        "audit": ('anybody',),
    },
    after_update=(
        JobHook("NotifyGate", "default", priority=2),
    ),
)
