"""Country as data: columns, rules, constraints, relations and hooks.

Generated from resources/country/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, Relation, Resource

from . import sql
from .model import CountryRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.string("code", min_len=2, max_len=2, required=True)
    c.string("name", max_len=80, required=True)
    c.unknown()


RESOURCE: Resource[CountryRow] = Resource(
    name="Country",
    event="country",
    table="countries",
    topic="countries",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("code", "string", nullable=False, filterable=True, sortable=True, unique=True),
        Column("name", "string", nullable=False, filterable=True, sortable=True),
        Column("version", "bigint", nullable=False),
        Column("created_at", "datetime", nullable=False, filterable=True, sortable=True),
        Column("updated_at", "datetime", nullable=False, filterable=True, sortable=True),
    ),
    row=CountryRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "countries_pkey": "id",
        "countries_code_key": "code",
        "countries_code_min_len": "code",
        "countries_name_idx": "name",
    },
    timestamps=True,
    relations=(
        Relation("airports", "has_many", "airports", "country_id"),
    ),
)
