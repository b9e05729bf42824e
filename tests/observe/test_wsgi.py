"""The server span of a request: its name, attributes and status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from forge_min.observe import http_attributes, record_response, span
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

Spans = Callable[[], Sequence[ReadableSpan]]
SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def call(app: Any, **environ: Any) -> None:
    """Call an application within the span of its request, as the framework does."""
    setup_testing_defaults(environ)
    environ.setdefault("QUERY_STRING", "")
    environ.setdefault("SCRIPT_NAME", "")
    statuses: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> Any:
        statuses.append(status)
        return lambda data: None

    parent = environ.get("HTTP_TRACEPARENT", "")
    attributes = http_attributes(environ)
    with span("HTTP", kind="server", attributes=attributes, parent=parent) as active:
        app(environ, start_response)
        record_response(environ, active, int(statuses[-1][:3]))


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    environ["forge.route"] = "/hello/{name}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def test_a_request_is_one_server_span(spans: Spans) -> None:
    call(hello, PATH_INFO="/hello/x", HTTP_TRACEPARENT=SAMPLED)
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
    call(hello, PATH_INFO="/x", **environ)
    (made,) = spans()
    told = made.attributes or {}
    assert (told["server.address"], told.get("server.port")) == (address, port)


def test_a_long_path_is_cut_behind_what_is_masked(spans: Spans) -> None:
    call(hello, PATH_INFO="/" + "a" * 1000 + "/token=" + "s3cret" * 1000)
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
    call(hello, PATH_INFO=came)
    (made,) = spans()
    assert (made.attributes or {})["url.path"] == told


def test_a_500_is_a_failed_span_and_a_404_is_not(spans: Spans) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(environ["PATH_INFO"][1:] + " X", [])
        return []

    call(app, PATH_INFO="/503")
    call(app, PATH_INFO="/404")
    bad, missing = spans()
    assert bad.status.status_code is StatusCode.ERROR
    assert (bad.attributes or {})["error.type"] == "503"
    assert missing.status.status_code is StatusCode.UNSET


def test_an_unknown_method_is_other_and_hostile_headers_do_no_harm(spans: Spans) -> None:
    call(hello, REQUEST_METHOD="BREW" * 50, HTTP_TRACEPARENT="\x00nonsense")
    (made,) = spans()
    attributes = made.attributes or {}
    assert attributes["http.request.method"] == "_OTHER"
    assert len(str(attributes["http.request.method_original"])) == 32
    assert made.name == "HTTP /hello/{name}" and made.parent is None
