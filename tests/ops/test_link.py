"""What the admin process hears of the others, beside each other and from those that hang."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest
from forge_min.ops.processes import CounterMemory, SiteHealth, socket_pairs
from forge_min.ops.processes.site_health import Counters

READY = (True, {})
Answers = Callable[[Connection], None]


@pytest.fixture
def health_of() -> Iterator[Callable[[list[Answers]], SiteHealth]]:
    """The admin process's view of processes that answer as these functions do."""
    ends: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def made(answers: list[Answers]) -> SiteHealth:
        questions = socket_pairs(len(answers))
        health = SiteHealth({}, [asking for asking, _ in questions], CounterMemory())
        health.running = SimpleNamespace(readiness=lambda: READY)  # type: ignore[assignment]
        for pair, answer in zip(questions, answers):
            ends.extend(pair)
            threads.append(threading.Thread(target=_live, args=[answer, pair[1]]))
            threads[-1].start()
        return health

    yield made
    for end in ends:
        end.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)
    for end in ends:
        end.close()


def _live(answer: Answers, questions: socket.socket) -> None:
    while True:
        _, fds, *_ = socket.recv_fds(questions, 4096, 1)
        if not fds:
            return
        with Connection(fds[0]) as asker:
            answer(asker)


def told(asker: Connection, ready: object) -> None:
    try:
        asker.send((1, (ready, [])))
    except OSError:
        pass  # it did not wait


def late(seconds: float) -> Answers:
    def answer(asker: Connection) -> None:
        time.sleep(seconds)
        told(asker, READY)

    return answer


def asked(health: SiteHealth, times: int) -> list[tuple[bool, Any]]:
    with ThreadPoolExecutor(times) as pool:
        asks = []
        for _ in range(times):
            asks.append(pool.submit(health.ready))
            time.sleep(0.05)
        return [ask.result(timeout=20) for ask in asks]


def test_who_asks_beside_others_hears_that_all_are_ready_however_slow_they_are(
    health_of: Any,
) -> None:
    health = health_of([late(0.8), late(0.8)])
    assert health.ready() == (True, {})
    assert asked(health, 4) == [(True, {})] * 4


def test_a_fault_that_leaves_a_process_ready_is_named_and_leaves_the_site_ready(
    health_of: Any,
) -> None:
    hub = {"hub": "F452: the hub is not connected to the database"}
    health = health_of([late(0), lambda asker: told(asker, (True, hub))])
    assert health.ready() == (True, {"process 2: hub": hub["hub"]})


@pytest.mark.thorough
def test_a_process_that_hangs_is_named_to_all_who_ask_and_is_heard_again(health_of: Any) -> None:
    hangs = threading.Event()

    def answer(asker: Connection) -> None:
        while hangs.is_set():
            time.sleep(0.01)
        told(asker, READY)

    health = health_of([answer, late(0)])
    assert health.ready() == (True, {})
    hangs.set()
    begun = time.monotonic()
    assert asked(health, 16) == [(False, {"process 1: process": "does not answer"})] * 16
    assert time.monotonic() - begun < 6, "one after the other would take 32 s"
    hangs.clear()
    assert health.ready() == (True, {})


def test_a_process_that_ends_meanwhile_is_not_waited_for(health_of: Any) -> None:
    def ends(asker: Connection) -> None:
        asker.close()

    health = health_of([ends, late(0)])
    begun = time.monotonic()
    assert health.ready() == (False, {"process 1: process": "does not answer"})
    assert time.monotonic() - begun < 1, "nobody waits for it"


def test_what_is_left_is_taken_whole_or_not_at_all() -> None:
    memory = CounterMemory()
    assert memory.load() == Counters([], {}, {})
    memory.save(Counters([], {"1": 11, "2": 12}, {}))
    memory.save(Counters([], {"1": 11}, {}))
    assert memory.load() == Counters([], {"1": 11}, {})
    os.pwrite(memory._fd, b"\xff", 40)  # as a writer that was killed in between
    assert memory.load() == Counters([], {}, {})
