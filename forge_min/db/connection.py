"""Connections: how one is opened, and one per worker thread. Not a pool: a thread owns its own.

A connection is in autocommit mode and gives rows as tuples. It belongs to the thread that opened
it.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Protocol, TypedDict, Unpack

import psycopg
from psycopg import generators
from psycopg.abc import Transformer
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg.sql import Composable

from ..errors import ConfigError, ForgeError, Unavailable
from ..lazy import lazy_pattern
from .statements import PreparedStatements, require_tenant
from .translate import TABLE

Observe = Callable[[str, float], None]
Hook = Callable[[], None]
Instrument = Callable[[str, Callable[[], list[Any]]], list[Any]]

OLDEST_SERVER = 150000
# Defaults of the connection string; whatever the URL says wins. Seconds. libpq manual, section
# 34.1.2.
DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "client_encoding": "utf8",
}
_CHECK_INTERVAL = 0.5  # seconds between looks at who waits for an answer
_IDLE_AFTER = 0.02  # seconds without a statement after which the kernel is asked about a connection
_STALE_AFTER = 5.0  # the same, for the server: a firewall may have forgotten the connection
# Seconds that the server has to answer an empty query. Less than the second for which requests of
# one client wait for each other, so that none is refused while connections are replaced.
_PROBE_TIMEOUT = 0.4
_CANCEL_GRACE = 1.0  # seconds that the server has to obey a cancel
_CANCEL_TIMEOUT = 2.0  # seconds for the request that cancels a statement
_log = logging.getLogger("forge_min.db")
OPERATION = lazy_pattern(r"(?i)\s*(select|insert|update|delete|with|copy|begin|commit|call)\b")


# How often this process was forked off: what an older one has opened is not its own. PERF: asked
# for at each statement, and os.getpid() is a system call (benchmarks/http, row).
_generation = 0


def _count_fork() -> None:
    global _generation
    _generation += 1


os.register_at_fork(after_in_child=_count_fork)

# Connections that this process has lost: one that was opened earlier is checked before its next
# statement. A lost update of two threads still changes it.
_losses = 0


class NudgeSender(Protocol):
    """Who wakes readers: `notify.Nudger` does."""

    def nudge(self, payload: str) -> None:
        """Called after a commit. Never blocks, never raises."""

    def notifies_in_transaction(self, payload: str) -> bool:
        """Whether the transaction shall send this NOTIFY itself, and not call `nudge`."""


class Options(TypedDict, total=False):
    """What `connect` takes besides the address."""

    application_name: str
    prepare: str
    nudger: NudgeSender | None
    observe: Observe | None
    jobs: Any


class Connection(psycopg.Connection[TupleRow]):
    """A connection of forge_min: what `transaction` and `after_commit` know how to use.

    nudger: called by `db.nudge` after a commit; None = readers find out by polling. around: what
    `run` calls with a statement's text and what sends it, for a trace. jobs: what room jobs knows
    of the application, whoever inserts on this connection; None = nothing. patient: nobody
    interrupts its thread, so `run` may wait inside of libpq. asked: since when its thread waits for
    an answer, by time.perf_counter(); 0.0: it does not. used: when it last answered or was checked,
    by the same clock. losses: how many connections were lost when it was opened or checked.
    tenant_tables: tables and views whose rows belong to tenants. checks_tenant: a cursor refuses to
    use one of them while no tenant is set.
    """

    nudger: NudgeSender | None = None
    observe: Observe | None = None
    instrument: Instrument | None = None
    jobs: Any = None
    may_block = False
    busy_since = 0.0
    tenant_tables: Collection[str] = ()
    checks_tenant = False
    last_used = 0.0
    losses = 0
    # Of a read that has a deadline, by time.perf_counter(), else 0.0; and the deadline at which a
    # read was cancelled.
    deadline = cancelled = 0.0
    prepared = PreparedStatements(None)
    # Of the innermost db.transaction(); None outside, and inside a BEGIN of the caller's own.
    hooks: list[Hook] | None = None
    # Of db.run: what converts values, and the session's settings that it was created for; None
    # while it is in use.
    converter: tuple[Transformer, object] | None = None

    @property
    def adapters(self) -> AdaptersMap:
        """psycopg's adapters of this connection. The caller may change them, so `run` converts
        with new ones from now on.
        """
        self.converter = None
        return super().adapters

    def note_error(self, err: Exception) -> None:
        """Close the connection if `err` means that it is lost, and have the others checked."""
        state = getattr(err, "sqlstate", None) or ""
        if self.broken or state.startswith(("08006", "57P")):
            self.mark_lost()

    def mark_lost(self) -> None:
        """Close the connection, and have every one that was opened before checked."""
        global _losses
        if self.losses == _losses:
            _losses += 1
        self.close()

    def cut(self) -> bool:
        """End it under a thread that waits for its answer, and so gets an error; whether one does.
        Another thread calls this.
        """
        with suppress(OSError, psycopg.Error):
            # SAFETY: a copy of the descriptor, which is the connection's as long as that waits.
            with socket.socket(fileno=os.dup(self.fileno())) as sock:
                if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                    sock.shutdown(socket.SHUT_RDWR)
                    return True
        return False

    def is_alive(self) -> bool:
        """Whether this idle connection can take a statement. Costs a round trip only if it was
        idle for long, or another connection was lost since the last check.
        """
        losses, pg, poll = _losses, self.pgconn, select.poll()
        poll.register(self.fileno(), select.POLLIN)
        alive = not poll.poll(0)  # readable at its end only: nothing else comes unasked
        if alive and (self.losses != losses or time.perf_counter() - self.last_used > _STALE_AFTER):
            try:
                pg.send_query(b"")
                alive = bool(poll.poll(_PROBE_TIMEOUT * 1000) and self.wait(generators.execute(pg)))
            except psycopg.Error:
                alive = False
            finally:
                if pg.transaction_status != TransactionStatus.IDLE:
                    alive = False
                    self.close()
        if alive:
            self.losses, self.last_used = losses, time.perf_counter()
        return alive


class Cursor(psycopg.Cursor[TupleRow]):
    """A cursor that tells its connection's `observe` how many seconds each execute took."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Cursor:
        """As psycopg's; the observer gets the statement's first word, or "other"."""
        started = time.perf_counter()
        ours: Any = self.connection
        if ours.checks_tenant and not ours.pgconn.pipeline_status:
            sql = query.as_string(ours) if isinstance(query, Composable) else str(query)
            require_tenant(ours, sql, unless_set=True)
        ours.busy_since = started
        try:
            return super().execute(query, params, **options)
        finally:
            ours.busy_since = 0.0
            observe = getattr(ours, "observe", None)
            if observe is not None and not ours.pgconn.pipeline_status:
                observe(operation(query), time.perf_counter() - started)


def connect(
    url: str,
    *,
    application_name: str = "forge_min",
    prepare: str = "auto",
    nudger: NudgeSender | None = None,
    observe: Observe | None = None,
    jobs: Any = None,
) -> Connection:
    """Open a connection in autocommit mode.

    url: a libpq URI or keyword string; what it sets wins over our defaults. prepare: "auto"
    prepares a statement that is used often, "off" never does (PgBouncer before 1.21). observe:
    gets (operation, seconds) of every statement. jobs: as of `Connection`. Raises ConfigError F403
    when url is no such address, Unavailable F401 when no server answers or it refuses. The message
    never holds the password.
    """
    try:
        given = conninfo_to_dict(url)
        # A password with a "/" that is not written as %2F: libpq takes what is before for a port.
        list(map(int, filter(None, str(given.get("port", "")).split(","))))
    except (psycopg.Error, ValueError):
        raise ConfigError(
            "database.url is not the address of a PostgreSQL database",
            code="F403",
            hint="it looks like postgresql://user:password@host:5432/name; "
            "a special character of the password is written as %XX",
        ) from None
    values = {**DEFAULTS, "application_name": application_name, **given}
    losses = _losses
    often = None if prepare == "off" else 5
    try:
        conn = Connection.connect(
            make_conninfo("", **values),
            autocommit=True,
            prepare_threshold=often,
            cursor_factory=Cursor,
        )
    except (psycopg.Error, OSError) as err:  # with no descriptor free psycopg cannot wait
        raise _connection_error(str(err), values) from None
    if conn.info.server_version < OLDEST_SERVER:
        version = conn.info.server_version // 10000
        conn.close()
        raise Unavailable(
            f"the server is PostgreSQL {version}, and 15 is the oldest that is supported",
            code="F404",
        )
    conn.nudger, conn.observe, conn.prepared = nudger, observe, PreparedStatements(often)
    conn.jobs, conn.losses, conn.last_used = jobs, losses, time.perf_counter()
    return conn


class Database:
    """The connections of one process to one database: each thread has its own, opened on first use.

    options: as `connect` takes them. opened: called with each new connection. `close()` closes
    those of all threads; the next `connection()` opens a new one. After a fork the child opens its
    own and leaves the parent's alone. patience: seconds after which a connection whose server does
    not answer a statement is cut, so that its thread gets Unavailable; inf: never; 0: never, and no
    read is cancelled. TCP does not see a server that stands still: its kernel goes on. While no
    connection can be had, one thread at a time finds out whether one can be had again, and the
    others are told at once.
    """

    def __init__(
        self,
        url: str,
        *,
        opened: Callable[[Connection], object] | None = None,
        patience: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        self.url = url
        self._patience = patience
        self._connect: Callable[[], Connection] = lambda: connect(url, **options)
        self._opened = opened
        self._reset()

    def _reset(self) -> None:
        # SAFETY: in a forked child the parent's connections are only forgotten: closing one would
        # end the parent's session.
        self._lock = threading.Lock()  # LOCK: guards changes of _open
        self._open: dict[threading.Thread, Connection] = {}
        self._unavailable: ForgeError | None = None  # why there is none, until one is opened
        self._successes = 0  # connections that were opened
        self._trying = threading.Lock()  # LOCK: guards nothing; one thread at a time tries
        self._watcher: threading.Thread | None = None
        self._closed = threading.Event()
        # SAFETY: at last: another thread that sees it sees none of the parent's connections.
        self._generation = _generation

    def connection(self) -> Connection:
        """This thread's connection. A lost one is replaced, also if the server closed it while it
        was idle. Raises as `connect`.
        """
        if self._generation != _generation:
            self._reset()
        conn = self._open.get(threading.current_thread())
        if conn is None:
            return self._replace()
        # PERF: not for a busy thread: poll(2) releases the GIL (benchmarks/http, row).
        idle = time.perf_counter() - conn.last_used > _IDLE_AFTER
        return self._ensure_alive(conn) if idle or conn.losses != _losses or conn.closed else conn

    def verified(self) -> Connection:
        """This thread's connection, if new ones can be had and no thread of a server still waits on
        a lost one. Every other is checked before its next statement. Raises as `connect`,
        Unavailable F405.
        """
        opened = list(self._open.values())
        for each in opened:
            each.last_used = 0.0
        conn = self.connection()
        if self._unavailable is not None:
            conn.close()
            conn = self._replace()
        waiting = [each for each in opened if each.busy_since and each.may_block]
        if number := sum(c.losses != _losses or 0.0 < c.deadline == c.cancelled for c in waiting):
            message = f"{number} threads wait for an answer on a lost connection"
            raise Unavailable(message, code="F405")
        return conn

    def open(self) -> Connection:
        """A connection that the caller owns and closes. Raises as `connect`."""
        conn = self._connect()
        if self._opened:
            self._opened(conn)
        return conn

    def close(self) -> None:
        """Close every thread's connection. Idempotent."""
        if self._generation != _generation:
            self._reset()
        with self._lock:
            conns, self._open = list(self._open.values()), {}
            self._watcher = None
            self._closed.set()
        for conn in conns:
            conn.close()

    def _open_or_refuse(self) -> Connection:
        """A connection, or why there is none: what another thread is just finding out anew."""
        refusal = self._unavailable
        if refusal is not None and not self._trying.acquire(blocking=False):
            raise Unavailable(refusal.message, code=refusal.code, hint=refusal.hint)
        successes = self._successes
        try:
            conn = self.open()
        except Unavailable as err:
            if successes == self._successes:  # else another thread knows better by now
                self._unavailable = err
            raise
        finally:
            if refusal is not None:
                self._trying.release()
        self._successes += 1
        self._unavailable = None
        return conn

    def _ensure_alive(self, conn: Connection) -> Connection:
        """The connection if it is alive or in a transaction of the caller's, else a new one."""
        status = conn.pgconn.transaction_status
        idle = status in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)
        if not conn.closed and (not idle or conn.pgconn.pipeline_status):
            return conn
        if status == TransactionStatus.IDLE and conn.is_alive():
            return conn
        if status == TransactionStatus.IDLE or conn.broken:
            conn.mark_lost()
        return self._replace()

    def _watch_connections(self, closed: threading.Event) -> None:
        """The life of the thread `db-watch`."""
        while not closed.wait(_CHECK_INTERVAL):
            now = time.perf_counter()
            late = now - self._patience
            for conn in list(self._open.values()):
                asked, deadline = conn.busy_since, conn.deadline
                over, cancelled = 0.0 < deadline < now, conn.cancelled == deadline
                if asked and (
                    asked < late or over and cancelled and deadline < now - _CANCEL_GRACE
                ):
                    self._abort_late(conn, asked)
                elif over and not cancelled:
                    _cancel(conn, deadline)

    def _abort_late(self, conn: Connection, asked: float) -> None:
        if conn.busy_since == asked:
            seconds = time.perf_counter() - asked
            _log.error("the database has not answered for %.1f s: cut", seconds)
            if seconds > self._patience:
                message = "the database has not answered in time"
                self._unavailable = Unavailable(message, code="F401")
            conn.cut()

    def _replace(self) -> Connection:
        conn = self._open_or_refuse()
        me = threading.current_thread()
        with self._lock:
            unused = [thread for thread in self._open if thread is me or not thread.is_alive()]
            old = [self._open.pop(thread) for thread in unused]
            self._open[me] = conn
            if self._patience and self._watcher is None:
                self._closed = closed = threading.Event()
                self._watcher = threading.Thread(
                    target=self._watch_connections, args=(closed,), name="db-watch", daemon=True
                )
                self._watcher.start()
        for each in old:
            each.close()
        return conn


def _cancel(conn: Connection, deadline: float) -> None:
    """Cancel the read with this deadline, and no other statement."""
    # SAFETY: the mark comes first. A read that sees it closes the connection, so that a late cancel
    # finds no other statement there. A read that has ended before it has no deadline any more.
    conn.cancelled = deadline
    if conn.deadline != deadline:
        return

    def send() -> None:
        with suppress(psycopg.Error):
            conn.cancel_safe(timeout=_CANCEL_TIMEOUT)

    # SAFETY: on its own thread: before libpq 17 it may wait as long as the server stands still.
    threading.Thread(target=send, name="db-cancel", daemon=True).start()


def operation(query: object) -> str:
    """The first word of a statement when it is a usual one, else "other"."""
    found = OPERATION.match(query) if isinstance(query, str) else None
    return found[1].lower() if found else "other"


def _connection_error(text: str, values: dict[str, Any]) -> ForgeError:
    """One line for a person, from what libpq said. The server's own words are not repeated."""
    where = f"{values.get('host') or 'the local socket'}:{values.get('port') or 5432}"
    user, name = values.get("user") or "(you)", values.get("dbname") or values.get("user")
    row = next(row for part, row in TABLE["refused"].items() if part in text)
    said = row["message"].format(at=where, user=user, name=name)
    return Unavailable(said, code="F401", hint=row["hint"])
