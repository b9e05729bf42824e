"""One thread answers alone while that is quick, and never keeps others waiting."""

from __future__ import annotations

import threading
import time

import pytest
from forge_min.wsgi.server.crew import QUICK, Crew


def alone(crew: Crew) -> int:
    """Drive a crew until this thread is alone."""
    me = threading.get_ident()
    until = time.monotonic() + 10
    while crew.alone != me:
        assert time.monotonic() < until
        crew.end(me, crew.begin())
    return me


def test_many_quick_answers_make_one_thread_poll_alone():
    crew = Crew()
    alone(crew)


def test_slow_answers_bring_everybody_back():
    crew = Crew()
    me = alone(crew)
    for _ in range(5):
        crew.end(me, crew.begin() - 2 * QUICK)
    assert crew.alone == 0


def test_one_slow_answer_among_many_is_forgiven():
    crew = Crew()
    me = alone(crew)
    for _ in range(100):
        crew.end(me, time.perf_counter())
    crew.end(me, crew.begin() - 2 * QUICK)
    assert crew.alone == me


@pytest.mark.parametrize("stuck", [True, False])
def test_resting_threads_come_back_when_one_is_stuck_or_has_nothing_to_do(stuck):
    crew = Crew()
    alone(crew)
    back = threading.Barrier(4)

    def rest():
        crew.rest()
        back.wait(10)

    threads = [threading.Thread(target=rest) for _ in range(3)]
    for thread in threads:
        thread.start()
    if stuck:
        crew.begin()
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
