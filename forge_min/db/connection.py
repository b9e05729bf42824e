"""Connections to PostgreSQL, in autocommit mode, which return rows as tuples.

They are not pooled: each thread owns the connection that it opened (`database.Database`).
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import suppress
from functools import partial
from time import monotonic, perf_counter
from typing import Any, Protocol
from weakref import ref

import psycopg
from psycopg import generators
from psycopg.abc import Transformer
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow, dict_row
from psycopg.sql import Composable

from ..errors import ConfigError, Unavailable
from . import servers
from .statements import PreparedStatements, operation, require_tenant
from .translate import NoResponse, connection_error

AnyConnection = psycopg.Connection[Any]
Observe = Callable[[str, float], None]
Hook = Callable[[], None]
Instrument = Callable[[str, Callable[[], list[Any]]], list[Any]]

OLDEST_SERVER = 150000
# Defaults of the connection string, which the URL overrides; times in seconds (PostgreSQL manual,
# section 34.1.2).
DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "client_encoding": "utf8",
}
_TIMEOUT_OF_SEVERAL = 2  # seconds per server, the least of libpq, if the address names several
_IDLE_AFTER = 0.02  # seconds without a statement; then poll(2) shows whether the server has closed
_STALE_AFTER = 5.0  # seconds; then an empty query too: a firewall may have dropped the connection
# Seconds for the response to an empty query. It is below the second for which requests of one
# client wait for each other, so that none is rejected while connections are replaced.
_PROBE_TIMEOUT = 0.4
_CANCEL_TIMEOUT = 2.0  # seconds for the request that cancels a statement
_CANCEL_START = 0.1  # seconds in which its thread has copied the address and the key of the session

# Counts lost connections of this process to each server: each connection to it that was opened
# before is checked before its next statement. If two threads add one at the same time, the number
# still changes.
_losses = defaultdict[servers.Address, int](int)


class NudgeSender(Protocol):
    """Wakes the readers of a topic or queue; implemented by `notify.Nudger`."""

    def nudge(self, payload: str) -> None:
        """Wake the readers after a commit. Never blocks, never raises."""

    def notifies_in_transaction(self, payload: str) -> bool:
        """Return whether the transaction must send this NOTIFY itself, without `nudge`."""


class Connection(psycopg.Connection[TupleRow]):
    """A psycopg connection with the state that `transaction`, `after_commit` and `run` need.

    Times are of time.perf_counter(), in seconds.

    nudger: called by `db.nudge` after a commit; None: readers find the change by polling.
    observe: called with the operation and the seconds of each statement.
    instrument: called by `run` with the statement's text and the function that sends it, for a
        trace.
    jobs: the application's job settings for inserts on this connection, from `jobs`; None: none.
    may_block: the thread is never interrupted, so `run` may wait inside libpq.
    patience: seconds that a statement may take, then it raises NoResponse; None: no limit. A server
        that hangs keeps TCP alive, so only a statement without a response shows that it hangs.
    busy_since: time at which the thread began to wait for a response; 0.0 while it does not wait.
    address: of the server that it is connected to.
    cluster, timeline: of the server, see `servers.timeline_of`.
    standbys: of its database.
    is_unreplicated: its last commit is not known to be on a synchronous standby.
    is_reading: the thread only reads, see `run.read`.
    records_position: `run` notes the position in the WAL after each write, see `replicas`.
    last_used: time of the last response or check.
    checked_at: time at which the thread last began to check the connection.
    losses: number of lost connections to its server when this one was opened or checked.
    lock_timeout: seconds for which the session waits for a lock; 0.0: the role's.
    tenant_tables: tables and views with the rows of tenants.
    checks_tenant: a cursor rejects statements on tenant_tables unless a tenant is set.
    """

    nudger: NudgeSender | None = None
    observe: Observe | None = None
    instrument: Instrument | None = None
    jobs: Any = None
    may_block = False
    patience: float | None = None
    busy_since = 0.0
    tenant_tables: Collection[str] = ()
    checks_tenant = False
    address = servers.Address("", "")
    cluster = timeline = ""
    standbys = servers.Standbys()
    is_unreplicated = is_reading = records_position = False
    last_used = checked_at = lock_timeout = 0.0
    losses = 0
    # Deadline of the current read, 0.0 without one; and the deadline of the read last cancelled.
    deadline = cancelled = 0.0
    prepared = PreparedStatements(None)
    # Hooks of the innermost db.transaction(); None outside, and after a BEGIN of the caller.
    hooks: list[Hook] | None = None
    # The converter of db.run and the session settings for which it was created; None while in use.
    converter: tuple[Transformer, object] | None = None

    @property
    def adapters(self) -> AdaptersMap:
        """The adapters of this connection.

        The caller may change them, so `run` creates a new converter.
        """
        self.converter = None
        return super().adapters

    def _deallocate(self, name: bytes | None) -> Any:
        """Forget the statements of `run` too if psycopg deallocates all, as after a rollback."""
        if name is None:
            self.prepared.clear()
        return super()._deallocate(name)

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """Wait for the steps of a statement, at most `patience` seconds, or of notifications."""
        if arguments or options:  # notifications have a time-out
            return super().wait(gen, *arguments, **options)
        if self.patience is not None:
            gen = _until_deadline(self.patience, gen)
        since = self.busy_since
        self.busy_since = since or perf_counter()  # also while psycopg commits
        try:
            return super().wait(gen)
        except NoResponse:
            # The server would continue, and may wait for a lock or a standby without a limit.
            self.request_cancel().join(_CANCEL_START)
            raise
        finally:
            self.busy_since = since

    def lock_rows(
        self, table: str, keys: Iterable[object], *, key: str = "id"
    ) -> list[dict[str, Any]]:
        """Lock rows until the end of the transaction, and return them.

        They are locked in the order of their keys, which makes deadlocks rare, and FOR NO KEY
        UPDATE, so that inserts of rows that refer to them do not wait (PostgreSQL manual, section
        13.3.2).

        table, key: names of a table and of its primary key.
        Raises psycopg.Error.
        """
        table = _quoted(table)
        key = _quoted(key)
        sql = f"select * from {table} where {key} = any(%s) order by {key} for no key update"
        cursor = self.cursor(row_factory=dict_row)
        return cursor.execute(sql, [list(keys)]).fetchall()

    def note_error(self, err: Exception) -> None:
        """Close the connection if `err` means that it is lost."""
        state = getattr(err, "sqlstate", None) or ""
        is_lost = state.startswith(("08006", "57P"))
        if is_lost or self.broken:
            self.mark_lost()

    def mark_lost(self) -> None:
        """Close it; those to its server opened earlier are checked before their next statement."""
        if not self.may_be_lost:
            _losses[self.address] += 1
        self.close()

    def shut_down(self) -> bool:
        """Shut down the socket, so that the thread waiting for a response gets an error.

        Called by another thread. Returns whether a thread was waiting.
        """
        with suppress(OSError, psycopg.Error):
            # SAFETY: dup(2) the descriptor: it is the connection's as long as the thread waits.
            with socket.socket(fileno=os.dup(self.fileno())) as sock:
                if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                    sock.shutdown(socket.SHUT_RDWR)
                    return True
        return False

    def request_cancel(self) -> threading.Thread:
        """Ask the server to end the current statement, on a thread, which is returned."""

        def send() -> None:
            # An error means that the statement ended by itself or the server is gone.
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=_CANCEL_TIMEOUT)

        # SAFETY: on its own thread: before libpq 17 it may block as long as the server hangs.
        thread = threading.Thread(target=send, name="db-cancel", daemon=True)
        thread.start()
        return thread

    @property
    def is_outdated(self) -> bool:
        """Whether its server was replaced by another one, so that writes would be lost."""
        return servers.is_outdated(self.cluster, self.timeline)

    @property
    def may_be_lost(self) -> bool:
        """Whether another one to its server was lost since it was opened or checked."""
        return self.losses != _losses[self.address]

    @property
    def is_fresh(self) -> bool:
        """Whether it was just in use and no connection was lost since.

        PERF: not checked then, because poll(2) releases the GIL (benchmarks/http, row).
        """
        idle = perf_counter() - self.last_used
        return (
            idle < _IDLE_AFTER
            and self.losses == _losses[self.address]
            and not self.closed
            and not self.is_outdated
        )

    def is_alive(self) -> bool:
        """Return whether this idle connection can run a statement.

        Needs a round trip only after a long idle time or after another connection was lost.
        """
        if self.is_fresh:
            return True
        if self.is_outdated:
            return False
        losses = _losses[self.address]
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        if poll.poll(0):  # an idle connection becomes readable only when the server closes
            return False
        idle = perf_counter() - self.last_used
        if (self.losses != losses or idle > _STALE_AFTER) and not self._responds(poll):
            return False
        self.losses = losses
        self.last_used = perf_counter()
        return True

    def _responds(self, poll: select.poll) -> bool:
        """Return whether the server responds to an empty query; close the connection if not."""
        pg = self.pgconn
        results = None
        try:
            with suppress(psycopg.Error):
                pg.send_query(b"")
                if poll.poll(_PROBE_TIMEOUT * 1000):
                    results = self.wait(generators.execute(pg))
        finally:
            if pg.transaction_status != TransactionStatus.IDLE:
                self.close()
        return bool(results) and not self.closed


def _quoted(name: str) -> str:
    """Return an identifier for a statement with placeholders."""
    escaped = name.replace('"', '""').replace("%", "%%")
    return f'"{escaped}"'


class Cursor(psycopg.Cursor[TupleRow]):
    """A cursor that reports the seconds of each execute to its connection's `observe`."""

    def execute(
        self, query: Any, params: Any = None, *, one_statement: bool = False, **options: Any
    ) -> Cursor:
        """Execute a statement, as psycopg does, and report its `operation` and seconds.

        one_statement: let the server reject a text of several statements.
        """
        started = perf_counter()
        conn: Any = self.connection
        if conn.checks_tenant and not conn.pgconn.pipeline_status:
            sql = query.as_string(conn) if isinstance(query, Composable) else str(query)
            require_tenant(conn, sql, unless_set=True)
        conn.busy_since = started
        try:
            if not one_statement:
                return super().execute(query, params, **options)
            # SAFETY: in pipeline mode the server rejects a text of several statements. psycopg does
            # not prepare it, because after a rollback it would discard all prepared statements.
            with conn.pipeline():
                return super().execute(query, params, prepare=False, **options)
        finally:
            conn.busy_since = 0.0
            if one_statement and conn.pgconn.pipeline_status:  # COPY cannot be left in a pipeline
                conn.close()
            if conn.observe is not None and not conn.pgconn.pipeline_status:
                conn.observe(operation(query), perf_counter() - started)


def connect(
    url: str,
    *,
    application_name: str = "forge_min",
    prepare: str = "auto",
    nudger: NudgeSender | None = None,
    observe: Observe | None = None,
    jobs: Any = None,
    standbys: servers.Standbys | None = None,
) -> Connection:
    """Open a connection in autocommit mode.

    url: a libpq URI or keyword string; its values override DEFAULTS.
    application_name: name of the session in pg_stat_activity.
    prepare: "auto" prepares frequent statements, "off" none (for PgBouncer before 1.21).
    nudger, observe, jobs, standbys: see `Connection`.
    Raises ConfigError F200 if `url` is not a valid address, Unavailable F401 if the server does not
    respond or rejects the connection, F404 if it is older than PostgreSQL 15, F416 if it was
    replaced by another one. No message contains the password.
    """
    try:
        options = conninfo_to_dict(url)
        ports = str(options.get("port", ""))
        for port in filter(None, ports.split(",")):
            int(port)  # if a password has "/" instead of %2F, libpq reads the part before as a port
    except (psycopg.Error, ValueError):
        raise ConfigError(
            "database.url is not the address of a PostgreSQL database",
            code="F200",
            hint="use postgresql://user:password@host:5432/name; "
            "write special characters of the password as %XX",
        ) from None
    values = {**DEFAULTS, "application_name": application_name, **options}
    if "," in str(options.get("host") or options.get("hostaddr") or ""):
        values["connect_timeout"] = options.get("connect_timeout", _TIMEOUT_OF_SEVERAL)
    losses = _losses.copy()
    threshold = None if prepare == "off" else 5
    refused = set[servers.Address]()
    while True:
        try:
            conn = Connection.connect(
                make_conninfo("", **servers.in_order(values)),
                autocommit=True,
                prepare_threshold=threshold,
                cursor_factory=Cursor,
            )
            conn.address = servers.Address(conn.info.host, str(conn.info.port))
            conn.cluster, conn.timeline = servers.timeline_of(conn, conn.address)
            break
        except Unavailable:
            conn.close()
            if conn.address in refused:  # no server is left
                raise
            refused.add(conn.address)
        except (psycopg.Error, OSError) as err:  # OSError if no file descriptor is free
            raise connection_error(str(err), values) from None
    servers.has_worked(conn.address)
    if conn.info.server_version < OLDEST_SERVER:
        version = conn.info.server_version // 10000
        conn.close()
        message = f"the server is PostgreSQL {version}; version 15 or later is required"
        raise Unavailable(message, code="F404")
    conn.nudger = nudger
    conn.observe = observe
    conn.jobs = jobs
    conn.prepared = PreparedStatements(threshold)
    conn.losses = losses[conn.address]
    conn.last_used = perf_counter()
    conn.standbys = standbys or conn.standbys
    conn.add_notice_handler(partial(_note_notice, ref(conn)))  # no cycle
    return conn


def _note_notice(reference: ref[Connection], notice: psycopg.errors.Diagnostic) -> None:
    """Note that a cancel has ended the wait for a synchronous standby: the server only warns."""
    conn = reference()
    if conn is not None and notice.source_function == "SyncRepWaitForLSN":
        conn.is_unreplicated = True


def _until_deadline(seconds: float, statement: Any) -> Generator[Any, Any, Any]:
    """Yield psycopg's steps of a statement; raise NoResponse for the step after `seconds`.

    psycopg takes a step at least ten times per second.
    """
    end = monotonic() + seconds
    try:
        awaited = next(statement)
        while monotonic() < end:
            ready = yield awaited
            awaited = statement.send(ready)
    except StopIteration as done:
        return done.value
    raise NoResponse(f"the server did not respond within {seconds:g} s")
