"""Airport as data: columns, rules, constraints, relations and hooks.

Generated from resources/airport/schema.py. Do not edit.
"""

from forge_min.actions import Check, Column, JobHook, Relation, Resource

from . import sql
from .model import AirportRow, to_json


def check(c: Check) -> None:
    """Check the rules of the schema, one line per field."""
    c.string("icao", max_len=4, required=True)
    c.string("iata", min_len=3, max_len=3)
    c.string("name", max_len=100, required=True)
    c.string("city", max_len=60)
    c.uuid("country_id", required=True)
    c.decimal("latitude", precision=(9, 6), min=-90, max=90, required=True)
    c.decimal("longitude", precision=(9, 6), min=-180, max=180, required=True)
    c.int("elevation")
    c.string("time_zone", max_len=40)
    c.uuid("nearest_id")
    c.decimal("nearest_km", precision=(8, 3), min=0)
    c.unknown()


RESOURCE: Resource[AirportRow] = Resource(
    name="Airport",
    event="airport",
    table="airports",
    topic="airports",
    columns=(
        Column("id", "uuid", nullable=False, filterable=True, sortable=True, unique=True),
        Column("icao", "string", nullable=False, filterable=True, sortable=True, unique=True),
        Column("iata", "string", filterable=True, sortable=True, unique=True),
        Column("name", "string", nullable=False, filterable=True, sortable=True),
        Column("city", "string", filterable=True, sortable=True),
        Column("country_id", "uuid", nullable=False, filterable=True),
        Column("latitude", "decimal", nullable=False),
        Column("longitude", "decimal", nullable=False),
        Column("elevation", "int", help='feet above the sea'),
        Column("time_zone", "string"),
        Column("nearest_id", "uuid", filterable=True),
        Column("nearest_km", "decimal"),
        Column("version", "bigint", nullable=False),
        Column("created_at", "datetime", nullable=False, filterable=True, sortable=True),
        Column("updated_at", "datetime", nullable=False, filterable=True, sortable=True),
    ),
    row=AirportRow,
    to_json=to_json,
    check=check,
    select=sql.SELECT.rstrip(),
    insert=sql.INSERT.rstrip(),
    insert_many=sql.INSERT_MANY.rstrip(),
    constraints={
        "airports_pkey": "id",
        "airports_icao_key": "icao",
        "airports_iata_key": "iata",
        "airports_iata_min_len": "iata",
        "airports_name_idx": "name",
        "airports_city_idx": "city",
        "airports_country_id_fkey": "country_id",
        "airports_latitude_min": "latitude",
        "airports_latitude_max": "latitude",
        "airports_longitude_min": "longitude",
        "airports_longitude_max": "longitude",
        "airports_nearest_id_fkey": "nearest_id",
        "airports_nearest_km_min": "nearest_km",
    },
    timestamps=True,
    searchable=True,
    relations=(
        Relation("country", "belongs_to", "countries", "country_id"),
        Relation("nearest", "belongs_to", "airports", "nearest_id", on_delete='set_null'),
        Relation("departures", "has_many", "flights", "origin_id"),
        Relation("arrivals", "has_many", "flights", "destination_id"),
    ),
    after_create=(
        JobHook("FindNearest", "nearest", priority=2),
    ),
)
