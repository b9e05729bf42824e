"""The last minutes of a site, for the plots: a thread reads what is counted, and keeps the rates.

It reads what `figures` gives, every 2 s, and keeps 5 minutes: some 50 KiB, however much happens.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from ..observe import Snapshot

JobCounts = Mapping[tuple[str, ...], float] | None
Figures = tuple[Snapshot, JobCounts]
"""The series that are counted now, and the jobs there are: (queue, state) → how many; None: nobody
knows.
"""

PERIOD, KEPT = 2.0, 150
REQUESTS = "forge_http_request_duration_seconds"
JOBS = "forge_job_duration_seconds"
STREAMS, CONNECTIONS = "forge_sse_connections", "forge_http_connections"
PROCESSOR = "process_cpu_seconds_total"
SERIES = (REQUESTS, JOBS, STREAMS, CONNECTIONS, PROCESSOR)
"""What `figures` must give of the registry, where it is there."""

_log = logging.getLogger(__name__)


class Point(NamedTuple):
    """One period. Rates are per second; p50 and p99 in seconds, None where nothing was asked;
    states: of jobs, None where nobody knows; processor: 1 is one of them, busy all the time.
    """

    requests: float
    failed: float
    p50: float | None
    p99: float | None
    jobs_done: float
    jobs_failed: float
    states: Mapping[str, float] | None
    connections: float
    streams: float
    processor: float


class _Reading(NamedTuple):
    """The figures of one moment. counts: since the start; levels: as they stand; both by the name
    of a field of `Point`. bounds, buckets: of the duration of requests.
    """

    at: float
    counts: Mapping[str, float]
    levels: Mapping[str, Any]
    bounds: Sequence[float]
    buckets: Sequence[float]


class History:
    """`points` are of the past, the newest last. The thread is called admin-history."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures
        self._points: deque[Point] = deque(maxlen=KEPT)
        self._last: _Reading | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # LOCK: start and stop exclude each other
        self._thread: threading.Thread | None = None

    def points(self) -> list[Point]:
        """A copy."""
        return list(self._points)

    def start(self) -> None:
        """Begin to read. Idempotent; not after stop."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="admin-history", daemon=True)
                self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """End; a database that does not answer is waited for `timeout` seconds. Idempotent."""
        self._stopping.set()
        with self._lock:
            if self._thread is not None:
                self._thread.join(timeout)

    def look(self, now: float) -> None:
        """Read, and keep what has happened since the last look. now: in seconds of any clock."""
        snapshot, jobs = self._figures()
        reading, last = _read(now, snapshot, jobs), self._last
        self._last = reading
        if last is not None and now > last.at:
            self._points.append(_between(last, reading))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look(time.monotonic())
            except Exception:
                _log.exception("the figures for the plots could not be read")
            self._stopping.wait(PERIOD)


def _read(now: float, snapshot: Snapshot, jobs: JobCounts) -> _Reading:
    found = {family.name: family for family in snapshot}
    requests, ended = found.get(REQUESTS), found.get(JOBS)
    asked = [(s.labels[-1], s.buckets) for s in requests.samples()] if requests else []
    worked = [(s.labels[-1], sum(s.buckets)) for s in ended.samples()] if ended else []
    states: dict[str, float] = {}
    for (_, state), number in (jobs or {}).items():
        states[state] = states.get(state, 0) + number

    def total(name: str) -> float:
        return sum(sample.value for sample in found[name].samples()) if name in found else 0.0

    counts = {
        "requests": sum(sum(buckets) for _, buckets in asked),
        "failed": sum(sum(buckets) for status, buckets in asked if status.startswith("5")),
        "jobs_done": sum(number for outcome, number in worked if outcome == "completed"),
        "jobs_failed": sum(n for outcome, n in worked if outcome in ("retried", "discarded")),
        "processor": total(PROCESSOR),
    }
    levels = {
        "states": None if jobs is None else states,
        "connections": total(CONNECTIONS),
        "streams": total(STREAMS),
    }
    buckets = [float(sum(column)) for column in zip(*(buckets for _, buckets in asked))]
    return _Reading(now, counts, levels, requests.bounds if requests else (), buckets)


def _between(last: _Reading, now: _Reading) -> Point:
    """A count that has become less is one of a process that ended: nothing is known of it."""
    rates: dict[str, Any] = {
        name: max(0.0, count - last.counts[name]) / (now.at - last.at)
        for name, count in now.counts.items()
    }
    known = last.buckets or [0.0] * len(now.buckets)
    new = [max(0.0, after - before) for before, after in zip(known, now.buckets)]
    p50, p99 = (quantile(q, now.bounds, new) for q in (0.5, 0.99))
    return Point(p50=p50, p99=p99, **rates, **now.levels)


def quantile(q: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """An estimate from a histogram, as Prometheus' histogram_quantile makes it: even within a
    bucket; beyond the last bound that bound. None without anything counted.
    """
    total = sum(counts)
    if not total:
        return None
    reached = list(accumulate(counts))
    index = bisect_left(reached, q * total)
    if index >= len(bounds):
        return bounds[-1]
    lower = bounds[index - 1] if index else 0.0
    before = reached[index - 1] if index else 0.0
    return lower + (bounds[index] - lower) * (q * total - before) / counts[index]
