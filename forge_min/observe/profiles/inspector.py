"""The inspector answers what is asked of the process that it lives in. Questions and answers can be
pickled, so that another process may ask.
"""

from __future__ import annotations

import gc
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..tracing import recent_trees
from .heap import Heap
from .sampling import Profile, Wait, sample

_LOOKED_AT = 200_000  # objects; of more, every nth is counted for n


class Inspection(NamedTuple):
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
            "threads": lambda wait: _all_stacks(),
            "profile": self._sample,
            "heap": self._look,
            "trace": self._trace,
            "gc": lambda wait, top: _collector(top),
            "spans": lambda wait: list(recent_trees()),
        }

    def ask(self, question: Inspection, wait: Wait) -> Any:
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


def _all_stacks() -> str:
    """One paragraph per thread: its name, ident and daemon flag, then the innermost call last."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    parts = []
    for ident, frame in sorted(sys._current_frames().items()):
        thread = threads.get(ident)
        name = thread.name if thread else "(not made by threading)"
        daemon = " daemon" if thread and thread.daemon else ""
        stack = "".join(traceback.format_stack(frame))
        parts.append(f'Thread "{name}" {ident}{daemon}\n{stack}')
    return "\n".join(parts)


def _collector(top: int) -> dict[str, Any]:
    """As of the module `gc`; `types`: the `top` most frequent, an estimate above 200,000 objects.

    Text, numbers and what else can hold nothing are not the collector's, and not counted.
    """
    objects = gc.get_objects()
    number = len(objects)
    step = number // _LOOKED_AT + 1
    counted = Counter(map(type, objects[::step]))
    del objects
    return {
        "enabled": gc.isenabled(),
        "counts": gc.get_count(),
        "thresholds": gc.get_threshold(),
        "generations": gc.get_stats(),
        "frozen": gc.get_freeze_count(),
        "uncollectable": len(gc.garbage),
        "objects": number,
        "counted_every": step,
        "types": [
            {"type": _name(kind), "objects": count * step}
            for kind, count in counted.most_common(top)
        ],
    }


def _name(kind: type) -> str:
    """SAFETY: by `type` itself: a metaclass may run anything for kind.__qualname__."""
    module = type.__dict__["__module__"].__get__(kind)
    name = type.__dict__["__qualname__"].__get__(kind)
    return name if module == "builtins" else f"{module}.{name}"[:300]
