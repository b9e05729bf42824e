"""What fills the memory, by the line that asked for it (tracemalloc). Off until somebody begins it:
a small allocation then takes some ten times as long, and memory for the note of it.
"""

from __future__ import annotations

import sys
import threading
import time
import tracemalloc
from collections.abc import Mapping
from typing import Any

from .sampling import Wait, file_name

Sizes = dict[tuple[str, int], tuple[int, int]]
"""(file, line) → bytes and blocks that were asked for there and are still held."""

# By the names that code has, as tracemalloc tells them: an artifact's are no paths of files.
_OURS = (
    tracemalloc.take_snapshot.__code__.co_filename,
    (lambda: None).__code__.co_filename.rpartition("/")[0] + "/",
)


class Heap:
    """Of this process. LOCK: tracing begins, ends and is looked at by one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # LOCK: `watch` calls the others
        self._before: tuple[float, Sizes] | None = None  # the last look
        self._since = 0.0

    def start(self) -> None:
        """Trace what is asked for from now on. Idempotent."""
        with self._lock:
            if not tracemalloc.is_tracing():
                tracemalloc.start()
                self._before, self._since = None, time.monotonic()

    def stop(self) -> None:
        """Trace no more and forget what was. Idempotent."""
        with self._lock:
            tracemalloc.stop()
            self._before = None

    def watch(self, seconds: float, top: int, wait: Wait) -> dict[str, Any]:
        """What these seconds leave behind. Traces for so long, where nobody traces already."""
        with self._lock:
            begun = not tracemalloc.is_tracing()
            self.start()
            try:
                self._before = time.monotonic(), _sizes()
                wait(seconds)
                return self.look(top)
            finally:
                if begun:
                    self.stop()

    def look(self, top: int) -> dict[str, Any]:
        """What is held now, and what has changed since the last look: `top` lines each."""
        with self._lock:
            return self._look(top)

    def _look(self, top: int) -> dict[str, Any]:
        told: dict[str, Any] = {
            "tracing": tracemalloc.is_tracing(),
            "allocated_blocks": sys.getallocatedblocks(),
        }
        if not told["tracing"]:
            return told
        now, sizes, before = time.monotonic(), _sizes(), self._before
        self._before = now, sizes
        held, peak = tracemalloc.get_traced_memory()
        told |= {
            "traced_seconds": round(now - self._since, 1) if self._since else None,
            "traced_bytes": held,
            "traced_peak_bytes": peak,
            "tracing_costs_bytes": tracemalloc.get_tracemalloc_memory(),
            "top": _rows(sizes, top),
        }
        if before is not None:
            told["changed_in_seconds"] = round(now - before[0], 1)
            told["changed"] = _rows(_changes(before[1], sizes), top)
        return told


def _sizes() -> Sizes:
    """By the line that asked; what tracing and profiles hold themselves is left out.

    PERF: Snapshot.statistics makes objects of each block: 17 s for a million, against four.
    """
    found: Sizes = {}
    for _, size, frames, *_ in tracemalloc.take_snapshot().traces._traces:  # type: ignore[attr-defined]
        place = frames[0]
        bytes, blocks = found.get(place, (0, 0))
        found[place] = bytes + size, blocks + 1
    return {place: of for place, of in found.items() if not place[0].startswith(_OURS)}


def _changes(before: Sizes, after: Sizes) -> Sizes:
    found = {}
    for place in before.keys() | after.keys():
        old, new = before.get(place, (0, 0)), after.get(place, (0, 0))
        if old != new:
            found[place] = new[0] - old[0], new[1] - old[1]
    return found


def _rows(sizes: Mapping[tuple[str, int], tuple[int, int]], top: int) -> list[dict[str, Any]]:
    """The largest first, whether they grew or shrank."""
    ordered = sorted(sizes.items(), key=lambda item: (-abs(item[1][0]), item[0]))
    return [
        {"where": f"{file_name(file)}:{line}", "bytes": size, "blocks": blocks}
        for (file, line), (size, blocks) in ordered[:top]
    ]
