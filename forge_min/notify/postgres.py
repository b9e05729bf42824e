"""The hub that reads PostgreSQL's event log: thread `hub`, with the one connection that LISTENs.

After a lost connection it listens first and reads second, from where it was: nothing lies in
between.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from .. import db
from ..db import Connection
from ..errors import ForgeError, Unavailable
from .channels import Channels
from .encoder import Encoder
from .hub import CHANNEL, Encode, Event, Opened, TopicKey, parse_id, refresh_frame
from .link import Backoff, Shared, Watch
from .publish import SQL, publish_tx
from .reader import Reader
from .retention import Retention

log = logging.getLogger("forge_min.notify")
REPLAY_TIMEOUT = (
    2.0  # seconds that a returning subscriber waits for its frames before it gets a refresh
)
SEQSCAN_OFF = "set enable_seqscan = off"
NOT_CONNECTED = "F452: the hub is not connected to the database"


class PostgresHub:
    """Reads the event log and wakes workers.

    connect: opens a connection past any pooler; encode: (event, audience, format) → one whole SSE
    frame. poll_interval: seconds between reads when nothing nudges. listen: False = poll only
    (behind a pooler). retention: seconds that events are kept. ring: frames per topic key.
    on_jobs: called on the hub's thread with the queue of each nudge, "" = all queues. events:
    False = only wake-ups. resume_window: seconds that a key without subscribers is kept.
    heartbeat: seconds after which a server that does not answer is given up.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        encode: Encode,
        *,
        poll_interval: float = 1.0,
        listen: bool = True,
        retention: float = 3600.0,
        ring: int = 64,
        on_jobs: Callable[[str], None] | None = None,
        events: bool = True,
        resume_window: float = 600.0,
        heartbeat: float = 5.0,
    ) -> None:
        self._connect = connect
        self._interval = min(poll_interval, heartbeat) if events else heartbeat
        self._listen = listen
        self._events = events
        self._on_jobs = on_jobs or (lambda queue: None)
        self._watch = Watch(heartbeat)
        # Behind a pooler a session's settings would reach the sessions of others.
        self._side = Shared(connect, SEQSCAN_OFF if listen else "")
        self._retention = Retention(retention)
        self._channels = Channels(ring, resume_window)
        self._encoder = Encoder(
            self._channels, encode, idle=self._housekeeping, tick=min(0.5, heartbeat / 4)
        )
        self._reader = Reader()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake = (-1, -1)  # a pipe: a byte in it ends the wait
        self._state = (False, NOT_CONNECTED)
        self._wanted = False  # thread hub: a nudge said that there are events
        self.reconnects = 0

    # -- the protocol -----------------------------------------------------------------------------

    @property
    def ready(self) -> tuple[bool, str]:
        """As `Hub.ready`: the connection stands and the last read succeeded."""
        return self._state

    @property
    def lag_seconds(self) -> float:
        """How old the newest event of the last batch was when it was read, by the database's
        clock.
        """
        return self._reader.lag

    def start(self) -> None:
        """As `Hub.start`: the threads `hub` and `hub-encode`."""
        if self._thread is None:
            self._stopping.clear()
            self._wake = os.pipe()
            self._encoder.start()
            self._thread = threading.Thread(target=self._run, name="hub", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """As `Hub.stop`."""
        if self._thread is not None:
            self._stopping.set()
            os.write(self._wake[1], b"x")
            self._thread.join()
            self._thread = None
            self._encoder.stop()
            self._side.close()
            for fd in self._wake:
                os.close(fd)

    def subscribe(self, key: TopicKey, last_event_id: str | None = None) -> Opened:
        """As `Hub.subscribe`: from the ring, else from the log, else a refresh with reason
        resume.
        """
        subscription, exact = self._channels.subscribe(key, last_event_id)
        if exact or last_event_id is None:
            return Opened(subscription, b"")
        frames = self._missed(key, last_event_id)
        return Opened(subscription, refresh_frame("resume") if frames is None else b"".join(frames))

    def publish(self, event: Event) -> None:
        """As `Hub.publish`."""
        with db.errors_translated(), self._side.turn() as conn:
            publish_tx(conn, event)
            conn.execute(SQL["notify"], {"payloads": ["e"]})

    def publish_tx(self, conn: psycopg.Connection[Any], event: Event) -> None:
        """As `Hub.publish_tx`."""
        publish_tx(conn, event)

    def _missed(self, key: TopicKey, last_event_id: str) -> list[bytes] | None:
        # SAFETY: called after the subscription stands: what is not in the log yet comes through
        # the ring.
        parsed = parse_id(last_event_id)
        if parsed is None:
            return None
        try:
            with self._side.turn() as conn:
                events = self._reader.since(conn, parsed[0], key.tenant, key.topic)
        except (psycopg.Error, ForgeError, OSError) as err:
            log.warning("a stream could not be resumed: %s", err)
            return None
        return None if events is None else self._encoder.replay(key, events, REPLAY_TIMEOUT)

    # -- thread hub -------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                self._session(backoff)
            except (psycopg.Error, ForgeError, OSError) as err:
                self._lost(err)
                self._stopping.wait(backoff.next())
        self._state = (False, NOT_CONNECTED)

    def _session(self, backoff: Backoff) -> None:
        conn = self._connect()
        try:
            self._open(conn)
            self._on_jobs("")
            while not self._stopping.is_set():
                self._wanted = False
                self._ask(conn)
                self._state = (True, "")
                backoff.reset()
                self._wait(conn)
        finally:
            conn.close()

    def _open(self, conn: Connection) -> None:
        conn.add_notify_handler(lambda notify: self._hear(notify.payload))
        with self._watch.asking(conn):
            if self._listen:
                conn.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
                conn.execute(SEQSCAN_OFF)
            if self._events:
                self._reader.attach(conn)

    def _ask(self, conn: Connection) -> None:
        """One read of the log, which is the heartbeat as well; without events the
        heartbeat alone.
        """
        with self._watch.asking(conn):
            if not self._events:
                conn.execute("select 1")
                return
            events = self._read(conn)
        if events is None and len(self._channels):
            self._encoder.refresh_all("reconnect")
        elif events:
            self._encoder.submit(events)

    def _read(self, conn: Connection) -> list[Event] | None:
        if self._listen:
            return self._reader.read(conn)
        # READ COMMITTED: the statement that reads has a snapshot of its own inside a transaction
        # too.
        with conn.transaction():
            conn.execute("set local enable_seqscan = off")
            return self._reader.read(conn)

    def _wait(self, conn: Connection) -> None:
        """Wait until a read is wanted: by a nudge, or because the interval is over."""
        deadline = time.monotonic() + self._interval
        poll = select.poll()
        poll.register(conn.fileno(), select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        while not self._stopping.is_set():
            self._listen_now(conn)
            left = deadline - time.monotonic()
            if self._wanted or left <= 0:
                return
            self._encoder.check()
            poll.poll(1000 * (min(left, 0.1) if self._encoder.busy else left))

    def _listen_now(self, conn: Connection) -> None:
        """Take the notifications that have arrived. Raises psycopg.OperationalError on a lost
        connection.
        """
        conn.pgconn.consume_input()
        while notify := conn.pgconn.notifies():
            self._hear(notify.extra.decode("utf-8", "replace"))

    def _hear(self, payload: str) -> None:
        if payload.startswith("j:"):
            self._on_jobs(payload[2:])
        elif self._events:
            self._wanted = True

    def _lost(self, err: Exception) -> None:
        self.reconnects += 1
        code = err.code if isinstance(err, ForgeError) else "F452"
        self._state = (False, f"{code}: {err}" if isinstance(err, ForgeError) else NOT_CONNECTED)
        log.warning("the hub lost its connection: %s", err)

    # -- thread hub-encode, between events --------------------------------------------------------

    def _housekeeping(self) -> None:
        if self._watch.check():
            log.warning("the server does not answer the hub; its connection was cut")
        self._channels.sweep()
        if self._events and self._state[0] and self._retention.due:
            try:
                with self._side.turn() as conn:
                    self._retention.step(conn)
            except (psycopg.Error, Unavailable, OSError) as err:
                log.warning("old events could not be deleted: %s", err)
