"""Requests in flight: exact whatever becomes of them, also a thousand at once."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from forge_min.wsgi import Application, Request, Response, Router, Server

PLAIN = [("Content-Type", "text/plain")]


def new_application(handler: Callable[[Request], Any], **options: Any) -> Application:
    router = Router()
    for method in ("GET", "HEAD", "POST"):
        router.add(method, "/x", handler)
    return Application(router, **options)


def call(app: Application, path: str = "/x", method: str = "GET") -> Any:
    """The body that a server gets, not closed yet."""
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method}
    setup_testing_defaults(environ)
    return app(environ, lambda status, headers, exc_info=None: lambda data: None)


def test_it_counts_while_the_handler_runs_and_until_a_body_of_pieces_is_closed() -> None:
    seen = []

    def handler(request: Request) -> Response:
        seen.append(app.in_flight)
        return Response(200, iter([b"a", b"b"]), PLAIN)

    app = new_application(handler)
    assert app.in_flight == 0
    body = call(app)
    assert seen == [1] and app.in_flight == 1
    assert b"".join(body) == b"ab" and app.in_flight == 1
    body.close()
    body.close()
    assert app.in_flight == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "made",
    [b"whole", [b"a", b"b"], iter([b"a"]), "no bytes", None, ValueError("x"), KeyboardInterrupt()],
    ids=lambda made: type(made).__name__,
)
def test_whatever_a_handler_gives_or_raises_none_stays(made: Any, method: str) -> None:
    def handler(request: Request) -> Any:
        if isinstance(made, BaseException):
            raise made
        return Response(200, made, PLAIN)

    app = new_application(handler)
    with suppress(KeyboardInterrupt):
        body = call(app, method=method)
        if hasattr(body, "close"):
            body.close()
    assert app.in_flight == 0
    call(app, "/nothing")
    assert app.in_flight == 0


def test_a_body_that_fails_or_cannot_be_closed_is_no_longer_in_flight() -> None:
    class Body:
        def __iter__(self) -> Iterator[bytes]:
            raise OSError("gone")

        def close(self) -> None:
            raise OSError("still gone")

    app = new_application(lambda request: Response(200, Body(), PLAIN))
    body = call(app)
    with pytest.raises(OSError, match="gone"):
        next(body)
    assert app.in_flight == 1
    with pytest.raises(OSError, match="still"):
        body.close()
    assert app.in_flight == 0


def test_a_server_that_refuses_the_head_twice_leaves_none() -> None:
    app = new_application(lambda request: Response(200, iter([b"a"]), PLAIN))

    def start(*args: Any) -> Any:
        raise OSError("no")

    environ: dict[str, Any] = {"PATH_INFO": "/x"}
    setup_testing_defaults(environ)
    with pytest.raises(OSError):
        app(environ, start)
    assert app.in_flight == 0


@pytest.mark.thorough
def test_a_thousand_at_once_are_a_thousand_and_then_none() -> None:
    inside, go = threading.Barrier(1001), threading.Event()

    def handler(request: Request) -> Response:
        inside.wait(60)
        go.wait(60)
        return Response(200, b"" if request.method == "GET" else iter([b"a"]), PLAIN)

    app = new_application(handler)

    def work(n: int) -> None:
        body = call(app, method="POST" if n % 2 else "GET")
        if hasattr(body, "close"):
            body.close()

    threads = [threading.Thread(target=work, args=[n]) for n in range(1000)]
    for thread in threads:
        thread.start()
    inside.wait(60)
    assert app.in_flight == 1000
    go.set()
    for thread in threads:
        thread.join(60)
    assert app.in_flight == 0


def test_a_stream_that_the_server_took_over_is_not_in_flight() -> None:
    adopted: list[int] = []

    def handler(request: Request) -> Response:
        if request.method == "POST":
            return Response(200, iter([b"x" * 100_000] * 1000), PLAIN)
        request.environ["forge.stream"](adopted.append)
        return Response(200, b"", [("Content-Type", "text/event-stream")])

    app = new_application(handler)
    server = Server(("127.0.0.1", 0), app, threads=4)
    server.start()
    clients = []
    try:
        for method in ("GET", "POST"):
            client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            client.request(method, "/x")
            assert client.getresponse().status == 200
            clients.append(client)
        end = time.monotonic() + 10
        # The client may have the head before the server has given the rest away.
        while not adopted or app.in_flight != 1:  # of the two the one whose body is not taken
            assert time.monotonic() < end
            time.sleep(0.01)
        os.close(adopted[0])
        for client in clients:
            client.close()
        end = time.monotonic() + 10
        while app.in_flight:
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        server.stop()
