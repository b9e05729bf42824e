"""The types of countries: a row, the data of writes, filters. Generated from resources/country/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import iso_utc, uuid_text


@dataclass(frozen=True, slots=True)
class CountryRow:
    """One country in the database."""

    id: UUID
    code: str
    name: str
    version: int
    created_at: datetime
    updated_at: datetime


class CountryCreate(TypedDict, total=False):
    """The data of a create."""

    code: Required[str]
    name: Required[str]


class CountryUpdate(TypedDict, total=False):
    """The data of an update."""

    code: str
    name: str


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
CountryFilter = TypedDict(
    "CountryFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
        "code": str,
        "code[ne]": str,
        "code[in]": Sequence[str],
        "code[gt]": str,
        "code[gte]": str,
        "code[lt]": str,
        "code[lte]": str,
        "code[contains]": str,
        "name": str,
        "name[ne]": str,
        "name[in]": Sequence[str],
        "name[gt]": str,
        "name[gte]": str,
        "name[lt]": str,
        "name[lte]": str,
        "name[contains]": str,
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
    },
    total=False,
)


def to_json(row: CountryRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "code": row.code,
        "name": row.name,
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
