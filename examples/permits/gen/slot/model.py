"""The types of slots: a row, the data of writes, filters. Generated from resources/slot/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import format_duration, uuid_text


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One slot in the database."""

    id: UUID
    officer_id: UUID
    day: date
    begins_at: time
    length: timedelta
    places: int
    version: int


class SlotCreate(TypedDict, total=False):
    """The data of a create."""

    officer_id: Required[UUID | str]
    day: Required[date | str]
    begins_at: Required[time | str]
    length: Required[timedelta | str]
    places: int


class SlotUpdate(TypedDict, total=False):
    """The data of an update."""

    day: date | str
    begins_at: time | str
    length: timedelta | str
    places: int


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
SlotFilter = TypedDict(
    "SlotFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
        "officer_id": UUID | str,
        "officer_id[ne]": UUID | str,
        "officer_id[in]": Sequence[UUID | str],
        "day": date | str,
        "day[ne]": date | str,
        "day[in]": Sequence[date | str],
        "day[gt]": date | str,
        "day[gte]": date | str,
        "day[lt]": date | str,
        "day[lte]": date | str,
        "officer.room": str,
        "officer.room[ne]": str,
        "officer.room[in]": Sequence[str],
        "officer.room[gt]": str,
        "officer.room[gte]": str,
        "officer.room[lt]": str,
        "officer.room[lte]": str,
        "officer.room[contains]": str,
        "officer.languages[contains]": str,
        "officer.languages[is_null]": bool,
    },
    total=False,
)


def to_json(row: SlotRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "officer_id": uuid_text(row.officer_id),
        "day": str(row.day),
        "begins_at": str(row.begins_at),
        "length": format_duration(row.length),
        "places": row.places,
        "version": row.version,
    }
