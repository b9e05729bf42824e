"""The list page of a resource: what a person asked for, as a query, and the rows as HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import quote, urlencode

from ..actions import Actions, Column, ListQuery
from ..errors import BadRequest
from ..fanout import iso_utc
from ..i18n import text
from ..wsgi import Raw, Request, Response, first, join, tag, void
from .cells import NUMBERS, Cells, Places, address, csv_text, csv_value
from .fields import Field, shown_fields
from .form import moment_of
from .inputs import SEARCH, Options, control, input_type

_PLACES = ("cursor", "limit", "page", "per_page")  # of a query: which of its rows
MOST_COLUMNS = 6  # beside the label; a detail page shows all
_OURS = ("_done", "_undo", "_search")  # of the query, and not of the list: no column begins so
_SPAN = ("int", "bigint", "decimal", "date", "datetime")
_APART = ("json", "text", "many")
_TIMES = ("version", "created_at", "updated_at", "deleted_at")
SingleFlight = Mapping[str, Sequence[str]]


class Listing:
    """The list of one resource. path: of its page, without what may stand before it."""

    def __init__(self, actions: Actions[Any, Any, Any], path: str, places: Places) -> None:
        self._actions, self._path, self._places = actions, path, places
        self._fields = shown_fields(actions.resource)

    def columns(self) -> list[Field]:
        """What the table shows beside the label: the first that fit a line, then a time."""
        hidden, label = self._actions.hidden(), self._actions.label_column()
        seen = [
            f for f in self._fields
            if f.column is not None and f.column is not label and f.name not in hidden
            and f.kind not in _APART and not (f.kind == "uuid" and f.relation is None)
            and f.name not in _TIMES
        ]  # fmt: skip
        times = [f for f in self._fields if f.name == "updated_at"]
        return (seen + times)[:MOST_COLUMNS]

    def query(self, request: Request) -> ListQuery:
        """What is asked for. Raises BadRequest."""
        asked, most = self._readable(_asked(request)), self._actions.limits.conditions
        return ListQuery.parse(self._actions.resource, asked, max_conditions=most)

    def context(
        self, request: Request, options: Mapping[str, Options]
    ) -> tuple[dict[str, Any], int]:
        """What the template takes, and the status. options: of the relations that may be picked."""
        asked, problem, rows, status = _asked(request), "", list[Any](), 200
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
                self._address(request, asked, **{name: place}) if place else ""
                for place in (before, after)
            )
        except BadRequest as err:
            problem, status = text(err.message), 400
        columns = self.columns()
        cells = Cells(self._actions, rows, columns, self._places, request.root)
        filters = [self._filter(field, asked, options) for field in self._filtered()]
        resource = self._actions.resource
        filtered = any(v for k, v in asked.items() if k not in ("q", "sort", *_PLACES))
        return {
            "path": request.root + self._path,
            "problem": problem,
            "asks": resource.searchable or filters,
            "searchable": resource.searchable,
            "q": first(asked, "q"),
            "filters": filters,
            "filtered": filtered,
            "sort": first(asked, "sort"),
            "kept": Raw() if problem else self._kept(asked, options),
            "columns": self._heads(request, asked, columns),
            "rows": [self._line(request, row, columns, cells) for row in rows],
            "empty": text("Nothing fits.") if filtered or first(asked, "q") else text("None yet."),
            "pages": previous or following,
            "previous": previous,
            "next": following,
            "csv": f"{request.root}{self._path}.csv" + _line(_without(asked, *_PLACES)),
        }, status

    def _filtered(self) -> list[Field]:
        hidden = self._actions.hidden()
        return [
            f for f in self._fields
            if f.column is not None and f.column.filterable and f.name not in hidden
            and f.name not in _TIMES and (f.kind != "uuid" or f.relation is not None)
        ]  # fmt: skip

    def _kept(self, asked: SingleFlight, options: Mapping[str, Options]) -> Raw:
        """Conditions that the form has no input for, as links and Python's users write them: who
        searches among the rows that they leave goes on to see those alone.
        """
        shown = {"q", "sort", *_PLACES}
        for field in self._filtered():
            if field.relation is None or field.name in options:
                shown.update(_inputs(field))
        return join(
            void("input", type="hidden", name=name, value=value)
            for name, values in asked.items()
            if name not in shown and not name.endswith(SEARCH)
            for value in values
        )

    def _filter(self, field: Field, asked: SingleFlight, options: Mapping[str, Options]) -> Raw:
        """One condition as inputs: one of a list, from and to, or a part of a text."""
        if field.relation is not None:
            chosen = options.get(field.name)
            if chosen is None:
                return Raw()
            made = control(field, asked.get(field.name, ()), options=chosen)
            if chosen.all is None:
                return _group(field, made)
            return _labelled(f"field-{field.name}", field.label, made)
        if field.kind in ("enum", "bool"):
            made = control(field, asked.get(field.name, ()))
            return _labelled(f"field-{field.name}", field.label, made)
        if field.kind in _SPAN:
            said = text("from"), text("to")
            ends = [
                _end(field.kind, name, first(asked, name), way)
                for name, way in zip(_inputs(field), said, strict=True)
            ]
            pair = tag("div", join(ends), class_="span")
            return _group(field, pair)
        (name,) = _inputs(field)
        made = void("input", type="text", id=f"field-{name}", name=name, value=first(asked, name))
        return _labelled(f"field-{name}", field.label, made)

    def _heads(self, request: Request, asked: SingleFlight, columns: Sequence[Field]) -> list[Item]:
        label = self._actions.label_column()
        name = next((f for f in self._fields if f.column is label), self._fields[0])
        return [self._head(request, asked, field) for field in (name, *columns)]

    def _head(self, request: Request, asked: SingleFlight, field: Field) -> Item:
        kind, column = _kind(field), field.column
        if column is None or not column.sortable:
            return Item(head=tag("span", field.label), kind=kind, order="")
        order = {column.name: "ascending", f"-{column.name}": "descending"}.get(
            first(asked, "sort").partition(",")[0], ""
        )
        turned = f"-{column.name}" if order == "ascending" else column.name
        href = self._address(request, _without(asked, "cursor", "page", "per_page"), sort=turned)
        return Item(head=tag("a", field.label, href=href), kind=kind, order=order)

    def _line(self, request: Request, row: Any, columns: Sequence[Field], cells: Cells) -> Item:
        key = self._actions.key_of(row)
        return Item(
            id=f"{self._actions.resource.topic}-{quote(str(key), safe='')}",  # an id has no spaces
            href=address(request.root + self._path, key),
            label=self._actions.label(row),
            cells=[Item(value=cells.show(row, f), kind=_kind(f)) for f in columns],
        )

    def _address(self, request: Request, asked: SingleFlight, **changed: str) -> str:
        kept = {**asked, **{name: [value] for name, value in changed.items()}}
        return request.root + self._path + _line(kept)

    def _readable(self, asked: SingleFlight) -> dict[str, Sequence[str]]:
        """The query as the API's language has it: times by the reader's clock become moments."""
        columns = {c.name: c for c in self._actions.resource.columns}
        return {
            name: [_moment(columns.get(name.partition("[")[0]), value) for value in values]
            for name, values in asked.items()
            if not name.endswith(SEARCH)
        }


def _asked(request: Request) -> dict[str, list[str]]:
    """The query without what is ours and what is empty."""
    found = {}
    for name, values in request.query.items():
        kept = [value for value in values if value.strip()]
        if kept and name not in _OURS:
            found[name] = kept
    return found


def _moment(column: Column | None, value: str) -> str:
    if column is not None and column.type == "datetime" and value[-1:].isdigit():
        with suppress(OverflowError):  # of a day outside the calendar
            moment = moment_of(value) if "+" not in value else None
            return iso_utc(moment) if moment else value
    return value


def _without(asked: SingleFlight, *names: str) -> dict[str, Sequence[str]]:
    return {name: values for name, values in asked.items() if name not in names}


def _line(asked: SingleFlight) -> str:
    kept = {name: values for name, values in asked.items() if not name.endswith(SEARCH)}
    return "?" + urlencode(kept, doseq=True) if kept else ""


def _kind(field: Field) -> str:
    return "number" if field.kind in NUMBERS and field.relation is None else "plain"


def _inputs(field: Field) -> tuple[str, ...]:
    """The names of a filter's inputs."""
    if field.relation is not None or field.kind in ("enum", "bool"):
        return (field.name,)
    ways = ("gte", "lte") if field.kind in _SPAN else ("contains",)
    return tuple(f"{field.name}[{way}]" for way in ways)


def _end(kind: str, name: str, written: str, said: str) -> Raw:
    type = input_type(kind, written)
    step = "any" if kind == "decimal" and type == "number" else None
    return void("input", type=type, name=name, step=step, value=written, aria_label=said)


def _labelled(id: str, label: str, made: Raw) -> Raw:
    return tag("div", join([tag("label", label, for_=id), made]), class_="field")


def _group(field: Field, made: Raw) -> Raw:
    return tag("fieldset", join([tag("legend", field.label), made]), class_="field")


def export(actions: Actions[Any, Any, Any], query: ListQuery) -> Response:
    """The answer. Raises what `Actions.stream` does, before it begins."""
    hidden = actions.hidden()
    fields = [f for f in shown_fields(actions.resource) if f.column and f.name not in hidden]
    batches = actions.batches(query)  # asks for the permission
    name = f'attachment; filename="{actions.resource.topic}.csv"'
    headers = [
        ("Content-Type", "text/csv; charset=utf-8; header=present"),
        ("Content-Disposition", name),
        ("Cache-Control", "no-store"),
    ]
    return Response(200, _in(copy_context(), _texts(actions, batches, fields)), headers)


def _in(context: Context, texts: Iterator[bytes]) -> Iterator[bytes]:
    """What `texts` gives, with the identity and language of a context: the server asks later."""
    run: Callable[..., bytes] = context.run
    while piece := run(next, texts, b""):
        yield piece


def _texts(
    actions: Actions[Any, Any, Any], batches: Iterator[list[Any]], fields: Sequence[Field]
) -> Iterator[bytes]:
    heads = [name for f in fields for name in (f.name, *_label(f))]
    yield b"\xef\xbb\xbf" + _csv([heads])
    for batch in batches:
        cells = Cells(actions, batch, fields, {}, "")
        yield _csv([_csv_row(cells, row, fields) for row in batch])


def _label(field: Field) -> list[str]:
    """The head of the column that says what a relation's key is of."""
    return [field.relation.name] if field.relation else []


def _csv_row(cells: Cells, row: Any, fields: Sequence[Field]) -> list[str]:
    made = []
    for field in fields:
        made.append(csv_value(field.kind, field.value(row)))
        if field.relation:
            made.append(csv_text(cells.plain(row, field)))
    return made


def _csv(lines: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()
