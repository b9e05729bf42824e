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
from ..fields import AnyActions, Fields, FormField, Texts, display_fields, label_of
from ..inputs import SEARCH, Options
from .filters import COLUMNS, FILTERS, FROM, POSITION, Filters


class ListPage:
    """The list of one resource that a request asks for.

    path: of its page, without the application's root.
    """

    def __init__(self, actions: AnyActions, path: str, paths: PagePaths, request: Request) -> None:
        self._actions = actions
        self._path = request.root + path
        self._paths = paths
        self._request = request
        self.filters = Filters(actions, request)
        self._params = self.filters.params

    def query(self) -> ListQuery:
        """Return the query of the URL. Raises BadRequest."""
        limit = self._actions.limits.conditions
        params = self.filters.api_params()
        return ListQuery.parse(self._actions.resource, params, max_conditions=limit)

    def context(self, options: Options, *, deleted: bool = False) -> tuple[dict[str, Any], int]:
        """Return the template's variables and the status.

        options: the choices of relations that the user may read, by field.
        deleted: whether it shows the deleted rows.
        """
        actions = self._actions
        request = self._request
        filters = self.filters
        context: dict[str, Any] = {"problem": "", "chips": (), "kept": Raw()}
        status = 200
        page = Page[Any]([], total=0)
        try:
            query = replace(self.query(), counted=True, deleted=deleted)
            page = actions.list(query)
        except BadRequest as err:
            context["problem"] = text(err.message)
            status = 400
        else:
            context["chips"] = self._chips(options)
            context["kept"] = filters.other_conditions(options)
        chosen = request.query.get(COLUMNS, ())
        columns = list_columns(actions, chosen)
        path = self._path
        csv_url = f"{path}.csv{_query(self._without(*POSITION))}"
        if deleted:
            path = csv_url = ""  # such rows have no page
            times = [f for f in display_fields(actions.resource) if f.name == "deleted_at"]
            columns = columns[: MAX_COLUMNS - 1] + times
        context["filters"] = ()
        context["filter"] = ""
        if filters.has_form:
            context["filters"] = filters.inputs(options)
        elif filters.fields:
            context["filter"] = self._url(self._params, **{FILTERS: "1"})
        cells = Cells(actions, page.rows, columns, self._paths, request.root)
        titled = zip(page.rows, cells.titles(page.rows), strict=True)
        context["rows"] = [
            self._row_item(path, row, title, columns, cells) for row, title in titled
        ]
        context["path"] = request.root + request.path
        context["searchable"] = actions.resource.searchable
        context["q"] = first(self._params, "q")
        context["sort"] = first(self._params, "sort")
        context["params"] = hidden_inputs(self._without("cursor"))
        context["chosen"] = hidden_inputs({COLUMNS: chosen})
        context["columns"] = self._column_heads(columns)
        context["pager"] = self._pager(page)
        context["selected"] = f"{self._path}/-/selected{_query(self._params)}"
        context["all"] = bool(page.prev or page.next)
        context["csv"] = csv_url
        context["choices"] = [
            Item(name=field.name, label=field.label, shown=field in columns)
            for field in listed_fields(actions)
        ]
        return context, status

    def _chips(self, options: Options) -> list[Item]:
        """Return each condition with the URL of the list without it."""
        chips = self.filters.chips(options)
        return [Item(label=label, href=self._url(params)) for label, params in chips]

    def _pager(self, page: Page[Any]) -> Item:
        """Return which rows are shown, and the links to other pages."""
        count = len(page.rows)
        total = page.total or 0
        limit = count
        if page.prev or page.next:
            limit = int(first(self._params, "limit") or DEFAULT_LIMIT)
        start = self._first_number(page)
        end = start + count
        pager = Item(shown="", first="", previous="", next="", last="")
        if count:
            last = end - 1
            number = format_number(total)
            pager.shown = text("{first}–{last} of {total}", first=start, last=last, total=number)
            if page.is_estimate:
                pager.shown = text(
                    "{first}–{last} of about {total}", first=start, last=last, total=number
                )
        params = self._without("cursor")
        if page.prev:
            position = {FROM: str(max(1, start - limit))}
            pager.first = self._url(params)
            pager.previous = self._url(params, cursor=page.prev, **position)
        if page.next:
            last_start = max(1, total - limit + 1)
            pager.next = self._url(params, cursor=page.next, **{FROM: str(end)})
            pager.last = self._url(params, cursor=LAST, **{FROM: str(last_start)})
        return pager

    def _first_number(self, page: Page[Any]) -> int:
        """Return the number of the first row of a page, from 1."""
        if not page.prev:
            return 1
        if not page.next and not page.is_estimate:
            return (page.total or 0) - len(page.rows) + 1
        number = first(self._request.query, FROM)
        if number.isdecimal() and len(number) < 10:
            return int(number)
        return 1

    def _column_heads(self, columns: Fields) -> list[Item]:
        """Return the heads of the title, which sorts by its own first column, and of columns."""
        actions = self._actions
        column = title_column(actions)
        fields = display_fields(actions.resource)
        field = next((f for f in fields if f.column is column), FormField("", "title"))
        label = label_of(actions.resource.event)
        if actions.title_template() == f"{{{field.name}}}":
            label = field.label
        heads = [self._column_head(field, label)]
        heads += [self._column_head(column, column.label) for column in columns]
        return heads

    def _column_head(self, field: FormField, label: str) -> Item:
        kind = _kind(field)
        column = field.column
        if column is None or not column.sortable:
            return Item(head=tag("span", label), kind=kind, order="")
        current, _, _ = first(self._params, "sort").partition(",")
        descending = f"-{column.name}"
        sort = column.name
        order = ""
        if current == sort:
            sort = descending
            order = "ascending"
        elif current == descending:
            order = "descending"
        href = self._url(self._without("cursor"), sort=sort)
        return Item(head=tag("a", label, href=href), kind=kind, order=order)

    def _row_item(self, path: str, row: Any, title: str, columns: Fields, cells: Cells) -> Item:
        """Return one row. path: of the list, "" for rows without a page."""
        key = str(self._actions.key_of(row))
        item = Item(key=key, label=title, href="")
        id = quote(key, safe="")  # an HTML id has no spaces
        item.id = f"{self._actions.resource.topic}-{id}"
        if path:
            item.href = row_url(path, key)
        item.select = text("Select: {what}", what=title)
        item.cells = [
            Item(label=field.label, value=cells.show(row, field), kind=_kind(field))
            for field in columns
        ]
        return item

    def _url(self, params: Texts, **changed: str) -> str:
        """Return the URL of the list with other parameters; the chosen columns stay."""
        request = self._request
        chosen = {COLUMNS: request.query.get(COLUMNS, ())}
        changes = {name: [value] for name, value in changed.items()}
        query = _query({**params, **chosen, **changes})
        return request.root + request.path + query

    def _without(self, *names: str) -> Texts:
        return {name: values for name, values in self._params.items() if name not in names}


def _query(params: Texts) -> str:
    """Return the query of a URL, without the words of searches for a relation's targets."""
    params = {name: values for name, values in params.items() if not name.endswith(SEARCH)}
    query = urlencode(params, doseq=True)
    if query:
        query = f"?{query}"
    return query


def _kind(field: FormField) -> str:
    if field.kind in NUMBERS and field.relation is None:
        return "number"
    return "plain"


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
