"""Values as HTML and as CSV: cells of a list, values and history of one row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import quote, urlencode

from ..actions import Relation, shown_text, to_text
from ..errors import DomainError, Forbidden, Unauthenticated
from ..i18n import gettext_noop, text
from ..wsgi import Raw, check_url, tag, time_tag
from .fields import AnyActions, Fields, FormField, label_of
from .layout import Hyperlink

PagePaths = Mapping[str, str]
"""Topic → path of the list page ("/flights"). A resource without an entry is not linked."""

NUMBERS = ("int", "bigint", "decimal", "float")
_EMPTY = Raw('<span class="none">–</span>')
# OWASP, CSV Injection. The last four are the full-width forms of the first four.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_TEXTS = ("string", "text", "slug", "email", "url", "enum")


class Cells:
    """Formats the values of some rows of one resource. Related rows are read in one query each."""

    def __init__(
        self, actions: AnyActions, rows: Sequence[Any], fields: Fields, paths: PagePaths, root: str
    ) -> None:
        self._actions, self._fields, self._paths, self._root = actions, fields, paths, root
        self._related: dict[str, Mapping[Any, Any]] = {}
        for field in fields:
            if field.relation is not None:
                with suppress(DomainError):  # a user without the permission sees the keys
                    self._related |= actions.related(rows, [field.relation.name])

    def show(self, row: Any, field: FormField) -> Raw:
        """Return one value as HTML."""
        if field.relation is not None and field.relation.name in self._related:
            related = self._related[field.relation.name][self._actions.key_of(row)]
            one = [related] if related is not None else []
            rows = related if isinstance(related, list) else one
            links = [self._row_link(field.relation, target_row) for target_row in rows]
            return Raw(", ".join(links)) if links else _EMPTY
        if field.column is None:
            return _EMPTY
        return format_html(field.kind, field.value(row))

    def csv_rows(self, rows: Sequence[Any]) -> list[list[str]]:
        """Return rows as CSV cells, in the order of `csv_head`."""
        return [[cell for f in self._fields for cell in self._csv_cells(row, f)] for row in rows]

    def _csv_cells(self, row: Any, field: FormField) -> list[str]:
        """Return the value of a field, followed by the label of its target if it is a relation."""
        value, relation = _csv_value(field.kind, field.value(row)), field.relation
        if relation is None:
            return [value]
        related = self._related.get(relation.name, {}).get(self._actions.key_of(row))
        label = "" if related is None else self._target(relation).label(related)
        return [value, _csv_text(label)]

    def _row_link(self, relation: Relation, row: Any) -> Raw:
        target = self._target(relation)
        path, label = self._paths.get(relation.target), target.label(row)
        if path is None:
            return tag("span", label)
        return tag("a", label, href=row_url(self._root + path, target.key_of(row)))

    def _target(self, relation: Relation) -> Any:
        return self._actions.registry.actions[relation.target]


def row_url(path: str, key: object, *more: str) -> str:
    """Return the URL of a row's page. The key "new" gets a slash, because /new is the form."""
    if key == "new" and not more:
        more = ("",)
    return "/".join([path, quote(str(key), safe=""), *more])


def format_html(kind: str, value: object) -> Raw:
    """Return a column's value as HTML."""
    if value is None or value == "":
        return _EMPTY
    if isinstance(value, datetime):
        return time_tag(value)
    if isinstance(value, date):
        return tag("time", value.isoformat(), datetime=value.isoformat())
    if isinstance(value, bool):
        return tag("span", text("yes") if value else text("no"))
    if kind == "json":
        return tag("pre", json.dumps(value, ensure_ascii=False, indent=2))
    if isinstance(value, list):
        values = ", ".join(text(n) if kind == "enum[]" else str(n) for n in value)
        return tag("span", values) if value else _EMPTY
    value_text = shown_text(value)
    if kind == "enum":
        return tag("span", text(value_text), class_="tag")
    if kind == "url":
        return tag("a", value_text, href=check_url(value_text), rel="noopener noreferrer nofollow")
    if kind == "email":
        return tag("a", value_text, href=f"mailto:{quote(value_text, safe='@')}")
    if kind == "text":
        return tag("div", value_text, class_="text")
    return tag("span", value_text)


def csv_head(fields: Fields) -> list[str]:
    """Return the names of CSV columns: the key of a relation is followed by its target's label."""
    head = []
    for field in fields:
        head += [field.name, field.relation.name] if field.relation else [field.name]
    return head


def _csv_value(kind: str, value: object) -> str:
    """Return a column's value as a CSV cell."""
    if value is None:
        return ""
    if kind == "json" or isinstance(value, list):
        return _csv_text(json.dumps(value, ensure_ascii=False))
    value_text = to_text(value)
    return _csv_text(value_text) if kind in _TEXTS else value_text


def _csv_text(value: str) -> str:
    """Return a text as a CSV cell that no spreadsheet evaluates as a formula."""
    return "'" + value if value.startswith(_FORMULAS) else value


MAX_ENTRIES = 10  # of a row's history
_OPERATIONS = {
    "create": gettext_noop("created"),
    "update": gettext_noop("changed"),
    "delete": gettext_noop("deleted"),
    "restore": gettext_noop("restored"),
}
_MAX_VALUE = 60  # characters of a value in the history


def details(
    actions: AnyActions, fields: Fields, row: Any, paths: PagePaths, root: str
) -> dict[str, Any]:
    """Return the variables of a row's page: its values, links and history.

    fields: all fields of the resource.
    """
    hidden = actions.hidden()
    shown = [f for f in fields if f.name not in hidden and f.name != "version"]
    cells = Cells(actions, [row], shown, paths, root)
    return {
        "fields": [Item(label=f.label, value=cells.show(row, f)) for f in shown],
        "links": _links(actions, row, paths, root),
        "history": _history(actions, fields, row) if actions.resource.auditable else (),
    }


def _links(actions: AnyActions, row: Any, paths: PagePaths, root: str) -> Sequence[Hyperlink]:
    """Return links to the lists of other resources, filtered by this row."""
    links = []
    for relation in actions.resource.relations:
        target, path = actions.registry.actions[relation.target], paths.get(relation.target)
        if relation.kind not in ("has_many", "has_one") or path is None:
            continue
        if relation.column not in target.hidden():
            query = urlencode({relation.column: str(actions.key_of(row))})
            links.append(Hyperlink(label_of(relation.name), f"{root}{path}?{query}"))
    return links


def _history(actions: AnyActions, fields: Fields, row: Any) -> Sequence[Item]:
    labels = {field.name: field.label for field in fields}
    try:
        page = actions.audit_log(actions.key_of(row), limit=MAX_ENTRIES)
    except (Unauthenticated, Forbidden):
        return ()
    return [
        Item(
            at=time_tag(entry.at),
            operation=text(_OPERATIONS.get(entry.operation, entry.operation)),
            actor=_actor(entry),
            reason=entry.reason,
            changes=[
                Item(label=labels.get(name, name), before=_short(before), after=_short(after))
                for name, (before, after) in entry.changes.items()
                if entry.operation != "create"  # the first values are not changes
            ],
        )
        for entry in page.rows
    ]


def _actor(entry: Any) -> str:
    """Return the author of a change, as far as the user may know it."""
    named = f"{entry.actor_name} ({entry.actor_email})" if entry.actor_name else entry.actor_email
    return named or entry.actor


def _short(value: object) -> str:
    shown = "–" if value is None else str(value)
    return shown if len(shown) <= _MAX_VALUE else shown[: _MAX_VALUE - 1] + "…"
