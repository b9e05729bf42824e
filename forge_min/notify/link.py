"""Keeping connections: when to try again, when to cut one, how threads share one."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from ..db import Connection
from ..errors import Unavailable


class Backoff:
    """Seconds to wait before the next attempt: about 0.05, 0.1, ... up to 5, each ± half.

    So a process makes fewer than 40 attempts in the first second and one in two later, and a
    hundred processes do not come back in the same moment.
    """

    def __init__(self, first: float = 0.05, most: float = 5.0) -> None:
        self._first = first
        self._most = most
        self._step = first

    def next(self) -> float:
        """The next waiting time in seconds."""
        step = self._step
        self._step = min(self._most, step * 2)
        return step * random.uniform(0.5, 1.5)

    def reset(self) -> None:
        """Begin again: the last attempt succeeded."""
        self._step = self._first


class Watch:
    """Cuts a connection whose server does not answer within `limit` seconds.

    A stopped backend keeps TCP alive, so only a question without an answer finds it. Another
    thread calls `check`; the one that waits then gets an OperationalError.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._lock = threading.Lock()  # LOCK: guards _asked; its fd is open while it is set
        self._asked: tuple[int, float] | None = None

    @contextmanager
    def asking(self, conn: Connection) -> Iterator[None]:
        """Around a statement of `conn`."""
        with self._lock:
            self._asked = (conn.fileno(), time.monotonic())
        try:
            yield
        finally:
            with self._lock:
                self._asked = None

    def check(self) -> bool:
        """Cut the connection when it is overdue; whether it was."""
        with self._lock:
            if self._asked is None or time.monotonic() - self._asked[1] < self._limit:
                return False
            with socket.socket(fileno=os.dup(self._asked[0])) as twin:
                twin.shutdown(socket.SHUT_RDWR)
            self._asked = None
            return True


class Shared:
    """One connection that threads use by turns, opened when first needed.

    setup: a statement to run on each new one, or "".
    """

    def __init__(self, connect: Callable[[], Connection], setup: str = "") -> None:
        self._connect = connect
        self._setup = setup
        self._turn = threading.Lock()
        self._conn: Connection | None = None

    @contextmanager
    def turn(self, timeout: float = 2.0) -> Iterator[Connection]:
        """The connection, for this block. Raises Unavailable when no turn comes in `timeout`
        seconds.
        """
        if not self._turn.acquire(timeout=timeout):
            raise Unavailable("the hub's second connection is busy", code="F453")
        try:
            if self._conn is None or self._conn.closed:
                self._conn = self._connect()
                if self._setup:
                    self._conn.execute(self._setup)
            yield self._conn
        except (psycopg.Error, OSError):
            self._drop()
            raise
        finally:
            self._turn.release()

    def close(self) -> None:
        """Close the connection after the turn that is under way. Idempotent."""
        with self._turn:
            self._drop()

    def _drop(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None
