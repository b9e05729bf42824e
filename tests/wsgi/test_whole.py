"""An answer that the core makes at once is what the server's Python makes of the same application:
byte for byte, with the same end of the connection and the same errors.
"""

from __future__ import annotations

import re
import socket
import sys
from typing import Any

import pytest
from forge_min import _fanout_py
from forge_min.wsgi.http1 import response_head
from forge_min.wsgi.server import Server, exchange
from forge_min.wsgi.server.exchange import ClientDisconnected, Exchange
from hypothesis import given, settings
from hypothesis import strategies as st

compiled = pytest.importorskip("forge_min._fanout", reason="the compiled core is not built")
QUICK = settings(max_examples=400, deadline=None)


class Bytes(bytes):
    """Bytes of another class."""


STATUSES = [
    "200 OK",
    "404 Not Found",
    "204 No Content",
    "304 Not Modified",
    "500 x",
    "100 Continue",
]
FIELDS: list[Any] = [
    ("Content-Type", "text/plain"),
    ("X-A", "b"),
    ("Content-Length", "3"),
    ("Content-Length", "0"),
    ("Date", "now"),
    ("X-A", "b\r\nX-B: c"),
    ("Connection", "close"),
    ("X A", "b"),
    ("X-A", "\xe9"),
    ("X-A", "\u20ac"),
    ("X-A", None),
    ("X-A",),
]
BODIES: list[Any] = [
    [b"abc"], [b"a", b"b", b"c"], [b""], [], [b"abcd"], [Bytes(b"abc")], ["abc"], [b"x" * 70_000],
    (b"abc",), [None], None,
]  # fmt: skip
HOW = st.fixed_dictionaries(
    {
        "status": st.sampled_from(STATUSES[:2]) | st.sampled_from(STATUSES),
        "headers": st.lists(st.sampled_from(FIELDS[:3]) | st.sampled_from(FIELDS), max_size=3),
        "body": st.sampled_from(BODIES[:2]) | st.sampled_from(BODIES),
        "method": st.sampled_from(["GET", "GET", "HEAD", "POST"]),
        "protocol": st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]),
        "connection": st.sampled_from([None, None, "close", "keep-alive", "Keep-Alive, x"]),
        "first": st.sampled_from(
            ["", "", "write", "empty write", "stream", "again", "twice", "none"]
        ),
        "last": st.sampled_from([False, False, True]),
    }
)


def application(how: dict[str, Any], adopted: list[int]) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        first = how["first"]
        if first == "none":
            return how["body"]
        if first == "stream":
            environ["forge.stream"](adopted.append)
        write = start_response(how["status"], list(how["headers"]))
        if first == "again":
            try:
                raise KeyError
            except KeyError:
                start_response("500 x", [("X-Again", "1")], sys.exc_info())
        elif first == "twice":
            start_response(how["status"], [])
        elif "write" in first:
            write(b"abc" if first == "write" else b"")
        return how["body"]

    return app


class RecordedTask:
    """Records what a server submits for one task."""

    def __init__(self, last: bool) -> None:
        self.last, self.unsent = last, 0
        self.calls: list[tuple[str, bytes]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda data, *rest, **options: self.calls.append((name, data)) or True


def answered(core: Any, how: dict[str, Any], app: Any = None) -> tuple[Any, ...]:
    """What the peer gets, and all that the server's core goes by afterwards.

    app: instead of the application that `how` describes.
    """
    environ = {
        "REQUEST_METHOD": how["method"],
        "SERVER_PROTOCOL": how["protocol"],
        "PATH_INFO": "/",
    }
    environ["forge.request_id"] = "r-1"
    if how["connection"] is not None:
        environ["HTTP_CONNECTION"] = how["connection"]
    adopted: list[int] = []
    task = RecordedTask(how["last"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "try_format_response", core.try_format_response)
        patch.setattr(response_head, "try_format_head", core.try_format_head)
        run = Exchange(task, environ)  # type: ignore[arg-type]
        gone = False
        try:
            run.run(app or application(how, adopted), environ)
        except ClientDisconnected:
            gone = True
    data = b"".join(data for _, data in task.calls)
    data = re.sub(rb"\r\nDate: \w{3}, [^\r]+ GMT\r\n", b"\r\nDate: -\r\n", data)
    return data, gone, [name for name, _ in task.calls], adopted


@QUICK
@given(HOW)
def test_any_application_is_answered_the_same(how: dict[str, Any]) -> None:
    twin = answered(_fanout_py, how)
    for _ in range(2):  # the second time each good name and status is known
        assert answered(compiled, how) == twin


PLAIN = {
    "status": "200 OK", "headers": [("X-A", "b"), ("Content-Length", "3")], "body": [b"a", b"bc"],
    "method": "GET", "protocol": "HTTP/1.1", "connection": None, "first": "", "last": False,
}  # fmt: skip
WHOLE = b"HTTP/1.1 200 OK\r\nX-A: b\r\nDate: -\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize("core", [compiled, _fanout_py], ids=["c", "python"])
def test_a_plain_answer_is_one_call(core: Any) -> None:
    assert answered(core, PLAIN) == (WHOLE, False, ["respond"], [])


@pytest.mark.parametrize("core", [compiled, _fanout_py], ids=["c", "python"])
@pytest.mark.parametrize(("first", "second"), [([], ["5"]), (["9"], []), (["9"], ["5"])])
def test_a_head_that_was_not_sent_leaves_nothing_behind(
    core: Any, first: list[str], second: list[str]
) -> None:
    def body(start_response: Any) -> Any:
        write = start_response("200 OK", [("Content-Length", size) for size in first])
        try:
            write("not bytes")
        except TypeError:
            head = [("Content-Length", size) for size in second]
            start_response("200 OK", head, sys.exc_info())
        return iter([b"hello"])

    data, gone, calls, _ = answered(core, PLAIN, lambda _, start_response: body(start_response))
    chunks = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert data.endswith(b"Content-Length: 5\r\n\r\nhello" if second else chunks)
    assert not gone and calls[-1] == "respond"


def test_a_plain_answer_is_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answered(compiled, PLAIN)
    monkeypatch.setattr(Exchange, "_frame", None)  # the way of all others
    for kept in (None, "keep-alive"):
        assert answered(compiled, PLAIN | {"connection": kept})[0] == WHOLE


def test_a_write_after_the_answer_begins_no_second_one() -> None:
    kept: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        kept.append(start_response("200 OK", [("Content-Type", "text/plain")]))
        return [b"hello"]

    with Server(("127.0.0.1", 0), app) as server:
        server.start()
        with socket.create_connection(("127.0.0.1", server.server_port), 10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(9999).endswith(b"hello")
            with pytest.raises((ClientDisconnected, ValueError)):
                kept[0](b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            rest = b""
            while data := client.recv(9999):
                rest += data
        server.stop(5)
    assert b"EVIL" not in rest and rest.count(b"HTTP/1.1") == 1
