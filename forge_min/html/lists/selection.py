"""Operations on the rows that are selected in a list: delete, restore, transitions, verbs, CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace as Item
from typing import Any
from uuid import uuid4

from ...actions import Filter, ListQuery
from ...auth import current_identity
from ...errors import BadRequest, DomainError
from ...i18n import format_number, text
from ...wsgi import Request, Response, first, redirect, sent_form, sign_form
from ..fields import AnyActions, Texts, label_of
from ..layout import Hyperlink, Layout, hidden_fields, messages_of
from ..templates import WORDS, selection
from .list_page import ListPage, export
from .many_rows import insert_operation, rows_with_problems

MOST = 100  # rows that a request changes: those of the longest page of a list
MOST_OF_JOB = 10_000  # rows that a job changes
_CSV = "csv"
Outcomes = Mapping[Any, DomainError | None]
Versions = Mapping[Any, int]
"""Key of a row → its version."""
Verbs = Mapping[str, Callable[[Any, Request], Any]]


class Selection:
    """Handler of the form around the rows of a list.

    path: of the list.
    verbs: name → function of (key, request).
    done: redirects to the list with the notice of a change.
    """

    def __init__(
        self,
        actions: AnyActions,
        path: str,
        layout: Layout,
        verbs: Verbs,
        done: Callable[..., Response],
    ) -> None:
        self._actions = actions
        self._path = path
        self._layout = layout
        self._verbs = verbs
        self._done = done

    def operations(self, *, deleted: bool = False) -> list[Item]:
        """Return the operations that the user may perform on selected rows.

        deleted: the rows are in the trash.
        """
        names = ["restore"]
        if not deleted:
            transitions = [transition.name for transition in self._actions.resource.transitions]
            names = [_CSV, *transitions, *self._verbs, "delete"]
        return [_item(name) for name in names if name == _CSV or self._actions.may(name)]

    def act(self, request: Request) -> Response:
        """Show what will be done, then do it and show the result of each row."""
        pairs = sent_form(request)
        operation = first(pairs, "operation")
        possible = self.operations() + self.operations(deleted=True)
        if operation not in [item.name for item in possible]:
            raise BadRequest(text("this operation is not possible here"))
        actions = self._actions
        actions.allow("read")
        query = self._query(request, pairs, deleted=operation == "restore")
        if operation == _CSV:
            return export(actions, query)
        limit = MOST
        if pairs.get("all") and operation not in self._verbs:
            limit = MOST_OF_JOB
        rows = islice(actions.stream(query), limit + 1)
        versions = {actions.key_of(row): row.version for row in rows}
        url = f"{request.root}{self._path}"
        if not versions:
            return redirect(url)
        if len(versions) > limit:
            raise BadRequest(text("select at most {max} rows", max=limit))
        confirmed = first(pairs, "confirmed")
        if confirmed != self._signature(request, operation, versions):
            problem = ""
            if confirmed:
                problem = text("The rows have changed. Check them again.")
            return self._page(request, operation, versions, problem, {})
        if len(versions) > MOST:
            job = insert_operation(actions, versions, operation, pairs)
            return redirect(f"{url}/-/selected/{job}")
        verb = self._verbs.get(operation)
        outcomes = actions.perform_each(
            [*versions],
            operation,
            reason=first(pairs, "reason"),
            verb=verb and (lambda key: verb(key, request)),
            versions=[*versions.values()],
        )
        if not any(outcomes.values()):
            return self._done(request, _DONE.get(operation, "updated"))
        return self._page(request, operation, versions, text("Nothing was changed."), outcomes)

    def _signature(self, request: Request, operation: str, versions: Versions) -> str:
        """Return the signature of an operation of this user on rows of these versions.

        The form of the confirmation has it, so the operation is performed on the rows as they were
        when the user was asked, and on no others.
        """
        rows = sorted(versions.items(), key=str)
        parts = [self._actions.resource.topic, operation, current_identity().user, rows]
        return sign_form(request, repr(parts).encode()).hex()

    def _query(self, request: Request, pairs: Texts, *, deleted: bool) -> ListQuery:
        """Return the query of the selected rows, or of all rows of the list.

        deleted: they are in the trash.
        """
        keys = [self._actions.read_key(key) for key in pairs.get("key", ())[: MOST + 1]]
        query = ListQuery((Filter(self._actions.resource.key, "in", keys),))
        if pairs.get("all"):
            query = ListPage(self._actions, self._path, {}, request).query()
        return replace(query, deleted=deleted)

    def _page(
        self,
        request: Request,
        operation: str,
        versions: Versions,
        problem: str,
        outcomes: Outcomes,
    ) -> Response:
        """Ask for confirmation; with outcomes, of the rows on which the operation is possible."""
        remaining = {key: versions[key] for key in versions if not outcomes.get(key)}
        signature = self._signature(request, operation, remaining)
        hidden: dict[str, Iterable[Any]] = {"confirmed": [signature], "operation": [operation]}
        keys: list[Any] = []
        question = text("Do it for these rows?")
        if outcomes:
            question = text("Do it for the other rows?")
        if len(versions) <= MOST:
            keys = [*versions]
            hidden["key"] = remaining
        else:
            hidden["all"] = ["1"]
            hidden["_once"] = [uuid4()]
            question = text(
                "Do it for {count} rows? A job does it, unless a row has an error. If a row changes"
                " later, the job stops there.",
                count=format_number(len(remaining)),
            )
        problems = {key: messages_of(outcomes.get(key)) for key in keys}
        resource = self._actions.resource
        asks_reason = any(t.name == operation and t.needs_reason for t in resource.transitions)
        link = Hyperlink(label_of(resource.topic), f"{request.root}{self._path}")
        button = _item(operation).label
        status = 200
        if problem:
            status = 409
        return self._layout.page(
            request,
            selection.render,
            text("{operation}: {what}", operation=button, what=link.label),
            status,
            rows=rows_with_problems(self._actions, operation, problems),
            problem=problem,
            question=question,
            possible=bool(remaining),
            button=button,
            danger=operation == "delete",
            asks_reason=asks_reason,
            reason=first(request.form(), "reason"),
            hidden=hidden_fields(request, hidden),
            action=f"{link.href}/-/selected?{request.environ.get('QUERY_STRING', '')}",
            cancel=link.href,
            trail=[link],
        )


_DONE = {"delete": "deleted", "restore": "restored"}


def _item(name: str) -> Item:
    labels = {_CSV: WORDS.csv, "delete": WORDS.delete, "restore": text("Restore")}
    return Item(name=name, label=labels.get(name) or label_of(name), plain=name == _CSV)
