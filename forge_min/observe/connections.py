"""`trace_connection`: one client span per statement of a psycopg connection. Imports no psycopg.

It replaces the connection's cursor classes by subclasses of them, so whatever the connection's
owner chose stays; a cursor that somebody makes of another class is not traced. An unsampled
statement costs one context variable lookup.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cache, partial
from typing import Any, TypeVar

from .logs import log_fields
from .statements import operation, without_values
from .tracing import Span, current, here, span

Connection = TypeVar("Connection")

_NOTHING = nullcontext()


def trace_connection(conn: Connection) -> Connection:
    """Make every statement of this psycopg connection a span; returns the same connection.

    The span carries the statement's text with its placeholders, never its parameters; literals are
    `?`, comments left out. conn: a Connection, not an
    AsyncConnection. In pipeline mode a span covers
    the sending, not the answer. A cursor that the connection did not make
    (`psycopg.RawCursor(conn)`) has no spans. Only statements inside a sampled span are recorded,
    among them those of transactions and of named cursors.
    """
    traced: Any = conn
    traced.cursor_factory = _traced(traced.cursor_factory)
    traced.server_cursor_factory = _traced(traced.server_cursor_factory)
    traced.instrument = partial(_around, conn)  # of statements that no cursor sends: db.run
    send = traced._exec_command
    if getattr(send, "func", None) is not _command:
        traced._exec_command = partial(_command, conn, send)
    return conn


def _command(conn: Any, send: Callable[..., Any], query: Any, *args: Any, **options: Any) -> Any:
    """What psycopg sends by itself: BEGIN and COMMIT, savepoints, a named cursor's FETCH. A
    generator, as `send` is.
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
    """The traced subclass of a cursor class; of a traced class itself."""
    if getattr(base, "_forge_traced", False):
        return base

    class Traced(base):  # type: ignore[misc]
        _forge_traced = True

        def execute(self, query: Any, params: Any = None, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, query) as active:
                result = super().execute(query, params, *args, **options)
                _rows(active, self.rowcount)
                return result

        def executemany(self, query: Any, params_seq: Any, *args: Any, **options: Any) -> None:
            with _statement(self.connection, query) as active:
                super().executemany(query, params_seq, *args, **options)
                _rows(active, _of_all(self))

        @contextmanager
        def copy(self, statement: Any, params: Any = None, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, statement) as active:
                with super().copy(statement, params, *args, **options) as copy:
                    yield copy
                _rows(active, self.rowcount)

        def stream(self, query: Any, params: Any = None, *args: Any, **options: Any) -> Any:
            count = 0
            with _statement(self.connection, query) as active:
                try:
                    with closing(super().stream(query, params, *args, **options)) as rows:
                        for row in rows:
                            count += 1
                            yield row
                finally:
                    _rows(active, count)

    Traced.__name__ = Traced.__qualname__ = base.__name__
    return Traced


def _statement(conn: Any, query: Any) -> AbstractContextManager[Span | None]:
    """The span around a statement; around one that is not sampled, nothing."""
    context = current.get() or here()
    if context is None or not context.sampled:
        return _NOTHING
    info, text = conn.info, _text(conn, query)
    text = without_values(text, escapes="\\" in text and _has_escapes(info))
    name = operation(text)
    attributes = {
        "db.system.name": "postgresql",
        "db.namespace": info.dbname,
        "db.operation.name": name,
        "db.query.text": text,
        "server.address": info.host,
        "server.port": info.port,
    }
    if isinstance(route := log_fields.get().get("route"), str):
        attributes["http.route"] = route  # whose request it belongs to
    return span(name, kind="client", attributes=attributes)


def _text(conn: Any, query: Any) -> str:
    if isinstance(query, bytes):
        text = query.decode(conn.info.encoding, "replace")
    elif isinstance(query, str):
        text = query
    elif hasattr(query, "as_string"):  # psycopg.sql.Composable: it may hold literals
        text = query.as_string(conn)
    else:  # a template string (PEP 750): its values are parameters
        text = "?".join(getattr(query, "strings", (type(query).__name__,)))
    return text


def _has_escapes(info: Any) -> bool:
    """Whether a backslash is one in every text; a connection that has ended tells no more."""
    return bool(info.parameter_status("standard_conforming_strings") != "on")


def _of_all(cursor: Any) -> int:
    """The rows of all statements of an executemany: with returning=True each has its own result,
    and `rowcount` is that of the first.
    """
    if results := cursor._results:
        return sum(result.command_tuples or 0 for result in results)
    count: int = cursor.rowcount
    return count


def _rows(active: Span | None, count: int) -> None:
    if active is not None and active.recording and count >= 0:
        active.set_attribute("db.response.returned_rows", count)
