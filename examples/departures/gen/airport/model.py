"""The types of airports: a row, the data of writes, filters. Generated from resources/airport/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import iso_utc, uuid_text


@dataclass(frozen=True, slots=True)
class AirportRow:
    """One airport in the database."""

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


class AirportCreate(TypedDict, total=False):
    """The data of a create."""

    icao: Required[str]
    iata: str | None
    name: Required[str]
    city: str | None
    country_id: Required[UUID | str]
    latitude: Required[Decimal | int | str]
    longitude: Required[Decimal | int | str]
    elevation: int | None
    time_zone: str | None
    nearest_id: UUID | str | None
    nearest_km: Decimal | int | str | None


class AirportUpdate(TypedDict, total=False):
    """The data of an update."""

    icao: str
    iata: str | None
    name: str
    city: str | None
    country_id: UUID | str
    latitude: Decimal | int | str
    longitude: Decimal | int | str
    elevation: int | None
    time_zone: str | None
    nearest_id: UUID | str | None
    nearest_km: Decimal | int | str | None


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
AirportFilter = TypedDict(
    "AirportFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
        "icao": str,
        "icao[ne]": str,
        "icao[in]": Sequence[str],
        "icao[gt]": str,
        "icao[gte]": str,
        "icao[lt]": str,
        "icao[lte]": str,
        "icao[contains]": str,
        "iata": str,
        "iata[ne]": str,
        "iata[in]": Sequence[str],
        "iata[gt]": str,
        "iata[gte]": str,
        "iata[lt]": str,
        "iata[lte]": str,
        "iata[contains]": str,
        "iata[is_null]": bool,
        "name": str,
        "name[ne]": str,
        "name[in]": Sequence[str],
        "name[gt]": str,
        "name[gte]": str,
        "name[lt]": str,
        "name[lte]": str,
        "name[contains]": str,
        "city": str,
        "city[ne]": str,
        "city[in]": Sequence[str],
        "city[gt]": str,
        "city[gte]": str,
        "city[lt]": str,
        "city[lte]": str,
        "city[contains]": str,
        "city[is_null]": bool,
        "country_id": UUID | str,
        "country_id[ne]": UUID | str,
        "country_id[in]": Sequence[UUID | str],
        "nearest_id": UUID | str,
        "nearest_id[ne]": UUID | str,
        "nearest_id[in]": Sequence[UUID | str],
        "nearest_id[is_null]": bool,
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
        "country.code": str,
        "country.code[ne]": str,
        "country.code[in]": Sequence[str],
        "country.code[gt]": str,
        "country.code[gte]": str,
        "country.code[lt]": str,
        "country.code[lte]": str,
        "country.code[contains]": str,
        "country.name": str,
        "country.name[ne]": str,
        "country.name[in]": Sequence[str],
        "country.name[gt]": str,
        "country.name[gte]": str,
        "country.name[lt]": str,
        "country.name[lte]": str,
        "country.name[contains]": str,
        "nearest.icao": str,
        "nearest.icao[ne]": str,
        "nearest.icao[in]": Sequence[str],
        "nearest.icao[gt]": str,
        "nearest.icao[gte]": str,
        "nearest.icao[lt]": str,
        "nearest.icao[lte]": str,
        "nearest.icao[contains]": str,
        "nearest.iata": str,
        "nearest.iata[ne]": str,
        "nearest.iata[in]": Sequence[str],
        "nearest.iata[gt]": str,
        "nearest.iata[gte]": str,
        "nearest.iata[lt]": str,
        "nearest.iata[lte]": str,
        "nearest.iata[contains]": str,
        "nearest.iata[is_null]": bool,
        "nearest.name": str,
        "nearest.name[ne]": str,
        "nearest.name[in]": Sequence[str],
        "nearest.name[gt]": str,
        "nearest.name[gte]": str,
        "nearest.name[lt]": str,
        "nearest.name[lte]": str,
        "nearest.name[contains]": str,
        "nearest.city": str,
        "nearest.city[ne]": str,
        "nearest.city[in]": Sequence[str],
        "nearest.city[gt]": str,
        "nearest.city[gte]": str,
        "nearest.city[lt]": str,
        "nearest.city[lte]": str,
        "nearest.city[contains]": str,
        "nearest.city[is_null]": bool,
        "nearest.country_id": UUID | str,
        "nearest.country_id[ne]": UUID | str,
        "nearest.country_id[in]": Sequence[UUID | str],
        "nearest.nearest_id": UUID | str,
        "nearest.nearest_id[ne]": UUID | str,
        "nearest.nearest_id[in]": Sequence[UUID | str],
        "nearest.nearest_id[is_null]": bool,
    },
    total=False,
)


def to_json(row: AirportRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "icao": row.icao,
        "iata": row.iata,
        "name": row.name,
        "city": row.city,
        "country_id": uuid_text(row.country_id),
        "latitude": format(row.latitude, "f"),
        "longitude": format(row.longitude, "f"),
        "elevation": row.elevation,
        "time_zone": row.time_zone,
        "nearest_id": None if row.nearest_id is None else uuid_text(row.nearest_id),
        "nearest_km": None if row.nearest_km is None else format(row.nearest_km, "f"),
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
