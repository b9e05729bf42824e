"""The types of flights: a row, the data of writes, filters. Generated from resources/flight/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import iso_utc, uuid_text


@dataclass(frozen=True, slots=True)
class FlightRow:
    """One flight in the database."""

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


class FlightCreate(TypedDict, total=False):
    """The data of a create."""

    number: Required[str]
    origin_id: Required[UUID | str]
    destination_id: Required[UUID | str]
    status: str
    gate: str | None
    departs_at: Required[datetime | str]
    arrives_at: Required[datetime | str]


class FlightUpdate(TypedDict, total=False):
    """The data of an update."""

    number: str
    origin_id: UUID | str
    destination_id: UUID | str
    status: str
    gate: str | None
    departs_at: datetime | str
    arrives_at: datetime | str


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
FlightFilter = TypedDict(
    "FlightFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
        "number": str,
        "number[ne]": str,
        "number[in]": Sequence[str],
        "number[gt]": str,
        "number[gte]": str,
        "number[lt]": str,
        "number[lte]": str,
        "number[contains]": str,
        "origin_id": UUID | str,
        "origin_id[ne]": UUID | str,
        "origin_id[in]": Sequence[UUID | str],
        "destination_id": UUID | str,
        "destination_id[ne]": UUID | str,
        "destination_id[in]": Sequence[UUID | str],
        "status": str,
        "status[ne]": str,
        "status[in]": Sequence[str],
        "gate": str,
        "gate[ne]": str,
        "gate[in]": Sequence[str],
        "gate[gt]": str,
        "gate[gte]": str,
        "gate[lt]": str,
        "gate[lte]": str,
        "gate[contains]": str,
        "gate[is_null]": bool,
        "departs_at": datetime | str,
        "departs_at[ne]": datetime | str,
        "departs_at[in]": Sequence[datetime | str],
        "departs_at[gt]": datetime | str,
        "departs_at[gte]": datetime | str,
        "departs_at[lt]": datetime | str,
        "departs_at[lte]": datetime | str,
        "created_at": datetime | str,
        "created_at[ne]": datetime | str,
        "created_at[in]": Sequence[datetime | str],
        "created_at[gt]": datetime | str,
        "created_at[gte]": datetime | str,
        "created_at[lt]": datetime | str,
        "created_at[lte]": datetime | str,
        "updated_at": datetime | str,
        "updated_at[ne]": datetime | str,
        "updated_at[in]": Sequence[datetime | str],
        "updated_at[gt]": datetime | str,
        "updated_at[gte]": datetime | str,
        "updated_at[lt]": datetime | str,
        "updated_at[lte]": datetime | str,
        "origin.icao": str,
        "origin.icao[ne]": str,
        "origin.icao[in]": Sequence[str],
        "origin.icao[gt]": str,
        "origin.icao[gte]": str,
        "origin.icao[lt]": str,
        "origin.icao[lte]": str,
        "origin.icao[contains]": str,
        "origin.iata": str,
        "origin.iata[ne]": str,
        "origin.iata[in]": Sequence[str],
        "origin.iata[gt]": str,
        "origin.iata[gte]": str,
        "origin.iata[lt]": str,
        "origin.iata[lte]": str,
        "origin.iata[contains]": str,
        "origin.iata[is_null]": bool,
        "origin.name": str,
        "origin.name[ne]": str,
        "origin.name[in]": Sequence[str],
        "origin.name[gt]": str,
        "origin.name[gte]": str,
        "origin.name[lt]": str,
        "origin.name[lte]": str,
        "origin.name[contains]": str,
        "origin.city": str,
        "origin.city[ne]": str,
        "origin.city[in]": Sequence[str],
        "origin.city[gt]": str,
        "origin.city[gte]": str,
        "origin.city[lt]": str,
        "origin.city[lte]": str,
        "origin.city[contains]": str,
        "origin.city[is_null]": bool,
        "origin.country_id": UUID | str,
        "origin.country_id[ne]": UUID | str,
        "origin.country_id[in]": Sequence[UUID | str],
        "origin.nearest_id": UUID | str,
        "origin.nearest_id[ne]": UUID | str,
        "origin.nearest_id[in]": Sequence[UUID | str],
        "origin.nearest_id[is_null]": bool,
        "destination.icao": str,
        "destination.icao[ne]": str,
        "destination.icao[in]": Sequence[str],
        "destination.icao[gt]": str,
        "destination.icao[gte]": str,
        "destination.icao[lt]": str,
        "destination.icao[lte]": str,
        "destination.icao[contains]": str,
        "destination.iata": str,
        "destination.iata[ne]": str,
        "destination.iata[in]": Sequence[str],
        "destination.iata[gt]": str,
        "destination.iata[gte]": str,
        "destination.iata[lt]": str,
        "destination.iata[lte]": str,
        "destination.iata[contains]": str,
        "destination.iata[is_null]": bool,
        "destination.name": str,
        "destination.name[ne]": str,
        "destination.name[in]": Sequence[str],
        "destination.name[gt]": str,
        "destination.name[gte]": str,
        "destination.name[lt]": str,
        "destination.name[lte]": str,
        "destination.name[contains]": str,
        "destination.city": str,
        "destination.city[ne]": str,
        "destination.city[in]": Sequence[str],
        "destination.city[gt]": str,
        "destination.city[gte]": str,
        "destination.city[lt]": str,
        "destination.city[lte]": str,
        "destination.city[contains]": str,
        "destination.city[is_null]": bool,
        "destination.country_id": UUID | str,
        "destination.country_id[ne]": UUID | str,
        "destination.country_id[in]": Sequence[UUID | str],
        "destination.nearest_id": UUID | str,
        "destination.nearest_id[ne]": UUID | str,
        "destination.nearest_id[in]": Sequence[UUID | str],
        "destination.nearest_id[is_null]": bool,
    },
    total=False,
)


def to_json(row: FlightRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "number": row.number,
        "origin_id": uuid_text(row.origin_id),
        "destination_id": uuid_text(row.destination_id),
        "status": row.status,
        "gate": row.gate,
        "departs_at": iso_utc(row.departs_at),
        "arrives_at": iso_utc(row.arrives_at),
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
