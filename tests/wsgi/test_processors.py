"""The processors on which workers of a busy server may continue after a wait."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from forge_min import fanout

from wsgi.conftest import DEADLINE

ALL = os.sched_getaffinity(0)
pytestmark = pytest.mark.skipif(
    fanout.IMPL != "c" or len(ALL) < 2, reason="the compiled core and two processors are needed"
)
CHILD = "import os; print(len(os.sched_getaffinity(0)))"


@pytest.fixture
def busy(serve, connect):
    """Ask a server at a high rate while the handler `look` fills sets; return them."""

    def ask(look, until):
        def app(environ, start_response):
            look()
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]

        server = serve(app, threads=2)
        end = time.monotonic() + DEADLINE
        peers = [connect(server) for _ in range(4)]
        while not until() and time.monotonic() < end:
            for peer in peers:
                for _ in range(50):
                    peer.get()
            for peer in peers:
                for _ in range(50):
                    assert peer.answer().body == b"ok"
        assert until()

    return ask


def test_a_worker_continues_on_one_processor_and_runs_on_all(busy):
    waiting, running = set(), set()

    def look():
        fanout.begin_wait()
        waiting.add(len(os.sched_getaffinity(0)))
        fanout.end_wait()
        running.add(frozenset(os.sched_getaffinity(0)))

    busy(look, lambda: 1 in waiting)
    assert running == {frozenset(ALL)}


def test_what_a_handler_starts_may_use_all_processors(busy):
    seen, started = set(), []

    def look():
        fanout.begin_wait()
        limited = len(os.sched_getaffinity(0)) == 1
        fanout.end_wait()
        if limited and not started:
            started.append(True)
            out = subprocess.run(
                [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True
            )
            seen.add(out.stdout.strip())
            thread = threading.Thread(target=lambda: seen.add(str(len(os.sched_getaffinity(0)))))
            thread.start()
            thread.join()

    busy(look, lambda: seen)
    assert seen == {str(len(ALL))}


def test_a_thread_that_is_no_worker_is_not_limited(busy):
    waiting = set()

    def look():
        fanout.begin_wait()
        waiting.add(len(os.sched_getaffinity(0)))
        fanout.end_wait()

    def until():
        fanout.begin_wait()
        assert os.sched_getaffinity(0) == ALL
        fanout.end_wait()
        return 1 in waiting

    busy(look, until)
    assert os.sched_getaffinity(0) == ALL and os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_server_that_is_not_busy_limits_nobody(serve, connect):
    seen = set()

    def app(environ, start_response):
        fanout.begin_wait()
        seen.add(len(os.sched_getaffinity(0)))
        fanout.end_wait()
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    peer = connect(serve(app))
    for _ in range(10):
        assert peer.get().answer().body == b"ok"
        time.sleep(0.02)
    assert seen == {len(ALL)}
