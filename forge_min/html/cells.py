"""Values as people read them: cells of a list, the facts of one row, texts for a spreadsheet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import quote, urlencode

from ..actions import Actions, Relation, to_text
from ..errors import DomainError, Forbidden, Unauthenticated
from ..i18n import gettext_noop, text
from ..wsgi import Raw, Request, check_url, tag, time_tag
from .fields import Field, shown_fields, words

Places = Mapping[str, str]
"""Where a resource's pages lie, by topic: "/flights". Without one there are no links to it."""

NUMBERS = ("int", "bigint", "decimal")
_NONE = Raw('<span class="none">–</span>')
# OWASP, CSV Injection; the last four are what a Japanese keyboard makes of the first four.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_TEXTS = ("string", "text", "slug", "email", "url", "enum")


class Cells:
    """The values of some rows of one resource. related: each relation's rows, read at once."""

    def __init__(
        self, actions: Actions[Any, Any, Any], rows: Sequence[Any], fields: Sequence[Field],
        places: Places, root: str,
    ) -> None:  # fmt: skip
        self._actions, self._places, self._root = actions, places, root
        self._led: dict[str, Mapping[Any, Any]] = {}
        for field in fields:
            if field.relation is not None:
                with suppress(DomainError):  # who may not read the targets sees their keys
                    self._led |= actions.related(rows, [field.relation.name])

    def show(self, row: Any, field: Field) -> Raw:
        """One value as HTML."""
        if field.relation is not None and field.relation.name in self._led:
            led = self._led[field.relation.name][self._actions.key_of(row)]
            found = led if isinstance(led, list) else [led] if led is not None else []
            links = [self.link(field.relation, one) for one in found]
            return Raw(", ".join(links)) if links else _NONE
        if field.column is None:
            return _NONE
        return shown(field.kind, field.value(row))

    def plain(self, row: Any, field: Field) -> str:
        """What the related row is called; "" for none, and where it may not be read."""
        relation = field.relation
        if relation is None or relation.name not in self._led:
            return ""
        led = self._led[relation.name][self._actions.key_of(row)]
        return "" if led is None else self._target(relation).label(led)

    def link(self, relation: Relation, row: Any) -> Raw:
        """The related row's label, leading to its page."""
        target = self._target(relation)
        place = self._places.get(relation.target)
        label = target.label(row)
        if place is None:
            return tag("span", label)
        return tag("a", label, href=address(self._root + place, target.key_of(row)))

    def _target(self, relation: Relation) -> Any:
        return self._actions.registry.actions[relation.target]


def address(place: str, key: object, *more: str) -> str:
    """The page of one row below a list's; of the key "new" with a slash, as /new is the form."""
    if key == "new" and not more:
        more = ("",)
    return "/".join([place, quote(str(key), safe=""), *more])


def shown(kind: str, value: object) -> Raw:
    """A value of a column as HTML."""
    if value is None or value == "":
        return _NONE
    if isinstance(value, datetime):
        return time_tag(value)
    if isinstance(value, date):
        return tag("time", value.isoformat(), datetime=value.isoformat())
    if isinstance(value, bool):
        return tag("span", text("yes") if value else text("no"))
    if kind == "json":
        return tag("pre", json.dumps(value, ensure_ascii=False, indent=2))
    written = to_text(value)
    if kind == "enum":
        return tag("span", text(written), class_="tag")
    if kind == "url":
        return tag("a", written, href=check_url(written), rel="noopener noreferrer nofollow")
    if kind == "email":
        return tag("a", written, href=f"mailto:{quote(written, safe='@')}")
    if kind == "text":
        return tag("div", written, class_="text")
    return tag("span", written)


def csv_value(kind: str, value: object) -> str:
    """A value of a column for a spreadsheet."""
    if value is None:
        return ""
    if kind == "json":
        return csv_text(json.dumps(value, ensure_ascii=False))
    written = to_text(value)
    return csv_text(written) if kind in _TEXTS else written


def csv_text(written: str) -> str:
    """A text that no spreadsheet computes."""
    return "'" + written if written.startswith(_FORMULAS) else written


ENTRIES = 10  # of a row's history
_OPERATIONS = {
    "create": gettext_noop("created"),
    "update": gettext_noop("changed"),
    "delete": gettext_noop("deleted"),
    "restore": gettext_noop("restored"),
}
_LONGEST = 60  # characters of a value in the history


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
            "fields": [Item(label=f.label, value=cells.show(row, f)) for f in fields],
            "links": self._links(request, row),
            "history": self._history(row) if self._actions.resource.auditable else (),
        }

    def _links(self, request: Request, row: Any) -> Sequence[Item]:
        """The lists of other resources that belong to this row."""
        found = []
        for relation in self._actions.resource.relations:
            target = self._actions.registry.actions[relation.target]
            place = self._places.get(relation.target)
            if relation.kind not in ("has_many", "has_one") or place is None:
                continue
            if relation.column not in target.hidden():
                key = urlencode({relation.column: str(self._actions.key_of(row))})
                found.append(Item(label=words(relation.name), href=f"{request.root}{place}?{key}"))
        return found

    def _history(self, row: Any) -> Sequence[Item]:
        labels = {field.name: field.label for field in self._fields}
        try:
            page = self._actions.audit_log(self._actions.key_of(row), limit=ENTRIES)
        except (Unauthenticated, Forbidden):
            return ()
        return [
            Item(
                at=time_tag(entry.at),
                operation=text(_OPERATIONS.get(entry.operation, entry.operation)),
                actor=_actor(entry),
                changes=[
                    Item(label=labels.get(name, name), before=_short(before), after=_short(after))
                    for name, (before, after) in entry.changes.items()
                    if entry.operation != "create"  # what it began with says nothing of changes
                ],
            )
            for entry in page.rows
        ]


def _actor(entry: Any) -> str:
    """Who made a change, as far as the reader may know."""
    named = f"{entry.actor_name} ({entry.actor_email})" if entry.actor_name else entry.actor_email
    return named or entry.actor


def _short(value: object) -> str:
    shown = "–" if value is None else str(value)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
