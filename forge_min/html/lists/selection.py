"""Operations on the rows that are selected in a list: delete, restore, transitions, CSV."""

from __future__ import annotations

from types import SimpleNamespace as Item
from typing import Any

from ...actions import Filter, ListQuery
from ...errors import BadRequest, DomainError
from ...i18n import text
from ...wsgi import Request, Response, csrf_field, first, join, redirect, sent_form, void
from ..fields import AnyActions, label_of
from ..layout import Hyperlink, Layout, messages_of
from ..templates import WORDS, selection
from ..titles import titles
from .list_page import export

MOST = 100  # rows of one operation: those of the longest page of a list
_CSV = "csv"


class Selection:
    """Handler of the form around the rows of a list.

    path: of the list.
    """

    def __init__(self, actions: AnyActions, path: str, layout: Layout) -> None:
        self._actions, self._path, self._layout = actions, path, layout

    def operations(self, *, deleted: bool = False) -> list[Item]:
        """Return the operations that the user may perform on selected rows.

        deleted: the rows are in the trash.
        """
        transitions = [each.name for each in self._actions.resource.transitions]
        names = ["restore"] if deleted else [_CSV, *transitions, "delete"]
        return [_item(name) for name in names if name == _CSV or self._actions.may(name)]

    def act(self, request: Request) -> Response:
        """Show what will be done, then do it and show the result of each row."""
        pairs = sent_form(request)
        operation, keys = first(pairs, "operation"), self._keys(pairs.get("key", ()))
        possible = self.operations() + self.operations(deleted=True)
        if operation not in [item.name for item in possible]:
            raise BadRequest(text("this operation is not possible here"))
        self._actions.allow("read")
        if not keys:
            return redirect(f"{request.root}{self._path}")
        if operation == _CSV:
            return export(self._actions, self._query(keys))
        if not pairs.get("confirmed"):
            return self._page(request, operation, keys)
        reason = first(pairs, "reason")
        outcomes = self._actions.perform_each(keys, operation, reason=reason)
        if not any(outcomes.values()):
            return redirect(f"{request.root}{self._path}?_done={_DONE.get(operation, 'updated')}")
        return self._page(request, operation, keys, outcomes, reason)

    def _keys(self, spelled: Any) -> list[Any]:
        keys = list(dict.fromkeys(map(self._actions.read_key, spelled)))
        if len(keys) > MOST:
            raise BadRequest(text("select at most {max} rows", max=MOST))
        return keys

    def _page(
        self,
        request: Request,
        operation: str,
        keys: list[Any],
        outcomes: dict[Any, DomainError | None] | None = None,
        reason: str = "",
    ) -> Response:
        """Ask for confirmation; with outcomes, of the rows on which the operation is possible."""
        names = self._titles(keys, deleted=operation == "restore")
        kind = label_of(self._actions.resource.event)
        remaining = [key for key in keys if not (outcomes or {}).get(key)]
        hidden = [csrf_field(request), void("input", type="hidden", name="confirmed", value="1")]
        hidden.append(void("input", type="hidden", name="operation", value=operation))
        hidden += [void("input", type="hidden", name="key", value=key) for key in remaining]
        needs = {t.name for t in self._actions.resource.transitions if t.needs_reason}
        url = f"{request.root}{self._path}"
        label = label_of(self._actions.resource.topic)
        context: dict[str, Any] = {
            "rows": [
                Item(title=names.get(key, kind), problem=messages_of((outcomes or {}).get(key)))
                for key in keys
            ],
            "problem": text("Nothing was changed.") if outcomes else "",
            "question": _question(len(remaining), bool(outcomes)),
            "possible": bool(remaining),
            "button": _item(operation).label,
            "danger": operation == "delete",
            "asks_reason": operation in needs,
            "reason": reason,
            "hidden": join(hidden),
            "action": f"{url}/-/selected",
            "cancel": url,
            "trail": [Hyperlink(label, url)],
        }
        title = text("{operation}: {what}", operation=_item(operation).label, what=label)
        status = 409 if outcomes else 200
        return self._layout.page(request, selection.render, title, status, **context)

    def _query(self, keys: list[Any], **options: Any) -> ListQuery:
        return ListQuery((Filter(self._actions.resource.key, "in", keys),), **options)

    def _titles(self, keys: list[Any], *, deleted: bool) -> dict[Any, str]:
        rows = self._actions.list(self._query(keys, limit=MOST, deleted=deleted)).rows
        found = [self._actions.key_of(row) for row in rows]
        return dict(zip(found, titles(self._actions, rows), strict=True))


def _question(count: int, failed: bool) -> str:
    if failed:
        return text("Do it for the other {count}?", count=count)
    return (
        text("Do it for one row?") if count == 1 else text("Do it for {count} rows?", count=count)
    )


_DONE = {"delete": "deleted", "restore": "restored"}


def _item(name: str) -> Item:
    labels = {_CSV: WORDS.csv, "delete": WORDS.delete, "restore": text("Restore")}
    return Item(name=name, label=labels.get(name) or label_of(name), plain=name == _CSV)
