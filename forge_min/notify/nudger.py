"""The nudger: sends coalesced NOTIFYs after commits, on a connection and a thread of its own.

A nudge is a hint. One that is lost costs a poll interval, never an event.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from typing import Protocol

from .. import db
from .eventlog import SQL
from .link import AWAY, Connect, Loop

QUIET = 0.02  # seconds without a nudge
INTERVAL = 0.002  # seconds
# After so many in a row the others wait longer (seconds), and all of them cost less.
BUSY = ((100, 0.01), (10, 0.005))


def pause(in_a_row: int) -> float:
    """Seconds between two of the same work, of which so many were due before the last one's pause
    was over.
    """
    return next((seconds for count, seconds in BUSY if in_a_row >= count), INTERVAL)


class Hears(Protocol):
    """Who is told of this process's nudges, and of which."""

    of: Collection[str]

    def hear(self, payload: str) -> None:
        """Called with each nudge; must not wait."""


class Nudger(Loop):
    """Wakes the hubs and workers of every process: the first nudge at once, then one per 2 ms, and
    while they do not end one per 5 ms, then per 10.

    connect: opens the connection of the thread `nudger`. `stop` sends what waits. ears: of the same
    process, which hear each nudge on the thread that committed.
    """

    def __init__(self, connect: Connect) -> None:
        super().__init__("nudger", self._step, connect)
        self._waiting: set[str] = set()  # each operation on it is atomic
        self._in_a_row = 0
        self._last = 0.0  # when somebody nudged or was let ride, by time.monotonic()
        self.ears: frozenset[Hears] = frozenset()
        # The number that its notifications come from, 0 = not known. SAFETY: ears forget it when
        # they connect anew: after a restart the number may be another process's.
        self.backend = 0

    def nudge(self, payload: str) -> None:
        """Send `payload` soon ("e", "j:<queue>", "c"). Never blocks, never raises; twice the same
        one is one.
        """
        self._last = time.monotonic()
        self._waiting.add(payload)
        if not self.wake.is_set():  # PERF: a look costs less than the lock
            self.wake.set()
        for ears in self.ears:
            ears.hear(payload)

    def rides(self, payload: str) -> bool:
        """Whether the transaction that nudges may send this NOTIFY itself, in place of `nudge`.

        PERF: it is heard 0.4 ms earlier so (benchmarks/jobs), but such commits wait for each other
        in all of the cluster (PostgreSQL manual, NOTIFY). So only after QUIET, which is 50 times a
        second at most, and not for what this process waits for itself.
        """
        now = time.monotonic()
        if now - self._last < QUIET or any(payload in ears.of for ears in self.ears):
            return False
        self._last = now
        return True

    def _step(self) -> None:
        if self.backend == 0 and not self._waiting:
            with suppress(*AWAY):  # while there is time for it: the first nudge need not wait
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
        except AWAY:
            self.backend = 0
            self._waiting.update(payloads)
            self.wake.set()
            raise
        self.stopping.wait(pause(self._in_a_row))
