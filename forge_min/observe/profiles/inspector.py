"""The inspector of this process.

Inspections and their results can be pickled, so that another process can request them.
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

_COUNTED = 200_000  # objects; of more, every nth is counted as n


class Inspection(NamedTuple):
    """A request to the inspector.

    kind: "threads", "profile" (seconds, hz, clock), "heap" (seconds, 0: the current state; top),
        "trace" (on), "gc" (top) or "spans".
    options: the values in brackets, by name.
    """

    kind: str
    options: Mapping[str, Any] = {}


class Inspector:
    """Inspects this process. Starts no thread, and stores no results."""

    def __init__(self) -> None:
        self._heap = Heap()
        self._sampling = threading.Lock()  # LOCK: a profile changes the switch interval
        self._handlers: dict[str, Callable[..., Any]] = {
            "threads": lambda wait: _all_stacks(),
            "profile": self._sample,
            "heap": self._heap.watch,
            "trace": self._trace,
            "gc": lambda wait, top: _collector(top),
            "spans": lambda wait: list(recent_trees()),
        }

    def inspect(self, inspection: Inspection, wait: Wait) -> Any:
        """Return a text, a `Profile`, the last traces, or a JSON object. Takes its `seconds`."""
        return self._handlers[inspection.kind](wait=wait, **inspection.options)

    def _sample(self, wait: Wait, **options: Any) -> Profile:
        with self._sampling:
            return sample(**options, wait=wait)

    def _trace(self, wait: Wait, on: bool) -> dict[str, Any]:
        if on:
            self._heap.start()
        else:
            self._heap.stop()
        return {"tracing": on}


def _all_stacks() -> str:
    """Return a paragraph per thread: name, ident and daemon flag, then the innermost call last."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    parts = []
    for ident, frame in sorted(sys._current_frames().items()):
        thread = threads.get(ident)
        name = "(not made by threading)"
        daemon = ""
        if thread is not None:
            name = thread.name
            if thread.daemon:
                daemon = " daemon"
        stack = "".join(traceback.format_stack(frame))
        parts.append(f'Thread "{name}" {ident}{daemon}\n{stack}')
    return "\n".join(parts)


def _collector(top: int) -> dict[str, Any]:
    """Return the values of the module `gc`, and the `top` most frequent types.

    `types` is an estimate above 200,000 objects. The collector does not track objects that contain
    no others, such as text and numbers: they are not counted.
    """
    objects = gc.get_objects()
    number = len(objects)
    step = number // _COUNTED + 1
    counted = Counter(map(type, objects[::step]))
    del objects
    return {
        "enabled": gc.isenabled(),
        "counts": gc.get_count(),
        "thresholds": gc.get_threshold(),
        "frozen": gc.get_freeze_count(),
        "uncollectable": len(gc.garbage),
        "objects": number,
        "counted_every": step,
        "generations": gc.get_stats(),
        "types": [
            {"objects": count * step, "type": _name(kind)}
            for kind, count in counted.most_common(top)
        ],
    }


def _name(kind: type) -> str:
    """SAFETY: reads `type` itself: a metaclass may run any code for kind.__qualname__."""
    module = type.__dict__["__module__"].__get__(kind)
    name: str = type.__dict__["__qualname__"].__get__(kind)
    if module == "builtins":
        return name
    return f"{module}.{name}"[:300]
