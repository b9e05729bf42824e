"""The listener of a thread that rests between its statements, and the nudger that wakes it.

Commits of other processes are heard by LISTEN on the thread's own connection, those of this process
directly.
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
QUIET = 0.02  # seconds without a nudge
INTERVAL = 0.002  # seconds
# After so many in a row the others wait longer (seconds), and all of them cost less.
BUSY_INTERVALS = ((100, 0.01), (10, 0.005))


class Listener(threading.Event):
    """An event, set by whoever calls `set` and by each nudge that is one `of` these payloads;
    `rest` waits for it on a connection.

    heard: called with such a payload, on the thread that rests or on the one that committed, so it
    must not wait. listen: False = hear nothing of other processes. nudger: of this process.
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
        self._listen, self._nudger = listen, nudger
        self.polls = not listen
        """Whether nothing is heard of others: LISTEN is off, or a pooler stands between."""
        self._pair: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """Hear this process. Idempotent."""
        if self._pair is None:
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)
            if self._nudger is not None:
                self._nudger.listeners |= {self}

    def close(self) -> None:
        """Hear nothing any more. Idempotent."""
        if self._nudger is not None:
            self._nudger.listeners -= {self}
        pair, self._pair = self._pair, None
        for end in pair or ():
            end.close()

    def attach(self, conn: Connection) -> None:
        """Hear on `conn`, which is new, what others commit."""
        pooled = is_pooled(conn)  # there LISTEN gives neither an error nor a message
        if self._listen and pooled and not self.polls:
            log.warning("a pooler stands before the database: what happens is found by polling")
        self.polls = pooled or not self._listen
        if self._nudger is not None:
            self._nudger.backend = 0
        if not self.polls:
            conn.add_notify_handler(lambda found: self._on_notification(found.payload, found.pid))
            conn.execute(SQL["listen"])

    def notify(self, payload: str) -> None:
        """Of one of this process's commits, or another's."""
        if payload in self.payloads:
            self._on_payload(payload)
            self.set()

    def set(self) -> None:
        """As threading.Event; whoever rests goes on."""
        if not self.is_set():
            super().set()
            pair = self._pair
            if pair is not None:
                with suppress(OSError):  # full: awake; closed: stopped
                    pair[0].send(b"\0")

    def rest(self, conn: Connection, seconds: float) -> bool:
        """Wait until it is set, at most `seconds`; whether it is. Raises psycopg.OperationalError
        when `conn` is lost.
        """
        assert self._pair is not None, "open() comes first"
        ear = self._pair[1]
        deadline, poll = time.monotonic() + seconds, select.poll()
        for fd in (conn.fileno(), ear.fileno()):
            poll.register(fd, select.POLLIN)
        while not self.is_set() and (left := deadline - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                if fd == ear.fileno():
                    ear.recv(4096)  # a leftover of what was set before is one look more
                else:
                    self._read_notifications(conn)
        return self.is_set()

    def _read_notifications(self, conn: Connection) -> None:
        # PERF: libpq's own calls; `conn.notifies` costs a wait more (benchmarks/jobs).
        conn.pgconn.consume_input()
        while (found := conn.pgconn.notifies()) is not None:
            self._on_notification(found.extra.decode(), found.be_pid)

    def _on_notification(self, payload: str, backend: int) -> None:
        if payload in self.payloads and (self._nudger is None or backend != self._nudger.backend):
            self._on_payload(payload)  # else we have heard of our own commit
            super().set()  # this is the thread that rests: no need to wake it


def pause(in_a_row: int) -> float:
    """Seconds between two NOTIFYs or reads, of which so many in a row came without a rest."""
    return next((seconds for count, seconds in BUSY_INTERVALS if in_a_row >= count), INTERVAL)


class Nudger(DatabaseThread):
    """Wakes the hubs and workers of every process by NOTIFYs that it sends after commits.

    The first is sent at once, then one per 2 ms, in a long row one per 5 ms and later per 10. One
    that is lost costs a poll interval, never an event. connect: opens the connection of the thread
    `nudger`. `stop` sends what waits. ears: of the same process, notified by the thread that
    committed.
    """

    def __init__(self, connect: Connect) -> None:
        super().__init__("nudger", self._step, connect)
        self._waiting: set[str] = set()  # each operation on it is atomic
        self._in_a_row = 0
        self._last = 0.0  # when somebody nudged or was let ride, by time.monotonic()
        self.listeners: frozenset[Listener] = frozenset()
        # The number that its notifications come from, 0 = not known. SAFETY: ears forget it when
        # they connect anew: after a restart the number may be another process's.
        self.backend = 0

    def nudge(self, payload: str) -> None:
        """Send `payload` soon: "e", "j:<queue>" or "c". Never blocks, never raises.

        A payload that already waits is sent once.
        """
        self._last = time.monotonic()
        self._waiting.add(payload)
        if not self.wake.is_set():  # PERF: a look costs less than the lock
            self.wake.set()
        for listener in self.listeners:
            listener.notify(payload)

    def notifies_in_transaction(self, payload: str) -> bool:
        """Whether the transaction that nudges may send this NOTIFY itself, in place of `nudge`.

        PERF: it is heard 0.4 ms earlier so (benchmarks/jobs), but such commits wait for each other
        in all of the cluster (PostgreSQL manual, NOTIFY). So only after QUIET, which is 50 times a
        second at most, and not for what this process waits for itself.
        """
        now = time.monotonic()
        if now - self._last < QUIET or any(
            payload in listener.payloads for listener in self.listeners
        ):
            return False
        self._last = now
        return True

    def _step(self) -> None:
        if self.backend == 0 and not self._waiting:
            with suppress(
                *DATABASE_ERRORS
            ):  # while there is time for it: the first nudge need not wait
                self.backend = self.connection().info.backend_pid
        self._in_a_row = self._in_a_row + 1 if self.wake.is_set() else 0
        self.rest()
        # SAFETY: taken out before they are sent: a commit that nudges meanwhile needs a NOTIFY of
        # its own.
        payloads = [self._waiting.pop() for _ in range(len(self._waiting))]
        try:
            if payloads:
                conn = self.connection()
                self.backend = conn.info.backend_pid
                db.run(conn, SQL["notify"], {"payloads": payloads})
        except DATABASE_ERRORS:
            self.backend = 0
            self._waiting.update(payloads)
            self.wake.set()
            raise
        self.stopping.wait(pause(self._in_a_row))
