"""`trace_connection`: one client span per statement of a psycopg connection. Imports no psycopg.

It replaces the connection's cursor classes by subclasses of them, so whatever the connection's
owner chose stays. An unsampled statement costs one context variable lookup.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any, TypeVar

from .logs import log_fields
from .tracing import Span, current, span

Connection = TypeVar("Connection")

# A quoted name, which stays; or a literal or a comment (PostgreSQL manual, section 4.1).
_LITERAL = re.compile(
    r"""(?isx) (?P<name> "(?:[^"]|"")*" )
    | E'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | --[^\n]* | /\*.*?\*/
    | (?<![$\w]) (?: 0x[\da-f_]+ | \d[\d_]*(?:\.\d*)?(?:e[+-]?\d+)? )"""
)
_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", re.S)
_TEXT_LIMIT = 2000
_NOTHING = nullcontext()


def trace_connection(conn: Connection) -> Connection:
    """Make every statement of this psycopg connection a span; returns the same connection.

    The span carries the statement's text with its placeholders, never its parameters; literals are
    `?`, comments left out. conn: a Connection or an AsyncConnection. In pipeline mode a span covers
    the sending, not the answer. Only statements inside a sampled span are recorded.
    """
    traced: Any = conn
    traced.cursor_factory = _traced(traced.cursor_factory)
    traced.server_cursor_factory = _traced(traced.server_cursor_factory)
    traced.around = partial(_around, conn)  # of statements that no cursor sends: db.run
    return conn


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
    traced = _async if hasattr(base, "__aenter__") else _sync
    made = traced(base)
    made.__name__ = made.__qualname__ = base.__name__
    return made


def _sync(base: Any) -> Any:
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
                _rows(active, self.rowcount)

        @contextmanager
        def copy(self, statement: Any, params: Any = None, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, statement):
                with super().copy(statement, params, *args, **options) as copy:
                    yield copy

        def stream(self, query: Any, params: Any = None, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, query):
                yield from super().stream(query, params, *args, **options)

    return Traced


def _async(base: Any) -> Any:
    class Traced(base):  # type: ignore[misc]
        _forge_traced = True

        async def execute(self, query: Any, params: Any = None, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, query) as active:
                result = await super().execute(query, params, *args, **options)
                _rows(active, self.rowcount)
                return result

        async def executemany(
            self, query: Any, params_seq: Any, *args: Any, **options: Any
        ) -> None:
            with _statement(self.connection, query) as active:
                await super().executemany(query, params_seq, *args, **options)
                _rows(active, self.rowcount)

        @asynccontextmanager
        async def copy(self, statement: Any, params: Any = None, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, statement):
                async with super().copy(statement, params, *args, **options) as copy:
                    yield copy

        async def stream(self, query: Any, params: Any = None, *args: Any, **options: Any) -> Any:
            with _statement(self.connection, query):
                async for row in super().stream(query, params, *args, **options):
                    yield row

    return Traced


def _statement(conn: Any, query: Any) -> AbstractContextManager[Span | None]:
    """The span around a statement; around one that is not sampled, nothing."""
    context = current.get()
    if context is None or not context.sampled:
        return _NOTHING
    text = _text(conn, query)
    word = _WORD.match(text)
    operation = word[1].upper() if word else "QUERY"
    info = conn.info
    attributes = {
        "db.system.name": "postgresql",
        "db.namespace": info.dbname,
        "db.operation.name": operation,
        "db.query.text": _LITERAL.sub(_hidden, text[:_TEXT_LIMIT]),
        "server.address": info.host,
        "server.port": info.port,
    }
    if isinstance(route := log_fields.get().get("route"), str):
        attributes["http.route"] = route  # whose request it belongs to
    return span(operation, kind="client", attributes=attributes)


def _hidden(found: re.Match[str]) -> str:
    return found["name"] or ("" if found[0][:2] in ("--", "/*") else "?")


def _text(conn: Any, query: Any) -> str:
    if isinstance(query, bytes):
        text = query.decode("utf-8", "replace")
    elif isinstance(query, str):
        text = query
    elif hasattr(query, "as_string"):  # psycopg.sql.Composable: it may hold literals
        text = query.as_string(conn)
    else:  # a template string (PEP 750): its values are parameters
        text = "?".join(getattr(query, "strings", (type(query).__name__,)))
    return text


def _rows(active: Span | None, count: int) -> None:
    if active is not None and active.recording and count >= 0:
        active.set_attribute("db.response.returned_rows", count)
