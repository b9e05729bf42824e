"""The log of changes of one row, as the current identity may see it. Writing it is `writing`'s."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ... import db
from ..resource import Column, Resource
from ..values import TYPES, iso_utc, to_text

SQL = db.load_sql("forge_min.actions.reading", "audit.sql")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change. operation: create, update, delete or restore. actor: the identity's user, or "".

    changes: field → [before, after] as in the JSON of the resource; None stands for "not there".
    """

    id: int
    operation: str
    version: int
    actor: str
    request_id: str
    at: datetime
    changes: dict[str, list[Any]]

    def to_json(self) -> dict[str, Any]:
        """The entry as a JSON object."""
        return asdict(self) | {"at": iso_utc(self.at)}


# A number with a point stays exact: PostgreSQL wrote the digits that the column has.
_decode = json.JSONDecoder(parse_float=Decimal).decode


def entry(resource: Resource[Any], hidden: frozenset[str], values: Sequence[Any]) -> AuditEntry:
    """An entry of statement `log`, with the fields that the resource has today and that are not
    `hidden`. Its changes are JSON text, values as PostgreSQL's to_jsonb wrote them.
    """
    columns: dict[str, Column | None] = {r.field: None for r in resource.relations if r.field}
    columns |= {c.name: c for c in resource.columns if c.name not in hidden}
    changes = {
        name: [_plain(columns[name], value) for value in pair]
        for name, pair in _decode(values[-1]).items()
        if name in columns
    }
    return AuditEntry(*(*values[:-1], changes))


def _plain(column: Column | None, value: Any) -> Any:
    """The value as the resource's to_json spells it."""
    if column is None or value is None:
        return value
    if column.type == "decimal":
        return to_text(Decimal(value))
    if column.type == "json":
        return TYPES["json"].read(value)
    return iso_utc(datetime.fromisoformat(value)) if column.type == "datetime" else value
