"""Handlers that raise what is no Exception, or do not come back: one clean 500, a line in the log
with the request's id, and others are served.
"""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from forge_min import fanout
from forge_min.wsgi import Application, Response, Router
from forge_min.wsgi.contract import RELEASE
from forge_min.wsgi.server.exchange import Exchange

from wsgi.io_bench import BIG, Bench, run


class Odd(BaseException):
    """What nobody catches by accident."""


@pytest.mark.parametrize(
    "error", [Odd, asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit]
)
@pytest.mark.parametrize("when", ["called", "in the body", "at the close"])
def test_whatever_a_handler_raises_its_worker_stays(
    serve, connect, eventually, caplog, error, when
):
    class Body:
        def __iter__(self):
            if when == "in the body":
                raise error
            return iter([b"ok"])

        def close(self):
            if when == "at the close":
                raise error

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/":
            start_response("200 OK", [])
            return [b"fine"]
        if when == "called":
            raise error
        start_response("200 OK", [])
        return Body()

    server = serve(app, threads=2)
    for _ in range(6):
        peer = connect(server).get("/bad", "Connection: close\r\n")
        if when == "at the close":
            peer.rest()
        else:
            answer = peer.answer()
            assert answer.status == 500
            assert f"request_id={answer.headers['x-request-id']}" in caplog.text
            assert peer.rest() == b""
        peer.close()
    assert connect(server).get().answer().body == b"fine"
    eventually(lambda: caplog.text.count("/bad request_id=") == 6)
    eventually(lambda: server.connections <= 1)


@pytest.fixture
def gate():
    """Handlers wait for it; open after the test."""
    event = threading.Event()
    yield event
    event.set()


def blocked(gate, after=b"late"):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/":
            start_response("200 OK", [])
            return [b"fine"]
        if environ["PATH_INFO"] == "/pieces":
            start_response("200 OK", [])
            return (gate.wait() and b"" or b"x" for _ in range(3))
        gate.wait()
        start_response("200 OK", [])
        return [after]

    return app


def workers(name):
    return {t.name for t in threading.enumerate() if t.name.startswith(name)}


def test_a_handler_that_blocks_gets_one_500_and_another_worker_comes(
    serve, connect, gate, caplog, eventually
):
    server = serve(blocked(gate), threads=2, handler_timeout=0.3, thread_name="mine")
    before = len(workers("mine-"))
    stuck = [connect(server).get("/stuck") for _ in range(2)]
    waiting = connect(server).get()
    assert waiting.answer().body == b"fine"
    for peer in stuck:
        answer = peer.answer()
        assert (answer.status, answer.headers["connection"]) == (500, "close")
        assert f"/stuck request_id={answer.headers['x-request-id']}" in caplog.text
        assert peer.rest() == b""
    assert "gate.wait()" in caplog.text  # where it is stuck
    eventually(lambda: len(workers("mine-")) == before + 2)  # it comes after the answer
    eventually(lambda: server.connections == 1)
    gate.set()
    eventually(lambda: len(workers("mine-")) == before)
    for _ in range(4):
        assert connect(server).get("/stuck").answer().body == b"late"
    assert waiting.get().answer().body == b"fine"


def test_a_body_that_blocks_is_cut(serve, connect, gate, eventually, caplog):
    server = serve(blocked(gate), threads=1, handler_timeout=0.3)
    peer = connect(server).get("/pieces")
    assert b"500" in peer.until(b"\r\n")
    assert connect(server).get().answer().body == b"fine"

    def begun(environ, start_response):
        if environ["PATH_INFO"] == "/":
            return app(environ, start_response)
        start_response("200 OK", [])
        return (b"first" if n == 0 else gate.wait() and b"" for n in range(3))

    app = blocked(gate)
    server = serve(begun, threads=1, handler_timeout=0.3)
    peer = connect(server).get("/begun")
    assert peer.rest().endswith(b"first\r\n")  # without the last chunk
    assert connect(server).get().answer().body == b"fine"
    assert caplog.text.count("is given up") == 2


@pytest.mark.thorough
def test_a_handler_that_comes_back_just_then_never_answers_twice(serve, connect):
    """Handlers take about as long as they may: each client gets one answer, whoever gave it."""

    def app(environ, start_response):
        time.sleep(float(environ["QUERY_STRING"]))
        start_response("200 OK", [])
        return [b"x" * 10]

    server = serve(app, threads=8, handler_timeout=0.5)
    peers = [
        connect(server).send(f"GET /?{0.3 + 0.02 * n} HTTP/1.1\r\nHost: a\r\n\r\n")
        for n in range(40)
    ]
    statuses = set()
    for peer in peers:
        answer = peer.answer()
        statuses.add(answer.status)
        assert answer.status in (200, 500)
        if answer.status == 500:
            assert peer.rest() == b""
    assert statuses == {200, 500}


def test_the_access_log_tells_of_the_500_that_was_given(serve, connect, gate, eventually):
    router, seen = Router(), []
    router.add("GET", "/stuck", lambda request: gate.wait() and Response(200, b"late"))
    app = Application(router, access=lambda *row: seen.append(row))
    server = serve(app, threads=1, handler_timeout=0.2)
    assert connect(server).get("/stuck").answer().status == 500
    gate.set()
    eventually(lambda: seen)
    assert seen[0][:3] == ("GET", "/stuck", 500)


def test_a_handler_may_remove_every_key_of_environ(serve, connect, gate, caplog):
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        environ.clear()
        if path == "/stuck":
            gate.wait()
        start_response("200 OK", [])
        return [b"fine"] if path == "/" else (part for part in [b"fi", b"ne"])

    server = serve(app, threads=8, handler_timeout=0.3)
    stuck = [connect(server).get("/stuck") for _ in range(6)]
    assert [peer.answer().status for peer in stuck] == [500] * 6
    for path in ("/", "/parts"):
        assert connect(server).get(path).answer().body == b"fine"


def test_a_late_cut_harms_no_body_that_another_worker_continues():
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_PROTOCOL": "HTTP/1.1"}
    released = []
    environ[RELEASE] = lambda: released.append(True)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", str(len(BIG) + 4))])
        return parts()

    def parts():
        yield BIG
        assert not exchange.cut_off(first, environ, reported=False)
        assert not released
        yield b"rest"

    made = Bench(fanout)
    peer, first = made.asked()
    exchange = Exchange(first, environ)
    exchange.run(app, environ)
    received = []
    reader = run(lambda: received.append(peer.answer().body))
    exchange.resume(made.next())
    reader.join()
    assert received == [BIG + b"rest"]
    made.end()


def test_each_part_of_a_body_has_the_whole_timeout(serve, connect):
    def app(environ, start_response):
        start_response("200 OK", [])
        return (time.sleep(0.3) or b"part" for _ in range(6))

    server = serve(app, threads=1, handler_timeout=1.0)
    assert connect(server).get().answer().body == b"part" * 6


def test_every_given_up_worker_is_replaced(serve, connect, gate, monkeypatch, caplog):
    """Also if its request cannot be released, or the first new thread cannot start."""

    def app(environ, start_response):
        def fail():
            raise OSError("not released")

        if environ["PATH_INFO"] == "/stuck":
            environ["forge.release"] = fail
            gate.wait()
        start_response("200 OK", [])
        return [b"fine"]

    server = serve(app, threads=1, handler_timeout=0.3)
    start, failures = server._thread, [RuntimeError("can't start new thread")]

    def start_later(name, run):
        if failures:
            raise failures.pop()
        return start(name, run)

    monkeypatch.setattr(server, "_thread", start_later)
    connect(server).get("/stuck")
    assert connect(server).get().answer().body == b"fine"
    assert "not released" in caplog.text and "can't start new thread" in caplog.text


def test_a_worker_that_starts_during_a_stop_ends_with_it(serve, connect, gate, monkeypatch):
    server = serve(blocked(gate), threads=1, handler_timeout=0.2, thread_name="late")
    start = server._thread

    def start_slowly(name, run):
        thread = start(name, run)
        time.sleep(0.5)
        return thread

    monkeypatch.setattr(server, "_thread", start_slowly)
    assert connect(server).get("/stuck").answer().status == 500
    assert server.stop(timeout=60)
    assert workers("late-") == {"late-1"}  # only the one that is stuck


def test_a_stop_does_not_wait_for_who_was_given_up(serve, connect, gate):
    server = serve(blocked(gate), threads=1, handler_timeout=0.2)
    assert connect(server).get("/stuck").answer().status == 500
    assert server.stop(timeout=60)
