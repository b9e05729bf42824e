"""PostgresHub: reads the event log on the thread `hub` and delivers events to subscribers.

After a lost connection it first listens and then reads from its position, so it misses nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from ..db import DATABASE_ERRORS, Connect, Connection, DatabaseThread, NoResponse, ThreadConnection
from ..errors import ForgeError
from .channels import STUCK, Channels
from .eventlog import MARKS, EventLogReader, delete_old
from .events import BeginBatch, Event, IsWanted, Opened, TopicKey, status_frame
from .listener import Listener, Nudger, pause

log = logging.getLogger("forge_min.notify")
FORGET_AFTER = 3  # reads without a response, after which a new position is taken: they may be large
STOP_CHECK = 0.2  # seconds between checks of `stopping`
EVENTS = frozenset("e")  # the payload of nudges for events
CATCH_UP = 1.0  # seconds that the first subscriber waits for a read of earlier events
LATE_MARGIN = 0.05  # seconds before the end of CATCH_UP in which a read counts as too late
DELETES = 10  # batches of old events at most in a row, about 50 ms: 20,000 events a second
GRACE = 1.0  # seconds after a subscription in which the hub stays awake
NOT_CONNECTED = "F452: the hub is not connected to the database"


class _WakeUp(NamedTuple):
    """The first subscriber after a time without channels.

    done: set when the events committed before are read.
    until: time at which its subscriber stops waiting for that, by time.monotonic().
    """

    done: threading.Event
    until: float


class PostgresHub:
    """Delivers committed events to the subscribers of this process.

    Every committed event reaches each subscriber of its key, or that subscriber gets a refresh. No
    event arrives before its commit. While it has no channels the hub sleeps: it ignores nudges
    and reads once per interval.

    connect: opens a connection to the server, past any pooler. Through a pooler the hub polls.
    connect_pooled: opens connections for other statements, which may lead through a pooler.
        Default: connect.
    begin: called with the events of a batch, returns the function that encodes each of them as a
        whole SSE frame.
    poll_interval: seconds between reads without a nudge.
    listen: LISTEN for commits of other processes; False: only poll.
    retention: seconds that events are kept in the log.
    ring: frames kept per topic key.
    resume_window: seconds that a key without subscribers is kept, and that a client may resume.
    heartbeat: seconds without a response after which the connection is closed; open streams get the
        status "reconnecting" within twice that time.
    nudger: of this process; its commits reach the hub directly.

    reconnects: number of failed steps, each followed by a new connection.
    refreshes: sent to subscribers, by reason; without those of a subscription's ring.
    """

    def __init__(
        self,
        connect: Connect,
        begin: BeginBatch,
        *,
        connect_pooled: Connect | None = None,
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
        self._subscribed_at = time.monotonic()  # time of the last subscription
        self._wake_up_pending: _WakeUp | None = None  # until a read that began after it succeeds
        self._wake_up_lock = threading.Lock()  # LOCK: one thread at a time sets _wake_up_pending
        self._read_at = 0.0  # start of the last read
        self._reads_in_a_row = 0  # reads requested before their pause was over
        self._reader = EventLogReader()
        self._loop = DatabaseThread("hub", self._step, connect, heartbeat, wake=self._listener)
        self._announced_lost = False  # open streams have the status "reconnecting"
        pooled = connect_pooled or connect
        patience = 2 * heartbeat
        self._channels = Channels(begin, ring, resume_window, self._delete_old, pooled, patience)
        self.refreshes: Mapping[str, int] = self._channels.refreshes
        self._delete_due = 0.0  # thread hub-encode
        self._state = (False, NOT_CONNECTED)
        self.reconnects = 0
        self._timeouts = 0  # reads without a response, in a row

    @property
    def ready(self) -> tuple[bool, str]:
        """(True, "") if the last read succeeded and no encoder is stuck, else (False, reason)."""
        if self._channels.stuck:
            return (False, STUCK)
        return self._state

    @property
    def lag_seconds(self) -> float:
        """Age of the newest event when it was read, by the database's clock; 0 while asleep."""
        if not self._listener.payloads:
            return 0.0
        return self._reader.lag

    def start(self, quiet: float = 0.0) -> None:
        """Start the threads `hub`, `hub-encode` and `hub-replay`. Idempotent.

        quiet: seconds before it connects, unless a subscriber wakes it.
        """
        self._listener.open()
        self._channels.start()
        self._loop.start(quiet)

    def stop(self) -> None:
        """End the threads. Subscriptions stay open without new events. Idempotent."""
        self._loop.stop()
        self._channels.stop()
        self._state = (False, NOT_CONNECTED)
        self._listener.close()

    def subscribe(
        self, key: TopicKey, last_event_id: str | None = None, is_wanted: IsWanted = lambda: True
    ) -> Opened:
        """Subscribe to the events of `key` from now on.

        last_event_id: resume after this id: from the ring, else from the log, else by a refresh
            with the reason "resume".
        is_wanted: returns False when the client has disconnected.
        """
        self._wake_up()
        subscription, exact = self._channels.subscribe(key, last_event_id)
        if not self._listener.payloads:  # it fell asleep before this subscription existed
            self._wake_up()
        first = b""
        if not exact and last_event_id is not None:
            # SAFETY: read after subscribing: events that are not in the log yet come by the ring.
            read = partial(self._missed, key, last_event_id)
            first = self._channels.replay(key, read, is_wanted)
        # SAFETY: after subscribing too: the status "live" comes by the ring.
        if self._announced_lost:
            first += status_frame("reconnecting")
        return Opened(subscription, first)

    def _wake_up(self) -> None:
        """Read after each commit from now on.

        Earlier events without subscribers are dropped: wait until they are read.
        """
        self._subscribed_at = time.monotonic()
        # SAFETY: read in the reverse of the order in which they are set below.
        if self._listener.payloads and self._wake_up_pending is None:
            return
        with self._wake_up_lock:
            wake_up = self._wake_up_pending
            if wake_up is None:
                until = time.monotonic() + CATCH_UP
                wake_up = _WakeUp(threading.Event(), until)
                self._wake_up_pending = wake_up
                self._listener.payloads = EVENTS
                self._listener.set()
        seconds = wake_up.until - time.monotonic()
        wake_up.done.wait(max(0.0, seconds))

    # -- thread hub -------------------------------------------------------------------------------

    def _step(self) -> None:
        try:
            conn = self._catch_up()
            self._wait(conn)
        except Exception as err:
            if isinstance(err, NoResponse):
                self._timeouts += 1
            if self._timeouts == FORGET_AFTER:
                self._reader.forget()
            self.reconnects += 1
            reason = NOT_CONNECTED
            if isinstance(err, ForgeError):
                reason = f"{err.code}: {err}"
            self._state = (False, reason)
            self._announce(lost=True)
            raise

    def _catch_up(self) -> Connection:
        """Read the committed events; return the connection."""
        is_new = self._loop.conn is None
        conn = self._loop.connection()
        if is_new:
            self._listener.attach(conn)
            if not self._listener.polls:  # through a pooler a session's settings would reach others
                # Before PostgreSQL 18, JIT would compile a plan that needs a disabled scan.
                conn.execute("set enable_seqscan = off; set jit = off")
            self._reader.attach(conn)
        self._read_at = time.monotonic()
        wake_up = self._wake_up_pending
        events = self._read(conn)  # also the heartbeat
        self._timeouts = 0
        # A subscriber that stopped waiting must not get events from before its subscription.
        is_late = wake_up is not None and time.monotonic() > wake_up.until - LATE_MARGIN
        if events is None or is_late:
            self._channels.refresh_all("reconnect")
        else:
            self._channels.submit(events)
        self._state = (True, "")
        self._announce(lost=False)
        if wake_up is not None:
            self._wake_up_pending = None
            wake_up.done.set()
        return conn

    def _announce(self, *, lost: bool) -> None:
        """Send open streams the status when the database is lost, and when it is back."""
        if lost == self._announced_lost:
            return
        self._announced_lost = lost
        state = "live"
        if lost:
            state = "reconnecting"
        self._channels.publish_all(status_frame(state))

    def _read(self, conn: Connection) -> list[Event] | None:
        if not self._listener.polls:
            return self._reader.read(conn)
        # READ COMMITTED: in a transaction too, the reading statement has its own snapshot.
        with conn.transaction():
            conn.execute("set local enable_seqscan = off; set local jit = off")
            return self._reader.read(conn)

    def _wait(self, conn: Connection) -> None:
        """Wait for a nudge or the end of the interval."""
        remaining = self._interval
        deadline = time.monotonic() + remaining
        if self._listener.payloads and self._is_unused():
            # PERF: otherwise each commit is read without any subscriber (benchmarks/http, create).
            self._listener.payloads = frozenset()
            if not self._is_unused():  # a subscriber in between still saw the hub awake
                self._listener.payloads = EVENTS
                self._listener.set()
        while not self._loop.stopping.is_set() and remaining > 0:
            self._channels.replace_stuck()
            if self._listener.rest(conn, min(remaining, STOP_CHECK)):
                # One read serves all nudges within 2 ms, and during a long series within 5 or 10.
                read_due = self._read_at + pause(self._reads_in_a_row)
                seconds = read_due - time.monotonic()
                self._reads_in_a_row += 1
                if seconds <= 0:
                    self._reads_in_a_row = 0
                self._loop.stopping.wait(seconds)
                break
            remaining = deadline - time.monotonic()
        self._listener.clear()

    def _is_unused(self) -> bool:
        return time.monotonic() > self._subscribed_at + GRACE and not self._channels.groups

    # -- thread hub-encode ------------------------------------------------------------------------

    def _delete_old(self, connection: ThreadConnection) -> None:
        if not self._state[0] or time.monotonic() < self._delete_due:
            return
        # The database decides whether a mark is due; four checks per period are exact enough.
        self._delete_due = time.monotonic() + self._retention / MARKS / 4
        try:
            conn = connection.connection()
            has_more = all(delete_old(conn, self._retention) for _ in range(DELETES))
            if has_more:
                self._delete_due = 0.0
                return
        except DATABASE_ERRORS as err:
            log.warning("the hub could not delete old events: %s", err)
        connection.close()  # the next deletion is minutes away

    # -- thread hub-replay ------------------------------------------------------------------------

    def _missed(
        self, key: TopicKey, last_event_id: str, connection: ThreadConnection
    ) -> list[Event] | None:
        try:
            return self._reader.since(connection.connection(), last_event_id, key, self._window)
        except DATABASE_ERRORS as err:
            log.warning("a stream could not be resumed: %s", err)
            connection.close()
            return None
