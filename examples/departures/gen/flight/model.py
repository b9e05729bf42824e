"""A row of flights, generated from resources/flight/schema.py. Do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from forge_min.actions import iso_utc


@dataclass(frozen=True, slots=True)
class FlightRow:
    """One flight as PostgreSQL holds it."""

    id: UUID
    number: str
    origin_id: UUID
    destination_id: UUID
    status: str
    gate: str | None
    departs_at: datetime
    arrives_at: datetime
    version: int
    created_at: datetime
    updated_at: datetime


def to_json(row: FlightRow) -> dict[str, object]:
    """The row as a JSON object: UUIDs, times and decimals as strings."""
    return {
        "id": str(row.id),
        "number": row.number,
        "origin_id": str(row.origin_id),
        "destination_id": str(row.destination_id),
        "status": row.status,
        "gate": row.gate,
        "departs_at": iso_utc(row.departs_at),
        "arrives_at": iso_utc(row.arrives_at),
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
