"""A row of products, generated from resources/product/schema.py. Do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from forge_min.actions import iso_utc


@dataclass(frozen=True, slots=True)
class ProductRow:
    """One product as PostgreSQL holds it."""

    id: UUID
    name: str
    price: int
    status: str
    version: int
    created_at: datetime
    updated_at: datetime


def to_json(row: ProductRow) -> dict[str, object]:
    """The row as a JSON object: UUIDs, times and decimals as strings."""
    return {
        "id": str(row.id),
        "name": row.name,
        "price": row.price,
        "status": row.status,
        "version": row.version,
        "created_at": iso_utc(row.created_at),
        "updated_at": iso_utc(row.updated_at),
    }
