"""Counters and histograms, alone and in memory shared by forked processes."""

from __future__ import annotations

import math
import mmap
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


def test_wrong_bounds_and_memory_are_refused(core: ModuleType) -> None:
    for bounds in ([2, 1], [1, 1], [1, math.inf], [math.nan]):
        with pytest.raises(ValueError):
            core.Histogram(bounds)
    doubles = memoryview(bytearray(8 * 10)).cast("d")
    with pytest.raises(ValueError, match="whole lanes of 4"):
        core.Histogram([1, 2], doubles)
    for memory in (memoryview(bytearray(80)), doubles[::2], doubles[:0], doubles.toreadonly()):
        with pytest.raises(ValueError):
            core.Counter(memory)
    with pytest.raises(TypeError):
        core.Counter(5)
    with pytest.raises(TypeError):
        core.Counter().inc("1")
    counter = core.Counter()
    for n in (-1.0, -1e-300, -math.inf, math.nan):
        with pytest.raises(ValueError, match="does not fall"):
            counter.inc(n)
    assert counter.value == 0
    for lane in (-1, 65536):
        with pytest.raises(ValueError):
            core.set_lane(lane)


def test_memory_may_lie_anywhere(core: ModuleType) -> None:
    block = bytearray(8 * 4 + 3)
    counter = core.Counter(memoryview(block)[3:].cast("d"))
    counter.inc(2.5)
    assert counter.value == 2.5


def test_each_process_writes_its_lane_and_all_read_the_sum(core: ModuleType) -> None:
    lanes = 3
    shared = mmap.mmap(-1, 8 * lanes * (1 + 4))
    doubles = memoryview(shared).cast("d")
    counter = core.Counter(doubles[:lanes])
    histogram = core.Histogram([1, 2], doubles[lanes:])
    private = core.Counter()
    children = []
    for lane in range(lanes):
        child = os.fork()
        if not child:
            core.set_lane(lane)
            for _ in range(1000 * (lane + 1)):
                counter.inc()
                private.inc()
                histogram.observe(lane + 0.5)
            os._exit(0 if private.value == 1000 * (lane + 1) else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert counter.value == 6000
    assert histogram.snapshot() == ([1000, 2000, 3000], 500 + 3000 + 7500, 6000)
    assert private.value == 0


def test_a_lane_outside_the_memory_is_an_error_and_writes_nothing(core: ModuleType) -> None:
    block = bytearray(8 * 8)
    counter = core.Counter(memoryview(block)[: 8 * 2].cast("d"))
    histogram = core.Histogram([], memoryview(block)[: 8 * 2].cast("d"))
    core.set_lane(2)
    try:
        with pytest.raises(IndexError):
            counter.inc()
        with pytest.raises(IndexError):
            histogram.observe(1)
        core.Counter().inc()
    finally:
        core.set_lane(0)
    assert block == bytearray(8 * 8)
