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
    actor_name, actor_email: of a user of this application, as they are now, for readers with a
    declared permission "audit"; else "".
    """

    id: int
    operation: str
    version: int
    actor: str
    request_id: str
    at: datetime
    changes: dict[str, list[Any]]
    actor_name: str = ""
    actor_email: str = ""

    def to_json(self) -> dict[str, Any]:
        """The entry as a JSON object."""
        return asdict(self) | {"at": iso_utc(self.at)}


def entry(shown: Mapping[str, str], values: Sequence[Any]) -> AuditEntry:
    """An entry of statement `log`. shown: the fields that it may name, with their types."""
    *entry, changes, name, email = values  # in the order of the statement
    told = {n: [_plain(shown[n], v) for v in pair] for n, pair in changes.items() if n in shown}
    return AuditEntry(*(*entry, told, name, email))


def _plain(kind: str, value: Any) -> Any:
    """The value as the resource's to_json spells it: PostgreSQL leaves out the last zeros of a
    second. What is there from a time when the field had another type stays.
    """
    try:
        return iso_utc(datetime.fromisoformat(value)) if kind == "datetime" else value
    except (TypeError, ValueError):
        return value
