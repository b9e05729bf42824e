"""Statements run with their tenant in one round trip.

PERF: `run` uses psycopg's adapters, `pq` and generators without a cursor. A cursor adds 25 us to a
statement, and a pipeline of two cursors 95 us (benchmarks/writes.py).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from weakref import proxy

import psycopg
from psycopg import abc, generators
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import SerializationFailure, error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import tuple_row

from ..errors import ForgeError, ReadTimeout, Unavailable
from ..fanout import begin_wait, end_wait
from ..i18n import gettext_noop
from ..sql_files import load_sql
from .connection import AnyConnection, Connection
from .replicas import consistency, position_of
from .statements import (
    BEGIN,
    POSITION,
    UNPREPARED,
    Statement,
    number_placeholders,
    operation,
    values_of,
)
from .translate import UNKNOWN, translate

# Errors of a prepared statement that a new one would not have: a migration changed its columns, or
# the server discarded it (PostgreSQL manual, appendix A).
STALE = (b"0A000", b"26000")
SETTINGS = (  # session settings that psycopg's loaders and dumpers read when they are created
    b"TimeZone", b"DateStyle", b"IntervalStyle", b"client_encoding", b"standard_conforming_strings",
)  # fmt: skip
# PERF: the cache reads each text once (benchmarks/http, row). Texts of cursors are not cached: they
# may be large and all different.
_operation = lru_cache(2000)(operation)
_AUTO = PyFormat.AUTO
FAILED = ExecStatus.FATAL_ERROR
DONE = ExecStatus.PIPELINE_SYNC
IDLE = TransactionStatus.IDLE
ACTIVE = TransactionStatus.ACTIVE
SQL = load_sql("forge_min.db", "session.sql")
SET_TENANT: Statement = (number_placeholders(SQL["tenant"])[0], (25,))  # 25: text
SET_LOCK_TIMEOUT: Statement = ("select set_config('lock_timeout', $1, true)", (25,))
Params = Mapping[str, Any] | Sequence[Any] | None
read_timeout = ContextVar[float]("forge_read_timeout", default=0.0)
"""Seconds that a read in this context, such as a request, may take; 0: no limit."""
lock_timeout = ContextVar[float]("forge_lock_timeout", default=0.0)
"""Seconds that a write in this context, such as a request, may wait for a lock; 0: the role's."""
Rows = list[tuple[Any, ...]]


# A statement, its values and their formats, as in libpq. PERF: a plain tuple, because one is
# created per statement (benchmarks/http, row).
Message = tuple[Statement, Sequence[Any], Sequence[int] | None]


def run(
    conn: AnyConnection,
    sql: str,
    params: Params = None,
    tenant: UUID | None = None,
    *,
    begin: bool = False,
) -> Rows:
    """Execute one statement and return its rows, [] if it returns none.

    conn: connections of another class, without autocommit or in pipeline mode run it by a cursor.
    sql: one statement, with %s or %(name)s placeholders.
    params: values for the placeholders.
    tenant: set for the statement's transaction, for row-level security. Both are sent in one
        pipeline: one round trip and, outside a transaction of the caller, one implicit transaction
        (PostgreSQL manual, section 32.5). Inside one, the tenant stays set until its end.
    begin: send BEGIN in the same pipeline. Only for an idle connection; see `run_checked`.
    Raises the errors of `db.translate`.
    """
    commits = False
    if not begin:
        commits = _operation(sql) == "commit" or is_idle(conn)
    try:
        if not isinstance(conn, Connection) or not conn.autocommit or conn.pgconn.pipeline_status:
            return _run_with_cursor(conn, sql, params, tenant)
        if conn.instrument is not None:
            return conn.instrument(sql, lambda: _run_directly(conn, sql, params, tenant, begin))
        return _run_directly(conn, sql, params, tenant, begin)
    except psycopg.Error as err:
        if not isinstance(conn, Connection):
            commits = False
        else:
            conn.note_error(err)
            check_replicated(conn)
            if conn.is_reading or _operation(sql) == "select":
                commits = False
        raise translate(err, commits=commits) from err


def read(conn: AnyConnection, sql: str, params: Params = None, tenant: UUID | None = None) -> Rows:
    """Run a statement that only reads; it is cancelled after `read_timeout`.

    It sets nothing in the session, so it works behind a pooler. The time-out applies only to
    connections of a `Database`. Parameters and results are those of `run`. Raises ReadTimeout
    if the read was cancelled, F405 if the cancel had no effect and the connection was closed.
    """
    if not isinstance(conn, Connection):
        return run(conn, sql, params, tenant)
    seconds = read_timeout.get()
    deadline = 0.0
    if seconds:
        deadline = time.perf_counter() + seconds
    conn.is_reading = True
    conn.deadline = deadline
    try:
        return run(conn, sql, params, tenant)
    except Unavailable as err:
        was_cancelled = 0.0 < conn.cancelled == deadline
        if was_cancelled and getattr(err.__cause__, "sqlstate", "") == "57014":
            message = f"a read took longer than database.read_timeout ({seconds:g} s)"
            raise ReadTimeout(message) from err
        raise
    finally:
        conn.is_reading = False
        conn.deadline = 0.0
        if 0.0 < conn.cancelled == deadline:  # a late cancel would hit another statement
            conn.close()


def limit_lock_waits(conn: Connection, seconds: float) -> None:
    """Let all statements of a new session wait at most `seconds` for a lock.

    It has no effect behind a pooler, because other clients share the session: then `run` sends
    `lock_timeout` with each write. Raises the errors of `db.translate`.
    """
    milliseconds = str(int(seconds * 1000))
    if run(conn, SQL["lock_timeout"], (milliseconds, conn.info.backend_pid)):
        conn.lock_timeout = seconds


def _run_with_cursor(conn: AnyConnection, sql: str, params: Params, tenant: UUID | None) -> Rows:
    with conn.cursor(row_factory=tuple_row) as cursor:
        if tenant is not None:
            cursor.execute(SQL["tenant"], (str(tenant),))
        cursor.execute(sql, params)
        try:
            return cursor.fetchall()
        except psycopg.ProgrammingError as err:
            if err.sqlstate:
                raise
            return []  # the statement returns no rows; in a pipeline it is known only now


def _run_directly(
    conn: Connection, sql: str, params: Params, tenant: UUID | None, begin: bool
) -> Rows:
    check_current(conn)
    if _writes(conn, sql):
        check_writable(conn)
    started = time.perf_counter()
    conn.busy_since = started
    try:
        text = sql
        names: tuple[str | int, ...] = ()
        if params is not None:
            text, names = number_placeholders(sql)
        arguments = values_of(names, params or ())
        session = _session(conn)
        converter = _take_converter(conn, session)
        values = converter.dump_sequence(arguments, [_AUTO] * len(arguments))
        statement = (text, converter.types or ())
        message = (statement, values, converter.formats)
        before = _settings(conn, tenant, begin)
        may_retry = conn.pgconn.transaction_status == IDLE and not begin
        records = conn.records_position
        if records and sql != "commit":
            records = may_retry and _writes(conn, sql)
        result = _execute(conn, before, message, records)
        while result.status == FAILED:
            is_stale = result.error_field(DiagnosticField.SQLSTATE) in STALE
            if not is_stale or not conn.prepared.forget(statement, SET_TENANT, SET_LOCK_TIMEOUT):
                raise error_from_result(result, encoding=converter.encoding)
            if not may_retry:  # as after a deadlock, the caller may retry the whole transaction
                raise SerializationFailure("a prepared statement was out of date")
            may_retry = False
            result = _execute(conn, before, message, records)
        rows: Rows = []
        if result.nfields:
            # SAFETY: the statement, or a reload of the server's files, may have changed a setting.
            current = _session(conn)
            if current != session:
                converter = _take_converter(conn, current)
                session = current
            converter.set_pgresult(result)
            rows = converter.load_rows(0, result.ntuples, tuple)
            converter.set_pgresult(None)
        conn.converter = (converter, session)
        conn.last_used = started
        check_replicated(conn)
        return rows
    finally:
        conn.busy_since = 0.0
        if conn.observe is not None:
            conn.observe(_operation(sql), time.perf_counter() - started)


def _take_converter(conn: Connection, session: object) -> abc.Transformer:
    """Take the connection's converter, or a new one if its session settings are others.

    PERF: a new one looks up and creates the loader of each column (benchmarks/http, row).
    """
    # SAFETY: while it is taken, an adapter that runs a statement itself gets another converter.
    last = conn.converter
    conn.converter = None
    if last is not None:
        converter, settings = last
        if settings == session:
            return converter
    # SAFETY: a weak proxy: a cycle would keep the connection until the next garbage collection.
    context = SimpleNamespace(adapters=conn.adapters, connection=proxy(conn))
    return Transformer(context)


def _session(conn: Connection) -> object:
    """Return the session's values of SETTINGS."""
    return [*map(conn.pgconn.parameter_status, SETTINGS)]


def _writes(conn: Connection, sql: str) -> bool:
    """Return whether a statement may change rows."""
    return not conn.is_reading and sql != "rollback" and _operation(sql) != "select"


def _settings(conn: Connection, tenant: UUID | None, begin: bool) -> list[Message]:
    """Return the statements that are sent before one, in the same pipeline."""
    messages: list[Message] = []
    if begin:
        messages.append((BEGIN, [], None))
    seconds = lock_timeout.get()
    # PERF: the session of a thread of the HTTP server has the usual value (benchmarks/http).
    if seconds and seconds != conn.lock_timeout and not conn.is_reading:
        messages.append((SET_LOCK_TIMEOUT, [b"%d" % (seconds * 1000)], None))
    if tenant is not None:
        messages.append((SET_TENANT, [str(tenant).encode()], None))
    return messages


def _execute(conn: Connection, before: list[Message], message: Message, records: bool) -> PGresult:
    """Send a statement; return its result, or the first error of its round trip.

    before: statements that are sent in the same pipeline.
    records: note the position of the WAL after it.
    """
    pg = conn.pgconn
    statement, values, formats = message
    with conn.lock:
        begin_wait()
        try:
            if statement in UNPREPARED and not records:
                pg.send_query(statement[0].encode())
                return _first_failure(conn.wait(generators.execute(pg)))
            name = None
            if not before and not records:
                name = conn.prepared.name(statement)
            if name is None:
                return _pipeline(conn, [*before, message], records)
            if conn.may_block:
                # PERF: this call releases the GIL once, the steps below four times, and each time
                # another thread may take it (benchmarks/http, row).
                result = pg.exec_prepared(name, values, formats)
                if pg.status == ConnStatus.BAD:
                    raise psycopg.OperationalError(pg.get_error_message())
                return result
            pg.send_query_prepared(name, values, formats)
            return _first_failure(conn.wait(generators.execute(pg)))
        finally:
            end_wait()
            # SAFETY: after an interruption a response to this statement may still arrive.
            if pg.pipeline_status or pg.transaction_status == ACTIVE:
                conn.close()


def _first_failure(results: Sequence[PGresult]) -> PGresult:
    """Return the first error, else the last result; a failed commit follows the statement's."""
    return next((result for result in results if result.status == FAILED), results[-1])


def _pipeline(conn: Connection, messages: list[Message], records: bool) -> PGresult:
    """Prepare statements if due, and execute them, all in one pipeline.

    records: then, after the commit, read the position of the WAL in the same round trip.
    """
    pg = conn.pgconn
    pg.enter_pipeline_mode()
    sent: list[Statement | None] = []  # per message of libpq: the statement that it prepares
    for statement, _, _ in messages:
        sent += _prepare(conn, statement)
    for statement, values, formats in messages:
        name = conn.prepared.name(statement)
        if name is None:
            text, types = statement
            pg.send_query_params(text.encode(conn.info.encoding), values, types, formats)
        else:
            pg.send_query_prepared(name, values, formats)
    pg.pipeline_sync()
    if records:
        pg.send_query_params(POSITION.encode(), [])
        pg.pipeline_sync()
    results = conn.wait(_fetch_results(pg, len(sent) + len(messages)))
    if records:
        (result,) = conn.wait(_fetch_results(pg, 1))
        # SAFETY: without a position it was committed all the same.
        note_position(conn, result.get_value(0, 0))
    pg.exit_pipeline_mode()
    for prepared, result in zip(sent, results):
        if prepared is not None and result.status != ExecStatus.COMMAND_OK:
            conn.prepared.forget(prepared)
    return _first_failure(results)


def _prepare(conn: Connection, statement: Statement) -> list[Statement | None]:
    """Prepare the statement if it is due, and close an old one first if there are too many."""
    due = conn.prepared.new_name(statement)
    if due is None:
        return []
    name, old = due
    sent: list[Statement | None] = []
    if old is not None:
        conn.pgconn.send_close_prepared(old)
        sent.append(None)
    text, types = statement
    conn.pgconn.send_prepare(name, text.encode(conn.info.encoding), types)
    sent.append(statement)
    return sent


def _fetch_results(pg: PGconn, sent: int) -> Generator[Any, Any, list[PGresult]]:
    """Return one result per message sent, and another one if the commit fails."""
    yield from generators.send(pg)
    results = []
    for _ in range(sent + 2):
        batch = yield from generators.fetch_many(pg)
        if batch and batch[-1].status == DONE:
            break
        results += batch
    return results


def is_idle(conn: AnyConnection) -> bool:
    """Return whether a statement on `conn` is its own transaction, which may be retried."""
    return conn.autocommit and conn.pgconn.transaction_status == IDLE


def check_writable(conn: Connection) -> None:
    """Raise Unavailable F419 if a write would wait for a standby that is missing."""
    if conn.standbys.are_missing:
        message = gettext_noop("changes cannot be saved now: a standby server is missing")
        raise Unavailable(message, code="F419")


def check_current(conn: Connection) -> None:
    """Raise Unavailable F416, and close the connection, if its server was replaced."""
    if conn.is_outdated:
        conn.close()
        raise Unavailable("the server was replaced by another one", code="F416")


def check_replicated(conn: Connection) -> None:
    """Raise Unavailable F409 if the last commit may not be on a synchronous standby."""
    if conn.is_unreplicated:
        conn.is_unreplicated = False
        raise Unavailable(UNKNOWN, code="F409")


def note_position(conn: Connection, lsn: Any) -> None:
    """Note the position after a write for the request.

    lsn: of POSITION; None: unknown.
    """
    request = consistency.get()
    if request is not None:
        request.note(position_of(conn, lsn))


def record_position(conn: Connection) -> None:
    """Note the position after a transaction of the request. It never fails: it was committed."""
    if consistency.get() is not None:
        lsn = None
        with suppress(ForgeError):
            ((lsn,),) = run(conn, POSITION)
        note_position(conn, lsn)
