"""A question that may take its time, and an end to who waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Asks `question` on the thread `ask`, one at a time; all who ask meanwhile get its answer.

    patience: seconds since its begin after which nobody waits any more. The thread, and with it
    whatever connection it takes, is kept for the next question.
    """

    def __init__(self, question: Callable[[], T], patience: float = 1.0) -> None:
        self._question, self._patience = question, patience
        self._lock = threading.Lock()  # LOCK: what is pending, and since when
        self._pending: Future[T] | None = None
        self._begun = 0.0
        self._todo: SimpleQueue[Future[T]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def answer(self) -> T | None:
        """The answer; None where it does not come in time. Raises what the question raises."""
        with self._lock:
            if self._pending is None or self._pending.done():
                self._pending, self._begun = Future(), time.monotonic()
                self._todo.put(self._pending)
                if self._thread is None:  # not before a fork
                    self._thread = threading.Thread(target=self._run, name="ask", daemon=True)
                    self._thread.start()
            pending, until = self._pending, self._begun + self._patience
        wait([pending], max(until - time.monotonic(), 0))
        return pending.result() if pending.done() else None

    def _run(self) -> None:
        while True:
            pending = self._todo.get()
            try:
                pending.set_result(self._question())
            except Exception as err:
                pending.set_exception(err)
