"""The rate limiter: exact buckets, bounded memory, whatever many threads do at once."""

from __future__ import annotations

import random
import sys
import threading
import time
from types import ModuleType
from typing import Any

import pytest


def test_a_bucket_holds_its_limit_and_refills_evenly(core: ModuleType) -> None:
    limiter = core.RateLimiter(limit=4, period=8.0)
    assert [limiter.take("ann", now=100.0) for _ in range(4)] == [
        (True, 3, 2.0),
        (True, 2, 4.0),
        (True, 1, 6.0),
        (True, 0, 8.0),
    ]
    assert limiter.take("ann", now=100.0) == (False, 0, 2.0)
    assert limiter.take("bob", now=100.0)[0]
    assert limiter.take("ann", now=101.5) == (False, 0, 0.5)
    assert limiter.take("ann", now=102.0) == (True, 0, 8.0)
    assert limiter.take("ann", cost=3, now=106.0) == (False, 2, 2.0)
    assert limiter.take("ann", cost=2, now=106.0) == (True, 0, 8.0)
    assert limiter.take("ann", now=1000.0) == (True, 3, 2.0)


def test_a_refusal_takes_nothing(core: ModuleType) -> None:
    limiter = core.RateLimiter(limit=2, period=2.0)
    for _ in range(2):
        assert limiter.take("ann", now=5.0)[0]
    for _ in range(100):
        assert limiter.take("ann", now=5.5) == (False, 0, 0.5)
    assert limiter.take("ann", now=6.0)[0]


def test_full_buckets_are_forgotten_and_too_many_too(core: ModuleType) -> None:
    limiter = core.RateLimiter(limit=10, period=10.0, keys=1000)
    for n in range(5000):
        limiter.take(f"user {n}", now=1.0)
    assert len(limiter) == 1000
    for n in range(1000):
        limiter.take(f"late {n}", now=50.0 + n / 1000)
    assert len(limiter) == 1000
    for n in range(2000):
        limiter.take("one", now=100.0 + n)
        limiter.take(f"two {n}", now=100.0 + n)
    assert len(limiter) <= 4


def test_the_one_that_asked_longest_ago_goes_first(core: ModuleType) -> None:
    limiter = core.RateLimiter(limit=1, period=100.0, keys=3)
    for key in "abc":
        assert limiter.take(key, now=1.0)[0]
    assert not limiter.take("a", now=1.0)[0]  # a refusal is no use
    assert limiter.take("d", now=2.0)[0]
    assert limiter.take("a", now=3.0)[0]  # forgotten, so full
    assert not limiter.take("c", now=3.0)[0]


def test_wrong_values_are_refused(core: ModuleType) -> None:
    for wrong in (0, -1, 2**31):
        with pytest.raises(ValueError, match="limit"):
            core.RateLimiter(limit=wrong, period=1.0)
        with pytest.raises(ValueError, match="keys"):
            core.RateLimiter(limit=1, period=1.0, keys=wrong)
    for period in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="period"):
            core.RateLimiter(limit=1, period=period)
    limiter = core.RateLimiter(limit=3, period=1.0)
    for cost in (0, 4, -1):
        with pytest.raises(ValueError, match="cost"):
            limiter.take("ann", cost)
    with pytest.raises(ValueError, match="cost"):
        limiter.take("ann", 2**40)
    for cost in (1.5, "1", None):
        with pytest.raises(TypeError):
            limiter.take("ann", cost)
    for key in (None, 1, b"ann"):
        with pytest.raises(TypeError):
            limiter.take(key)
    assert (limiter.limit, limiter.period, limiter.keys, len(limiter)) == (3, 1.0, 65536, 0)


def test_threads_share_exactly_what_there_is(core: ModuleType) -> None:
    limiter = core.RateLimiter(limit=1000, period=3600.0)
    taken: list[int] = []
    gate = threading.Barrier(16)

    def work() -> None:
        gate.wait()
        taken.append(sum(limiter.take("all")[0] for _ in range(200)))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    # 3.6 s give one more; nobody gets what is not there.
    assert 1000 <= sum(taken) <= 1002


def test_its_clock_is_the_monotonic_one(core: ModuleType) -> None:
    limiter = core.RateLimiter(limit=1, period=0.05)
    assert limiter.take("ann")[0]
    refused = limiter.take("ann", now=time.monotonic())
    assert not refused[0] and 0 < refused[2] <= 0.05
    deadline = time.monotonic() + 10
    while not limiter.take("ann")[0]:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("seed", range(20))
def test_both_twins_say_the_same(twins: tuple[Any, Any], seed: int) -> None:
    chance = random.Random(seed)
    limit, keys = chance.randint(1, 9), chance.randint(1, 20)
    period = chance.choice([0.1, 1.0, 7.0, 60.0])
    both = [twin.RateLimiter(limit=limit, period=period, keys=keys) for twin in twins]
    now = 1000.0
    for _ in range(3000):
        now += chance.choice([0.0, 0.0, 1e-6, period / limit, chance.random() * period])
        key, cost = f"k{chance.randint(0, 30)}", chance.randint(1, limit)
        first, second = (one.take(key, cost, now) for one in both)
        assert first == second
        assert len(both[0]) == len(both[1]) <= keys
