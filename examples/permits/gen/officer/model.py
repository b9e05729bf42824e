"""The types of officers: a row, the data of writes, filters. Generated from resources/officer/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import uuid_text


@dataclass(frozen=True, slots=True)
class OfficerRow:
    """One officer in the database."""

    id: UUID
    name: str
    room: str
    languages: Sequence[str] | None
    version: int


class OfficerCreate(TypedDict, total=False):
    """The data of a create."""

    name: Required[str]
    room: Required[str]
    languages: Sequence[str] | None


class OfficerUpdate(TypedDict, total=False):
    """The data of an update."""

    name: str
    room: str
    languages: Sequence[str] | None


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
OfficerFilter = TypedDict(
    "OfficerFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
        "room": str,
        "room[ne]": str,
        "room[in]": Sequence[str],
        "room[gt]": str,
        "room[gte]": str,
        "room[lt]": str,
        "room[lte]": str,
        "room[contains]": str,
        "languages[contains]": str,
        "languages[is_null]": bool,
    },
    total=False,
)


def to_json(row: OfficerRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "name": row.name,
        "room": row.room,
        "languages": row.languages,
        "version": row.version,
    }
