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
from .history import actor_of, ago, sentence
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
    hidden = actions.hidden()
    key = actions.resource.key
    ours = {"version", "deleted_at", *([key.name] if key.type == "uuid" else [])}
    shown = [f for f in fields if f.name not in {*hidden, *ours}]
    cells = Cells(actions, [row], shown, paths, root)
    return {
        "fields": [Item(label=f.label, kind=f.kind, value=cells.show(row, f)) for f in shown],
        "related": _related(actions, row, paths, root),
        "history": _history(actions, fields, row) if actions.resource.auditable else (),
    }


def _related(actions: AnyActions, row: Any, paths: PagePaths, root: str) -> list[Item]:
    """Return the rows of other resources that refer to this one."""
    sections = []
    for relation in actions.resource.relations:
        target, path = actions.registry.actions[relation.target], paths.get(relation.target)
        refers = relation.kind in ("has_many", "has_one")
        if refers and path and target.may("read") and relation.column not in target.hidden():
            sections.append(_section(relation, actions.key_of(row), target, paths, root))
    return sections


def _section(relation: Relation, key: Any, target: AnyActions, paths: PagePaths, root: str) -> Item:
    """Return the first rows that refer to a key by the column of a relation."""
    same = (Filter(target.resource.by_name[relation.column], "eq", key),)
    page = target.list(ListQuery(same, limit=MAX_ROWS, counted=True))
    fields = [f for f in list_columns(target) if f.name != relation.column][:MAX_COLUMNS]
    cells, path = Cells(target, page.rows, fields, paths, root), root + paths[relation.target]
    query = "?" + urlencode({relation.column: str(key)})
    may_add = target.may("create") and relation.column not in target.refused()
    full = relation.kind == "has_one" and page.rows
    return Item(
        label=label_of(relation.name),
        total=page.total,
        all=path + query,
        has_more=(page.total or 0) > MAX_ROWS,
        add=f"{path}/new{query}" if may_add and not full else "",
        heads=[label_of(target.resource.event), *(f.label for f in fields)],
        rows=[
            Item(
                href=row_url(path, target.key_of(row)),
                title=title,
                cells=[Item(label=f.label, value=cells.show(row, f)) for f in fields],
            )
            for row, title in zip(page.rows, cells.titles(page.rows), strict=True)
        ],
    )


# -- history ---------------------------------------------------------------------------------------


def _history(actions: AnyActions, fields: Fields, row: Any) -> Sequence[Item]:
    try:
        page = actions.audit_log(actions.key_of(row), limit=MAX_ENTRIES)
    except (Unauthenticated, Forbidden):
        return ()
    shown = _Shown(actions, fields, page.rows)
    return [_entry(entry, shown) for entry in page.rows]


class _Shown:
    """The values of changes as text. Keys of related rows are shown as their titles."""

    def __init__(self, actions: AnyActions, fields: Fields, entries: Sequence[Any]) -> None:
        self._fields = {field.name: field for field in fields}
        self._titles: dict[tuple[str, str], str] = {}
        for name, field in self._fields.items():
            if field.relation is None or field.kind == "many":
                continue
            keys = {str(key) for e in entries for key in e.changes.get(name, ()) if key is not None}
            if keys:
                with suppress(Unauthenticated, Forbidden):
                    target = actions.registry.actions[field.relation.target]
                    for value, label in choices_of_keys(target, keys):
                        self._titles[name, value] = label

    def label(self, name: str) -> str:
        return self._fields[name].label if name in self._fields else label_of(name)

    def value(self, name: str, value: object) -> str:
        if value is None or value == "":
            return MISSING
        kind = self._fields[name].kind if name in self._fields else ""
        if kind in ("date", "datetime"):
            with suppress(ValueError):
                day = datetime.fromisoformat(str(value))
                return show_time(day) if kind == "datetime" else show_date(day)
        if kind == "json":
            shown = beginning_of_json(value, _MAX_VALUE)
        else:
            shown = self._titles.get((name, str(value))) or plain_text(kind, value)
        return shown if len(shown) <= _MAX_VALUE else shown[: _MAX_VALUE - 1] + "…"


def _entry(entry: Any, shown: _Shown) -> Item:
    """Return an entry of the history as a sentence, and its changes if they are several."""
    changes = [
        Item(label=shown.label(name), before=shown.value(name, old), after=shown.value(name, new))
        for name, (old, new) in entry.changes.items()
        if entry.operation == "update"  # the first values are not changes
    ]
    parts: dict[str, str] = {"user": tag("b", actor_of(entry)), "when": ago(entry.at)}
    message = _SENTENCES[entry.operation]
    if len(changes) == 1:
        (change,), message = changes, _ONE_CHANGE
        parts |= {"field": change.label, "before": tag("del", change.before)}
        parts |= {"after": tag("ins", change.after)}
        changes = []
    parts["what"] = ", ".join(change.label for change in changes)
    return Item(sentence=sentence(message, parts), reason=entry.reason, changes=changes)
