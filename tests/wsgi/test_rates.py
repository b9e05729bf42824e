"""The rate limiter: exact buckets, bounded memory, whatever many threads do at once."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from forge_min.wsgi.middleware import limits
from forge_min.wsgi.middleware.limits import RateLimiter

Take = Callable[..., tuple[bool, int, float]]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Take:
    """Take from a limiter at a time: at(now, limiter, key)."""

    def take(now: float, limiter: RateLimiter, key: str, *more: int) -> tuple[bool, int, float]:
        monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: now))
        return limiter.take(key, *more)

    return take


def test_a_bucket_holds_its_limit_and_refills_evenly(at: Take) -> None:
    limiter = RateLimiter(4, 8.0)
    assert [at(100.0, limiter, "ann") for _ in range(4)] == [
        (True, 3, 2.0),
        (True, 2, 4.0),
        (True, 1, 6.0),
        (True, 0, 8.0),
    ]
    assert at(100.0, limiter, "ann") == (False, 0, 2.0)
    assert at(100.0, limiter, "bob")[0]
    assert at(101.5, limiter, "ann") == (False, 0, 0.5)
    assert at(102.0, limiter, "ann") == (True, 0, 8.0)
    assert at(106.0, limiter, "ann") == (True, 1, 6.0)
    assert at(106.0, limiter, "ann") == (True, 0, 8.0)
    assert at(1000.0, limiter, "ann") == (True, 3, 2.0)


def test_a_refusal_takes_nothing(at: Take) -> None:
    limiter = RateLimiter(2, 2.0)
    for _ in range(2):
        assert at(5.0, limiter, "ann")[0]
    for _ in range(100):
        assert at(5.5, limiter, "ann") == (False, 0, 0.5)
    assert at(6.0, limiter, "ann")[0]


def test_a_look_takes_nothing(at: Take) -> None:
    limiter = RateLimiter(2, 2.0)
    assert at(5.0, limiter, "ann", 0) == (True, 2, 0.0)
    assert at(5.0, limiter, "ann") == (True, 1, 1.0)
    assert at(5.0, limiter, "ann", 0) == (True, 1, 1.0)
    assert at(5.0, limiter, "ann") == (True, 0, 2.0)
    assert at(5.0, limiter, "ann", 0) == (True, 0, 2.0)


def test_full_buckets_are_forgotten_and_too_many_too(
    at: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MAX_BUCKETS", 1000)
    limiter = RateLimiter(10, 10.0)
    for n in range(5000):
        at(1.0, limiter, f"user {n}")
    assert len(limiter._times) == 1000
    for n in range(1000):
        at(50.0 + n / 1000, limiter, f"late {n}")
    assert len(limiter._times) <= 1000
    for n in range(2000):
        at(100.0 + n, limiter, "one")
        at(100.0 + n, limiter, f"two {n}")
    assert len(limiter._times) <= 4


def test_the_one_that_asked_longest_ago_goes_first(
    at: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MAX_BUCKETS", 3)
    limiter = RateLimiter(1, 100.0)
    for key in "abc":
        assert at(1.0, limiter, key)[0]
    assert not at(1.0, limiter, "a")[0]  # a refusal is no use
    assert at(2.0, limiter, "d")[0]
    assert at(3.0, limiter, "a")[0]  # forgotten, so full
    assert not at(3.0, limiter, "c")[0]


def test_threads_share_exactly_what_there_is() -> None:
    limiter = RateLimiter(1000, 3600.0)
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


def test_its_clock_is_the_monotonic_one() -> None:
    limiter = RateLimiter(1, 0.05)
    assert limiter.take("ann")[0]
    refused = limiter.take("ann")
    assert not refused[0] and 0 < refused[2] <= 0.05
    deadline = time.monotonic() + 10
    while not limiter.take("ann")[0]:
        assert time.monotonic() < deadline
        time.sleep(0.005)
