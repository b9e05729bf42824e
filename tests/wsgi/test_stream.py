"""`environ["forge.stream"]` hands the socket over, exactly once, and frees the worker."""

from __future__ import annotations

import socket
import threading

import pytest
from forge_min.wsgi import Application, Response, Router


class Owner:
    """Takes sockets over, as a stream writer does."""

    def __init__(self, fail=False):
        self.fds, self.fail = [], fail
        self.called = threading.Semaphore(0)

    def adopt(self, fd):
        self.fds.append(fd)
        self.called.release()
        if self.fail:
            raise RuntimeError("adopt failed")

    def sockets(self):
        return [socket.socket(fileno=fd) for fd in self.fds]


def streaming(owner, status="200 OK", body=(), register=1, fail=None):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/stream":
            for _ in range(register):
                environ["forge.stream"](owner.adopt)
            if fail:
                raise fail
            start_response(status, [("Content-Type", "text/event-stream"), ("Content-Length", "9")])
            return list(body)
        start_response("200 OK", [])
        return [b"ok"]

    return app


def test_twenty_streams_leave_eight_threads_free(serve, connect):
    owner = Owner()
    server = serve(streaming(owner), threads=8)
    peers = [connect(server).get("/stream", "Accept: text/event-stream\r\n") for _ in range(20)]
    for peer in peers:
        head = peer.until(b"\r\n\r\n")
        assert b"Connection: close" in head
        assert b"Content-Length" not in head
        assert b"Transfer-Encoding" not in head
    for _ in range(20):
        assert owner.called.acquire(timeout=10)
        assert connect(server).get().answer().status == 200
    assert server.connections <= 20
    streams = owner.sockets()
    for n, stream in enumerate(streams):
        stream.sendall(b"data: %d\n\n" % n)
        stream.close()
    assert sorted(peer.rest() for peer in peers) == sorted(b"data: %d\n\n" % n for n in range(20))


def test_streams_do_not_count_for_the_cap(serve, connect, eventually):
    owner = Owner()
    server = serve(streaming(owner), max_connections=2)
    for _ in range(6):
        connect(server).get("/stream").until(b"\r\n\r\n")
    eventually(lambda: server.connections == 0)
    for stream in owner.sockets():
        stream.close()


def test_a_returned_body_goes_out_before_the_socket_is_handed_over(serve, connect):
    owner = Owner()
    peer = connect(serve(streaming(owner, body=[b"first\n", b"second\n"]))).get("/stream")
    assert owner.called.acquire(timeout=10)
    (stream,) = owner.sockets()
    stream.sendall(b"third\n")
    stream.close()
    assert peer.rest().endswith(b"\r\n\r\nfirst\nsecond\nthird\n")


def refused(case):
    return {
        "another status": {"status": "429 Too Many Requests", "body": [b"too many "]},
        "an error": {"fail": RuntimeError("x")},
        "asked twice": {"register": 2},
    }[case]


@pytest.mark.parametrize("case", ["another status", "an error", "asked twice"])
def test_an_answer_that_is_no_stream_gives_minus_one_once(serve, connect, case):
    owner = Owner()
    server = serve(streaming(owner, **refused(case)))
    answer = connect(server).get("/stream").answer()
    assert answer.status in (429, 500)
    assert owner.fds == [-1]


def test_head_gives_minus_one_and_keeps_the_connection(serve, connect):
    owner = Owner()
    peer = connect(serve(streaming(owner)))
    peer.get("/stream", method="HEAD").answer(head_only=True)
    assert owner.fds == [-1]
    assert peer.get().answer().status == 200


def test_a_peer_that_is_gone_gives_minus_one(serve, connect, eventually):
    owner = Owner()
    ready, gone = threading.Event(), threading.Event()
    inner = streaming(owner, body=[b"x" * 10] * 100)

    def app(environ, start_response):
        ready.set()
        assert gone.wait(10)
        return inner(environ, start_response)

    peer = connect(serve(app)).get("/stream")
    assert ready.wait(10)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    gone.set()
    assert owner.called.acquire(timeout=10)
    assert owner.fds == [-1]


def test_an_owner_that_fails_is_logged_and_harms_nobody(serve, connect, caplog, eventually):
    owner = Owner(fail=True)
    server = serve(streaming(owner))
    peer = connect(server).get("/stream")
    peer.until(b"\r\n\r\n")
    assert owner.called.acquire(timeout=10)
    assert connect(server).get().answer().status == 200
    eventually(lambda: "could not be handed over" in caplog.text)
    for stream in owner.sockets():
        stream.close()


def test_an_application_streams_through_its_middleware(serve, connect):
    owner = Owner()
    router = Router()

    def events(request):
        request.environ["forge.stream"](owner.adopt)
        return Response(200, b"", [("Content-Type", "text/event-stream")])

    router.add("GET", "/stream", events)
    peer = connect(serve(Application(router))).get("/stream")
    head = peer.until(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert b"X-Request-ID" in head
    assert owner.called.acquire(timeout=10)
    (stream,) = owner.sockets()
    stream.close()
    assert peer.rest() == b""
