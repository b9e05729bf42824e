"""The limiter: exact, whatever many threads do at once."""

from __future__ import annotations

import copy
import threading
from types import ModuleType
from typing import Any

import pytest
from forge_min import errors


def test_caps_are_exact_and_named(core: ModuleType) -> None:
    limiter = core.Limiter(max_total=3, max_per_user=2)
    first = limiter.acquire("ann")
    limiter.acquire("ann")
    with pytest.raises(errors.TooManyConnectionsForUser) as caught:
        limiter.acquire("ann")
    assert caught.value.code == "F501"
    limiter.acquire("bob")
    with pytest.raises(errors.TooManyConnections) as caught_total:
        limiter.acquire("cid")
    assert type(caught_total.value) is errors.TooManyConnections
    assert caught_total.value.code == "F501"
    assert (limiter.active, limiter.users, limiter.active_for("ann")) == (3, 2, 2)
    assert first.release() is True
    assert (limiter.active, limiter.active_for("ann"), limiter.active_for("cid")) == (2, 1, 0)


def test_the_global_cap_is_looked_at_first(core: ModuleType) -> None:
    limiter = core.Limiter(max_total=1, max_per_user=1)
    limiter.acquire("ann")
    with pytest.raises(errors.TooManyConnections) as caught:
        limiter.acquire("ann")
    assert caught.value.code == "F501"


def test_a_lease_counts_once(core: ModuleType) -> None:
    limiter = core.Limiter(max_total=5, max_per_user=5)
    kept = limiter.acquire("ann")
    with limiter.acquire("ann") as lease:
        assert lease.user == "ann"
        assert limiter.active == 2
    assert [lease.release(), lease.release()] == [False, False]
    assert limiter.active == 1
    assert kept.release()
    assert (limiter.active, limiter.users) == (0, 0)


def test_a_refused_place_leaves_nothing_behind(core: ModuleType) -> None:
    limiter = core.Limiter(max_total=5, max_per_user=0)
    with pytest.raises(errors.TooManyConnectionsForUser):
        limiter.acquire("ann")
    assert (limiter.active, limiter.users) == (0, 0)


def test_wrong_values_are_refused(core: ModuleType) -> None:
    for wrong in (-1, 2**31):
        with pytest.raises(ValueError, match="max_total"):
            core.Limiter(max_total=wrong, max_per_user=1)
    with pytest.raises(TypeError):
        core.Limiter(max_total="5", max_per_user=1)
    limiter = core.Limiter(max_total=5, max_per_user=1)
    for wrong_user in (None, 5, b"ann"):
        with pytest.raises(TypeError):
            limiter.acquire(wrong_user)


def test_a_compiled_lease_cannot_be_forged(twins: tuple[ModuleType, ModuleType]) -> None:
    compiled, _ = twins
    lease = compiled.Limiter(max_total=5, max_per_user=1).acquire("ann")
    with pytest.raises(TypeError):
        copy.copy(lease)
    with pytest.raises(TypeError):
        compiled.Lease()


def test_64_threads_never_pass_a_cap_and_leave_zero(core: ModuleType) -> None:
    limiter = core.Limiter(max_total=20, max_per_user=3)
    users = [f"user{n}" for n in range(10)]
    worst: list[tuple[int, int]] = []
    got: list[int] = []
    barrier = threading.Barrier(64)

    def work(seed: int) -> None:
        held: list[Any] = []
        taken = 0
        barrier.wait(10)
        for turn in range(400):
            user = users[(seed * 7 + turn) % len(users)]
            try:
                held.append(limiter.acquire(user))
                taken += 1
            except errors.TooManyConnections:
                pass
            worst.append((limiter.active, limiter.active_for(user)))
            if len(held) > seed % 3:
                lease = held.pop(0)
                assert lease.release() is True
                assert lease.release() is False
        for lease in held:
            lease.release()
        got.append(taken)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == 64 and sum(got) > 0
    assert max(active for active, _ in worst) <= 20
    assert max(of_user for _, of_user in worst) <= 3
    assert (limiter.active, limiter.users) == (0, 0)


def test_one_lease_released_by_many_threads_is_given_back_once(core: ModuleType) -> None:
    limiter = core.Limiter(max_total=1000, max_per_user=1000)
    leases = [limiter.acquire("ann") for _ in range(500)]
    answers: list[bool] = []

    def work() -> None:
        for lease in leases:
            answers.append(lease.release())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers.count(True) == 500
    assert limiter.active == 0
