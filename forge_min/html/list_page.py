"""The list page of a resource: the query of the URL, the rows as HTML, and the rows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import chain
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import quote, urlencode

from ..actions import Column, ListQuery
from ..errors import BadRequest
from ..fanout import iso_utc
from ..i18n import text
from ..wsgi import Raw, Request, Response, first, join, tag, void
from .cells import NUMBERS, Cells, PagePaths, csv_head, row_url
from .fields import AnyActions, Fields, FormField, display_fields
from .form import moment_of
from .inputs import SEARCH, Options, control, input_type, is_group

_POSITION = ("cursor", "limit", "page", "per_page")  # parameters that select a page of rows
MAX_COLUMNS = 6  # beside the label; a detail page shows all
_RESERVED = ("_done", "_undo", "_search")  # parameters of pages; no column starts with "_"
_RANGED = ("int", "bigint", "decimal", "float", "date", "datetime", "time", "duration")
_LONG = ("json", "text", "many")  # kinds that do not fit a cell
_SYSTEM = ("version", "created_at", "updated_at", "deleted_at", "created_by")
QueryParams = Mapping[str, Sequence[str]]


class ListPage:
    """The list of one resource. path: of its page, without the application's root."""

    def __init__(self, actions: AnyActions, path: str, paths: PagePaths) -> None:
        self._actions, self._path, self._paths = actions, path, paths
        self._fields = display_fields(actions.resource)

    def columns(self) -> list[FormField]:
        """Return the columns beside the label: the first short ones, then updated_at."""
        label = self._actions.label_column()
        visible = self._visible_fields()
        fields = [f for f in visible if f.column is not label and f.kind not in _LONG]
        times = [f for f in self._fields if f.name == "updated_at"]
        return (fields + times)[:MAX_COLUMNS]

    def _visible_fields(self) -> list[FormField]:
        """Return the columns that the user may see, without system times and plain UUIDs."""
        hidden = {*self._actions.hidden(), *_SYSTEM}
        return [
            field
            for field in self._fields
            if field.column is not None and field.name not in hidden
            if field.kind != "uuid" or field.relation is not None
        ]

    def query(self, request: Request) -> ListQuery:
        """Return the query of the URL. Raises BadRequest."""
        params = self._with_utc_times(_params(request))
        limit = self._actions.limits.conditions
        return ListQuery.parse(self._actions.resource, params, max_conditions=limit)

    def context(self, request: Request, options: Options) -> tuple[dict[str, Any], int]:
        """Return the template's variables and the status."""
        params, problem, rows, status = _params(request), "", list[Any](), 200
        previous = following = ""
        try:
            query = self.query(request)
            page = self._actions.list(query)
            rows = page.rows
            name, before, after = "cursor", page.prev, page.next
            if query.page is not None:
                name, more = "page", query.page * query.limit < (page.total or 0)
                before = str(query.page - 1) if query.page > 1 else None
                after = str(query.page + 1) if more else None
            previous, following = (
                self._url(request, params, **{name: position}) if position else ""
                for position in (before, after)
            )
        except BadRequest as err:
            problem, status = text(err.message), 400
        label, columns = self._actions.label_column(), self.columns()
        name_field = next((f for f in self._fields if f.column is label), self._fields[0])
        heads = [self._column_head(request, params, field) for field in (name_field, *columns)]
        cells = Cells(self._actions, rows, columns, self._paths, request.root)
        filters = [self._filter(field, params, options) for field in self.filter_fields()]
        resource = self._actions.resource
        filtered = any(v for k, v in params.items() if k not in ("q", "sort", *_POSITION))
        return {
            "path": request.root + self._path,
            "problem": problem,
            "asks": resource.searchable or filters,
            "searchable": resource.searchable,
            "q": first(params, "q"),
            "filters": filters,
            "filtered": filtered,
            "sort": first(params, "sort"),
            "kept": Raw() if problem else self._other_conditions(params, options),
            "columns": heads,
            "rows": [self._row_item(request, row, columns, cells) for row in rows],
            "empty": text("No matching rows.")
            if filtered or first(params, "q")
            else text("There are no rows yet."),
            "pages": previous or following,
            "previous": previous,
            "next": following,
            "csv": f"{request.root}{self._path}.csv" + _query_string(_without(params, *_POSITION)),
        }, status

    def filter_fields(self) -> list[FormField]:
        """Return the fields by which the user may filter."""
        return [f for f in self._visible_fields() if f.column is not None and f.column.filterable]

    def _other_conditions(self, params: QueryParams, options: Options) -> Raw:
        """Return hidden inputs for conditions of the URL that have no input in the form.

        A search within such a list keeps its conditions.
        """
        shown = {"q", "sort", *_POSITION}
        for field in self.filter_fields():
            if field.relation is None or field.name in options:
                shown.update(_input_names(field))
        return join(
            void("input", type="hidden", name=name, value=value)
            for name, values in params.items()
            if name not in shown and not name.endswith(SEARCH)
            for value in values
        )

    def _filter(self, field: FormField, params: QueryParams, options: Options) -> Raw:
        """Return the inputs of one condition: a list of choices, a range, or a part of a text."""
        choices = options.get(field.name)
        if field.kind == "enum[]":
            field = field._replace(name=f"{field.name}[contains]", kind="enum")
        if field.relation is not None and choices is None:
            return Raw()
        if field.relation is not None or field.kind in ("enum", "bool"):
            inputs = control(field, params.get(field.name, ()), options=choices)
            if is_group(field, choices):
                return _group(field, inputs)
            return _labelled(f"field-{field.name}", field.label, inputs)
        if field.kind in _RANGED:
            labels = text("from"), text("to")
            ends = [
                _range_end(field.kind, name, first(params, name), label)
                for name, label in zip(_input_names(field), labels, strict=True)
            ]
            return _group(field, tag("div", join(ends), class_="span"))
        (name,) = _input_names(field)
        entry = void("input", type="text", id=f"field-{name}", name=name, value=first(params, name))
        return _labelled(f"field-{name}", field.label, entry)

    def _column_head(self, request: Request, params: QueryParams, field: FormField) -> Item:
        kind, column = _kind(field), field.column
        if column is None or not column.sortable:
            return Item(head=tag("span", field.label), kind=kind, order="")
        order = {column.name: "ascending", f"-{column.name}": "descending"}.get(
            first(params, "sort").partition(",")[0], ""
        )
        sort = f"-{column.name}" if order == "ascending" else column.name
        href = self._url(request, _without(params, "cursor", "page", "per_page"), sort=sort)
        return Item(head=tag("a", field.label, href=href), kind=kind, order=order)

    def _row_item(self, request: Request, row: Any, columns: Fields, cells: Cells) -> Item:
        key = self._actions.key_of(row)
        name = quote(str(key), safe="")  # an HTML id has no spaces
        return Item(
            id=f"{self._actions.resource.topic}-{name}",
            href=row_url(request.root + self._path, key),
            label=self._actions.label(row),
            cells=[Item(value=cells.show(row, f), kind=_kind(f)) for f in columns],
        )

    def _url(self, request: Request, params: QueryParams, **changed: str) -> str:
        changes = {name: [value] for name, value in changed.items()}
        return request.root + self._path + _query_string({**params, **changes})

    def _with_utc_times(self, params: QueryParams) -> dict[str, Sequence[str]]:
        """Return the parameters in the API's format: local times become UTC."""
        columns = {c.name: c for c in self._actions.resource.columns}
        return {
            name: [_utc_time(columns.get(name.partition("[")[0]), value) for value in values]
            for name, values in params.items()
            if not name.endswith(SEARCH)
        }


def _params(request: Request) -> dict[str, list[str]]:
    """Return the parameters of the URL without empty and reserved ones."""
    params = {}
    for name, values in request.query.items():
        values = [value for value in values if value.strip()]
        if values and name not in _RESERVED:
            params[name] = values
    return params


def _utc_time(column: Column | None, value: str) -> str:
    if column is not None and column.type == "datetime" and value[-1:].isdigit():
        with suppress(OverflowError):  # a day outside the calendar
            moment = moment_of(value) if "+" not in value else None
            return iso_utc(moment) if moment else value
    return value


def _without(params: QueryParams, *names: str) -> dict[str, Sequence[str]]:
    return {name: values for name, values in params.items() if name not in names}


def _query_string(params: QueryParams) -> str:
    params = {name: values for name, values in params.items() if not name.endswith(SEARCH)}
    return "?" + urlencode(params, doseq=True) if params else ""


def _kind(field: FormField) -> str:
    return "number" if field.kind in NUMBERS and field.relation is None else "plain"


def _input_names(field: FormField) -> tuple[str, ...]:
    """Return the names of a filter's inputs."""
    if field.relation is not None or field.kind in ("enum", "bool"):
        return (field.name,)
    operators = ("gte", "lte") if field.kind in _RANGED else ("contains",)
    return tuple(f"{field.name}[{operator}]" for operator in operators)


def _range_end(kind: str, name: str, value: str, label: str) -> Raw:
    type = input_type(kind, value)
    step = "any" if kind in ("decimal", "float") and type == "number" else None
    return void("input", type=type, name=name, step=step, value=value, aria_label=label)


def _labelled(id: str, label: str, control: Raw) -> Raw:
    return tag("div", join([tag("label", label, for_=id), control]), class_="field")


def _group(field: FormField, controls: Raw) -> Raw:
    return tag("fieldset", join([tag("legend", field.label), controls]), class_="field")


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
