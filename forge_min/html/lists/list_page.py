"""The list page of a resource: the query of the URL, the rows as HTML, and the rows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from itertools import chain
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import quote, urlencode

from ...actions import DEFAULT_LIMIT, LAST, ListQuery, Page
from ...auth import accounts
from ...errors import BadRequest
from ...i18n import format_number, text
from ...wsgi import Raw, Request, Response, first, hidden_inputs, tag
from ..cells import NUMBERS, Cells, PagePaths, csv_head, row_url
from ..columns import MAX_COLUMNS, list_columns, listed_fields, title_column
from ..fields import AnyActions, Fields, FormField, display_fields, label_of
from ..inputs import SEARCH, Options
from .filters import COLUMNS, FILTERS, FROM, POSITION, Filters, QueryParams


class ListPage:
    """The list of one resource that a request asks for.

    path: of its page, without the application's root.
    """

    def __init__(self, actions: AnyActions, path: str, paths: PagePaths, request: Request) -> None:
        self._actions, self._paths, self._request = actions, paths, request
        self._path, self.filters = request.root + path, Filters(actions, request)
        self._params = self.filters.params

    def query(self) -> ListQuery:
        """Return the query of the URL. Raises BadRequest."""
        params, limit = self.filters.api_params(), self._actions.limits.conditions
        return ListQuery.parse(self._actions.resource, params, max_conditions=limit)

    def context(self, options: Options, *, deleted: bool = False) -> tuple[dict[str, Any], int]:
        """Return the template's variables and the status.

        options: the choices of relations that the user may read, by field.
        deleted: whether it shows the deleted rows.
        """
        request, filters, problem, status = self._request, self.filters, "", 200
        page = Page[Any]([], total=0)
        try:
            page = self._actions.list(replace(self.query(), counted=True, deleted=deleted))
        except BadRequest as err:
            problem, status = text(err.message), 400
        chosen = request.query.get(COLUMNS, ())
        columns = list_columns(self._actions, chosen)
        if deleted:
            fields = display_fields(self._actions.resource)
            columns = [*columns[: MAX_COLUMNS - 1], *(f for f in fields if f.name == "deleted_at")]
        cells = Cells(self._actions, page.rows, columns, self._paths, request.root)
        titled = zip(page.rows, cells.titles(page.rows), strict=True)
        form_url = self._url(self._params, **{FILTERS: "1"})
        chips = [] if problem else filters.chips(options)
        return {
            "path": request.root + request.path,
            "problem": problem,
            "searchable": self._actions.resource.searchable,
            "q": first(self._params, "q"),
            "filters": filters.inputs(options) if filters.has_form else (),
            "filter": "" if filters.has_form or not filters.fields else form_url,
            "chips": [Item(label=label, href=self._url(rest)) for label, rest in chips],
            "sort": first(self._params, "sort"),
            "kept": Raw() if problem else filters.other_conditions(options),
            "params": hidden_inputs(self._without("cursor")),
            "chosen": hidden_inputs({COLUMNS: chosen}),
            "columns": self._column_heads(columns),
            "rows": [
                self._row_item("" if deleted else self._path, row, name, columns, cells)
                for row, name in titled
            ],
            "pager": self._pager(page),
            "selected": f"{self._path}/-/selected{_query(self._params)}",
            "all": bool(page.prev or page.next),
            "csv": "" if deleted else f"{self._path}.csv" + _query(self._without(*POSITION)),
            "choices": [
                Item(name=f.name, label=f.label, shown=f in columns)
                for f in listed_fields(self._actions)
            ],
        }, status

    def _pager(self, page: Page[Any]) -> Item:
        """Return which rows are shown, and the links to other pages."""
        count, total, start = len(page.rows), page.total or 0, first(self._request.query, FROM)
        is_paged = page.prev or page.next
        limit = int(first(self._params, "limit") or DEFAULT_LIMIT) if is_paged else count
        at = int(start) if start.isdecimal() and len(start) < 10 and page.prev else 1
        if page.prev and not page.next and not page.is_estimate:
            at = total - count + 1
        url = partial(self._url, self._without("cursor"))
        last, number = at + count - 1, format_number(total)
        shown = text("{first}–{last} of {total}", first=at, last=last, total=number)
        if page.is_estimate:
            shown = text("{first}–{last} of about {total}", first=at, last=last, total=number)
        before = {FROM: str(max(1, at - limit))}
        return Item(
            shown=shown if count else "",
            first=url() if page.prev else "",
            previous=url(cursor=page.prev, **before) if page.prev else "",
            next=url(cursor=page.next, **{FROM: str(at + count)}) if page.next else "",
            last=url(cursor=LAST, **{FROM: str(max(1, total - limit + 1))}) if page.next else "",
        )

    def _column_heads(self, columns: Fields) -> list[Item]:
        """Return the heads of the title, which sorts by its own first column, and of columns."""
        column, fields = title_column(self._actions), display_fields(self._actions.resource)
        name = next((f for f in fields if f.column is column), FormField("", "title"))
        is_column = self._actions.title_template() == f"{{{name.name}}}"
        label = name.label if is_column else label_of(self._actions.resource.event)
        return [self._column_head(name, label), *(self._column_head(f, f.label) for f in columns)]

    def _column_head(self, field: FormField, label: str) -> Item:
        kind, column = _kind(field), field.column
        if column is None or not column.sortable:
            return Item(head=tag("span", label), kind=kind, order="")
        order = {column.name: "ascending", f"-{column.name}": "descending"}.get(
            first(self._params, "sort").partition(",")[0], ""
        )
        sort = f"-{column.name}" if order == "ascending" else column.name
        href = self._url(self._without("cursor"), sort=sort)
        return Item(head=tag("a", label, href=href), kind=kind, order=order)

    def _row_item(self, path: str, row: Any, name: str, columns: Fields, cells: Cells) -> Item:
        """Return one row. path: of the list, "" for rows without a page."""
        key = self._actions.key_of(row)
        id = quote(str(key), safe="")  # an HTML id has no spaces
        return Item(
            id=f"{self._actions.resource.topic}-{id}",
            href=path and row_url(path, key),
            key=str(key),
            label=name,
            select=text("Select: {what}", what=name),
            cells=[Item(label=f.label, value=cells.show(row, f), kind=_kind(f)) for f in columns],
        )

    def _url(self, params: QueryParams, **changed: str) -> str:
        """Return the URL of the list with other parameters; the chosen columns stay."""
        request, changes = self._request, {name: [value] for name, value in changed.items()}
        chosen = {COLUMNS: request.query.get(COLUMNS, ())}
        return request.root + request.path + _query({**params, **chosen, **changes})

    def _without(self, *names: str) -> QueryParams:
        return {name: values for name, values in self._params.items() if name not in names}


def _query(params: QueryParams) -> str:
    """Return the query of a URL, without the words of searches for a relation's targets."""
    params = {name: values for name, values in params.items() if not name.endswith(SEARCH)}
    query = urlencode(params, doseq=True)
    return f"?{query}" if query else ""


def _kind(field: FormField) -> str:
    return "number" if field.kind in NUMBERS and field.relation is None else "plain"


def export(actions: AnyActions, query: ListQuery) -> Response:
    """Return the rows as a CSV response. Raises as `Actions.stream`, before the first byte."""
    hidden = actions.hidden()
    fields = [f for f in display_fields(actions.resource) if f.column and f.name not in hidden]
    batches = actions.batches(query)  # checks the permission
    return csv_response(actions, actions.resource.topic, fields, batches)


def csv_response(
    actions: AnyActions, name: str, fields: Fields, batches: Iterator[list[Any]]
) -> Response:
    """Return batches of rows as CSV, and add that to the history of the user.

    name: of the file, without its suffix.
    """
    accounts.record_export(actions.connection(), actions.resource.topic)
    headers = [
        ("Content-Type", "text/csv; charset=utf-8; header=present"),
        ("Content-Disposition", f'attachment; filename="{name}.csv"'),
        ("Cache-Control", "no-store"),
    ]
    rows = (Cells(actions, batch, fields, {}, "").csv_rows(batch) for batch in batches)
    parts = map(_format_csv, chain([[csv_head(fields)]], rows))
    # Each part is computed with the identity and language of this context.
    run = partial(copy_context().run, next, parts, b"")
    return Response(200, chain([b"\xef\xbb\xbf"], iter(run, b"")), headers)


def _format_csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
