"""Operations on the rows that are selected in a list: delete, restore, transitions, verbs, CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace as Item
from typing import Any

from ...actions import Filter, ListQuery
from ...errors import BadRequest, DomainError
from ...i18n import format_number, text
from ...wsgi import Request, Response, csrf_field, first, hidden_inputs, join, redirect, sent_form
from ..fields import AnyActions, label_of
from ..form import Texts
from ..layout import Hyperlink, Layout, messages_of
from ..templates import WORDS, selection
from ..titles import titles_of_keys
from .list_page import ListPage, export
from .many_rows import insert_operation

MOST = 100  # rows of one operation: those of the longest page of a list; a job performs it on more
MOST_OF_JOB = 10_000  # rows
_CSV = "csv"
Verbs = Mapping[str, Callable[[Any, Request], Any]]


class Selection:
    """Handler of the form around the rows of a list.

    path: of the list.
    verbs: name → function of (key, request).
    """

    def __init__(self, actions: AnyActions, path: str, layout: Layout, verbs: Verbs) -> None:
        self._actions, self._path, self._layout, self._verbs = actions, path, layout, verbs

    def operations(self, *, deleted: bool = False) -> list[Item]:
        """Return the operations that the user may perform on selected rows.

        deleted: the rows are in the trash.
        """
        transitions = [each.name for each in self._actions.resource.transitions]
        names = ["restore"] if deleted else [_CSV, *transitions, *self._verbs, "delete"]
        return [_item(name) for name in names if name == _CSV or self._actions.may(name)]

    def act(self, request: Request) -> Response:
        """Show what will be done, then do it and show the result of each row."""
        pairs = sent_form(request)
        operation = first(pairs, "operation")
        possible = self.operations() + self.operations(deleted=True)
        if operation not in [item.name for item in possible]:
            raise BadRequest(text("this operation is not possible here"))
        self._actions.allow("read")
        if pairs.get("all"):
            return self._act_on_all(request, pairs, operation)
        keys = self._keys(pairs.get("key", ()))
        if not keys:
            return redirect(f"{request.root}{self._path}")
        if operation == _CSV:
            condition = (Filter(self._actions.resource.key, "in", keys),)
            return export(self._actions, ListQuery(condition))
        if not pairs.get("confirmed"):
            return self._page(request, operation, keys)
        reason, verb = first(pairs, "reason"), self._verbs.get(operation)
        outcomes = self._actions.perform_each(
            keys, operation, reason=reason, verb=verb and (lambda key: verb(key, request))
        )
        if not any(outcomes.values()):
            return redirect(f"{request.root}{self._path}?_done={_DONE.get(operation, 'updated')}")
        return self._page(request, operation, keys, outcomes, reason)

    def _act_on_all(self, request: Request, pairs: Texts, operation: str) -> Response:
        """Act on all rows of the list: a job performs the operation if they are many."""
        query = ListPage(self._actions, self._path, {}, request).query()
        if operation == _CSV:
            return export(self._actions, query)
        query = replace(query, deleted=operation == "restore")
        rows = list(islice(self._actions.stream(query), MOST_OF_JOB + 1))
        keys = [self._actions.key_of(row) for row in rows]
        if len(keys) <= MOST:
            return self._page(request, operation, keys)
        most = MOST if operation in self._verbs else MOST_OF_JOB
        if len(keys) > most:
            raise BadRequest(text("select at most {max} rows", max=most))
        if not pairs.get("confirmed"):
            return self._page(request, operation, keys)
        self._actions.allow(operation)
        conn, topic = self._actions.connection(), self._actions.resource.topic
        job = insert_operation(conn, topic, keys, operation, first(pairs, "reason"))
        return redirect(f"{request.root}{self._path}/-/selected/{job}")

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
        is_job = len(keys) > MOST
        shown = [] if is_job else keys
        names = titles_of_keys(self._actions, shown, deleted=operation == "restore")
        kind = label_of(self._actions.resource.event)
        remaining = [key for key in keys if not (outcomes or {}).get(key)]
        hidden: dict[str, Sequence[Any]] = {"confirmed": ["1"], "operation": [operation]}
        hidden |= {"all": ["1"]} if is_job else {"key": remaining}
        needs = {t.name for t in self._actions.resource.transitions if t.needs_reason}
        url = f"{request.root}{self._path}"
        label = label_of(self._actions.resource.topic)
        context: dict[str, Any] = {
            "rows": [
                Item(title=names.get(key, kind), problem=messages_of((outcomes or {}).get(key)))
                for key in shown
            ],
            "problem": text("Nothing was changed.") if outcomes else "",
            "question": _question(len(remaining), bool(outcomes)),
            "possible": bool(remaining),
            "button": _item(operation).label,
            "danger": operation == "delete",
            "asks_reason": operation in needs,
            "reason": reason,
            "hidden": join([csrf_field(request), hidden_inputs(hidden)]),
            "action": f"{url}/-/selected?{request.environ.get('QUERY_STRING', '')}",
            "cancel": url,
            "trail": [Hyperlink(label, url)],
        }
        title = text("{operation}: {what}", operation=_item(operation).label, what=label)
        status = 409 if outcomes else 200
        return self._layout.page(request, selection.render, title, status, **context)


def _question(count: int, failed: bool) -> str:
    if failed:
        return text("Do it for the other {count}?", count=count)
    if count > MOST:
        shown = format_number(count)
        return text("Do it for {count} rows? A job does it for all rows or for none.", count=shown)
    return (
        text("Do it for one row?") if count == 1 else text("Do it for {count} rows?", count=count)
    )


_DONE = {"delete": "deleted", "restore": "restored"}


def _item(name: str) -> Item:
    labels = {_CSV: WORDS.csv, "delete": WORDS.delete, "restore": text("Restore")}
    return Item(name=name, label=labels.get(name) or label_of(name), plain=name == _CSV)
