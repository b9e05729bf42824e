"""The types of applicants: a row, the data of writes, filters. Generated from resources/applicant/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import iso_utc, uuid_text


@dataclass(frozen=True, slots=True)
class ApplicantRow:
    """One applicant in the database."""

    id: UUID
    name: str
    email: str
    born_on: date | None
    version: int
    created_at: datetime
    updated_at: datetime


class ApplicantCreate(TypedDict, total=False):
    """The data of a create."""

    name: Required[str]
    email: Required[str]
    born_on: date | str | None


class ApplicantUpdate(TypedDict, total=False):
    """The data of an update."""

    name: str
    email: str
    born_on: date | str | None


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
ApplicantFilter = TypedDict(
    "ApplicantFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
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


def to_json(row: ApplicantRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "name": row.name,
        "email": row.email,
        "born_on": None if row.born_on is None else str(row.born_on),
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
