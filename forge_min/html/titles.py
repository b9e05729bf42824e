"""The titles of rows: in headings, links, choices and confirmations.

A title is made from the template of the schema, `title="{patient.name}, {ward.name}"`. A value
that the current identity may not see is "–".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from string import Formatter
from typing import Any, NamedTuple

from ..actions import Filter, ListQuery, shown_text
from ..errors import DomainError
from ..i18n import number_marks, text
from ..wsgi import show_date, show_time
from .fields import AnyActions, label_of

MISSING = "–"
Related = Mapping[str, Mapping[Any, Any]]
"""Relation → key of a row → the related row, as of `Actions.related`."""


class Part(NamedTuple):
    """A part of a template: a text, then the value of a column, "" for none.

    relation: that leads to the row with the column; "" for the row itself.
    """

    before: str
    relation: str
    column: str


@cache
def parts_of(template: str) -> tuple[Part, ...]:
    """Return the parts of a template, which `parse` has checked."""
    parts = []
    for before, name, _, _ in Formatter().parse(template):
        relation, _, column = (name or "").rpartition(".")
        parts.append(Part(before, relation, column))
    return tuple(parts)


def titles(actions: AnyActions, rows: Sequence[Any], related: Related | None = None) -> list[str]:
    """Return the title of each row. There is one query per relation in the template.

    related: rows that have been read, by relation.
    """
    related = dict(related or {})
    parts = parts_of(actions.title_template())
    for name in dict.fromkeys(part.relation for part in parts if part.relation):
        if name not in related and rows:
            with suppress(DomainError):  # the identity may not read the target
                related |= actions.related(rows, [name])
    return [actions.label(row) or _title(actions, row, parts, related) for row in rows]


def title_of(actions: AnyActions, row: Any) -> str:
    """Return the title of one row."""
    return titles(actions, [row])[0]


def _title(actions: AnyActions, row: Any, parts: Sequence[Part], related: Related) -> str:
    title = ""
    has_value = False
    for before, relation, column in parts:
        title += before
        if column:
            value = _value(actions, row, related, relation, column)
            title += value or MISSING
            has_value = has_value or bool(value)
    if has_value:
        return title
    return _name(actions, row)


def _value(actions: AnyActions, row: Any, related: Related, relation: str, name: str) -> str:
    if relation:
        row = related.get(relation, {}).get(actions.key_of(row))
        link = next(r for r in actions.resource.relations if r.name == relation)
        actions = actions.registry.actions[link.target]
    if row is None:
        return ""
    column = actions.resource.by_name[name]
    return plain_text(column.type, column.value_of(row))


def _name(actions: AnyActions, row: Any) -> str:
    """The title of a row without a value for the template: its kind, and a number or a time."""
    resource = actions.resource
    kind = label_of(resource.event)
    if resource.key.type != "uuid":
        return f"{kind} {actions.key_of(row)}"
    if resource.timestamps:
        return f"{kind}, {show_time(row.created_at)}"
    return kind


def plain_text(kind: str, value: object) -> str:
    """Return a value as text for people, in the current language; "" for None."""
    if value is None or value == "":
        return ""
    if isinstance(value, datetime):
        return show_time(value)
    if isinstance(value, date):
        return show_date(value)
    if isinstance(value, bool):
        if value:
            return text("yes")
        return text("no")
    if isinstance(value, list):
        items = [str(item) for item in value]
        if kind == "enum[]":
            items = [text(item) for item in items]
        return ", ".join(items)
    if isinstance(value, Decimal | float):
        return shown_text(value).replace(".", number_marks()[1])
    if kind == "enum":
        return text(str(value))
    return shown_text(value)


def titles_of_keys(
    actions: AnyActions, keys: Sequence[Any], *, deleted: bool = False
) -> dict[Any, str]:
    """Return the titles of the existing rows of these keys, by key.

    deleted: the rows are in the trash.
    """
    if not keys:
        return {}
    condition = Filter(actions.resource.key, "in", list(keys))
    rows = list(actions.stream(ListQuery((condition,), deleted=deleted)))
    return dict(zip(map(actions.key_of, rows), titles(actions, rows), strict=True))
