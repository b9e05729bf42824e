"""The types of appointments: a row, the data of writes, filters. Generated from resources/appointment/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import iso_utc, uuid_text


@dataclass(frozen=True, slots=True)
class AppointmentRow:
    """One appointment in the database."""

    id: UUID
    slot_id: UUID
    application_id: UUID
    note: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class AppointmentCreate(TypedDict, total=False):
    """The data of a create."""

    slot_id: Required[UUID | str]
    application_id: Required[UUID | str]
    note: str | None


class AppointmentUpdate(TypedDict, total=False):
    """The data of an update."""

    slot_id: UUID | str
    application_id: UUID | str
    note: str | None


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
AppointmentFilter = TypedDict(
    "AppointmentFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
        "slot_id": UUID | str,
        "slot_id[ne]": UUID | str,
        "slot_id[in]": Sequence[UUID | str],
        "application_id": UUID | str,
        "application_id[ne]": UUID | str,
        "application_id[in]": Sequence[UUID | str],
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
        "slot.officer_id": UUID | str,
        "slot.officer_id[ne]": UUID | str,
        "slot.officer_id[in]": Sequence[UUID | str],
        "slot.day": date | str,
        "slot.day[ne]": date | str,
        "slot.day[in]": Sequence[date | str],
        "slot.day[gt]": date | str,
        "slot.day[gte]": date | str,
        "slot.day[lt]": date | str,
        "slot.day[lte]": date | str,
        "application.number": str,
        "application.number[ne]": str,
        "application.number[in]": Sequence[str],
        "application.number[gt]": str,
        "application.number[gte]": str,
        "application.number[lt]": str,
        "application.number[lte]": str,
        "application.number[contains]": str,
        "application.applicant_id": UUID | str,
        "application.applicant_id[ne]": UUID | str,
        "application.applicant_id[in]": Sequence[UUID | str],
        "application.status": str,
        "application.status[ne]": str,
        "application.status[in]": Sequence[str],
        "application.kind": str,
        "application.kind[ne]": str,
        "application.kind[in]": Sequence[str],
        "application.begins_on": date | str,
        "application.begins_on[ne]": date | str,
        "application.begins_on[in]": Sequence[date | str],
        "application.begins_on[gt]": date | str,
        "application.begins_on[gte]": date | str,
        "application.begins_on[lt]": date | str,
        "application.begins_on[lte]": date | str,
    },
    total=False,
)


def to_json(row: AppointmentRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "slot_id": uuid_text(row.slot_id),
        "application_id": uuid_text(row.application_id),
        "note": row.note,
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
