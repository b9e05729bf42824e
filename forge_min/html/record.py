"""The content of a row's page: its values, related rows and history."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import urlencode

from ..actions import Filter, ListQuery, Relation
from ..errors import Forbidden, Unauthenticated
from ..i18n import gettext_noop
from ..wsgi import show_date, show_time, tag
from .cells import Cells, PagePaths, beginning_of_json, row_url
from .columns import list_columns
from .fields import AnyActions, Fields, label_of
from .history import sentence
from .inputs import choices_of_keys
from .titles import MISSING, plain_text

MAX_ENTRIES = 10  # of a row's history
MAX_ROWS = 10  # of one relation
MAX_COLUMNS = 4  # of related rows, beside the title
_MAX_VALUE = 60  # characters of a value in the history
_SENTENCES = {
    "create": gettext_noop("{user} created this, {when}"),
    "update": gettext_noop("{user} changed {what}, {when}"),
    "delete": gettext_noop("{user} deleted this, {when}"),
    "restore": gettext_noop("{user} restored this, {when}"),
}
_ONE_CHANGE = gettext_noop("{user} changed {field} from {before} to {after}, {when}")


def details(
    actions: AnyActions, fields: Fields, row: Any, paths: PagePaths, root: str
) -> dict[str, Any]:
    """Return the variables of a row's page: its title, its values, related rows and its history.

    fields: all fields of the resource.
    """
    resource = actions.resource
    omitted = {*actions.hidden(), "version", "deleted_at"}
    if resource.key.type == "uuid":
        omitted.add(resource.key.name)
    facts = [field for field in fields if field.name not in omitted]
    cells = Cells(actions, [row], facts, paths, root)
    context: dict[str, Any] = {"history": ()}
    context["fields"] = [
        Item(label=field.label, kind=field.kind, value=cells.show(row, field)) for field in facts
    ]
    context["related"] = _related(actions, row, paths, root)
    if resource.auditable:
        context["history"] = _history(actions, fields, row)
    return context


def _related(actions: AnyActions, row: Any, paths: PagePaths, root: str) -> list[Item]:
    """Return the rows of other resources that refer to this one."""
    sections = []
    for relation in actions.resource.relations:
        if relation.kind not in ("has_many", "has_one") or not paths.get(relation.target):
            continue
        target = actions.registry.actions[relation.target]
        if target.may("read") and relation.column not in target.hidden():
            sections.append(_section(relation, actions.key_of(row), target, paths, root))
    return sections


def _section(relation: Relation, key: Any, target: AnyActions, paths: PagePaths, root: str) -> Item:
    """Return the first rows that refer to a key by the column of a relation."""
    name = relation.column
    condition = Filter(target.resource.by_name[name], "eq", key)
    page = target.list(ListQuery((condition,), limit=MAX_ROWS, counted=True))
    fields = [field for field in list_columns(target) if field.name != name][:MAX_COLUMNS]
    cells = Cells(target, page.rows, fields, paths, root)
    path = root + paths[relation.target]
    query = urlencode({name: str(key)})
    section = Item(label=label_of(relation.name), total=page.total, add="", rows=[])
    section.all = f"{path}?{query}"
    section.has_more = (page.total or 0) > MAX_ROWS
    is_full = relation.kind == "has_one" and page.rows
    if not is_full and target.may("create") and name not in target.refused():
        section.add = f"{path}/new?{query}"
    section.heads = [label_of(target.resource.event), *(field.label for field in fields)]
    for row, title in zip(page.rows, cells.titles(page.rows), strict=True):
        href = row_url(path, target.key_of(row))
        values = [Item(label=field.label, value=cells.show(row, field)) for field in fields]
        section.rows.append(Item(href=href, title=title, cells=values))
    return section


# -- history ---------------------------------------------------------------------------------------


def _history(actions: AnyActions, fields: Fields, row: Any) -> Sequence[Item]:
    try:
        page = actions.audit_log(actions.key_of(row), limit=MAX_ENTRIES)
    except (Unauthenticated, Forbidden):
        return ()
    formatter = _ChangeFormatter(actions, fields, page.rows)
    return [_entry(entry, formatter) for entry in page.rows]


class _ChangeFormatter:
    """The values of changes as text. Keys of related rows are shown as their titles."""

    def __init__(self, actions: AnyActions, fields: Fields, entries: Sequence[Any]) -> None:
        self._fields = {field.name: field for field in fields}
        self._titles: dict[tuple[str, str], str] = {}
        for name, field in self._fields.items():
            if field.relation is None or field.kind == "many":
                continue
            values = [key for entry in entries for key in entry.changes.get(name, ())]
            keys = {str(key) for key in values if key is not None}
            if keys:
                target = actions.registry.actions[field.relation.target]
                with suppress(Unauthenticated, Forbidden):
                    for key, title in choices_of_keys(target, keys):
                        self._titles[name, key] = title

    def label(self, name: str) -> str:
        if name in self._fields:
            return self._fields[name].label
        return label_of(name)

    def value(self, name: str, value: object) -> str:
        if value is None or value == "":
            return MISSING
        kind = ""
        if name in self._fields:
            kind = self._fields[name].kind
        with suppress(ValueError):
            if kind == "date":
                return show_date(datetime.fromisoformat(str(value)))
            if kind == "datetime":
                return show_time(datetime.fromisoformat(str(value)))
        if kind == "json":
            value_text = beginning_of_json(value, _MAX_VALUE)
        else:
            value_text = self._titles.get((name, str(value))) or plain_text(kind, value)
        if len(value_text) > _MAX_VALUE:
            value_text = value_text[: _MAX_VALUE - 1] + "…"
        return value_text


def _entry(entry: Any, formatter: _ChangeFormatter) -> Item:
    """Return an entry of the history as a sentence, and its changes if they are several."""
    changes = []
    if entry.operation == "update":  # the first values are not changes
        for name, (old, new) in entry.changes.items():
            change = Item(label=formatter.label(name))
            change.before = formatter.value(name, old)
            change.after = formatter.value(name, new)
            changes.append(change)
    values = {}
    message = _SENTENCES[entry.operation]
    if len(changes) == 1:
        change = changes.pop()
        message = _ONE_CHANGE
        values["field"] = change.label
        values["before"] = tag("del", change.before)
        values["after"] = tag("ins", change.after)
    values["what"] = ", ".join(change.label for change in changes)
    return Item(sentence=sentence(message, entry, values), reason=entry.reason, changes=changes)
