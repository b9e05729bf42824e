"""What the server refuses by itself is told of: no request leaves without a line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from forge_min import observe
from forge_min.wsgi import Application, Request, Response, Router, Server

HEAD = "HTTP/1.1\r\nHost: a\r\n"
REFUSED = {
    "malformed": ("GET /x HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400, "GET", "/x"),
    "no request at all": ("hello\r\n\r\n", 400, "-", "-"),
    "a path": (f"DELETE /caf%C3%A9 {HEAD}Content-Length: x\r\n\r\n", 400, "DELETE", "/café"),
    "no text": (f"GET /%ff%0a {HEAD}Expect: x\r\n\r\n", 417, "GET", "/\\xff\n"),
    "unknown method": (f"BREW /x {HEAD}Expect: x\r\n\r\n", 417, "BREW", "/x"),
    "too large": (f"POST /x {HEAD}Content-Length: 2000000\r\n\r\n", 413, "POST", "/x"),
    "too many fields": (f"GET /x {HEAD}" + "A: b\r\n" * 200 + "\r\n", 431, "GET", "/x"),
    "too long": ("GET /" + "x" * 20_000, 414, "-", "-"),
    "a late head": ("GET /x HTT", 408, "-", "-"),
    "a late body": (f"PUT /x {HEAD}Content-Length: 5\r\n\r\nab", 408, "PUT", "/x"),
    "secret": (f"GET /x?token=hunter2 {HEAD}Expect: x\r\n\r\n", 417, "GET", "/x"),
}


@pytest.fixture
def told(serve: Any) -> tuple[Server, list[Any], list[Any]]:
    """A server, what metrics are told, and what the access log is told with its fields."""
    seen: list[Any] = []
    lines: list[Any] = []
    router = Router()
    router.add("GET", "/x", lambda request: Response(200, b"x"))
    app = Application(
        router,
        observe=lambda *row: seen.append(row[:3]),
        access=lambda *row: lines.append((row[:3], observe.log_fields.get())),
    )
    server = serve(app, header_timeout=0.2, body_timeout=0.2)
    server.set_app(app, app.record_server_response)
    return server, seen, lines


@pytest.mark.parametrize("sent", REFUSED)
def test_each_refusal_is_one_line_and_one_count(
    told: Any, connect: Any, eventually: Callable[..., None], sent: str
) -> None:
    server, seen, lines = told
    request, status, method, path = REFUSED[sent]
    answer = connect(server).send(request).answer()
    assert answer.status == status
    eventually(lambda: lines)
    ((row, fields),) = lines
    assert row == (method, path, status)
    said = json.loads(answer.body)
    assert fields == {"request_id": said["request_id"], "detail": said["detail"]}
    assert seen == [(method if method in ("GET", "DELETE", "POST", "PUT") else "OTHER", "", status)]
    assert not observe.log_fields.get()


def test_who_sent_an_id_is_answered_and_logged_by_it(
    told: Any, connect: Any, eventually: Callable[..., None]
) -> None:
    server, _, lines = told
    for sent, kept in (("mine-7", True), ("not one!", False)):
        lines.clear()
        answer = connect(server).get("/x", f"X-Request-ID: {sent}\r\nExpect: x\r\n").answer()
        eventually(lambda: lines)
        ((_, fields),) = lines
        assert fields["request_id"] == answer.headers["x-request-id"]
        assert (fields["request_id"] == sent) == kept


def test_a_late_one_took_as_long_as_it_did(
    serve: Any, connect: Any, eventually: Callable[..., None]
) -> None:
    seen: list[float] = []
    app = Application(Router(), observe=lambda *row: seen.append(row[3]))
    server = serve(app, body_timeout=1.0)
    server.set_app(app, app.record_server_response)
    connect(server).send(f"PUT /x {HEAD}Content-Length: 5\r\n\r\nab").answer()
    eventually(lambda: seen)
    assert 0.9 < seen[0] < 60


def test_a_handler_that_is_given_up_is_told_of_once_and_at_once(
    serve: Any, connect: Any, eventually: Callable[..., None]
) -> None:
    seen: list[Any] = []
    lines: list[Any] = []
    gate = threading.Event()

    def waits(request: Request) -> Response:
        gate.wait(20)
        return Response(200, b"late")

    router = Router()
    router.add("GET", "/wait/{n}", waits)
    app = Application(
        router,
        observe=lambda *row: seen.append(row),
        access=lambda *row: lines.append(observe.log_fields.get()),
    )
    server = serve(app, threads=2, handler_timeout=0.6)
    server.set_app(app, app.record_server_response)
    answer = connect(server).get("/wait/1").answer()
    assert answer.status == 500
    eventually(lambda: seen)
    assert seen[0][:3] == ("GET", "/wait/{n}", 500) and 0.5 < seen[0][3] < 60
    assert lines[0]["route"] == "/wait/{n}" and "longer than 0.6 s" in lines[0]["detail"]
    assert lines[0]["request_id"] == answer.headers["x-request-id"]
    assert app.in_flight == 1
    gate.set()
    eventually(lambda: app.in_flight == 0)
    assert len(seen) == len(lines) == 1


def test_what_is_before_it_on_the_connection_is_told_of_as_itself(
    told: Any, connect: Any, eventually: Callable[..., None]
) -> None:
    server, seen, _ = told
    peer = connect(server).get("/x").send("nonsense\r\n\r\n")
    assert [peer.answer().status, peer.answer().status] == [200, 400]
    eventually(lambda: len(seen) == 2)
    assert seen == [("GET", "/x", 200), ("OTHER", "", 400)]


def test_a_head_that_is_refused_has_no_body(told: Any, connect: Any) -> None:
    peer = connect(told[0]).send(f"HEAD /x {HEAD}Expect: x\r\n\r\n")
    assert peer.answer(head_only=True).status == 417 and peer.rest() == b""


def test_who_is_told_may_fail(serve: Any, connect: Any) -> None:
    def fails(*told: object) -> None:
        raise OSError("full")

    app = Application(Router())
    server = serve(app)
    server.set_app(app, fails)
    for _ in range(12):  # more than there are workers
        assert connect(server).send("hello\r\n\r\n").answer().status == 400
