"""A row of items and what writes and filters take, generated from resources/item/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import iso_utc, uuid_text


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item as PostgreSQL holds it."""

    id: UUID
    title: str
    done: bool
    version: int
    created_at: datetime
    updated_at: datetime


class ItemCreate(TypedDict, total=False):
    """What a create takes."""

    title: Required[str]
    done: bool


class ItemUpdate(TypedDict, total=False):
    """What an update takes."""

    title: str
    done: bool


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
ItemFilter = TypedDict(
    "ItemFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
        "title": str,
        "title[ne]": str,
        "title[in]": Sequence[str],
        "title[gt]": str,
        "title[gte]": str,
        "title[lt]": str,
        "title[lte]": str,
        "title[contains]": str,
        "done": bool,
        "done[ne]": bool,
        "done[in]": Sequence[bool],
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


def to_json(row: ItemRow) -> dict[str, object]:
    """The row as a JSON object: UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "title": row.title,
        "done": row.done,
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
