"""The types of products: a row, the data of writes, filters. Generated from resources/product/schema.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Required, TypedDict
from uuid import UUID

from forge_min.actions import iso_utc, uuid_text


@dataclass(frozen=True, slots=True)
class ProductRow:
    """One product in the database."""

    id: UUID
    name: str
    price: int
    status: str
    version: int
    created_at: datetime
    updated_at: datetime


class ProductCreate(TypedDict, total=False):
    """The data of a create."""

    name: Required[str]
    price: Required[int]
    status: Required[str]


class ProductUpdate(TypedDict, total=False):
    """The data of an update."""

    name: str
    price: int
    status: str


# The filters of a list, as in a query string: ListQuery.of(RESOURCE, filters).
ProductFilter = TypedDict(
    "ProductFilter",
    {
        "id": UUID | str,
        "id[ne]": UUID | str,
        "id[in]": Sequence[UUID | str],
        "status": str,
        "status[ne]": str,
        "status[in]": Sequence[str],
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


def to_json(row: ProductRow) -> dict[str, object]:
    """Return the row as a JSON object, with UUIDs, times and decimals as strings."""
    return {
        "id": uuid_text(row.id),
        "name": row.name,
        "price": row.price,
        "status": row.status,
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
