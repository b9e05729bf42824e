"""A question that may take its time, and an end to who waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Pending(threading.Event, Generic[T]):
    """Set when there is an answer, or what was raised."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = time.monotonic()
        self.answer: T | None = None
        self.error: Exception | None = None


class Asked(Generic[T]):
    """Asks `question` on the thread `ask`, one at a time; all who ask meanwhile get its answer.

    patience: seconds since its begin after which nobody waits any more. The thread, and with it
    whatever connection it takes, is kept for the next question.
    """

    def __init__(self, question: Callable[[], T], patience: float = 1.0) -> None:
        self._question, self._patience = question, patience
        self._lock = threading.Lock()  # LOCK: what is pending
        self._pending: _Pending[T] | None = None
        self._todo = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    def answer(self) -> T | None:
        """The answer; None where it does not come in time. Raises what the question raises."""
        with self._lock:
            pending = self._pending
            if pending is None:
                pending = self._pending = _Pending()
                if self._thread is None:  # not before a fork
                    self._thread = threading.Thread(target=self._run, name="ask", daemon=True)
                    self._thread.start()
                self._todo.release()
        pending.wait(max(pending.begun + self._patience - time.monotonic(), 0))
        if pending.error is not None:
            raise pending.error
        return pending.answer

    def _run(self) -> None:
        while True:
            self._todo.acquire()
            pending = self._pending
            assert pending is not None
            try:
                pending.answer = self._question()
            except Exception as err:
                pending.error = err
            with self._lock:
                self._pending = None
            pending.set()
