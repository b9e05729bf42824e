"""`trace_connection`: one client span per statement of a psycopg connection. Imports no psycopg.

It replaces the connection's cursor classes by subclasses of them, so whatever the connection's
owner chose stays. An unsampled statement costs one context variable lookup.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any, TypeVar

from .logs import log_fields
from .tracing import Span, current, span

Connection = TypeVar("Connection")

_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")
_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", re.S)
_TEXT_LIMIT = 2000
_NOTHING = nullcontext()


def trace_connection(conn: Connection) -> Connection:
    """Make every statement of this psycopg connection a span; returns the same connection.

    The span carries the statement's text with its placeholders, never its parameters; text that was
    sent without parameters has its literals replaced by `?`. In pipeline mode a span covers the
    sending, not the answer. Only statements inside a sampled span are recorded.
    """
    traced: Any = conn
    traced.cursor_factory = _traced(traced.cursor_factory)
    traced.server_cursor_factory = _traced(traced.server_cursor_factory)
    traced.around = partial(_around, conn)  # of statements that no cursor sends: db.run
    return conn


def _around(conn: Any, query: str, send: Callable[[], list[Any]]) -> list[Any]:
    with _statement(conn, query, True) as active:
        rows = send()
        _rows(active, len(rows))
        return rows


@cache
def _traced(base: Any) -> Any:
    """The traced subclass of a cursor class; of a traced class itself."""
    if getattr(base, "_forge_traced", False):
        return base

    class Traced(base):  # type: ignore[misc]
        _forge_traced = True

        def execute(self, query: Any, params: Any = None, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, query, params is not None) as active:
                result = super().execute(query, params, *args, **options)
                _rows(active, self.rowcount)
                return result

        def executemany(self, query: Any, params_seq: Any, *args: Any, **options: Any) -> None:
            with _statement(self.connection, query, True) as active:
                super().executemany(query, params_seq, *args, **options)
                _rows(active, self.rowcount)

        @contextmanager
        def copy(self, statement: Any, params: Any = None, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, statement, params is not None):
                with super().copy(statement, params, *args, **options) as copy:
                    yield copy

    Traced.__name__ = Traced.__qualname__ = base.__name__
    return Traced


def _statement(conn: Any, query: Any, has_params: bool) -> AbstractContextManager[Span | None]:
    """The span around a statement; around one that is not sampled, nothing."""
    context = current.get()
    if context is None or not context.sampled:
        return _NOTHING
    text = _text(conn, query, has_params)
    word = _WORD.match(text)
    operation = word[1].upper() if word else "QUERY"
    info = conn.info
    attributes = {
        "db.system.name": "postgresql",
        "db.namespace": info.dbname,
        "db.operation.name": operation,
        "db.query.text": text[:_TEXT_LIMIT],
        "server.address": info.host,
        "server.port": info.port,
    }
    if isinstance(route := log_fields.get().get("route"), str):
        attributes["http.route"] = route  # whose request it belongs to
    return span(operation, kind="client", attributes=attributes)


def _text(conn: Any, query: Any, has_params: bool) -> str:
    if isinstance(query, bytes):
        text = query.decode("utf-8", "replace")
    elif isinstance(query, str):
        text = query
    elif hasattr(query, "as_string"):  # psycopg.sql.Composable: it may hold literals
        text, has_params = query.as_string(conn), False
    else:  # a template string (PEP 750): its values are parameters
        text = "?".join(getattr(query, "strings", (type(query).__name__,)))
    return text if has_params else _LITERAL.sub("?", text)


def _rows(active: Span | None, count: int) -> None:
    if active is not None and active.recording and count >= 0:
        active.set_attribute("db.response.returned_rows", count)
