"""One thread answers alone while that is quick, and never keeps others waiting."""

from __future__ import annotations

import threading
import time

from forge_min.wsgi.server.crew import QUICK, TRIAL, Crew

ME = threading.get_ident()


def answers(crew: Crew, count: int, seconds: float = 0.0) -> None:
    for _ in range(count):
        crew.answered(ME, time.perf_counter() - seconds)


def alone() -> Crew:
    """A crew of which this thread is alone."""
    crew = Crew()
    until = time.monotonic() + 10
    while crew.alone != ME:
        assert time.monotonic() < until
        answers(crew, 1)
    return crew


def test_many_quick_answers_make_one_thread_poll_alone():
    crew = alone()
    answers(crew, 10 * TRIAL)
    assert crew.alone == ME


def test_slow_answers_bring_everybody_back_and_the_next_try_comes_later():
    crew = alone()
    answers(crew, TRIAL, 1.1 * QUICK)
    assert crew.alone == 0
    answers(crew, TRIAL)
    assert crew.alone == 0
    answers(crew, 2 * TRIAL)
    assert crew.alone == ME


def test_one_slow_answer_among_many_is_forgiven():
    crew = alone()
    answers(crew, 20)
    answers(crew, 1, 20 * QUICK)
    answers(crew, 20)
    assert crew.alone == ME


def test_answers_of_other_threads_do_not_count_against_the_one_that_is_alone():
    crew = alone()
    for _ in range(10 * TRIAL):
        crew.answered(ME + 1, time.perf_counter() - 1)
    assert crew.alone == ME


def test_resting_threads_come_back_when_one_is_stuck_or_has_nothing_to_do():
    crew = alone()
    back = threading.Barrier(4)

    def rest():
        crew.rest()
        back.wait(10)

    threads = [threading.Thread(target=rest) for _ in range(3)]
    for thread in threads:
        thread.start()
    back.wait(10)
    assert crew.alone == 0
    for thread in threads:
        thread.join(10)


def test_a_handler_that_blocks_in_the_middle_of_quick_ones_holds_nobody_up(serve, connect):
    gate = threading.Event()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/block":
            gate.wait(10)
        start_response("200 OK", [])
        return [b"x"]

    server = serve(app, threads=4)
    peer = connect(server)
    until = time.monotonic() + 10
    while not server._core._crew.alone and time.monotonic() < until:
        peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        for _ in range(100):
            peer.answer()
    blocked = [connect(server).get("/block") for _ in range(3)]
    for _ in range(10):
        assert peer.get().answer().status == 200
    gate.set()
    assert [p.answer().status for p in blocked] == [200] * 3
