"""One statement in one round trip, with the tenant whose rows it may touch.

PERF: psycopg's own parts (its adapters, its `pq`, its generators) without a cursor: a cursor takes
25 us more for a statement, and a pipeline of two of them 95 (benchmarks/writes.py).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID
from weakref import proxy

import psycopg
from psycopg import abc, generators
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import ReadOnlySqlTransaction, SerializationFailure, error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import class_row, tuple_row

from ..errors import DatabaseError, Unavailable
from .connection import Connection
from .connection import operation as first_word
from .statements import Statement, number_placeholders, require_tenant, values_of
from .transaction import transaction
from .translate import errors_translated, translate

# What a prepared statement may say and a new one does not: a migration changed its columns, or it
# was discarded behind our back (PostgreSQL manual, appendix A).
STALE = (b"0A000", b"26000")
operation = lru_cache(2000)(first_word)  # PERF: as `number_placeholders` (benchmarks/http, row)
SETTINGS = (  # what psycopg's loaders and dumpers read of a session, each when it is made
    b"TimeZone", b"DateStyle", b"IntervalStyle", b"client_encoding", b"standard_conforming_strings",
)  # fmt: skip
_AUTO = PyFormat.AUTO
FAILED, DONE = ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_SYNC
IDLE, ACTIVE = TransactionStatus.IDLE, TransactionStatus.ACTIVE
SCOPE = (
    "select set_config('forge.tenant_id', %(tenant)s, true),"
    " set_config('transaction_read_only', %(read_only)s, true)"
)
TENANT = "select set_config('forge.tenant_id', %s, true)"
SET_TENANT: Statement = (number_placeholders(TENANT)[0], (25,))  # 25: text
Params = Mapping[str, Any] | Sequence[Any] | None
read_timeout: ContextVar[float] = ContextVar("forge_read_timeout", default=0.0)
"""Seconds that a read of this context may take: a request's; 0: no limit."""
Rows = list[tuple[Any, ...]]
T = TypeVar("T")


# A statement, its values and their formats, as libpq takes them. PERF: a tuple, for it is made with
# each statement (benchmarks/http, row).
Message = tuple[Statement, Sequence[Any], Sequence[int] | None]


def run(
    conn: psycopg.Connection[Any], sql: str, params: Params = None, tenant: UUID | None = None
) -> Rows:
    """Execute `sql`, which is one statement; its rows, [] when it gives none.

    tenant: set for this statement's transaction, as row-level security asks. Both go out in one
    pipeline, which is one round trip and, outside a transaction of the caller's, one implicit
    transaction (PostgreSQL manual, section 32.5); inside one, the tenant stays set until its end.
    A connection that is not ours, not in autocommit or in a pipeline of the caller's is used
    through its cursors.
    Raises the errors of `db.translate`.
    """
    try:
        if not isinstance(conn, Connection) or not conn.autocommit or conn.pgconn.pipeline_status:
            return _run_with_cursor(conn, sql, params, tenant)
        if conn.instrument is not None:
            return conn.instrument(sql, lambda: _run_directly(conn, sql, params, tenant))
        return _run_directly(conn, sql, params, tenant)
    except psycopg.Error as err:
        if isinstance(conn, Connection):
            conn.note_error(err)
        raise translate(err) from err


def query(
    conn: psycopg.Connection[Any],
    sql: str,
    params: Params,
    into: type[T],
    tenant: UUID | None,
    write: bool,
) -> list[T]:
    """The rows of one statement in a transaction of its own, or a savepoint: read-only unless
    `write`, with the rows of `tenant` only. into: called with the columns by their names.

    Raises ForgeError F418 for a tenant's table without a tenant, and the errors of `db.translate`.
    """
    if tenant is None:
        require_tenant(conn, sql)
    try:
        with transaction(conn), conn.cursor(row_factory=class_row(into)) as cursor:
            run(conn, SCOPE, {"tenant": str(tenant or ""), "read_only": "off" if write else "on"})
            # SAFETY: in a pipeline a text of several statements is refused.
            with errors_translated(), conn.pipeline():
                cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []
    except Unavailable as err:
        if write or not isinstance(err.__cause__, ReadOnlySqlTransaction):
            raise
        message = "this statement writes, and its transaction is read-only"
        raise DatabaseError(message, hint="run_sql(..., write=True)") from err.__cause__


def read(
    conn: psycopg.Connection[Any], sql: str, params: Params = None, tenant: UUID | None = None
) -> Rows:
    """As `run`, for a statement that only reads: it is cancelled after `read_timeout`.

    Nothing is SET for it, so it works behind a pooler. Raises Unavailable F642 when it was
    cancelled, F405 when the cancel had no effect: the connection is dead, and may be replaced. Only
    connections of a `Database` are watched.
    """
    seconds = read_timeout.get()
    if not seconds or not isinstance(conn, Connection):
        return run(conn, sql, params, tenant)
    conn.deadline = deadline = time.perf_counter() + seconds
    try:
        return run(conn, sql, params, tenant)
    except Unavailable as err:
        if conn.cancelled == deadline and getattr(err.__cause__, "sqlstate", "") == "57014":
            message = f"a read took longer than database.read_timeout ({seconds:g} s)"
            raise Unavailable(message, code="F642") from err
        raise
    finally:
        conn.deadline = 0.0
        if conn.cancelled == deadline:  # its cancel may come late, and meet another statement
            conn.close()


def _run_with_cursor(
    conn: psycopg.Connection[Any], sql: str, params: Params, tenant: UUID | None
) -> Rows:
    with conn.cursor(row_factory=tuple_row) as cursor:
        if tenant is not None:
            cursor.execute(TENANT, (str(tenant),))
        cursor.execute(sql, params)
        try:
            return cursor.fetchall()
        except psycopg.ProgrammingError as err:
            if err.sqlstate:
                raise
            return []  # it gives none, and in a pipeline only now that is known


def _run_directly(conn: Connection, sql: str, params: Params, tenant: UUID | None) -> Rows:
    started = conn.busy_since = time.perf_counter()
    try:
        text, places = (sql, ()) if params is None else number_placeholders(sql)
        given = values_of(places, params or ())
        adapted, session = _converter(conn)
        values = adapted.dump_sequence(given, [_AUTO] * len(given))
        statement = text, adapted.types or ()
        message = statement, values, adapted.formats
        again = conn.pgconn.transaction_status == IDLE
        while (result := _execute(conn, message, tenant)).status == FAILED:
            stale = result.error_field(DiagnosticField.SQLSTATE) in STALE
            if not stale or not conn.prepared.forget(statement, SET_TENANT):
                raise error_from_result(result, encoding=adapted.encoding)
            if not again:  # as after a deadlock: the whole transaction may be tried again
                raise SerializationFailure("a prepared statement was out of date")
            again = False
        rows: Rows = []
        if result.nfields:
            # SAFETY: the statement may have changed a setting, and a reload of the server's too.
            if (now := _session(conn)) != session:
                adapted, session = _new_converter(conn), now
            adapted.set_pgresult(result)
            rows = adapted.load_rows(0, result.ntuples, tuple)
            adapted.set_pgresult(None)
        conn.converter = adapted, session
        conn.last_used = started
        return rows
    finally:
        conn.busy_since = 0.0
        if conn.observe is not None:
            conn.observe(operation(sql), time.perf_counter() - started)


def _converter(conn: Connection) -> tuple[abc.Transformer, object]:
    """What converts values both ways, with the settings of the session that it was created for.

    PERF: a new one asks Python for the loader of each column and makes it (benchmarks/http, row).
    """
    session = _session(conn)
    # SAFETY: an adapter that runs a statement itself gets one of its own.
    kept, conn.converter = conn.converter, None
    if kept is not None and kept[1] == session:
        return kept
    return _new_converter(conn), session


def _session(conn: Connection) -> object:
    """The settings that psycopg's loaders and dumpers read when they are created."""
    return [*map(conn.pgconn.parameter_status, SETTINGS)]


def _new_converter(conn: Connection) -> abc.Transformer:
    # SAFETY: by a proxy, or the connection could not end before the garbage collector comes.
    return Transformer(SimpleNamespace(adapters=conn.adapters, connection=proxy(conn)))


def _execute(conn: Connection, message: Message, tenant: UUID | None) -> PGresult:
    """The statement's result, or the first error of its round trip."""
    pg = conn.pgconn
    statement, values, formats = message
    with conn.lock:
        try:
            name = conn.prepared.name(statement) if tenant is None else None
            if name is None:
                return _pipeline(conn, message, tenant)
            if conn.may_block:
                # PERF: one call lets go of the GIL once, the steps below four times, and each time
                # it may be another's turn (benchmarks/http, row).
                return _waited(pg, pg.exec_prepared(name, values, formats))
            pg.send_query_prepared(name, values, formats)
            return _first_failure(conn.wait(generators.execute(pg)))
        finally:
            # SAFETY: interrupted, so an answer may still come that is nobody's.
            if pg.pipeline_status or pg.transaction_status == ACTIVE:
                conn.close()


def _waited(pg: PGconn, result: PGresult) -> PGresult:
    """The result. Raises OperationalError where the connection was lost, as psycopg's own does."""
    if pg.status == ConnStatus.BAD:
        raise psycopg.OperationalError(pg.get_error_message())
    return result


def _first_failure(results: Sequence[PGresult]) -> PGresult:
    """What failed, if anything did: a commit that fails comes behind the statement's own answer."""
    return next((result for result in results if result.status == FAILED), results[-1])


def _pipeline(conn: Connection, message: Message, tenant: UUID | None) -> PGresult:
    """As `_execute`, of several messages: what prepares statements, the tenant's, and it."""
    pg = conn.pgconn
    pg.enter_pipeline_mode()
    messages = [message]
    if tenant is not None:
        messages.insert(0, (SET_TENANT, [str(tenant).encode()], None))
    sent: list[Statement | None] = []  # for each of libpq's the statement that it prepares
    for statement, _, _ in messages:
        sent += _prepare(conn, statement)
    for statement, values, formats in messages:
        name = conn.prepared.name(statement)
        if name is None:
            command = statement[0].encode(conn.info.encoding)
            pg.send_query_params(command, values, statement[1], formats)
        else:
            pg.send_query_prepared(name, values, formats)
    pg.pipeline_sync()
    results = conn.wait(_fetch_results(pg, len(sent) + len(messages)))
    pg.exit_pipeline_mode()
    for prepared, result in zip(sent, results):
        if prepared is not None and result.status != ExecStatus.COMMAND_OK:
            conn.prepared.forget(prepared)
    return _first_failure(results)


def _prepare(conn: Connection, statement: Statement) -> list[Statement | None]:
    """Send what prepares it, when that is due, after what makes room for it."""
    due = conn.prepared.new_name(statement)
    if due is None:
        return []
    name, old = due
    if old is not None:
        conn.pgconn.send_close_prepared(old)
    conn.pgconn.send_prepare(name, statement[0].encode(conn.info.encoding), statement[1])
    return [statement] if old is None else [None, statement]


def _fetch_results(pg: PGconn, sent: int) -> Generator[Any, Any, list[PGresult]]:
    """One of each message, and one more when the commit fails."""
    yield from generators.send(pg)
    results: list[PGresult] = []
    for _ in range(sent + 2):
        found = yield from generators.fetch_many(pg)
        if found and found[-1].status == DONE:
            break
        results += found
    return results
