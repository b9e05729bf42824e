"""The memory of this process by the line that allocated it (tracemalloc).

Off by default. While it is on, a small allocation takes about ten times as long, and memory for its
record.
"""

from __future__ import annotations

import sys
import threading
import time
import tracemalloc
from typing import Any

from .sampling import Wait, file_name

Sizes = dict[tuple[str, int], tuple[int, int]]
"""(file, line) → bytes and blocks that were allocated there and are still held."""

# By file name as in code objects and tracemalloc: in an artifact these are not paths of files.
_EXCLUDED = (
    tracemalloc.take_snapshot.__code__.co_filename,
    (lambda: None).__code__.co_filename.rpartition("/")[0] + "/",
)


class Heap:
    """The traced heap of this process. LOCK: one thread at a time starts, stops or reads it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # LOCK: `watch` calls the others
        self._since = 0.0

    def start(self) -> None:
        """Trace allocations from now on. Idempotent."""
        with self._lock:
            if not tracemalloc.is_tracing():
                tracemalloc.start()
                self._since = time.monotonic()

    def stop(self) -> None:
        """Stop tracing and forget all allocations. Idempotent."""
        with self._lock:
            tracemalloc.stop()

    def watch(self, seconds: float, top: int, wait: Wait) -> dict[str, Any]:
        """Trace for these seconds, then return the same as `read`. 0 seconds: only `read`.

        If tracing is on already, it stays on, and earlier allocations are included.
        """
        if not seconds:
            return self.read(top)
        with self._lock:
            off = not tracemalloc.is_tracing()
            self.start()
            try:
                wait(seconds)
                return self.read(top)
            finally:
                if off:
                    self.stop()

    def read(self, top: int) -> dict[str, Any]:
        """Return the traced memory that is held now, as the `top` largest lines."""
        with self._lock:
            result = {
                "tracing": tracemalloc.is_tracing(),
                "allocated_blocks": sys.getallocatedblocks(),
            }
            if not result["tracing"]:
                hint = "give seconds, or start tracing, for the memory by line of code"
                return result | {"hint": hint}
            seconds = None
            if self._since:
                seconds = round(time.monotonic() - self._since, 1)
            current, peak = tracemalloc.get_traced_memory()
            return result | {
                "traced_seconds": seconds,
                "traced_bytes": current,
                "traced_peak_bytes": peak,
                "tracing_costs_bytes": tracemalloc.get_tracemalloc_memory(),
                "top": _rows(_sizes(), top),
            }


def _sizes() -> Sizes:
    """Return the held memory by line, without the memory of tracing and profiles.

    PERF: Snapshot.statistics makes an object per block: 17 s for a million, against 4 s here.
    """
    sizes: Sizes = {}
    for _, size, frames, *_ in tracemalloc.take_snapshot().traces._traces:  # type: ignore[attr-defined]
        line = frames[0]
        bytes, blocks = sizes.get(line, (0, 0))
        sizes[line] = bytes + size, blocks + 1
    return {line: held for line, held in sizes.items() if not line[0].startswith(_EXCLUDED)}


def _rows(sizes: Sizes, top: int) -> list[dict[str, Any]]:
    """Return the `top` lines, largest size first."""
    ordered = sorted(sizes.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        {"bytes": size, "blocks": blocks, "where": f"{file_name(file)}:{line}"}
        for (file, line), (size, blocks) in ordered[:top]
    ]
