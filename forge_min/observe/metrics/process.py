"""Metrics of the process itself, `process_*` and `python_gc_*`, read at each scrape.

Names and units follow Prometheus' rules for client libraries
(https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics). Metrics that need
/proc are omitted on systems without it.
"""

from __future__ import annotations

import gc
import os
import resource
import threading
import time
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from .metric import Across, Callback, Labels
from .registry import MetricRegistry

_STAT = Path("/proc/self/stat")
_FDS = Path("/proc/self/fd")
_PAGE = resource.getpagesize()
# The highest of several processes: each has its own limit, and one near it must be visible.
_HIGHEST = ("process_start_time_seconds", "process_open_fds", "process_max_fds")


def add_process_metrics(registry: MetricRegistry) -> None:
    """Add the metrics `process_*` and `python_gc_*` to a registry."""
    registry.counter(
        "process_cpu_seconds_total", "User and system CPU time spent.", callback=time.process_time
    )
    gauges = _GAUGES
    if _STAT.exists():
        gauges = gauges | _OF_PROC
    for name, (help, callback) in gauges.items():
        across: Across = "max" if name in _HIGHEST else "sum"
        registry.gauge(name, help, callback=callback, across=across)
    for name, (help, field) in _OF_GC.items():
        registry.counter(name, help, ("generation",), callback=partial(_of_gc, field))


def _stat() -> list[str]:
    """Return the fields of proc(5) stat from 3 on: the command may contain spaces and brackets."""
    return _STAT.read_text(errors="replace").rpartition(")")[2].split()


@cache
def _started(pid: int) -> float:
    """Return the start of this process, in seconds since 1970.

    Computed once: two clocks read in turn differ by another fraction each time, and one of them may
    be adjusted.
    """
    since_boot = int(_stat()[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot


def _of_gc(field: str) -> Mapping[Labels, float]:
    return {(str(i),): float(row[field]) for i, row in enumerate(gc.get_stats())}


# name → help, callback
_GAUGES: dict[str, tuple[str, Callback]] = {
    "process_max_fds": (
        "Most file descriptors that may be open.",
        lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    ),
    "process_threads": ("Python threads.", threading.active_count),
}
_OF_PROC: dict[str, tuple[str, Callback]] = {
    "process_resident_memory_bytes": ("Memory in RAM.", lambda: int(_stat()[21]) * _PAGE),
    "process_virtual_memory_bytes": ("Address space.", lambda: int(_stat()[20])),
    "process_open_fds": (
        "Open file descriptors; of several processes the most.",
        lambda: len(os.listdir(_FDS)),
    ),
    "process_start_time_seconds": ("Start, seconds since 1970.", lambda: _started(os.getpid())),
}
# name → help, field of gc.get_stats()
_OF_GC = {
    "python_gc_collections_total": ("Collections of a generation.", "collections"),
    "python_gc_objects_collected_total": ("Objects collected.", "collected"),
    "python_gc_objects_uncollectable_total": ("Objects found uncollectable.", "uncollectable"),
}
