"""The hub that reads PostgreSQL's event log: thread `hub`, with the one connection that LISTENs.

After a lost connection it listens first and reads second, from where it was: nothing lies in
between.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

from ..db import DATABASE_ERRORS, Connect, Connection, DatabaseThread, NoResponse, ThreadConnection
from ..errors import ForgeError
from .channels import STUCK, Channels
from .eventlog import MARKS, EventLogReader, delete_old
from .events import BeginBatch, Event, IsWanted, Opened, TopicKey, always, status_frame
from .listener import Listener, Nudger, pause

log = logging.getLogger("forge_min.notify")
FORGET_AFTER = 3  # reads without an answer, then what they ask for may be too much: begin anew
STOP_CHECK = 0.2  # seconds between looks at whether to stop
EVENTS = frozenset("e")  # the nudge that says there are some
CATCH_UP = 1.0  # seconds that a first subscriber waits for the read before it
LATE_MARGIN = 0.05  # seconds before that in which a read may be too late for who waits
GRACE = 1.0  # seconds from a subscriber's coming in which the hub hears
NOT_CONNECTED = "F452: the hub is not connected to the database"


class _WakeUp(NamedTuple):
    """One that a subscriber has ended. over: set once what was committed in it is read. until: when
    nobody waits for that any more, by time.monotonic().
    """

    over: threading.Event
    until: float


class PostgresHub:
    """Reads the event log.

    connect: opens a connection past any pooler; encode: (event, audience, format) → one whole SSE
    frame. poll_interval: seconds between reads when nothing nudges. listen: False = poll only
    (behind a pooler). retention: seconds that events are kept. ring: frames per topic key.
    resume_window: seconds that a key without subscribers is kept, and how far back a client may
    resume. begin: called with the events of a batch, returns what encodes each of them; by default
    `encode`. heartbeat: seconds after which a server that does not answer is given up; within twice
    that every open stream hears of it. Through a pooler it polls, whatever `listen` says. nudger:
    of this process, whose commits the hub hears of without the way through the server. While there
    is no channel it hears no nudge, and reads once per interval.
    """

    def __init__(
        self,
        connect: Connect,
        begin: BeginBatch,
        *,
        poll_interval: float = 1.0,
        listen: bool = True,
        retention: float = 3600.0,
        ring: int = 64,
        resume_window: float = 600.0,
        heartbeat: float = 2.5,
        nudger: Nudger | None = None,
    ) -> None:
        self._interval = min(poll_interval, heartbeat)
        self._retention = retention
        self._window = resume_window
        self._listener = Listener((), listen=listen, nudger=nudger)
        self._subscribed_at = time.monotonic()  # when a subscriber came
        self._wake_up_pending: _WakeUp | None = (
            None  # until a read that began after its end succeeds
        )
        self._wake_up_lock = threading.Lock()  # LOCK: one at a time begins an `_wake_up_pending`
        self._read_at = 0.0
        self._reads_in_a_row = 0  # reads that were wanted before their pause was over
        self._reader = EventLogReader()
        self._loop = DatabaseThread("hub", self._step, connect, heartbeat, wake=self._listener)
        self._retention_connection = ThreadConnection(connect, 2 * heartbeat)  # thread hub-encode
        self._replay_connection = ThreadConnection(connect, 2 * heartbeat)  # thread hub-replay
        self._announced_lost = False  # every open stream has been told so
        self._channels = Channels(begin, ring, resume_window, self._delete_old)
        self._delete_due = 0.0  # thread hub-encode
        self._state = (False, NOT_CONNECTED)
        self.reconnects = 0
        self._timeouts = 0  # reads in a row

    # -- the protocol -----------------------------------------------------------------------------

    @property
    def ready(self) -> tuple[bool, str]:
        """As `Hub.ready`: the last read succeeded, and the encoder returns."""
        return (False, STUCK) if self._channels.stuck else self._state

    @property
    def refreshes(self) -> Mapping[str, int]:
        """As `Hub.refreshes`."""
        return self._channels.refreshes

    @property
    def lag_seconds(self) -> float:
        """How old the newest event of the last batch was when it was read, by the database's
        clock; 0 while nobody's are read.
        """
        return self._reader.lag if self._listener.payloads else 0.0

    def start(self, quiet: float = 0.0) -> None:
        """As `Hub.start`: the threads `hub`, `hub-encode` and `hub-replay`. quiet: seconds in which
        it connects only where it is woken.
        """
        self._listener.open()
        self._channels.start()
        self._loop.start(quiet)

    def stop(self) -> None:
        """As `Hub.stop`."""
        self._loop.stop()
        self._channels.stop()
        self._retention_connection.close()
        self._replay_connection.close()
        self._state = (False, NOT_CONNECTED)
        self._listener.close()

    def subscribe(
        self, key: TopicKey, last_event_id: str | None = None, is_wanted: IsWanted = always
    ) -> Opened:
        """As `Hub.subscribe`: from the ring, else from the log, else a refresh with reason
        resume.
        """
        self._wake_up()
        subscription, exact = self._channels.subscribe(key, last_event_id)
        if not self._listener.payloads:  # fallen silent in between, for this one was not there yet
            self._wake_up()
        first = b""
        if not exact and last_event_id is not None:
            # SAFETY: read after the subscription stands: what is not in the log yet comes through
            # the ring.
            frames = self._channels.replay(key, lambda: self._missed(key, last_event_id), is_wanted)
            first = self._channels.first_bytes(frames)
        # SAFETY: as above: that it is live again comes through the ring.
        return Opened(subscription, first + status_frame("reconnecting") * self._announced_lost)

    def _wake_up(self) -> None:
        """Hear each commit from now on. What was committed earlier and nobody has read is nobody's:
        the subscriber that ends the silence waits until it is read.
        """
        self._subscribed_at = time.monotonic()
        if (
            self._listener.payloads and self._wake_up_pending is None
        ):  # SAFETY: in this order, which is not theirs
            return
        with self._wake_up_lock:
            ending = self._wake_up_pending
            if ending is None:
                ending = _WakeUp(threading.Event(), time.monotonic() + CATCH_UP)
                self._wake_up_pending = ending
                self._listener.payloads = EVENTS
                self._listener.set()
        ending.over.wait(max(0.0, ending.until - time.monotonic()))

    # -- thread hub -------------------------------------------------------------------------------

    def _step(self) -> None:
        try:
            self._wait(self._catch_up())
        except Exception as err:
            self._timeouts += isinstance(err, NoResponse)
            if self._timeouts == FORGET_AFTER:
                self._reader.forget()
            self.reconnects += 1
            why = f"{err.code}: {err}" if isinstance(err, ForgeError) else NOT_CONNECTED
            self._state = (False, why)
            self._announce(lost=True)
            raise

    def _catch_up(self) -> Connection:
        """Read what was committed, on the connection given back."""
        fresh = self._loop.conn is None
        conn = self._loop.connection()
        if fresh:
            self._attach(conn)
        self._read_at, ending = time.monotonic(), self._wake_up_pending
        events = self._read(conn)  # the heartbeat as well
        self._timeouts = 0
        # Who did not wait any longer must not hear what came before him.
        if events is None or (ending is not None and time.monotonic() > ending.until - LATE_MARGIN):
            self._channels.refresh_all("reconnect")
        else:
            self._channels.submit(events)
        self._state = (True, "")
        self._announce(lost=False)
        if ending is not None:
            self._wake_up_pending = None
            ending.over.set()
        return conn

    def _announce(self, *, lost: bool) -> None:
        """Tell every open stream when the database is lost, and when events arrive again."""
        if lost != self._announced_lost:
            self._announced_lost = lost
            self._channels.publish_all(status_frame("reconnecting" if lost else "live"))

    def _attach(self, conn: Connection) -> None:
        self._listener.attach(conn)
        if not self._listener.polls:  # through a pooler a session's settings would reach others
            conn.execute("set enable_seqscan = off")
        self._reader.attach(conn)

    def _read(self, conn: Connection) -> list[Event] | None:
        if not self._listener.polls:
            return self._reader.read(conn)
        # READ COMMITTED: the statement that reads has a snapshot of its own in a transaction too.
        with conn.transaction():
            conn.execute("set local enable_seqscan = off")
            return self._reader.read(conn)

    def _wait(self, conn: Connection) -> None:
        """Wait until a read is wanted: by a nudge, or because the interval is over."""
        deadline, left = time.monotonic() + self._interval, self._interval
        if self._listener.payloads and self._is_unused():
            # PERF: else each commit is read at once, for nobody (benchmarks/http, create).
            self._listener.payloads = frozenset()
            if not self._is_unused():  # who came in between has seen that we hear
                self._listener.payloads = EVENTS
                self._listener.set()
        while not self._loop.stopping.is_set() and left > 0:
            self._channels.replace_stuck()
            if self._listener.rest(conn, min(left, STOP_CHECK)):
                # Who publishes much nudges often: one read serves all within 2 ms, and while that
                # goes on within 5 and 10.
                left = self._read_at + pause(self._reads_in_a_row) - time.monotonic()
                self._reads_in_a_row = self._reads_in_a_row + 1 if left > 0 else 0
                self._loop.stopping.wait(left)
                break
            left = deadline - time.monotonic()
        self._listener.clear()

    def _is_unused(self) -> bool:
        return time.monotonic() > self._subscribed_at + GRACE and not self._channels.groups

    # -- thread hub-encode ------------------------------------------------------------------------

    def _delete_old(self) -> None:
        if not self._state[0] or time.monotonic() < self._delete_due:
            return
        # A mark is due by the database's clock; asking four times per period is near it.
        self._delete_due = time.monotonic() + self._retention / MARKS / 4
        try:
            if delete_old(self._retention_connection.connection(), self._retention):
                self._delete_due = 0.0
        except DATABASE_ERRORS as err:
            log.warning("the hub could not delete old events: %s", err)
            self._retention_connection.close()

    # -- thread hub-replay ------------------------------------------------------------------------

    def _missed(self, key: TopicKey, last_event_id: str) -> list[Event] | None:
        try:
            conn = self._replay_connection.connection()
            return self._reader.since(conn, last_event_id, key, self._window)
        except DATABASE_ERRORS as err:
            log.warning("a stream could not be resumed: %s", err)
            self._replay_connection.close()
            return None
