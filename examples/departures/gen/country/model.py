"""A row of countries, generated from resources/country/schema.py. Do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from forge_min.actions import iso_utc


@dataclass(frozen=True, slots=True)
class CountryRow:
    """One country as PostgreSQL holds it."""

    id: UUID
    code: str
    name: str
    version: int
    created_at: datetime
    updated_at: datetime


def to_json(row: CountryRow) -> dict[str, object]:
    """The row as a JSON object: UUIDs, times and decimals as strings."""
    return {
        "id": str(row.id),
        "code": row.code,
        "name": row.name,
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
