"""What the span of a request says of an answer that failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from forge_min import observe
from forge_min.app.tracing import RequestSpan
from forge_min.errors import NotFound, Unavailable
from forge_min.wsgi import Application, Request, Response, Router
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

ENVIRON = {
    "REQUEST_METHOD": "GET", "PATH_INFO": "/x", "QUERY_STRING": "", "SERVER_NAME": "shop.example",
    "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
}  # fmt: skip


def asked(handler: Callable[[Request], Response], **environ: Any) -> list[Any]:
    """The spans of one request to it, the innermost first."""
    exporter = InMemorySpanExporter()
    telemetry = observe.setup("shop", sample_ratio=1.0, exporter=exporter)
    try:
        router = Router()
        router.add("GET", "/x", handler)
        application = Application(router, around=RequestSpan)
        b"".join(application({**ENVIRON, **environ}, lambda *told: None))  # type: ignore[arg-type]
        assert telemetry.flush()
    finally:
        telemetry.shutdown()
    return list(exporter.get_finished_spans())


def divides(request: Request) -> Response:
    raise ZeroDivisionError("by nought")


def divides_inside(request: Request) -> Response:
    with observe.span("inside"):
        return divides(request)


def test_an_exception_that_became_an_answer_is_recorded() -> None:
    (span,) = asked(divides)
    assert span.attributes["http.response.status_code"] == 500
    assert span.attributes["error.type"] == "ZeroDivisionError"
    (event,) = span.events
    assert event.name == "exception" and event.attributes["exception.type"] == "ZeroDivisionError"


def test_it_is_recorded_once_by_the_innermost_span() -> None:
    inner, outer = asked(divides_inside)
    assert (inner.name, outer.name) == ("inside", "GET /x")
    assert len(inner.events) == 1 and not outer.events
    assert outer.attributes["error.type"] == "ZeroDivisionError"


@pytest.mark.parametrize(
    ("error", "status", "events"),
    [(NotFound("x"), 404, 0), (Unavailable("the database is away", code="F401"), 503, 1)],
)
def test_what_is_the_clients_is_no_failure(error: Exception, status: int, events: int) -> None:
    def raises(request: Request) -> Response:
        raise error

    (span,) = asked(raises)
    assert span.attributes["http.response.status_code"] == status
    assert len(span.events) == events and ("error.type" in span.attributes) == bool(events)


def test_a_server_that_answered_instead_is_told_of() -> None:
    def given_up(request: Request) -> Response:
        request.environ["forge.status"] = 500
        return Response(200, b"too late")

    (span,) = asked(given_up)
    assert span.attributes["http.response.status_code"] == 500
    assert span.attributes["error.type"] == "500"
