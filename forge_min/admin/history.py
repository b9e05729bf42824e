"""The last minutes of a site, for the plots: a thread reads counters and keeps their rates.

It calls `figures` every 2 s and keeps 5 minutes, about 250 KiB whatever the load.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from ..observe import Snapshot

JobCounts = Mapping[tuple[str, str], float] | None
Figures = tuple[Snapshot, JobCounts]
"""The metrics now, and the number of jobs by (queue, state); None if the number is unknown."""

PERIOD, KEPT = 2.0, 150
Point = Mapping[str, float | None]
"""The values of one period of 2 s, by name; None if one is unknown. Rates are per second.

requests, failed: the rate of all responses, and of those with a status of 500 or more.
p50, p99: of the request duration, in seconds; None without requests.
jobs_done, jobs_failed: the rate of attempts of jobs.
connections, streams: those that are open.
available, running, and so on: the number of jobs in this state.
processor: processor time per second; 1 is one busy processor.
"""

STATES = ("available", "running", "scheduled", "retryable", "discarded")
REQUESTS = "forge_http_request_duration_seconds"
JOBS = "forge_job_duration_seconds"
STREAMS, CONNECTIONS = "forge_sse_connections", "forge_http_connections"
PROCESSOR = "process_cpu_seconds_total"
SERIES = (REQUESTS, JOBS, STREAMS, CONNECTIONS, PROCESSOR)
"""The metrics that the snapshot of `figures` should include."""

_log = logging.getLogger(__name__)


class _Reading(NamedTuple):
    """The figures at one time.

    counts, levels: counters and current values, by name as in `Point`.
    bounds, buckets: of the request duration.
    """

    at: float
    counts: Mapping[str, float]
    levels: Mapping[str, float | None]
    bounds: Sequence[float]
    buckets: Sequence[float]


class History:
    """The points of the last 5 minutes, read on the thread `admin-history`."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures
        self._readings: deque[_Reading] = deque(maxlen=KEPT + 1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="admin-history", daemon=True)

    def points(self) -> list[Point]:
        """Return the point between each two readings, newest last."""
        return [_between(*pair) for pair in pairwise(list(self._readings))]

    def start(self) -> None:
        """Start reading. Idempotent."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Stop reading. Waits at most `timeout` seconds for the database. Idempotent."""
        self._stopping.set()
        if self._thread.ident is not None:  # it was started
            self._thread.join(timeout)

    def record(self, now: float) -> None:
        """Read the figures. now: seconds of any clock, later than at the last call."""
        self._readings.append(_read(now, *self._figures()))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.record(time.monotonic())
            except Exception:
                _log.exception("the figures for the plots could not be read")
            self._stopping.wait(PERIOD)


def _read(now: float, snapshot: Snapshot, jobs: JobCounts) -> _Reading:
    metrics = {metric.name: metric for metric in snapshot}
    requests, attempts = metrics.get(REQUESTS), metrics.get(JOBS)
    by_status = [(s.labels[-1], s.buckets) for s in requests.samples()] if requests else []
    by_outcome = [(s.labels[-1], sum(s.buckets)) for s in attempts.samples()] if attempts else []
    states: dict[str, float | None] = dict.fromkeys(STATES)
    if jobs is not None:
        for state in STATES:
            states[state] = sum(n for (_, each), n in jobs.items() if each == state)

    def total(name: str) -> float:
        return sum(sample.value for sample in metrics[name].samples()) if name in metrics else 0.0

    counts = {
        "requests": sum(sum(buckets) for _, buckets in by_status),
        "failed": sum(sum(buckets) for status, buckets in by_status if status.startswith("5")),
        "jobs_done": sum(n for outcome, n in by_outcome if outcome == "completed"),
        "jobs_failed": sum(n for outcome, n in by_outcome if outcome in ("retried", "discarded")),
        "processor": total(PROCESSOR),
    }
    levels = {"connections": total(CONNECTIONS), "streams": total(STREAMS), **states}
    buckets = [float(sum(column)) for column in zip(*(buckets for _, buckets in by_status))]
    return _Reading(now, counts, levels, requests.bounds if requests else (), buckets)


def _between(last: _Reading, now: _Reading) -> Point:
    """Return the point between two readings.

    A count falls if a process has ended: a negative difference counts as 0.
    """
    rates = {
        name: max(0.0, count - last.counts[name]) / (now.at - last.at)
        for name, count in now.counts.items()
    }
    known = last.buckets or [0.0] * len(now.buckets)
    new = [max(0.0, after - before) for before, after in zip(known, now.buckets)]
    p50, p99 = (quantile(q, now.bounds, new) for q in (0.5, 0.99))
    return {**rates, **now.levels, "p50": p50, "p99": p99}


def quantile(q: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """Estimate a quantile from a histogram, as Prometheus' histogram_quantile does.

    Interpolates linearly in a bucket; above the last bound returns that bound. None without counts.
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
