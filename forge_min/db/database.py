"""The connections of a process: one per thread, watched while they wait for a response."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Any
from weakref import WeakSet

from psycopg.pq import TransactionStatus

from ..errors import ForgeError, Unavailable
from . import servers
from .connection import Connection, connect
from .probe import Probe
from .replicas import Consistency, Replica, Replicas, consistency, position_of
from .run import run
from .statements import POSITION

_CHECK_INTERVAL = 0.5  # seconds between two checks for statements that take too long
_SILENT_AFTER = 2.0  # seconds without a response, after which the server is asked on another one
_CANCEL_GRACE = 1.0  # seconds in which the server must end a cancelled statement
_IDLE = TransactionStatus.IDLE
_log = logging.getLogger("forge_min.db")


class Database:
    """The connections of one process to one database, one per thread, opened on first use.

    url: address of the database.
    direct_url: address past a pooler, for probes; "": `url`.
    opened: called with each new connection.
    patience: seconds after which a statement without a response ends with Unavailable, because TCP
        does not notice that a server hangs: its kernel still acknowledges. inf: never. 0: never,
        and no read is cancelled.
    idle: seconds without a statement after which the connection of a thread that may block, so of
        the HTTP server, is closed. No request may take as long.
    options: keyword arguments of `connect`.

    replicas: set by the caller; its standbys answer reads.

    `close()` closes the connections of all threads; the next `connection()` opens a new one. After
    a fork the child opens its own connections and does not touch the parent's. While the server is
    unavailable, one thread at a time tries to connect, and the others get the last error at once.
    """

    replicas: Replicas | None = None

    def __init__(
        self,
        url: str,
        *,
        direct_url: str = "",
        opened: Callable[[Connection], object] | None = None,
        patience: float = 0.0,
        idle: float = inf,
        **options: Any,
    ) -> None:
        self.url = url
        self._patience = patience
        self._idle = idle
        self.standbys = servers.Standbys()
        self._connect = partial(connect, url, standbys=self.standbys, **options)
        self._probe = Probe(url, direct_url or url, self.standbys)
        self._opened = opened
        self._reset()
        _databases.add(self)

    def _reset(self) -> None:
        # SAFETY: a forked child only drops its references to the parent's connections: closing one
        # would end the parent's session. It replaces the locks, which another thread may hold.
        self._lock = threading.Lock()  # LOCK: guards changes of _open
        self._open: dict[threading.Thread, Connection] = {}
        self._unavailable: ForgeError | None = None  # the last error, until a connection is opened
        self._successes = 0  # number of connections opened
        self._trying = threading.Lock()  # LOCK: one thread at a time tries to connect
        self._watch_ended = threading.Event()  # set unless the thread db-watch runs
        self._watch_ended.set()

    def connection(self) -> Connection:
        """Return this thread's connection, replaced if it was lost or closed while idle.

        Raises the errors of `connect`.
        """
        conn = self._open.get(threading.current_thread())
        if conn is None:
            return self._replace()
        if conn.is_fresh:
            return conn
        return self._ensure_alive(conn)

    def reader(self) -> tuple[Connection, Replica | None]:
        """Return this thread's connection for a read, and the standby to which it leads, if any.

        It leads to a standby if `consistency` allows that and no transaction is open. Raises as
        `connection`.
        """
        request = consistency.get()
        if self.replicas is not None and request is not None and request.required is not None:
            conn = self._open.get(threading.current_thread())
            if conn is None or conn.closed or conn.pgconn.transaction_status == _IDLE:
                choice = self.replicas.choose(request, request.required)
                if choice is not None:
                    return choice
        return self.connection(), None

    @contextmanager
    def standby_reads(self) -> Iterator[None]:
        """Let a standby answer the reads of the block, with everything that is committed now.

        It waits for the standbys until one has replayed that. Raises as `connection`.
        """
        required = None
        if self.replicas is not None:
            self.replicas.start()
            conn = self.connection()
            ((lsn,),) = run(conn, POSITION)
            required = position_of(conn, lsn)
            self.replicas.wait(required)
        token = consistency.set(Consistency(required))
        try:
            yield
        finally:
            consistency.reset(token)

    def verified(self) -> Connection:
        """Return this thread's connection after a check that the server accepts new ones.

        All connections are checked before their next statement. Raises the errors of `connect`, and
        Unavailable F405 while a thread of the HTTP server still waits on a lost connection.
        """
        opened = list(self._open.values())
        for other in opened:
            other.last_used = 0.0
        conn = self.connection()
        if self._unavailable is not None:
            conn.close()
            conn = self._replace()
        lost = 0
        for other in opened:
            if other.busy_since and other.may_block:
                was_cancelled = 0.0 < other.deadline == other.cancelled
                if was_cancelled or other.may_be_lost:
                    lost += 1
        if lost:
            message = f"{lost} threads wait for a response on a lost connection"
            raise Unavailable(message, code="F405")
        return conn

    def open(self) -> Connection:
        """Open a connection that the caller owns and closes. Raises the errors of `connect`."""
        conn = self._connect()
        conn.records_position = self.replicas is not None
        if self._opened:
            self._opened(conn)
        return conn

    def close(self) -> None:
        """Close every thread's connection. Idempotent."""
        with self._lock:
            conns = self._open.values()
            self._open = {}
            self._watch_ended.set()
        for conn in conns:
            conn.close()

    def _open_or_refuse(self) -> Connection:
        """Open a connection; raise the last error at once while another thread is trying."""
        refusal = self._unavailable
        if refusal is not None and not self._trying.acquire(blocking=False):
            raise Unavailable(refusal.message, code=refusal.code, hint=refusal.hint)
        successes = self._successes
        try:
            conn = self.open()
        except Unavailable as err:
            if successes == self._successes:  # otherwise another thread has connected since
                self._unavailable = err
            raise
        finally:
            if refusal is not None:
                self._trying.release()
        self._successes += 1
        self._unavailable = None
        return conn

    def _ensure_alive(self, conn: Connection) -> Connection:
        """Return the connection if it is alive or in a transaction, else a new one."""
        conn.checked_at = time.perf_counter()
        if self._open.get(threading.current_thread()) is not conn:  # closed while idle
            return self._replace()
        status = conn.pgconn.transaction_status
        in_transaction = status not in (_IDLE, TransactionStatus.UNKNOWN)
        if not conn.closed and (in_transaction or conn.pgconn.pipeline_status):
            return conn
        if status == _IDLE and conn.is_alive():
            return conn
        if status == _IDLE or conn.broken:
            conn.mark_lost()
        return self._replace()

    def _watch_connections(self, ended: threading.Event) -> None:
        """Abort statements that take too long, close idle connections: the thread `db-watch`."""
        while not ended.wait(_CHECK_INTERVAL):
            now = time.perf_counter()
            silent_since = now - _SILENT_AFTER
            conns = list(self._open.values())
            silent = [conn for conn in conns if 0.0 < conn.busy_since < silent_since]
            if silent or self.standbys.are_missing:
                self._probe.start(conns, silent)
            for thread, conn in list(self._open.items()):
                self._close_idle(thread, conn, now)
                self._abort_late(conn, now)

    def _close_idle(self, thread: threading.Thread, conn: Connection, now: float) -> None:
        checked_at = conn.checked_at
        if not conn.may_block or conn.busy_since:
            return
        if now - max(conn.last_used, checked_at) < self._idle:
            return
        with self._lock:
            if self._open.get(thread) is not conn:
                return
            # SAFETY: no longer the thread's before it is closed. A thread that began to check it
            # before sees it again, or has a new one.
            del self._open[thread]
            if conn.checked_at != checked_at and self._open.setdefault(thread, conn) is conn:
                return
        conn.close()

    def _abort_late(self, conn: Connection, now: float) -> None:
        """Cancel a read after its deadline; shut the connection down if that does not help."""
        since = conn.busy_since
        deadline = conn.deadline
        is_over = 0.0 < deadline < now
        was_cancelled = conn.cancelled == deadline
        ignores_cancel = is_over and was_cancelled and deadline < now - _CANCEL_GRACE
        if since and (ignores_cancel or since < now - self._patience):
            self._shut_down(conn, now - since)
        elif since and conn.is_outdated:
            conn.shut_down()
        elif is_over and not was_cancelled:
            _cancel(conn, deadline)

    def _shut_down(self, conn: Connection, seconds: float) -> None:
        _log.error("no response from the database for %.1f s: closing the connection", seconds)
        if seconds > self._patience:
            message = "the database has not responded in time"
            self._unavailable = Unavailable(message, code="F401")
        conn.shut_down()

    def _replace(self) -> Connection:
        conn = self._open_or_refuse()
        current = threading.current_thread()
        unused = []
        with self._lock:
            for thread in list(self._open):
                if thread is current or not thread.is_alive():
                    unused.append(self._open.pop(thread))
            self._open[current] = conn
            if self._patience and self._watch_ended.is_set():
                self._watch_ended = threading.Event()
                arguments = (self._watch_ended,)
                watch = threading.Thread(
                    target=self._watch_connections, args=arguments, name="db-watch", daemon=True
                )
                watch.start()
        for other in unused:
            other.close()
        return conn


_databases = WeakSet[Database]()


def _reset_databases() -> None:
    for database in _databases:
        database._reset()


os.register_at_fork(after_in_child=_reset_databases)


def _cancel(conn: Connection, deadline: float) -> None:
    """Cancel the read that has this deadline, and no other statement."""
    # SAFETY: `cancelled` is set first. A read that sees it closes the connection, so a late cancel
    # cannot hit another statement. A read that ended earlier has already reset its deadline.
    conn.cancelled = deadline
    if conn.deadline == deadline:
        conn.request_cancel()
