"""A query shared by concurrent callers, with a limit on the time that they wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs `query` once at a time; concurrent callers of `result` share its result.

    The thread `shared-query` runs it. The thread, and any connection that it holds, is kept for the
    next query.

    query: returns the result, or raises.
    timeout: seconds after the start of the query for which callers wait.
    """

    def __init__(self, query: Callable[[], T], timeout: float = 1.0) -> None:
        self._query = query
        self._timeout = timeout
        self._lock = Lock()  # LOCK: guards the pending query and its start
        self._pending: Future[T] | None = None
        self._until = 0.0
        self._queue: SimpleQueue[Future[T]] = SimpleQueue()
        self._thread: Thread | None = None

    def result(self) -> T | None:
        """Return the result, or None if it is late. Raises the exception of the query."""
        with self._lock:
            if self._pending is None or self._pending.done():
                self._pending = Future()
                self._until = time.monotonic() + self._timeout
                self._queue.put(self._pending)
                if self._thread is None:  # not before a fork
                    self._thread = Thread(target=self._run, name="shared-query", daemon=True)
                    self._thread.start()
            pending = self._pending
            until = self._until
        wait([pending], max(until - time.monotonic(), 0))
        return pending.result() if pending.done() else None

    def _run(self) -> None:
        while True:
            pending = self._queue.get()
            try:
                pending.set_result(self._query())
            except Exception as err:
                pending.set_exception(err)
