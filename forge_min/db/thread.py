"""A connection for one thread, and the loop of background threads that use the database.

If the database is unavailable, the loop pauses and tries again; the thread never ends because of
it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

import psycopg

from ..errors import ForgeError
from .connection import Connection

Connect = Callable[[], Connection]
log = logging.getLogger("forge_min.notify")
# Errors of a database that is unavailable or rejects a statement.
DATABASE_ERRORS = (psycopg.Error, ForgeError, OSError)
# Seconds between attempts, each ± 50 %: fewer than 40 attempts in the first second.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
JOIN_MARGIN = 2.0  # seconds after which `stop` gives up waiting for the thread
IDLE = 60.0  # seconds of rest after which a thread closes its connection


class ThreadConnection:
    """The connection of one thread, opened on first use; `conn` is the open one or None.

    connect: opens a connection; None for a thread without a database.
    patience: see `Connection`.
    """

    def __init__(self, connect: Connect | None, patience: float | None = None) -> None:
        self._connect = connect
        self._patience = patience
        self.conn: Connection | None = None

    def connection(self) -> Connection:
        """Return the connection, opened anew if it is closed. Raises the errors of `connect`."""
        if self.conn is not None and self.conn.is_outdated:
            self.close()
        if self.conn is None or self.conn.closed:
            assert self._connect is not None, "this thread has no database"
            self.conn = self._connect()
            self.conn.patience = self._patience
        return self.conn

    def close(self) -> None:
        """Close the connection; the next `connection()` opens a new one. Idempotent."""
        if self.conn is not None:
            self.conn.close()
            self.conn = None


def is_pooled(conn: Connection) -> bool:
    """Return whether a pooler is in front of the server: it reports another backend number."""
    ((backend,),) = conn.execute("select pg_backend_pid()")
    return bool(backend != conn.info.backend_pid)


class Replaced(Exception):
    """Raised by a step to end its thread, because another thread has replaced it."""


class DatabaseThread(ThreadConnection):
    """A thread that repeats `step` until `stop`, and then runs `last_step`.

    After an error the step runs again, on a new connection and after a growing pause.

    name: of the thread.
    connect, patience: see `ThreadConnection`.
    wake: event that ends `rest`; set by `stop` too. Default: an event of its own.
    last_step: cleans up. Default: nothing to do.

    `stopping` is set when only the last step will follow.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], object],
        connect: Connect | None,
        patience: float | None = None,
        wake: threading.Event | None = None,
        last_step: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(connect, patience)
        self._name = name
        self._repeat = step
        self._last_step = last_step
        self._thread: threading.Thread | None = None
        self._give_up = 0.0
        self._quiet = 0.0
        self.wake = wake or threading.Event()
        self.stopping = threading.Event()

    def start(self, quiet: float = 0.0) -> None:
        """Start the thread. Idempotent.

        quiet: seconds before the first step, unless `wake` is set earlier.
        """
        if self._thread is None:
            self.stopping.clear()
            self._quiet = quiet
            self.replace()

    def replace(self) -> None:
        """Continue on a new thread. The old one, if it ever returns, must raise Replaced."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, patience: float = 0.0) -> None:
        """End the thread. Idempotent.

        patience: seconds in which a failed last step is tried again. A thread that takes
            JOIN_MARGIN longer is abandoned.
        """
        if self._thread is None:
            return
        self._give_up = time.monotonic() + patience
        self.stopping.set()
        self.wake.set()
        self._thread.join(patience + JOIN_MARGIN)
        self._thread = None

    def rest(self, seconds: float | None = None) -> None:
        """Wait for `wake`, at most `seconds`; not at all while stopping. Called by the step.

        After IDLE the connection is closed: the server has few, and the next step opens one.
        """
        if not self.stopping.is_set():
            if seconds is not None and seconds <= IDLE:
                self.wake.wait(seconds)
            elif not self.wake.wait(IDLE):
                self.close()
                if seconds is not None:
                    seconds -= IDLE
                self.wake.wait(seconds)
        self.wake.clear()

    def _run(self) -> None:
        self.wake.wait(self._quiet)
        pause = FIRST_PAUSE
        is_going = True
        while is_going:
            is_last = self.stopping.is_set()
            try:
                if is_last:
                    self._last_step()
                else:
                    self._repeat()
                pause = FIRST_PAUSE
                is_going = not is_last
            except Replaced:
                return
            except Exception as err:
                # A defect must not end the thread.
                is_defect = not isinstance(err, DATABASE_ERRORS)
                log.warning("%s tries again soon: %s", self._name, err, exc_info=is_defect)
                if self.conn is not None:
                    self.conn.note_error(err)
                self.close()
                if self.stopping.wait(pause * random.uniform(0.5, 1.5)):
                    time.sleep(FIRST_PAUSE)  # `stopping` is set, so its wait returns at once
                    is_going = time.monotonic() < self._give_up
                pause = min(LONGEST_PAUSE, 2 * pause)
        self.close()
