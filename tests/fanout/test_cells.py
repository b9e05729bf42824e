"""Counters and histograms: exact under threads, and each process has its own."""

from __future__ import annotations

import math
import os
import threading
from types import ModuleType

import pytest


def test_a_counter_adds_exactly_under_threads(core: ModuleType) -> None:
    counter = core.Counter()

    def work() -> None:
        for _ in range(2000):
            counter.inc()
            counter.inc(0.5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert counter.value == 8 * 2000 * 1.5


def test_a_histogram_counts_by_inclusive_upper_bound(core: ModuleType) -> None:
    histogram = core.Histogram([0.1, 1, 10])
    assert histogram.bounds == (0.1, 1.0, 10.0)
    for x in (0.05, 0.1, 0.100001, 1, 10, 11, math.inf):
        histogram.observe(x)
    buckets, total, count = histogram.snapshot()
    assert (buckets, count) == ([2, 2, 1, 2], 7)
    assert total == math.inf
    with pytest.raises(ValueError):
        histogram.observe(math.nan)
    assert histogram.snapshot()[2] == 7
    assert core.Histogram([]).snapshot() == ([0], 0.0, 0)


def test_wrong_bounds_and_values_are_refused(core: ModuleType) -> None:
    for bounds in ([2, 1], [1, 1], [1, math.inf], [math.nan]):
        with pytest.raises(ValueError):
            core.Histogram(bounds)
    with pytest.raises(TypeError):
        core.Counter().inc("1")
    counter = core.Counter()
    for n in (-1.0, -1e-300, -math.inf, math.nan):
        with pytest.raises(ValueError, match="cannot decrease"):
            counter.inc(n)
    assert counter.value == 0


def test_a_forked_process_counts_for_itself(core: ModuleType) -> None:
    counter, histogram = core.Counter(), core.Histogram([1, 2])
    counter.inc()
    child = os.fork()
    if not child:
        counter.inc(2)
        histogram.observe(1.5)
        os._exit(0 if (counter.value, histogram.snapshot()[2]) == (3, 1) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (counter.value, histogram.snapshot()) == (1, ([0, 0, 0], 0.0, 0))
