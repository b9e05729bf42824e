"""A row of airports, generated from resources/airport/schema.py. Do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from forge_min.actions import iso_utc


@dataclass(frozen=True, slots=True)
class AirportRow:
    """One airport as PostgreSQL holds it."""

    id: UUID
    icao: str
    iata: str | None
    name: str
    city: str | None
    country_id: UUID
    latitude: Decimal
    longitude: Decimal
    elevation: int | None
    time_zone: str | None
    nearest_id: UUID | None
    nearest_km: Decimal | None
    version: int
    created_at: datetime
    updated_at: datetime


def to_json(row: AirportRow) -> dict[str, object]:
    """The row as a JSON object: UUIDs, times and decimals as strings."""
    return {
        "id": str(row.id),
        "icao": row.icao,
        "iata": row.iata,
        "name": row.name,
        "city": row.city,
        "country_id": str(row.country_id),
        "latitude": str(row.latitude),
        "longitude": str(row.longitude),
        "elevation": row.elevation,
        "time_zone": row.time_zone,
        "nearest_id": None if row.nearest_id is None else str(row.nearest_id),
        "nearest_km": None if row.nearest_km is None else str(row.nearest_km),
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
