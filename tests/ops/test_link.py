"""What the admin process hears of the others, beside each other and from those that hang."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest
from forge_min.observe.profiles import Question
from forge_min.ops.processes import HealthOfMany, Inheritance
from forge_min.ops.processes.inheritance import Counted

READY = (True, {})
Answers = Callable[[Connection], None]


@pytest.fixture
def health_of() -> Iterator[Callable[[list[Answers]], HealthOfMany]]:
    """The admin process's view of processes that answer as these functions do."""
    ends: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def made(answers: list[Answers]) -> HealthOfMany:
        parent, control = socket.socketpair()
        health = HealthOfMany({}, control, len(answers), Inheritance())
        health.running = SimpleNamespace(ready=lambda: READY)  # type: ignore[assignment]
        for slot, answer in enumerate(answers):
            ours, theirs = socket.socketpair()
            socket.send_fds(parent, [str(slot).encode()], [ours.fileno()])
            ours.close()
            health._take_links()  # a message for each: this is a stream
            ends.append(theirs)
            threads.append(threading.Thread(target=_live, args=[answer, theirs.dup()]))
            threads[-1].start()
        ends.extend((parent, control))
        return health

    yield made
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
    for thread in threads:
        thread.join(10)


def _live(answer: Answers, end: socket.socket) -> None:
    with Connection(end.detach()) as link, suppress(OSError, EOFError):
        while True:
            link.recv()
            answer(link)


def late(seconds: float) -> Answers:
    def answer(link: Connection) -> None:
        time.sleep(seconds)
        link.send((1, READY, []))

    return answer


def half(link: Connection) -> None:
    """The length of an answer, and a part of it."""
    link._send((5000).to_bytes(4, "big") + b"x" * 100)  # type: ignore[attr-defined]


def asked(health: HealthOfMany, times: int) -> list[tuple[bool, Any]]:
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


@pytest.mark.thorough
def test_half_an_answer_holds_up_one_who_asks_and_its_process_is_named(health_of: Any) -> None:
    health = health_of([half, late(0)])
    stuck = threading.Thread(target=health.ready, daemon=True)
    stuck.start()
    time.sleep(1.5)
    for good, reasons in asked(health, 3):
        assert not good and reasons["process 1: process"] == "does not answer"
    assert stuck.is_alive(), "nobody waited for it"
    told = health._send(1, Question("threads"))
    assert told is not None and stuck.is_alive()
    told.close()


def test_who_asks_at_the_same_moment_hears_of_a_process_that_hangs_since(
    health_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()

    def answer(link: Connection) -> None:
        if hangs.is_set():
            time.sleep(2.5)
        link.send((1, READY, []))

    health = health_of([answer, late(0)])
    assert health.ready() == (True, {})
    hangs.set()
    put = health._put
    monkeypatch.setattr(health, "_put", lambda: (time.sleep(0.1), put())[1])  # a busy machine
    with ThreadPoolExecutor(16) as pool:
        begun = time.monotonic()
        told = [ask.result(timeout=20) for ask in [pool.submit(health.ready) for _ in range(16)]]
    assert told == [(False, {"process 1: process": "does not answer"})] * 16
    assert time.monotonic() - begun < 20, "one after the other would take 32 s"


def test_an_answer_is_not_older_than_the_question(health_of: Any) -> None:
    away = threading.Event()

    def answer(link: Connection) -> None:
        link.send((1, (False, {"database": "away"}) if away.is_set() else READY, []))

    health = health_of([answer, late(1.0)])
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(health.ready)  # process 1 answers this at once
        time.sleep(0.3)
        away.set()
        beside = [pool.submit(health.ready) for _ in range(3)]
        for told in beside:
            assert told.result(timeout=20) == (False, {"process 1: database": "away"})
        assert first.result(timeout=20) == (True, {})


def test_what_is_left_is_taken_whole_or_not_at_all() -> None:
    inheritance = Inheritance()
    assert inheritance.take() == Counted([], {}, {})
    inheritance.leave(Counted([], {0: 11, 1: 12}, {}))
    inheritance.leave(Counted([], {0: 11}, {}))
    assert inheritance.take() == Counted([], {0: 11}, {})
    os.pwrite(inheritance._fd, b"\xff", 40)  # as a writer that was killed in between
    assert inheritance.take() == Counted([], {}, {})
