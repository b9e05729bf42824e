"""The types of applications: a row, the data of writes, filters. Generated from resources/application/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import iso_utc, uuid_text


@dataclass(frozen=True, slots=True)
class ApplicationRow:
    """One application in the database."""

    id: UUID
    number: str
    applicant_id: UUID
    status: str
    kind: str
    subject: str
    zones: Sequence[str] | None
    begins_on: date
    ends_on: date
    fee: Decimal
    version: int
    created_at: datetime
    updated_at: datetime
    created_by: str | None


class ApplicationCreate(TypedDict, total=False):
    """The data of a create."""

    number: Required[str]
    applicant_id: Required[UUID | str]
    status: str
    kind: Required[str]
    subject: Required[str]
    zones: Sequence[str] | None
    begins_on: Required[date | str]
    ends_on: Required[date | str]
    fee: Decimal | int | str


class ApplicationUpdate(TypedDict, total=False):
    """The data of an update."""

    kind: str
    subject: str
    zones: Sequence[str] | None
    begins_on: date | str
    ends_on: date | str
    fee: Decimal | int | str


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
ApplicationFilter = TypedDict(
    "ApplicationFilter",
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
        "applicant_id": UUID | str,
        "applicant_id[ne]": UUID | str,
        "applicant_id[in]": Sequence[UUID | str],
        "status": str,
        "status[ne]": str,
        "status[in]": Sequence[str],
        "kind": str,
        "kind[ne]": str,
        "kind[in]": Sequence[str],
        "begins_on": date | str,
        "begins_on[ne]": date | str,
        "begins_on[in]": Sequence[date | str],
        "begins_on[gt]": date | str,
        "begins_on[gte]": date | str,
        "begins_on[lt]": date | str,
        "begins_on[lte]": date | str,
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


def to_json(row: ApplicationRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "number": row.number,
        "applicant_id": uuid_text(row.applicant_id),
        "status": row.status,
        "kind": row.kind,
        "subject": row.subject,
        "zones": row.zones,
        "begins_on": str(row.begins_on),
        "ends_on": str(row.ends_on),
        "fee": format(row.fee, "f"),
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
        "created_by": row.created_by,
    }
