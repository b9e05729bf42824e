"""Values as HTML and as CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from ..actions import Relation, to_text
from ..errors import DomainError
from ..i18n import text
from ..wsgi import Raw, check_url, join, show_date, tag, time_tag
from .fields import AnyActions, Fields, FormField
from .titles import plain_text, titles

PagePaths = Mapping[str, str]
"""Topic → path of the list page ("/flights"). A resource without an entry is not linked."""

NUMBERS = ("int", "bigint", "decimal", "float")
_EMPTY = Raw('<span class="none">–</span>')
# OWASP, CSV Injection. The last four are the full-width forms of the first four.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_MAX_JSON = 10_000  # characters
_TEXTS = ("string", "text", "slug", "email", "url", "enum")


class Cells:
    """Formats the values of some rows of one resource.

    Related rows are read in one query each, and one more for each relation in their titles.
    """

    def __init__(
        self, actions: AnyActions, rows: Sequence[Any], fields: Fields, paths: PagePaths, root: str
    ) -> None:
        self._actions = actions
        self._fields = fields
        self._paths = paths
        self._root = root
        self._related: dict[str, Mapping[Any, Any]] = {}
        self._titles: dict[tuple[str, Any], str] = {}  # by topic and key of a related row
        for relation in [field.relation for field in fields if field.relation]:
            with suppress(DomainError):  # a user without the permission sees the keys
                self._related |= actions.related(rows, [relation.name])
                related = self._related[relation.name].values()
                targets = [target for entry in related for target in _listed(entry)]
                target_actions = self._target(relation)
                keys = [(relation.target, target_actions.key_of(target)) for target in targets]
                self._titles |= zip(keys, titles(target_actions, targets), strict=True)

    def titles(self, rows: Sequence[Any]) -> list[str]:
        """Return the titles of the rows themselves."""
        return titles(self._actions, rows, self._related)

    def show(self, row: Any, field: FormField) -> Raw:
        """Return one value as HTML."""
        if field.relation is not None and field.relation.name in self._related:
            related = self._related[field.relation.name][self._actions.key_of(row)]
            links = [self._link(field.relation, target) for target in _listed(related)]
            if links:
                return Raw(", ".join(links))
            return _EMPTY
        if field.column is None:
            return _EMPTY
        return format_html(field.kind, field.value(row))

    def csv_rows(self, rows: Sequence[Any]) -> list[list[str]]:
        """Return rows as CSV cells, in the order of `csv_head`."""
        return [[cell for f in self._fields for cell in self._csv_cells(row, f)] for row in rows]

    def _csv_cells(self, row: Any, field: FormField) -> list[str]:
        """Return the value of a field, followed by the label of its target if it is a relation."""
        value = _csv_value(field.kind, field.value(row))
        relation = field.relation
        if relation is None:
            return [value]
        label = ""
        target = self._related.get(relation.name, {}).get(self._actions.key_of(row))
        if target is not None:
            label = _csv_text(self._title(relation, target))
        return [value, label]

    def _title(self, relation: Relation, row: Any) -> str:
        return self._titles[relation.target, self._target(relation).key_of(row)]

    def _link(self, relation: Relation, row: Any) -> Raw:
        title = self._title(relation, row)
        path = self._paths.get(relation.target)
        if path is None:
            return tag("span", title)
        href = row_url(self._root + path, self._target(relation).key_of(row))
        return tag("a", title, href=href)

    def _target(self, relation: Relation) -> Any:
        return self._actions.registry.actions[relation.target]


def _listed(related: Any) -> list[Any]:
    """A row, several or None as a list."""
    if related is None:
        return []
    if isinstance(related, list):
        return related
    return [related]


def row_url(path: str, key: object, *segments: str) -> str:
    """Return the URL of a row's page. The key "new" gets a slash, because /new is the form."""
    if key == "new" and not segments:
        segments = ("",)
    return "/".join([path, quote(str(key), safe=""), *segments])


def format_html(kind: str, value: object) -> Raw:
    """Return a column's value as HTML."""
    if value is None or value == "":
        return _EMPTY
    if isinstance(value, datetime):
        return time_tag(value)
    if isinstance(value, date):
        return tag("time", show_date(value), datetime=value.isoformat())
    if kind == "json":
        return _json(value)
    value_text = plain_text(kind, value)
    if not value_text:  # an empty list
        return _EMPTY
    if kind == "enum":
        return tag("span", value_text, class_="tag")
    if kind == "url":
        return tag("a", value_text, href=check_url(value_text), rel="noopener noreferrer nofollow")
    if kind == "email":
        return tag("a", value_text, href=f"mailto:{quote(value_text, safe='@')}")
    if kind == "text":
        return tag("div", value_text, class_="text")
    return tag("span", value_text)


def _json(value: object) -> Raw:
    """Return a value of JSON, or the beginning of a long one."""
    document = beginning_of_json(value, _MAX_JSON)
    if len(document) <= _MAX_JSON:
        return tag("pre", document)
    beginning = tag("pre", document[:_MAX_JSON])
    note = tag("p", text("The value continues; this is its beginning."), class_="help")
    return join([beginning, note])


def beginning_of_json(value: object, size: int) -> str:
    """Return a value as JSON. What follows the first `size` characters may be missing.

    PERF: to write the rest would hold the GIL, for 0.1 s a megabyte.
    """
    document = ""
    encoder = json.JSONEncoder(ensure_ascii=False, indent=2)
    for part in encoder.iterencode(value):
        document += part
        if len(document) > size:
            break
    return document


def csv_head(fields: Fields) -> list[str]:
    """Return the names of CSV columns: the key of a relation is followed by its target's label."""
    head = []
    for field in fields:
        head.append(field.name)
        if field.relation:
            head.append(field.relation.name)
    return head


def _csv_value(kind: str, value: object) -> str:
    """Return a column's value as a CSV cell."""
    if value is None:
        return ""
    if kind == "json" or isinstance(value, list):
        return _csv_text(json.dumps(value, ensure_ascii=False))
    value_text = to_text(value)
    if kind in _TEXTS:
        value_text = _csv_text(value_text)
    return value_text


def _csv_text(value: str) -> str:
    """Return a text as a CSV cell that no spreadsheet evaluates as a formula."""
    if value.startswith(_FORMULAS):
        value = "'" + value
    return value
