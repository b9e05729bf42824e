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
from uuid import uuid4

from .. import db
from ..db import DATABASE_ERRORS, Connect, Connection, DatabaseThread, is_pooled
from .eventlog import SQL

log = logging.getLogger("forge_min.notify")
SEPARATOR = "\n"  # between a payload and its origin
QUIET = 0.02  # seconds without a nudge, after which a transaction may send its own NOTIFY
INTERVAL = 0.002  # seconds between two NOTIFYs of the cluster, or two reads
# (number in a row, seconds): after many in a row the interval is longer, so that they cost less.
BUSY_INTERVALS = ((100, 0.012), (10, 0.005))
TURN = 0.001  # seconds that a process waits longer than the one with the next lower id
SERIES = 0.1  # seconds between two NOTIFYs of the same series at most
ACTIVE = 1.0  # seconds in which a process that sent a NOTIFY counts as one of the senders
CLOCK = 10.0  # seconds for which the offset to the server's clock is used
DRIFT = 0.005  # seconds by which the clocks may drift apart in that time


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
        self._listen = listen
        self._nudger = nudger or Nudger(None)
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
        pair = self._pair
        self._pair = None
        for end in pair or ():
            end.close()

    def attach(self, conn: Connection) -> None:
        """LISTEN on a new connection, unless a pooler is in between."""
        has_pooler = is_pooled(conn)  # through one, LISTEN has no effect and raises no error
        if self._listen and has_pooler and not self.polls:
            message = "a pooler is in front of the database: events and jobs are found by polling"
            log.warning(message)
        self.polls = has_pooler or not self._listen
        if not self.polls:
            conn.add_notify_handler(lambda n: self._on_notification(n.payload))
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
        deadline = time.monotonic() + seconds
        wake_fd = wake.fileno()
        poll = select.poll()
        poll.register(conn.fileno(), select.POLLIN)
        poll.register(wake_fd, select.POLLIN)
        while not self.is_set():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            for fd, _ in poll.poll(remaining * 1000):
                if fd == wake_fd:
                    wake.recv(4096)  # bytes of an earlier `set` only cost one more iteration
                else:
                    self._read_notifications(conn)
        return self.is_set()

    def _read_notifications(self, conn: Connection) -> None:
        # PERF: libpq's calls; `conn.notifies` costs another wait (benchmarks/jobs).
        pgconn = conn.pgconn
        pgconn.consume_input()
        notification = pgconn.notifies()
        while notification is not None:
            self._on_notification(notification.extra.decode())
            notification = pgconn.notifies()

    def _on_notification(self, text: str) -> None:
        payload, _, origin = text.partition(SEPARATOR)
        if self._nudger.received(payload, origin) and payload in self.payloads:
            self._on_payload(payload)
            super().set()  # this is the waiting thread, which is awake


def pause(in_a_row: int) -> float:
    """Return the seconds to pause between NOTIFYs or reads after so many in a row."""
    for count, seconds in BUSY_INTERVALS:
        if in_a_row >= count:
            return seconds
    return INTERVAL


class Nudger(DatabaseThread):
    """Wakes the hubs and workers of every process, by a NOTIFY after a commit.

    A NOTIFY announces all commits before it, of every process. It is sent at once, in a series one
    per 2 ms, in a long series one per 5 ms, later 12 ms. The process with the lowest id sends it.
    Each of the others waits as long as the NOTIFY takes to arrive, and longer by TURN than the one
    before it. A lost NOTIFY delays an event by a poll interval, but loses none. `stop` announces
    the last commits.

    connect: opens the connection of the thread `nudger`, which may lead through a pooler; None: it
        sends nothing.

    listeners: of this process, notified by the committing thread.
    """

    def __init__(self, connect: Connect | None) -> None:
        super().__init__("nudger", self._step, connect, last_step=self._send)
        self._id = uuid4().hex
        self.listeners: frozenset[Listener] = frozenset()
        # By payload, by time.monotonic(): the last commit, and the end of the announced ones. Each
        # operation on them is atomic; an announcement that gets lost costs another NOTIFY.
        self._committed: dict[str, float] = {}
        self._announced: dict[str, float] = {}
        self._last = 0.0  # time of the last nudge or permission
        self._sent_at = self._received_at = 0.0  # times of its last NOTIFY, and that of any process
        self._in_a_row = 0  # NOTIFYs with less than SERIES between them
        self._senders: dict[str, float] = {}  # other processes → time of their last NOTIFY
        self._delay = 0.0  # seconds until it receives a NOTIFY of another process, lately at most
        self._clock = (0.0, 0.0)  # times of this process and of the server at its last NOTIFY

    def nudge(self, payload: str) -> None:
        """Announce a commit soon. Never blocks, never raises.

        payload: "e", "j:<queue>" or "c"; commits with equal payloads are announced together.
        """
        self._last = self._committed[payload] = time.monotonic()
        if not self.wake.is_set():  # PERF: cheaper than the lock in `set`
            self.wake.set()
        for listener in self.listeners:
            listener.notify(payload)

    def received(self, payload: str, origin: str) -> bool:
        """Process a NOTIFY. Returns whether it is of another process.

        origin: id of the sender and the server's time at the statement; "" for a NOTIFY inside a
            transaction.
        """
        now = time.monotonic()
        sender, _, at = origin.partition(" ")
        if sender == self._id:
            return False  # `_send` and `nudge` have done the rest
        if not sender:
            self._count(now)
            return True
        sent_at = float(at)
        if self._senders.get(sender) != sent_at:
            self._count(now)
        self._senders[sender] = sent_at
        local, server = self._clock
        if local and now - local < CLOCK:
            # SAFETY: the server read its clock after `local`, so this is too late only if
            # another server with another clock follows it.
            announced = min(local + sent_at - server - DRIFT, now)
            self._delay = max(now - announced, 0.95 * self._delay)
            previous = self._announced.get(payload, 0.0)
            self._announced[payload] = max(announced, previous)
        return True

    def notifies_in_transaction(self, payload: str) -> bool:
        """Return whether the transaction may send this NOTIFY itself, instead of `nudge`.

        PERF: it arrives 0.4 ms earlier (benchmarks/jobs), but such commits wait for each other in
        the whole cluster (PostgreSQL manual, NOTIFY). So it is allowed only after QUIET, at most 50
        times per second, and not if a listener of this process waits for the payload.
        """
        now = time.monotonic()
        is_local = any(payload in listener.payloads for listener in self.listeners)
        if is_local or now - max(self._last, self._received_at) < QUIET:
            return False
        self._last = now
        return True

    def _step(self) -> None:
        if self.conn is None:
            self._clock = (0.0, 0.0)  # the next server may have another clock
            with suppress(*DATABASE_ERRORS):  # connect now, so that the first nudge need not wait
                self.connection()
        self.rest()
        while self._pending() and not self.stopping.is_set():
            seconds = self._due() - time.monotonic()
            if seconds > 0:
                self.stopping.wait(seconds)
            else:
                self._send()

    def _pending(self) -> list[str]:
        """Return the payloads of commits that may not be announced."""
        payloads = []
        for payload, committed_at in list(self._committed.items()):
            if committed_at > self._announced.get(payload, 0.0):
                payloads.append(payload)
        return payloads

    def _due(self) -> float:
        """Return the time at which this process sends the next NOTIFY."""
        local, server = self._clock
        begin = server + time.monotonic() - local - ACTIVE
        senders = list(self._senders.items())
        others = {sender: sent_at for sender, sent_at in senders if sent_at > begin}
        self._senders = others
        seconds = pause(self._in_a_row)
        predecessors = [sender for sender in others if sender < self._id]
        if not predecessors:
            return self._sent_at + seconds
        # Its share of the NOTIFYs, for processes that do not receive those of the others in time.
        share = self._sent_at + seconds * (1 + len(others))
        patience = TURN * len(predecessors)
        if seconds > INTERVAL:
            # In a series, another process has probably announced the commits already.
            patience += 2 * self._delay
        announced = [self._announced.get(payload, 0.0) for payload in self._pending()]
        oldest = min(announced, default=0.0)
        return max(share, oldest + seconds + patience)

    def _send(self) -> None:
        payloads = self._pending()
        now = time.monotonic()
        if not payloads:
            return
        params = {"payloads": payloads, "id": self._id}
        try:
            rows = db.run(self.connection(), SQL["notify"], params)
        except DATABASE_ERRORS:
            self.wake.set()
            raise
        server = float(rows[0][0])
        self._clock = (now, server)
        self._announced |= dict.fromkeys(payloads, now)
        self._sent_at = now
        self._count(time.monotonic())

    def _count(self, now: float) -> None:
        if now - self._received_at < SERIES:
            self._in_a_row += 1
        else:
            self._in_a_row = 0
        self._received_at = now
