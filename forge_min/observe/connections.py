"""`trace_connection`: one client span per statement of a psycopg connection. Imports no psycopg.

It replaces the connection's cursor classes by subclasses of them, so the owner's choice of cursor
class stays. A cursor of another class is not traced. An unsampled statement costs one lookup of a
context variable.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cache, partial
from typing import Any, TypeVar

from .logs import log_fields
from .statements import operation, without_values
from .tracing import Span, current, current_context, span

Connection = TypeVar("Connection")

_NOTHING = nullcontext()


def trace_connection(conn: Connection) -> Connection:
    """Make every statement of a psycopg connection a span, and return the connection.

    The span has the statement's text with placeholders, never with parameters; literals are shown
    as `?` and comments are omitted. In pipeline mode a span covers the sending, not the result. A
    cursor that the connection did not make (`psycopg.RawCursor(conn)`) has no spans. Only
    statements inside a sampled span are recorded, including those of transactions and named
    cursors.

    conn: a Connection, not an AsyncConnection.
    """
    traced: Any = conn
    send = traced._exec_command
    if getattr(send, "func", None) is _command:
        return conn  # it is traced already
    traced.cursor_factory = _traced(traced.cursor_factory)
    traced.server_cursor_factory = _traced(traced.server_cursor_factory)
    traced.instrument = partial(_around, conn)  # for statements sent without a cursor: db.run
    traced._exec_command = partial(_command, conn, send)
    return conn


def _command(conn: Any, send: Callable[..., Any], query: Any, *args: Any, **options: Any) -> Any:
    """Trace a command that psycopg sends itself, such as BEGIN, COMMIT, SAVEPOINT or FETCH.

    A generator, as `send` is.
    """
    with _statement(conn, query) as active:
        result = yield from send(query, *args, **options)
        if result is not None and result.nfields:
            _rows(active, result.ntuples)
        return result


def _around(conn: Any, query: str, send: Callable[[], list[Any]]) -> list[Any]:
    with _statement(conn, query) as active:
        rows = send()
        _rows(active, len(rows))
        return rows


@cache
def _traced(base: Any) -> Any:
    """Return the traced subclass of a cursor class."""

    class Traced(base):  # type: ignore[misc]
        def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, query) as active:
                result = super().execute(query, *args, **options)
                _rows(active, self.rowcount)
                return result

        def executemany(self, query: Any, *args: Any, **options: Any) -> None:
            with _statement(self.connection, query) as active:
                super().executemany(query, *args, **options)
                if not options.get("returning"):  # then `rowcount` is of the first statement only
                    _rows(active, self.rowcount)

        @contextmanager
        def copy(self, statement: Any, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, statement) as active:
                with super().copy(statement, *args, **options) as copy:
                    yield copy
                _rows(active, self.rowcount)

        def stream(self, query: Any, *args: Any, **options: Any) -> Any:
            count = 0
            with _statement(self.connection, query) as active:
                try:
                    with closing(super().stream(query, *args, **options)) as rows:
                        for row in rows:
                            count += 1
                            yield row
                finally:
                    _rows(active, count)

    Traced.__name__ = Traced.__qualname__ = base.__name__
    return Traced


def _statement(conn: Any, query: Any) -> AbstractContextManager[Span | None]:
    """Return the span around a statement, or a null context if it is not sampled."""
    context = current.get() or current_context()
    if context is None or not context.sampled:
        return _NOTHING
    info = conn.info
    text = _text(conn, query)
    # A closed connection reports no parameter: then a backslash may be an escape.
    escapes = "\\" in text and info.parameter_status("standard_conforming_strings") != "on"
    text = without_values(text, escapes=escapes)
    name = operation(text)
    attributes = {
        "db.system.name": "postgresql",
        "db.namespace": info.dbname,
        "db.operation.name": name,
        "db.query.text": text,
        "server.address": info.host,
        "server.port": info.port,
    }
    route = log_fields.get().get("route")
    if isinstance(route, str):
        attributes["http.route"] = route  # of the request that runs the statement
    return span(name, kind="client", attributes=attributes)


def _text(conn: Any, query: Any) -> str:
    if isinstance(query, str):
        return query
    if isinstance(query, bytes):
        return query.decode(conn.info.encoding, "replace")
    if hasattr(query, "as_string"):  # psycopg.sql.Composable, possibly with literals
        return str(query.as_string(conn))
    # A template string (PEP 750): its values are parameters.
    parts = getattr(query, "strings", (type(query).__name__,))
    return "?".join(parts)


def _rows(active: Span | None, count: int) -> None:
    if active is not None and active.recording and count >= 0:
        active.set_attribute("db.response.returned_rows", count)
