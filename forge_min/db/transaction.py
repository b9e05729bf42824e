"""Transactions, and hooks that run after their commit.

A hook runs only when the changes before it are committed, never after a rollback. If that cannot be
known (the caller sent BEGIN, or the connection is of another class) the hook is dropped, and
readers find the change by polling.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from ..errors import DatabaseError, Unavailable
from .connection import Connection, Hook
from .translate import errors_translated

log = logging.getLogger("forge_min.db")
IDLE = TransactionStatus.IDLE


@contextmanager
def transaction(conn: psycopg.Connection[Any]) -> Iterator[None]:
    """Run the block in a transaction, or in a savepoint if one is open; roll back if it raises.

    `raise psycopg.Rollback` leaves the block without an error. Hooks of a level that is rolled
    back are dropped. Raises DatabaseError F411 if the block caught the error of a failed statement
    (the server would silently turn COMMIT into ROLLBACK), Unavailable F405 if the connection was
    lost in the block.
    """
    if not isinstance(conn, Connection):
        with conn.transaction():
            yield
            _check_usable(conn)
        return
    outer, hooks = conn.hooks, None
    conn.hooks = [] if outer is not None or conn.pgconn.transaction_status == IDLE else None
    try:
        with _psycopg_transaction(conn) as tx:
            yield
            _check_usable(conn)
        if tx.status is tx.Status.COMMITTED:
            hooks = conn.hooks
    finally:
        conn.hooks = outer
    if hooks and outer is not None:
        outer.extend(hooks)
    elif hooks:
        _run(hooks)


@contextmanager
def _psycopg_transaction(conn: Connection) -> Iterator[psycopg.Transaction]:
    """Run the block in psycopg's transaction; errors of BEGIN and COMMIT are translated."""
    scope = conn.transaction()
    with errors_translated():
        tx = scope.__enter__()
    try:
        yield tx
    except BaseException:
        if not scope.__exit__(*sys.exc_info()):
            raise
    else:
        with errors_translated():
            scope.__exit__(None, None, None)


def after_commit(conn: psycopg.Connection[Any], hook: Hook) -> None:
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


def nudge(conn: psycopg.Connection[Any], payload: str) -> None:
    """Wake readers after the commit; does nothing on a connection without a nudger.

    payload: "e" for events, "j:<queue>" for jobs, "c" for requests to cancel runs. The nudger
        sends equal payloads once.
    """
    nudger = conn.nudger if isinstance(conn, Connection) else None
    if nudger is not None:
        after_commit(conn, lambda: nudger.nudge(payload))


def notifies_in_transaction(conn: psycopg.Connection[Any], payload: str) -> bool:
    """Return whether the next statement on `conn` must send this NOTIFY, instead of `nudge`.

    False after a BEGIN of the caller: a transaction with a NOTIFY cannot be prepared (PostgreSQL
    manual, PREPARE TRANSACTION).
    """
    if not isinstance(conn, Connection) or conn.nudger is None:
        return False
    can_notify = conn.hooks is not None or is_idle(conn)
    return can_notify and conn.nudger.notifies_in_transaction(payload)


def is_idle(conn: psycopg.Connection[Any]) -> bool:
    """Return whether a statement on `conn` is its own transaction, which may be retried."""
    return conn.autocommit and conn.pgconn.transaction_status == IDLE


def _check_usable(conn: psycopg.Connection[Any]) -> None:
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
