"""The inspector answers what is asked of the process that it lives in. Questions and answers can be
pickled, so that another process may ask.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..tracing import recent_trees
from .collector import collector
from .heap import Heap
from .sampling import Profile, Wait, sample
from .stacks import all_stacks


class Question(NamedTuple):
    """what: "threads", "profile" (seconds, hz, clock), "heap" (seconds, 0: as it is now; top),
    "trace" (on), "gc" (top) or "spans".
    """

    what: str
    options: Mapping[str, Any] = {}


class Inspector:
    """Of one process; makes no thread, and keeps nothing but the last look at the heap."""

    def __init__(self) -> None:
        self._heap = Heap()
        self._sampling = threading.Lock()  # LOCK: a profile changes the switch interval
        self._answers: dict[str, Callable[..., Any]] = {
            "threads": lambda wait: all_stacks(),
            "profile": self._sample,
            "heap": self._look,
            "trace": self._trace,
            "gc": lambda wait, top: collector(top),
            "spans": lambda wait: list(recent_trees()),
        }

    def ask(self, question: Question, wait: Wait) -> Any:
        """The answer: a text, a `Profile`, the last traces, or what JSON can say. Takes as long as
        it says.
        """
        return self._answers[question.what](wait=wait, **question.options)

    def _sample(self, wait: Wait, **options: Any) -> Profile:
        with self._sampling:
            return sample(**options, wait=wait)

    def _look(self, wait: Wait, seconds: float, top: int) -> dict[str, Any]:
        return self._heap.watch(seconds, top, wait) if seconds else self._heap.look(top)

    def _trace(self, wait: Wait, on: bool) -> dict[str, Any]:
        (self._heap.start if on else self._heap.stop)()
        return {"tracing": on}
