"""A thread's own connection, and the one loop of every thread that works with the database.

Nothing here knows what the thread does. A database that is away costs a pause, never the thread.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg

from ..errors import ForgeError
from . import Connection

Connect = Callable[[], Connection]
log = logging.getLogger("forge_min.notify")
DATABASE_ERRORS = (
    psycopg.Error,
    ForgeError,
    OSError,
)  # what a database that is away, or refuses, raises
FIRST_PAUSE, LONGEST_PAUSE = (
    0.05,
    5.0,
)  # seconds between attempts, each ± half: under 40 in the first second
JOIN_MARGIN = 2.0  # seconds


class ThreadConnection:
    """One thread's connection, opened when first needed; `conn` is the open one, or None.

    patience: seconds that a statement may take (None: for ever); then psycopg.OperationalError. A
    server that stopped keeps TCP alive, so only a question without an answer finds it.
    """

    def __init__(self, connect: Connect | None, patience: float | None = None) -> None:
        self._connect = connect
        self._patience = patience
        self.conn: Connection | None = None

    def connection(self) -> Connection:
        """The connection; a broken one is replaced. Raises as `db.connect`."""
        if self.conn is None or self.conn.closed:
            assert self._connect is not None, "this thread has no database"
            self.conn = self._connect()
            if self._patience is not None:
                self.conn.wait = _wait_with_deadline(self.conn, self._patience)  # type: ignore[method-assign]
        return self.conn

    def close(self) -> None:
        """Close the connection; the next `connection()` opens a new one. Idempotent."""
        if self.conn is not None:
            self.conn.close()
            self.conn = None


def is_pooled(conn: Connection) -> bool:
    """Whether a pooler answers for the server: it does so under a backend number of its own."""
    ((backend,),) = conn.execute("select pg_backend_pid()")
    return bool(backend != conn.info.backend_pid)


class NoResponse(psycopg.OperationalError):
    """A statement took longer than its link has patience."""

    sqlstate = "08006"  # connection_failure


def _wait_with_deadline(conn: Connection, patience: float) -> Callable[..., Any]:
    """What `conn.wait` is, with an end. Waiting for a notification has its own."""
    plain = conn.wait

    def wait(statement: Any, *arguments: Any, **options: Any) -> Any:
        if arguments or options:
            return plain(statement, *arguments, **options)
        return plain(_until_deadline(patience, statement))

    return wait


def _until_deadline(seconds: float, statement: Any) -> Generator[Any, Any, Any]:
    """psycopg's steps of a statement, which it takes at least ten times a second. Raises NoAnswer
    for the step after so many seconds.
    """
    end = time.monotonic() + seconds
    try:
        wanted = next(statement)
        while time.monotonic() < end:
            wanted = statement.send((yield wanted))
    except StopIteration as done:
        return done.value
    raise NoResponse(f"the server did not answer within {seconds:g} s")


class Replaced(Exception):
    """Raised by a step on a thread that another one has replaced meanwhile: it ends."""


class DatabaseThread(ThreadConnection):
    """A thread that repeats `step`, and does it once more after `stop`, to tidy up.

    A step that fails is done again, on a new connection and after a pause that grows. `wake` is
    what a step rests on; `stop` sets it too. `stopping`: no step but the last will follow.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], object],
        connect: Connect | None,
        patience: float | None = None,
        wake: threading.Event | None = None,
    ) -> None:
        super().__init__(connect, patience)
        self._name = name
        self._repeat = step
        self._thread: threading.Thread | None = None
        self._give_up = 0.0
        self._quiet = 0.0
        self.wake = wake or threading.Event()
        self.stopping = threading.Event()

    def start(self, quiet: float = 0.0) -> None:
        """Start the thread, whose first step comes after so many seconds, or when it is woken.
        Idempotent.
        """
        if self._thread is None:
            self.stopping.clear()
            self._quiet = quiet
            self.replace()

    def replace(self) -> None:
        """Go on with another thread; the one before, should it ever come back, is on its own."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, patience: float = 0.0) -> None:
        """End the thread. patience: seconds in which a last step that fails is tried again. A
        thread that hangs much longer is left behind. Idempotent.
        """
        if self._thread is not None:
            self._give_up = time.monotonic() + patience
            self.stopping.set()
            self.wake.set()
            self._thread.join(patience + JOIN_MARGIN)
            self._thread = None

    def rest(self, seconds: float | None = None) -> None:
        """For the step: wait for `wake`, at most `seconds`; not at all once it shall end."""
        if not self.stopping.is_set():
            self.wake.wait(seconds)
        self.wake.clear()

    def _run(self) -> None:
        self.wake.wait(self._quiet)
        pause, going = FIRST_PAUSE, True
        while going:
            last = self.stopping.is_set()
            try:
                self._repeat()
                pause, going = FIRST_PAUSE, not last
            except Replaced:
                return
            except Exception as err:
                # A defect must not end the thread either.
                trace = not isinstance(err, DATABASE_ERRORS)
                log.warning("%s tries again soon: %s", self._name, err, exc_info=trace)
                if self.conn is not None:
                    self.conn.note_error(err)
                self.close()
                if self.stopping.wait(pause * random.uniform(0.5, 1.5)):
                    time.sleep(FIRST_PAUSE)  # the event is set: it would end no wait
                    going = time.monotonic() < self._give_up
                pause = min(LONGEST_PAUSE, 2 * pause)
        self.close()
