"""A thread's session with the database: its own connection, and the statements of jobs.sql."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from psycopg.pq import TransactionStatus

from ..db import Connection, load_sql

SQL = load_sql("forge_min.jobs", "jobs.sql")


class Own:
    """A thread's own connection, opened when first needed, opened anew when it broke.

    Only `cancel` may be called by another thread.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._conn: Connection | None = None

    def connection(self) -> Connection:
        """The connection. Raises as `db.connect`."""
        if self._conn is None or self._conn.closed:
            self._conn = self._connect()
        return self._conn

    @property
    def clean(self) -> bool:
        """Whether no transaction was left open."""
        conn = self._conn
        return conn is None or conn.closed or conn.info.transaction_status == TransactionStatus.IDLE

    def cancel(self) -> None:
        """End the query that runs now; `close` before the next one, for a cancel may
        arrive late.
        """
        conn = self._conn
        if conn is not None:
            try:
                conn.cancel_safe(timeout=2.0)
            except psycopg.Error:
                pass  # it ended by itself, or the server is gone: the query will not go on either

    def close(self) -> None:
        """Close the connection; the next `connection()` opens a new one. Idempotent."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None
