"""The nudger: sends coalesced NOTIFYs after commits, on a connection and a thread of its own.

A nudge is a hint. One that is lost costs a poll interval, never an event.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg

from ..db import Connection
from ..errors import ForgeError
from .link import Backoff
from .publish import SQL

log = logging.getLogger("forge_min.notify")
MOST = 1000  # distinct payloads kept while the database is away


class Nudger:
    """Wakes the hubs and workers of every process. The first nudge goes at once, then one per
    `interval`.

    connect: opens the thread's connection. interval: seconds.
    """

    def __init__(self, connect: Callable[[], Connection], *, interval: float = 0.002) -> None:
        self._connect = connect
        self._interval = interval
        self._waiting: dict[str, None] = {}  # LOCK: guarded by _changed, keeps the order
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.sent = 0

    def nudge(self, payload: str) -> None:
        """Send `payload` soon ("e", "j:<queue>"). Never blocks, never raises; the same one twice
        is one.
        """
        with self._changed:
            if len(self._waiting) < MOST:
                self._waiting[payload] = None
                self._changed.notify()

    def start(self) -> None:
        """Start the thread `nudger`. Idempotent."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="nudger", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Send what waits and end the thread. Idempotent."""
        if self._thread is not None:
            self._stopping.set()
            with self._changed:
                self._changed.notify()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set() or self._waiting:
            try:
                self._session(backoff)
            except (psycopg.Error, ForgeError, OSError) as err:
                log.warning("nudges wait, readers poll: %s", err)
                if self._stopping.is_set():
                    return
                self._stopping.wait(backoff.next())

    def _session(self, backoff: Backoff) -> None:
        if not self._wait():
            return
        conn = self._connect()
        try:
            while self._wait():
                self._send(conn)
                backoff.reset()
                self._stopping.wait(self._interval)
        finally:
            conn.close()

    def _send(self, conn: Connection) -> None:
        # SAFETY: taken out before it is sent: a commit that nudges meanwhile needs a NOTIFY of its
        # own.
        with self._changed:
            payloads, self._waiting = self._waiting, {}
        try:
            conn.execute(SQL["notify"], {"payloads": list(payloads)})
            self.sent += 1
        except BaseException:
            with self._changed:
                self._waiting = {**payloads, **self._waiting}
            raise

    def _wait(self) -> bool:
        """Wait until there is something to send; False means stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping.is_set())
            return bool(self._waiting)
