"""The detail page of one row: every value, the lists that belong to it, and its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ...actions import Actions
from ...actions.reading.audit import AuditEntry
from ...errors import Forbidden, Unauthenticated
from ...text import later, text
from ..html import Raw, time_tag
from ..request import Request
from .cells import Cells, Places
from .fields import shown_fields, words

ENTRIES = 10  # of a row's history
_OPERATIONS = {
    "create": later("created"),
    "update": later("changed"),
    "delete": later("deleted"),
    "restore": later("restored"),
}
_LONGEST = 60  # characters of a value in the history


class Fact(NamedTuple):
    """One value."""

    label: str
    value: Raw


class Link(NamedTuple):
    """A way to other pages."""

    label: str
    href: str


class Change(NamedTuple):
    """One field of an entry of the history."""

    label: str
    before: str
    after: str


class Entry(NamedTuple):
    """One entry of the history."""

    at: Raw
    operation: str
    actor: str
    changes: Sequence[Change]


class Detail:
    """What is shown of the rows of one resource."""

    def __init__(self, actions: Actions[Any, Any, Any], places: Places) -> None:
        self._actions, self._places = actions, places
        self._fields = shown_fields(actions.resource)

    def context(self, request: Request, row: Any) -> dict[str, Any]:
        """What the template takes, beside the title and the buttons."""
        hidden = self._actions.hidden()
        fields = [f for f in self._fields if f.name not in hidden and f.name != "version"]
        cells = Cells(self._actions, [row], fields, self._places, request.root)
        return {
            "fields": [Fact(field.label, cells.show(row, field)) for field in fields],
            "links": self._links(request, row),
            "history": self._history(row) if self._actions.resource.auditable else (),
        }

    def _links(self, request: Request, row: Any) -> Sequence[Link]:
        """The lists of other resources that belong to this row."""
        found = []
        for relation in self._actions.resource.relations:
            target = self._actions.registry.actions[relation.target]
            place = self._places.get(relation.target)
            if relation.kind not in ("has_many", "has_one") or place is None:
                continue
            if relation.column not in target.hidden():
                key = urlencode({relation.column: str(self._actions.key_of(row))})
                found.append(Link(words(relation.name), f"{request.root}{place}?{key}"))
        return found

    def _history(self, row: Any) -> Sequence[Entry]:
        labels = {field.name: field.label for field in self._fields}
        try:
            page = self._actions.audit_log(self._actions.key_of(row), limit=ENTRIES)
        except (Unauthenticated, Forbidden):
            return ()
        return [
            Entry(
                time_tag(entry.at),
                text(_OPERATIONS.get(entry.operation, entry.operation)),
                _actor(entry),
                [
                    Change(labels.get(name, name), _short(before), _short(after))
                    for name, (before, after) in entry.changes.items()
                    if entry.operation != "create"  # what it began with says nothing of changes
                ],
            )
            for entry in page.rows
        ]


def _actor(entry: AuditEntry) -> str:
    """Who made a change, as far as the reader may know."""
    named = f"{entry.actor_name} ({entry.actor_email})" if entry.actor_name else entry.actor_email
    return named or entry.actor


def _short(value: object) -> str:
    shown = "–" if value is None else str(value)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
