"""trace_wsgi on applications of every PEP 3333 kind."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from io import BytesIO, StringIO
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from forge_min.observe import current_traceparent, span, trace_wsgi
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

Spans = Callable[[], Sequence[ReadableSpan]]
SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def call(app: Any, **environ: Any) -> tuple[str, list[bytes]]:
    setup_testing_defaults(environ)
    environ.setdefault("QUERY_STRING", "")
    environ.setdefault("SCRIPT_NAME", "")
    answered: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> Any:
        answered.append(status)
        return lambda data: None

    body = app(environ, start_response)
    try:
        parts = list(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return answered[-1], parts


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    environ["forge.route"] = "/hello/{name}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def test_a_request_is_one_server_span(spans: Spans) -> None:
    assert call(trace_wsgi(hello), PATH_INFO="/hello/x", HTTP_TRACEPARENT=SAMPLED) == (
        "200 OK",
        [b"hello"],
    )
    (made,) = spans()
    assert made.kind is SpanKind.SERVER
    assert made.name == "GET /hello/{name}"
    assert made.parent is not None and f"{made.parent.span_id:016x}" == SAMPLED[36:52]
    attributes = dict(made.attributes or {})
    assert attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/hello/{name}",
        "url.path": "/hello/x",
        "url.scheme": "http",
        "server.address": "127.0.0.1",  # of the Host header
        "server.port": 80,
        "network.protocol.version": "1.0",
    }
    assert made.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("environ", "address", "port"),
    [
        ({"HTTP_HOST": "shop.example"}, "shop.example", 80),
        ({"HTTP_HOST": "shop.example", "wsgi.url_scheme": "https"}, "shop.example", 443),
        ({"HTTP_HOST": "shop.example:8443", "wsgi.url_scheme": "https"}, "shop.example", 8443),
        ({"HTTP_HOST": "[::1]:8000"}, "[::1]", 8000),
        ({"HTTP_HOST": "[::1]"}, "[::1]", 80),
        ({"HTTP_HOST": "", "SERVER_NAME": "10.0.0.7", "SERVER_PORT": "8000"}, "10.0.0.7", 8000),
        ({"HTTP_HOST": "", "SERVER_NAME": "localhost", "SERVER_PORT": ""}, "localhost", None),
    ],
)
def test_the_server_is_the_one_that_the_client_named(
    spans: Spans, environ: dict[str, str], address: str, port: int | None
) -> None:
    call(trace_wsgi(hello), PATH_INFO="/x", **environ)
    (made,) = spans()
    told = made.attributes or {}
    assert (told["server.address"], told.get("server.port")) == (address, port)


def test_a_long_path_is_cut_behind_what_is_masked(spans: Spans) -> None:
    call(trace_wsgi(hello), PATH_INFO="/" + "a" * 1000 + "/token=" + "s3cret" * 1000)
    (made,) = spans()
    path = str((made.attributes or {})["url.path"])
    assert len(path) <= 1024 and "s3cret" not in path and path.startswith("/aaa")


@pytest.mark.parametrize(
    ("came", "told"),
    [
        ("/Zürich/\N{GRINNING FACE}".encode().decode("latin-1"), "/Zürich/\N{GRINNING FACE}"),
        ("/\xff", "/\\xff"),
        ("/\N{EURO SIGN}", "/?"),  # of a server that does not keep to PEP 3333
    ],
)
def test_a_path_is_told_as_a_person_reads_it(spans: Spans, came: str, told: str) -> None:
    call(trace_wsgi(hello), PATH_INFO=came)
    (made,) = spans()
    assert (made.attributes or {})["url.path"] == told


def test_between_the_pieces_of_a_body_the_thread_is_in_no_span(spans: Spans) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(2):
            with span("a piece"):
                yield b"a"

    setup_testing_defaults(environ := {"QUERY_STRING": "", "SCRIPT_NAME": ""})
    body: Any = trace_wsgi(app)(environ, lambda *told: lambda data: None)
    between = []
    for _ in body:
        between.append((current_traceparent(), get_current_span().get_span_context().is_valid))
    body.close()
    assert between == [(None, False)] * 2
    *pieces, outer = spans()
    assert [made.name for made in pieces] == ["a piece"] * 2
    assert {made.parent.span_id for made in pieces if made.parent} == {outer.context.span_id}


def test_the_wrapper_keeps_to_the_protocol(spans: Spans) -> None:
    status, parts = call(validator(trace_wsgi(validator(hello))), PATH_INFO="/hello/x")
    assert (status, parts) == ("200 OK", [b"hello"])


def test_the_span_lasts_until_the_body_is_closed(spans: Spans) -> None:
    seen: list[str | None] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        seen.append(current_traceparent())
        yield b"a"
        seen.append(current_traceparent())
        yield b"b"

    assert call(trace_wsgi(app)) == ("200 OK", [b"a", b"b"])
    (made,) = spans()
    assert {f"{made.context.span_id:016x}"} == {(value or "")[36:52] for value in seen}
    assert current_traceparent() is None


@pytest.mark.parametrize("where", ["call", "body", "close"])
def test_an_exception_is_recorded_and_goes_on(spans: Spans, where: str) -> None:
    class Body:
        def __iter__(self) -> Iterator[bytes]:
            if where == "body":
                raise RuntimeError(where)
            yield b"x"

        def close(self) -> None:
            if where == "close":
                raise RuntimeError(where)

    def app(environ: dict[str, Any], start_response: Any) -> Body:
        if where == "call":
            raise RuntimeError(where)
        start_response("200 OK", [])
        return Body()

    with pytest.raises(RuntimeError, match=where):
        call(trace_wsgi(app))
    (made,) = spans()
    assert made.status.status_code is StatusCode.ERROR and len(made.events) == 1
    assert current_traceparent() is None


def test_a_500_is_a_failed_span_and_a_404_is_not(spans: Spans) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(environ["PATH_INFO"][1:] + " X", [])
        return []

    call(trace_wsgi(app), PATH_INFO="/503")
    call(trace_wsgi(app), PATH_INFO="/404")
    bad, missing = spans()
    assert bad.status.status_code is StatusCode.ERROR
    assert (bad.attributes or {})["error.type"] == "503"
    assert missing.status.status_code is StatusCode.UNSET


def test_an_unknown_method_is_other_and_hostile_headers_do_no_harm(spans: Spans) -> None:
    call(trace_wsgi(hello), REQUEST_METHOD="BREW" * 50, HTTP_TRACEPARENT="\x00nonsense")
    (made,) = spans()
    attributes = made.attributes or {}
    assert attributes["http.request.method"] == "_OTHER"
    assert len(str(attributes["http.request.method_original"])) == 32
    assert made.name == "HTTP /hello/{name}" and made.parent is None


def test_a_body_that_another_thread_closes_ends_its_span(spans: Spans) -> None:
    def serve() -> None:
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        bodies.append(trace_wsgi(hello)(environ, lambda status, headers: lambda data: None))

    bodies: list[Any] = []
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    bodies[0].close()
    assert [made.name for made in spans()] == ["GET /hello/{name}"]
    assert current_traceparent() is None


def test_a_hand_over_of_the_socket_is_left_alone(spans: Spans) -> None:
    taken: list[object] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["forge.stream"](taken.append)
        start_response("200 OK", [])
        return []

    call(trace_wsgi(app), **{"forge.stream": lambda adopt: adopt(7)})
    assert taken == [7] and len(spans()) == 1


@pytest.mark.parametrize("pieces", [[], [b"hello"], (b"a", b"b"), iter([b"hello"])])
def test_a_server_answers_as_it_does_without_it(spans: Spans, pieces: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        made: Iterable[bytes] = copy(pieces)
        return made

    def answer(app: Any) -> bytes:
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        sent = BytesIO()
        SimpleHandler(BytesIO(), sent, StringIO(), environ).run(app)
        return re.sub(rb"Date: .*", b"", sent.getvalue())

    assert answer(trace_wsgi(app)) == answer(app)
    assert len(spans()) == 1
