"""Standbys that answer reads, and the position in the WAL that a read must not miss.

A client that has written carries the position of its last write. A standby answers it only after it
has replayed that position, and only if it follows the primary closely. Everything else is read from
the primary. The state of the servers is sampled by threads, so a read costs no further round trip.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from functools import partial
from itertools import cycle
from time import monotonic, sleep
from typing import Any, NamedTuple

import psycopg
from psycopg.conninfo import make_conninfo

from ..errors import Unavailable
from ..lazy import lazy_pattern
from .connection import Connection
from .servers import SQL
from .thread import Connect, DatabaseThread

PERIOD = 0.1  # seconds between two samples of a server
FRESH = 1.0  # seconds for which a sample of a standby is used
SUSPENDED = 1.0  # seconds for which a standby is not used after an error
_POSITION = lazy_pattern(r"([0-9]{1,20})\.([0-9A-F]{8})\.([0-9a-f]{1,16})")
log = logging.getLogger("forge_min.db")


class WalPosition(NamedTuple):
    """A position in the WAL of a cluster (PostgreSQL manual, section 28.6).

    cluster: system identifier.
    timeline: eight hexadecimal digits.
    lsn: bytes since the beginning.
    """

    cluster: str
    timeline: str
    lsn: int

    def __str__(self) -> str:
        return f"{self.cluster}.{self.timeline}.{self.lsn:x}"

    @classmethod
    def parse(cls, text: str) -> WalPosition | None:
        """Return the position that `str` has written, None for another text."""
        match = _POSITION.fullmatch(text)
        if match is None:
            return None
        return cls(match[1], match[2], int(match[3], 16))


ANY_POSITION = WalPosition("", "", 0)
"""Any state of a standby that follows the primary is accepted."""
UNKNOWN_POSITION = WalPosition("0", "00000000", 0)
"""After a commit with an unknown result: a position of no cluster, so the primary is read."""


class Consistency:
    """The reads and writes of one request.

    required: position that its reads must not miss; None: it reads from the primary.
    written: position after its last write, None without one.
    replica: the standby that answers its reads, None until the first.
    """

    __slots__ = ("replica", "required", "written")

    def __init__(self, required: WalPosition | None = None) -> None:
        self.required = required
        self.replica: Replica | None = None
        self.written: WalPosition | None = None

    def note(self, position: WalPosition) -> None:
        """Note a write: what follows in this request is read from the primary."""
        self.written = position
        self.required = None


consistency = ContextVar[Consistency | None]("forge_consistency", default=None)
"""That of the current request; None: everything is read from the primary."""


def read_from_primary() -> None:
    """Read the rest of the current request from the primary."""
    request = consistency.get()
    if request is not None:
        request.required = None


class Replica:
    """One standby.

    connection: returns this thread's connection to it.
    """

    def __init__(self, connection: Connect) -> None:
        self.connection = connection
        self.position: WalPosition | None = None  # replayed; None: not usable
        # By time.monotonic().
        self.sampled_at = 0.0
        self.suspended_until = 0.0

    def suspend(self, error: Exception) -> None:
        """Do not use it for a moment, after an error."""
        log.warning("a standby is not used for a moment: %s", error)
        self.suspended_until = monotonic() + SUSPENDED


class Replicas(DatabaseThread):
    """The standbys of a primary; the thread `replica-0` samples the primary.

    primary: opens a connection to it.
    standbys: open connections, one function for each standby.
    connections: return the thread's own connection to each of them.
    max_lag: seconds by which a standby may be behind the primary.
    """

    def __init__(
        self,
        primary: Connect,
        standbys: Sequence[Connect],
        connections: Sequence[Connect],
        max_lag: float,
    ) -> None:
        super().__init__("replica-0", self._sample_primary, primary, FRESH)
        self._max_lag = max_lag
        replicas = list(map(Replica, connections))
        self._replicas = replicas
        self._orders = cycle([replicas[n:] + replicas[:n] for n in range(len(replicas))])
        self._samples = deque[tuple[float, WalPosition]]()  # of the primary, oldest first
        self._watches = []
        for number, connect in enumerate(standbys, 1):
            step = partial(self._sample, number)
            watch = DatabaseThread(f"replica-{number}", step, connect, FRESH)
            self._watches.append(watch)

    def start(self, quiet: float = 0.0) -> None:
        """Start the threads: see `DatabaseThread.start`."""
        super().start(quiet)
        for watch in self._watches:
            watch.start(quiet)

    def stop(self, patience: float = 0.0) -> None:
        """Stop the threads: see `DatabaseThread.stop`."""
        for watch in self._watches:
            watch.stop(patience)
        super().stop(patience)

    def wait(self, required: WalPosition) -> None:
        """Wait until a standby has replayed the position, for `max_lag` at most."""
        now = monotonic()
        end = now + self._max_lag
        while now < end:
            if any(self._has_replayed(replica, required, now) for replica in self._replicas):
                return
            sleep(PERIOD)
            now = monotonic()

    def choose(
        self, request: Consistency, required: WalPosition
    ) -> tuple[Connection, Replica] | None:
        """Return this thread's connection to the standby that answers the request, or None.

        Standbys answer requests in turn. If the standby of a request fails, the rest is read from
        the primary, so no read sees an older state than the reads before it.
        """
        if request.replica is None:
            replicas = next(self._orders)
        else:
            replicas = [request.replica]
        now = monotonic()
        for replica in replicas:
            if self._has_replayed(replica, required, now):
                try:
                    conn = replica.connection()
                except Unavailable as err:
                    replica.suspend(err)
                else:
                    request.replica = replica
                    return conn, replica
        request.required = None
        return None

    def _has_replayed(self, replica: Replica, required: WalPosition, now: float) -> bool:
        position = replica.position
        if position is None:
            return False
        if now < replica.suspended_until or now - replica.sampled_at > FRESH:
            return False
        samples = list(self._samples)
        if not samples or samples[-1][1][:2] != position[:2]:
            return False  # of another cluster or timeline
        is_missed = required[:2] != position[:2] or required.lsn > position.lsn
        if is_missed and required is not ANY_POSITION:
            return False
        # The standby has everything that the primary had at this time, by the clock of this host.
        times = [at for at, sample in samples if sample.lsn <= position.lsn]
        return now - max(times, default=0.0) <= self._max_lag

    def _sample_primary(self) -> None:
        began = monotonic()
        position, _ = self._read(self)
        self._samples.append((began, position))
        oldest = began - self._max_lag - FRESH
        while self._samples[0][0] < oldest:
            self._samples.popleft()
        self.stopping.wait(PERIOD)

    def _sample(self, number: int) -> None:
        replica = self._replicas[number - 1]
        began = monotonic()
        position, in_recovery = self._read(self._watches[number - 1])
        # A server that was promoted does not follow this primary.
        replica.position = position if in_recovery else None
        replica.sampled_at = began
        self.stopping.wait(PERIOD)

    def _read(self, thread: DatabaseThread) -> tuple[WalPosition, bool]:
        rows = thread.connection().execute(SQL["sample"]).fetchall()
        ((cluster, in_recovery, timeline, lsn),) = rows
        return WalPosition(cluster, timeline, lsn), in_recovery


def position_of(conn: Any, lsn: Any) -> WalPosition:
    """Return the position after a write on this connection. lsn: of `statements.POSITION`."""
    if not lsn:
        return UNKNOWN_POSITION
    return WalPosition(conn.cluster, conn.timeline, int(lsn))


def standby_url(url: str) -> str:
    """Return the address with the condition that the server is a standby.

    SAFETY: a server that was promoted by mistake would have a newer timeline, by which this process
    would refuse the primary.
    """
    try:
        return make_conninfo(url, target_session_attrs="standby")
    except psycopg.Error:
        return url  # `connect` reports it
