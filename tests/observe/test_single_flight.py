"""Questions that take their time: nobody waits for long, and nobody asks twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from forge_min.observe import SingleFlight


def test_an_answer_is_given_and_an_error_raised_each_time_anew() -> None:
    answers: list[Any] = [1, ValueError("no"), 3]

    def question() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    asked = SingleFlight(question, timeout=30)
    assert asked.result() == 1
    with pytest.raises(ValueError, match="no"):
        asked.result()
    assert asked.result() == 3


def test_nobody_waits_for_longer_than_its_patience_and_one_asks_for_all() -> None:
    go, begun = threading.Event(), threading.Semaphore(0)
    threads = set[int]()

    def question() -> str:
        threads.add(threading.get_ident())
        begun.release()
        go.wait(30)
        return "here"

    asked = SingleFlight(question, timeout=0.2)
    assert [asked.result() for _ in range(50)] == [None] * 50  # 10 s, if each waited
    assert begun.acquire(timeout=30) and not begun.acquire(blocking=False)
    go.set()
    patient = SingleFlight(question, timeout=30)
    got: list[str | None] = []
    several = [threading.Thread(target=lambda: got.append(patient.result())) for _ in range(8)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join(30)
    assert got == ["here"] * 8
    while asked.result() != "here":
        pass
    assert len(threads) == 2
