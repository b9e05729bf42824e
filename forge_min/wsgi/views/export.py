"""A list as CSV for people (RFC 4180): every row that is asked for, related rows by their labels.

It is made while it is sent. `forge-min export` writes what `import` reads back; this is for a
spreadsheet: it starts with a byte order mark, and no text begins with what one would compute.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, copy_context
from typing import Any

from ...actions import Actions, ListQuery
from ...actions.values import to_text
from ..response import Response
from .cells import Cells
from .fields import Field, shown_fields

# OWASP, CSV Injection; the last four are what a Japanese keyboard makes of the first four.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_TEXTS = ("string", "text", "slug", "email", "url", "enum")


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
        yield _csv([_line(cells, row, fields) for row in batch])


def _label(field: Field) -> list[str]:
    """The head of the column that says what a relation's key is of."""
    return [field.relation.name] if field.relation else []


def _line(cells: Cells, row: Any, fields: Sequence[Field]) -> list[str]:
    made = []
    for field in fields:
        made.append(_cell(field.kind, field.value(row)))
        if field.relation:
            made.append(_safe(cells.plain(row, field)))
    return made


def _cell(kind: str, value: object) -> str:
    if value is None:
        return ""
    if kind == "json":
        return _safe(json.dumps(value, ensure_ascii=False))
    written = to_text(value)
    return _safe(written) if kind in _TEXTS else written


def _safe(written: str) -> str:
    return "'" + written if written.startswith(_FORMULAS) else written


def _csv(lines: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()
