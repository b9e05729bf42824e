"""The log of changes of one row, as the current identity may see it. Writing it is `writing`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ... import db
from ...fanout import iso_utc

SQL = db.load_sql("forge_min.actions.reading", "audit.sql")
SIZES = ("octet_length(changes::text)",)


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


def entry(shown: Mapping[str, str], values: Sequence[Any]) -> AuditEntry:
    """An entry of statement `log`. shown: the fields that it may name, with their types."""
    changes = values[-1].items()
    told = {name: [_plain(shown[name], v) for v in pair] for name, pair in changes if name in shown}
    return AuditEntry(*(*values[:-1], told))


def _plain(kind: str, value: Any) -> Any:
    """The value as the resource's to_json spells it: PostgreSQL leaves out the last zeros of a
    second. What is there from a time when the field had another type stays.
    """
    try:
        return iso_utc(datetime.fromisoformat(value)) if kind == "datetime" else value
    except (TypeError, ValueError):
        return value
