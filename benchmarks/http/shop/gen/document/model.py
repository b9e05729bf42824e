"""The types of documents: a row, the data of writes, filters. Generated from resources/document/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict
from uuid import UUID

from forge_min.actions import uuid_text


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One document in the database."""

    id: UUID
    name: str | None
    content: Any | None
    version: int


class DocumentCreate(TypedDict, total=False):
    """The data of a create."""

    name: str | None
    content: Any


class DocumentUpdate(TypedDict, total=False):
    """The data of an update."""

    name: str | None
    content: Any


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
DocumentFilter = TypedDict(
    "DocumentFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
        "name": str,
        "name[ne]": str,
        "name[in]": Sequence[str],
        "name[gt]": str,
        "name[gte]": str,
        "name[lt]": str,
        "name[lte]": str,
        "name[contains]": str,
        "name[is_null]": bool,
    },
    total=False,
)


def to_json(row: DocumentRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "name": row.name,
        "content": row.content,
        "version": row.version,
    }
