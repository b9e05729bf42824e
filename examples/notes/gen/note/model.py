"""The types of notes: a row, the data of writes, filters. Generated from resources/note/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import iso_utc, uuid_text


@dataclass(frozen=True, slots=True)
class NoteRow:
    """One note in the database."""

    id: UUID
    title: str
    body: str | None
    done: bool
    version: int
    created_at: datetime
    updated_at: datetime


class NoteCreate(TypedDict, total=False):
    """The data of a create."""

    title: Required[str]
    body: str | None
    done: bool


class NoteUpdate(TypedDict, total=False):
    """The data of an update."""

    title: str
    body: str | None
    done: bool


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
NoteFilter = TypedDict(
    "NoteFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
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


def to_json(row: NoteRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "title": row.title,
        "body": row.body,
        "done": row.done,
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
