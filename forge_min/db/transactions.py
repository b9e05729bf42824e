"""Transactions, and hooks after the commit.

A hook runs only when the changes before it are committed, never after a rollback. If that cannot be
known (the caller sent BEGIN, or the connection is of another class) the hook is dropped, and
readers find the change by polling.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from psycopg.errors import ReadOnlySqlTransaction
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from ..errors import DatabaseError, Unavailable
from .connection import AnyConnection, Connection, Hook
from .run import (
    SQL,
    Params,
    Rows,
    check_current,
    check_replicated,
    check_writable,
    is_idle,
    record_position,
    run,
)
from .statements import require_tenant
from .translate import errors_translated

IDLE = TransactionStatus.IDLE
ACTIVE = TransactionStatus.ACTIVE
T = TypeVar("T")
log = logging.getLogger("forge_min.db")


def query(
    conn: Connection,
    sql: str,
    params: Params,
    into: type[T],
    tenant: UUID | None,
    write: bool,
) -> list[T]:
    """Run one statement in its own transaction or savepoint and return its rows.

    into: called with the columns as keyword arguments, once per row.
    tenant: only rows of this tenant are visible; None: no tenant.
    write: allow writes; otherwise the transaction is read-only.
    Raises ForgeError F418 for a table of tenants without a tenant, and the errors of
    `db.translate`.
    """
    if tenant is None:
        require_tenant(conn, sql)
    scope = {"tenant": str(tenant or ""), "read_only": "on"}
    if write:
        check_writable(conn)
        scope["read_only"] = "off"
    conn.is_reading = not write
    cursor: Any
    try:
        with transaction(conn), conn.cursor(row_factory=class_row(into)) as cursor:
            run(conn, SQL["scope"], scope)
            with errors_translated():
                cursor.execute(sql, params, one_statement=True)
            rows = []
            if cursor.description:
                rows = cursor.fetchall()
            return rows
    except Unavailable as err:
        if write or not isinstance(err.__cause__, ReadOnlySqlTransaction):
            raise
        message = "this statement writes, and its transaction is read-only"
        raise DatabaseError(message, hint="run_sql(..., write=True)") from err.__cause__
    finally:
        conn.is_reading = False


@contextmanager
def transaction(conn: AnyConnection) -> Iterator[None]:
    """Run the block in a transaction, or in a savepoint if one is open; roll back if it raises.

    `raise psycopg.Rollback` leaves the block without an error. Hooks of a level that is rolled
    back are dropped. Raises DatabaseError F411 if the block caught the error of a failed statement
    (the server would silently turn COMMIT into ROLLBACK), Unavailable F405 if the connection was
    lost in the block, F409 if it was lost during the commit.
    """
    if not isinstance(conn, Connection):
        with conn.transaction():
            yield
            _check_usable(conn)
        return
    outer = conn.hooks
    hooks = None
    writes = outer is None and not conn.is_reading
    if outer is not None or conn.pgconn.transaction_status == IDLE:
        conn.hooks = []
    try:
        with ExitStack() as stack:
            with errors_translated():
                tx = stack.enter_context(conn.transaction())
            yield
            _check_usable(conn)
            check_current(conn)
            with errors_translated(commits=writes):
                stack.close()
            check_replicated(conn)
        if conn.records_position and writes:
            record_position(conn)
        if tx.status is tx.Status.COMMITTED:
            hooks = conn.hooks
    finally:
        conn.hooks = outer
    if hooks and outer is not None:
        outer.extend(hooks)
    elif hooks:
        _run(hooks)


def run_checked(
    conn: AnyConnection,
    sql: str,
    params: Params,
    tenant: UUID | None,
    check: Callable[[Rows], None],
) -> Rows:
    """Run a statement and `check` in a transaction, or in a savepoint if one is open.

    BEGIN is sent with the statement: without a savepoint there are two round trips, and those of
    `check`.

    check: called with the rows; if it raises, the statement is rolled back.
    Other parameters, result and errors are those of `run` and `transaction`.
    """
    if not isinstance(conn, Connection) or not is_idle(conn) or conn.pgconn.pipeline_status:
        with transaction(conn):
            rows = run(conn, sql, params, tenant)
            with errors_translated():
                check(rows)
        return rows
    hooks = conn.hooks = []
    try:
        rows = run(conn, sql, params, tenant, begin=True)
        with errors_translated():
            check(rows)
        _check_usable(conn)
        if is_idle(conn):
            raise DatabaseError("the transaction of a write was ended inside it")
        run(conn, "commit")
    finally:
        conn.hooks = None
        if conn.pgconn.transaction_status == ACTIVE:  # `check` has left a COPY or a pipeline
            conn.close()
        elif not conn.closed and not is_idle(conn):
            run(conn, "rollback")
    _run(hooks)
    return rows


def after_commit(conn: AnyConnection, hook: Hook) -> None:
    """Run `hook` after the outermost COMMIT of `transaction`; at once if none is open.

    The hook is dropped after a BEGIN of the caller, in pipeline mode, and on a connection of
    another class. An exception of the hook is logged and not raised, because the data is committed.
    """
    if not isinstance(conn, Connection):
        return
    if conn.hooks is not None:
        conn.hooks.append(hook)
    elif is_idle(conn):
        _run([hook])


def nudge(conn: AnyConnection, payload: str) -> None:
    """Wake readers after the commit; does nothing on a connection without a nudger.

    payload: "e" for events, "j:<queue>" for jobs, "c" for requests to cancel runs. The nudger
        sends equal payloads once.
    """
    if isinstance(conn, Connection) and conn.nudger is not None:
        after_commit(conn, partial(conn.nudger.nudge, payload))


def notifies_in_transaction(conn: AnyConnection, payload: str) -> bool:
    """Return whether the next statement on `conn` must send this NOTIFY, instead of `nudge`.

    False after a BEGIN of the caller: a transaction with a NOTIFY cannot be prepared (PostgreSQL
    manual, PREPARE TRANSACTION).
    """
    if not isinstance(conn, Connection) or conn.nudger is None:
        return False
    can_notify = conn.hooks is not None or is_idle(conn)
    return can_notify and conn.nudger.notifies_in_transaction(payload)


def _check_usable(conn: AnyConnection) -> None:
    status = conn.pgconn.transaction_status
    if status == TransactionStatus.UNKNOWN:
        raise Unavailable("the connection was lost before the commit", code="F405")
    if status == TransactionStatus.INERROR:
        raise DatabaseError(
            "a statement in this transaction failed, so nothing of it was committed",
            code="F411",
            hint="let the error leave the block, or run the statement in its own transaction()",
        )


def _run(hooks: list[Hook]) -> None:
    for hook in hooks:
        try:
            hook()
        except Exception:
            log.exception("a commit hook failed; its transaction is committed")
