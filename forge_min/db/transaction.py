"""Transactions and what runs after their commit.

The rule: a hook runs once the data it speaks about is committed, and never when it is rolled
back. Where we cannot know (the caller wrote BEGIN, or the connection is not ours) it is dropped,
and readers find out by polling.
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
    """BEGIN and COMMIT around the block, ROLLBACK when it raises; nested: a savepoint.

    `raise psycopg.Rollback` leaves the block without an error. Hooks of a level that was rolled
    back are dropped. Raises DatabaseError F411 when a failed statement was hidden inside the
    block (the server would turn COMMIT into ROLLBACK without an error), Unavailable F405 when the
    connection was lost inside it.
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
    """psycopg's transaction, whose own BEGIN and COMMIT raise the errors of `translate`."""
    scope = conn.transaction()
    with errors_translated():
        begun = scope.__enter__()
    try:
        yield begun
    except BaseException:
        if not scope.__exit__(*sys.exc_info()):
            raise
    else:
        with errors_translated():
            scope.__exit__(None, None, None)


def after_commit(conn: psycopg.Connection[Any], hook: Hook) -> None:
    """Run `hook` after the outermost COMMIT of `transaction`; at once when nothing is open.

    Inside a transaction that is the caller's own (BEGIN by hand), inside a pipeline, or on a
    connection that is not ours, the hook is dropped. A hook that raises is logged: the data is
    committed, so the caller must not see an error.
    """
    if not isinstance(conn, Connection):
        return
    if conn.hooks is not None:
        conn.hooks.append(hook)
    elif is_idle(conn):
        _run([hook])


def nudge(conn: psycopg.Connection[Any], payload: str) -> None:
    """After the commit, wake readers: "e" for events, "j:<queue>" for jobs, "c" for runs that
    somebody asks to cancel.

    Does nothing on a connection without a nudger. The same payload twice in one transaction is
    sent as often as asked; the nudger coalesces.
    """
    nudger = conn.nudger if isinstance(conn, Connection) else None
    if nudger is not None:
        after_commit(conn, lambda: nudger.nudge(payload))


def notifies_in_transaction(conn: psycopg.Connection[Any], payload: str) -> bool:
    """Whether the next statement on `conn` shall send this NOTIFY itself, in place of `nudge`.

    Not where the transaction is the caller's own: with a NOTIFY it could not be prepared
    (PostgreSQL manual, PREPARE TRANSACTION).
    """
    if not isinstance(conn, Connection) or conn.nudger is None:
        return False
    return (conn.hooks is not None or is_idle(conn)) and conn.nudger.notifies_in_transaction(
        payload
    )


def is_idle(conn: psycopg.Connection[Any]) -> bool:
    """Whether a statement on `conn` would be a transaction of its own, which may be tried again."""
    return conn.autocommit and conn.pgconn.transaction_status == IDLE


def _check_usable(conn: psycopg.Connection[Any]) -> None:
    status = conn.pgconn.transaction_status
    if status == TransactionStatus.UNKNOWN:
        raise Unavailable("the connection was lost before the commit", code="F405")
    if status == TransactionStatus.INERROR:
        raise DatabaseError(
            "a statement in this transaction failed, so nothing of it was committed",
            code="F411",
            hint="let the error leave the block, or give the statement a transaction() of its own",
        )


def _run(hooks: list[Hook]) -> None:
    for hook in hooks:
        try:
            hook()
        except Exception:
            log.exception("a commit hook failed; what it follows is committed")
