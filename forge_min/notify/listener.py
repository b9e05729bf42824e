"""The Listener wakes a thread that waits for commits; the Nudger sends the notifications.

Commits of other processes arrive by LISTEN on the thread's connection, those of this process by a
direct call.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from .. import db
from ..db import DATABASE_ERRORS, Connect, Connection, DatabaseThread, is_pooled
from .eventlog import SQL

log = logging.getLogger("forge_min.notify")
QUIET = 0.02  # seconds without a nudge, after which a transaction may send its own NOTIFY
INTERVAL = 0.002  # seconds between two NOTIFYs or reads
# (number in a row, seconds): after many in a row the interval is longer, so that they cost less.
BUSY_INTERVALS = ((100, 0.01), (10, 0.005))


class Listener(threading.Event):
    """An event that is set by `set` and by notifications; `rest` waits for it on a connection.

    payloads: the notifications that set it.
    on_payload: called with such a payload on the waiting or the committing thread; must not block.
    listen: LISTEN for commits of other processes; otherwise the thread has to poll.
    nudger: of this process, for its own commits. Default: one of its own, without commits.

    polls: commits of other processes are not reported, because `listen` is false or a pooler is in
        between.
    """

    def __init__(
        self,
        payloads: Collection[str],
        *,
        on_payload: Callable[[str], object] = lambda payload: None,
        listen: bool = True,
        nudger: Nudger | None = None,
    ) -> None:
        super().__init__()
        self.payloads: Collection[str] = frozenset(payloads)
        self._on_payload = on_payload
        self._listen, self._nudger = listen, nudger or Nudger(None)
        self.polls = not listen
        self._pair: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """Begin to receive notifications of this process. Idempotent."""
        if self._pair is None:
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)
            self._nudger.listeners |= {self}

    def close(self) -> None:
        """Stop receiving notifications. Idempotent."""
        self._nudger.listeners -= {self}
        pair, self._pair = self._pair, None
        for end in pair or ():
            end.close()

    def attach(self, conn: Connection) -> None:
        """LISTEN on a new connection, unless a pooler is in between."""
        pooled = is_pooled(conn)  # through a pooler LISTEN has no effect and raises no error
        if self._listen and pooled and not self.polls:
            log.warning(
                "a pooler is in front of the database: events and jobs are found by polling"
            )
        self.polls = pooled or not self._listen
        self._nudger.backend = 0
        if not self.polls:
            conn.add_notify_handler(lambda n: self._on_notification(n.payload, n.pid))
            conn.execute(SQL["listen"])

    def notify(self, payload: str) -> None:
        """Process a notification of a commit of this process."""
        if payload in self.payloads:
            self._on_payload(payload)
            self.set()

    def set(self) -> None:
        """Set the event and wake the waiting thread."""
        if not self.is_set():
            super().set()
            pair = self._pair
            if pair is not None:
                with suppress(OSError):  # full: it is awake; closed: it has stopped
                    pair[0].send(b"\0")

    def rest(self, conn: Connection, seconds: float) -> bool:
        """Wait on `conn` until the event is set, at most `seconds`; return whether it is set.

        Raises psycopg.OperationalError if the connection is lost.
        """
        assert self._pair is not None, "open() comes first"
        wake = self._pair[1]
        deadline, poll = time.monotonic() + seconds, select.poll()
        for fd in (conn.fileno(), wake.fileno()):
            poll.register(fd, select.POLLIN)
        while not self.is_set() and (left := deadline - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                if fd == wake.fileno():
                    wake.recv(4096)  # bytes of an earlier `set` only cost one more iteration
                else:
                    self._read_notifications(conn)
        return self.is_set()

    def _read_notifications(self, conn: Connection) -> None:
        # PERF: libpq's calls; `conn.notifies` costs another wait (benchmarks/jobs).
        conn.pgconn.consume_input()
        while (notification := conn.pgconn.notifies()) is not None:
            self._on_notification(notification.extra.decode(), notification.be_pid)

    def _on_notification(self, payload: str, backend: int) -> None:
        if payload in self.payloads and backend != self._nudger.backend:
            self._on_payload(payload)  # not of this process: `notify` has processed those
            super().set()  # this is the waiting thread, which is awake


def pause(in_a_row: int) -> float:
    """Return the seconds to pause between NOTIFYs or reads after so many in a row."""
    return next((seconds for count, seconds in BUSY_INTERVALS if in_a_row >= count), INTERVAL)


class Nudger(DatabaseThread):
    """Wakes the hubs and workers of every process, by a NOTIFY after a commit.

    The first NOTIFY is sent at once, then one per 2 ms, in a long series one per 5 ms, later 10 ms.
    A lost one delays an event by a poll interval, but loses none. `stop` sends pending ones.

    connect: opens the connection of the thread `nudger`; None if it is never started.

    listeners: of this process, notified by the committing thread.
    backend: backend number of its connection, 0 if not known. SAFETY: listeners reset it when they
        connect again: after a restart another process may have the number.
    """

    def __init__(self, connect: Connect | None) -> None:
        super().__init__("nudger", self._step, connect, last_step=self._step)
        self._pending: set[str] = set()  # each operation on it is atomic
        self._in_a_row = 0
        self._last = 0.0  # time of the last nudge or permission, by time.monotonic()
        self.listeners: frozenset[Listener] = frozenset()
        self.backend = 0

    def nudge(self, payload: str) -> None:
        """Send a NOTIFY soon. Never blocks, never raises.

        payload: "e", "j:<queue>" or "c"; equal pending payloads are sent once.
        """
        self._last = time.monotonic()
        self._pending.add(payload)
        if not self.wake.is_set():  # PERF: cheaper than the lock in `set`
            self.wake.set()
        for listener in self.listeners:
            listener.notify(payload)

    def notifies_in_transaction(self, payload: str) -> bool:
        """Return whether the transaction may send this NOTIFY itself, instead of `nudge`.

        PERF: it arrives 0.4 ms earlier (benchmarks/jobs), but such commits wait for each other in
        the whole cluster (PostgreSQL manual, NOTIFY). So it is allowed only after QUIET, at most 50
        times per second, and not if a listener of this process waits for the payload.
        """
        now = time.monotonic()
        is_local = any(payload in listener.payloads for listener in self.listeners)
        if is_local or now - self._last < QUIET:
            return False
        self._last = now
        return True

    def _step(self) -> None:
        if self.backend == 0 and not self._pending:
            with suppress(*DATABASE_ERRORS):  # connect now, so that the first nudge need not wait
                self.backend = self.connection().info.backend_pid
        self._in_a_row = self._in_a_row + 1 if self.wake.is_set() else 0
        self.rest()
        # SAFETY: removed before they are sent: a later commit needs another NOTIFY.
        payloads = [self._pending.pop() for _ in range(len(self._pending))]
        try:
            if payloads:
                conn = self.connection()
                self.backend = conn.info.backend_pid
                db.run(conn, SQL["notify"], {"payloads": payloads})
        except DATABASE_ERRORS:
            self.backend = 0
            self._pending.update(payloads)
            self.wake.set()
            raise
        self.stopping.wait(pause(self._in_a_row))
