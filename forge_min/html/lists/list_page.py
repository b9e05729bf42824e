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
from ...errors import BadRequest
from ...i18n import format_number, text
from ...wsgi import Raw, Request, Response, first, join, tag, void
from ..cells import NUMBERS, Cells, PagePaths, csv_head, row_url
from ..columns import MAX_COLUMNS, list_columns, listed_fields, title_column
from ..fields import AnyActions, Fields, FormField, display_fields, label_of
from ..inputs import SEARCH, Options
from .filters import (
    COLUMNS,
    FILTERS,
    FROM,
    POSITION,
    Filters,
    QueryParams,
    has_filter_form,
    list_params,
)


class ListPage:
    """The list of one resource. path: of its page, without the application's root."""

    def __init__(self, actions: AnyActions, path: str, paths: PagePaths) -> None:
        self._actions, self._path, self._paths = actions, path, paths

    def query(self, request: Request) -> ListQuery:
        """Return the query of the URL. Raises BadRequest."""
        params = Filters(self._actions).with_utc_times(list_params(request))
        limit = self._actions.limits.conditions
        return ListQuery.parse(self._actions.resource, params, max_conditions=limit)

    def context(
        self, request: Request, options: Options, *, deleted: bool = False
    ) -> tuple[dict[str, Any], int]:
        """Return the template's variables and the status.

        options: the choices of relations that the user may read, by field.
        deleted: whether it shows the deleted rows.
        """
        params, problem, status = list_params(request), "", 200
        filters, page = Filters(self._actions), Page[Any]([], total=0)
        try:
            query = self.query(request)
            page = self._actions.list(replace(query, counted=True, deleted=deleted))
        except BadRequest as err:
            problem, status = text(err.message), 400
        chosen = request.query.get(COLUMNS, ())
        columns = list_columns(self._actions, chosen)
        if deleted:
            fields = display_fields(self._actions.resource)
            columns = [*columns[: MAX_COLUMNS - 1], *(f for f in fields if f.name == "deleted_at")]
        cells = Cells(self._actions, page.rows, columns, self._paths, request.root)
        numbered = zip(page.rows, cells.titles(page.rows), strict=True)
        has_form, form = has_filter_form(request), {FILTERS: "1"}
        kept = filters.other_conditions(params, options, has_form=has_form)
        chips = [] if problem else filters.chips(params, options)
        return {
            "path": request.root + request.path,
            "problem": problem,
            "searchable": self._actions.resource.searchable,
            "q": first(params, "q"),
            "filters": filters.inputs(params, options) if has_form else (),
            "filter": "" if has_form or not filters.fields else self._url(request, params, **form),
            "chips": [Item(label=label, href=self._url(request, rest)) for label, rest in chips],
            "sort": first(params, "sort"),
            "kept": Raw() if problem else kept,
            "params": _hidden({**params, "cursor": []}),
            "chosen": _hidden({COLUMNS: chosen}),
            "columns": self._column_heads(request, params, columns),
            "rows": [
                self._row_item(
                    "" if deleted else request.root + self._path, row, name, columns, cells
                )
                for row, name in numbered
            ],
            "pager": self._pager(request, params, page),
            "selected": f"{request.root}{self._path}/-/selected{_query_string(params)}",
            "all": self._all_rows(page),
            "csv": "" if deleted else self._csv(request, params),
            "choices": [
                Item(name=f.name, label=f.label, shown=f in columns)
                for f in listed_fields(self._actions)
            ],
        }, status

    def filter_fields(self, request: Request) -> list[FormField]:
        """Return the fields by which the user may filter, for which the page needs choices.

        Without the filter form these are the relations of conditions.
        """
        fields = Filters(self._actions).fields
        return [f for f in fields if has_filter_form(request) or f.name in request.query]

    def _pager(self, request: Request, params: QueryParams, page: Page[Any]) -> Item:
        """Return which rows are shown, and the links to other pages."""
        count, total, start = len(page.rows), page.total or 0, first(request.query, FROM)
        limit = int(first(params, "limit") or DEFAULT_LIMIT) if page.prev or page.next else count
        at = int(start) if start.isdecimal() and len(start) < 10 and page.prev else 1
        if page.prev and not page.next and not page.is_estimate:
            at = total - count + 1
        kept = _without(params, "cursor")
        url = partial(self._url, request, kept)
        total_text = format_number(total)
        shown = text("{first}–{last} of {total}", first=at, last=at + count - 1, total=total_text)
        if page.is_estimate:
            shown = text(
                "{first}–{last} of about {total}", first=at, last=at + count - 1, total=total_text
            )
        before = {FROM: str(max(1, at - limit))}
        return Item(
            shown=shown if count else "",
            first=url() if page.prev else "",
            previous=url(cursor=page.prev, **before) if page.prev else "",
            next=url(cursor=page.next, **{FROM: str(at + count)}) if page.next else "",
            last=url(cursor=LAST, **{FROM: str(max(1, total - limit + 1))}) if page.next else "",
        )

    def _all_rows(self, page: Page[Any]) -> str:
        """Return the label of the box that selects all rows, "" if they are on this page."""
        if not page.prev and not page.next:
            return ""
        total = format_number(page.total or 0)
        about = text("All rows of the list, about {total}", total=total)
        return about if page.is_estimate else text("All {total} rows of the list", total=total)

    def _column_heads(self, request: Request, params: QueryParams, columns: Fields) -> list[Item]:
        """Return the heads of the title, which sorts by its own first column, and of columns."""
        column, fields = title_column(self._actions), display_fields(self._actions.resource)
        name = next((f for f in fields if f.column is column), FormField("", "title"))
        is_column = self._actions.title_template() == f"{{{name.name}}}"
        label = name.label if is_column else label_of(self._actions.resource.event)
        heads = [self._column_head(request, params, name, label)]
        return heads + [self._column_head(request, params, f, f.label) for f in columns]

    def _column_head(
        self, request: Request, params: QueryParams, field: FormField, label: str
    ) -> Item:
        kind, column = _kind(field), field.column
        if column is None or not column.sortable:
            return Item(head=tag("span", label), kind=kind, order="")
        order = {column.name: "ascending", f"-{column.name}": "descending"}.get(
            first(params, "sort").partition(",")[0], ""
        )
        sort = f"-{column.name}" if order == "ascending" else column.name
        href = self._url(request, _without(params, "cursor"), sort=sort)
        return Item(head=tag("a", label, href=href), kind=kind, order=order)

    def _csv(self, request: Request, params: QueryParams) -> str:
        return f"{request.root}{self._path}.csv" + _query_string(_without(params, *POSITION))

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

    def _url(self, request: Request, params: QueryParams, **changed: str) -> str:
        """Return the URL of the list; the chosen columns stay."""
        changes = {name: [value] for name, value in changed.items()}
        kept = {COLUMNS: request.query[COLUMNS]} if COLUMNS in request.query else {}
        return request.root + request.path + _query_string({**params, **kept, **changes})


def _hidden(params: QueryParams) -> Raw:
    """Return parameters as hidden inputs of a form."""
    pairs = [(name, value) for name, values in params.items() for value in values]
    return join(void("input", type="hidden", name=name, value=value) for name, value in pairs)


def _without(params: QueryParams, *names: str) -> dict[str, Sequence[str]]:
    return {name: values for name, values in params.items() if name not in names}


def _query_string(params: QueryParams) -> str:
    params = {name: values for name, values in params.items() if not name.endswith(SEARCH)}
    return "?" + urlencode(params, doseq=True) if params else ""


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
    """Return batches of rows as CSV. name: of the file, without its suffix."""
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
