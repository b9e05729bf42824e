"""Values as people read them: one row's fields as HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from ...actions import Actions, Relation
from ...actions.values import to_text
from ...errors import DomainError
from ...text import text
from ..html import Raw, check_url, join, tag, time_tag
from .fields import Field

Places = Mapping[str, str]
"""Where a resource's pages lie, by topic: "/flights". Without one there are no links to it."""

NUMBERS = ("int", "bigint", "decimal")
_NONE = Raw('<span class="none">–</span>')


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
            return join(_between(links)) if links else _NONE
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


def _between(links: Sequence[Raw]) -> list[Raw]:
    return [part for link in links for part in (Raw(", "), link)][1:]
