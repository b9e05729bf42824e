"""What a thread hears while it rests between its statements: what other processes commit, by LISTEN
on its own connection, and what this one commits, without the way through the server.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from ..db import Connection
from .eventlog import SQL
from .link import is_pooled
from .nudger import Nudger

log = logging.getLogger("forge_min.notify")


class Ears(threading.Event):
    """An event, set by whoever calls `set` and by each nudge that is one `of` these payloads;
    `rest` waits for it on a connection.

    heard: called with such a payload, on the thread that rests or on the one that committed, so it
    must not wait. listen: False = hear nothing of other processes. nudger: of this process.
    """

    def __init__(
        self,
        of: Collection[str],
        *,
        heard: Callable[[str], object] = lambda payload: None,
        listen: bool = True,
        nudger: Nudger | None = None,
    ) -> None:
        super().__init__()
        self.of: Collection[str] = frozenset(of)
        self._heard = heard
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
                self._nudger.ears |= {self}

    def close(self) -> None:
        """Hear nothing any more. Idempotent."""
        if self._nudger is not None:
            self._nudger.ears -= {self}
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
            conn.add_notify_handler(lambda found: self._notified(found.payload, found.pid))
            conn.execute(SQL["listen"])

    def hear(self, payload: str) -> None:
        """Of one of this process's commits, or another's."""
        if payload in self.of:
            self._heard(payload)
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
                    self._listen_to(conn)
        return self.is_set()

    def _listen_to(self, conn: Connection) -> None:
        # PERF: libpq's own calls; `conn.notifies` costs a wait more (benchmarks/jobs).
        conn.pgconn.consume_input()
        while (found := conn.pgconn.notifies()) is not None:
            self._notified(found.extra.decode(), found.be_pid)

    def _notified(self, payload: str, backend: int) -> None:
        if payload in self.of and (self._nudger is None or backend != self._nudger.backend):
            self._heard(payload)  # else we have heard of our own commit
            super().set()  # this is the thread that rests: no need to wake it
