"""What the span of a request says of an answer that failed."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from forge_min import observe
from forge_min.app.telemetry import RequestSpan
from forge_min.errors import NotFound, Unavailable
from forge_min.wsgi import Application, Request, Response, Router
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

ENVIRON = {
    "REQUEST_METHOD": "GET", "PATH_INFO": "/x", "QUERY_STRING": "", "SERVER_NAME": "shop.example",
    "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
}  # fmt: skip


def asked(handler: Callable[[Request], Response], ratio: float = 1.0, **environ: Any) -> list[Any]:
    """The spans of one request to it, the innermost first."""
    exporter = InMemorySpanExporter()
    telemetry = observe.setup("shop", sample_ratio=ratio, exporter=exporter)
    try:
        router = Router()
        router.add("GET", "/x", handler)
        application = Application(router, instrument=RequestSpan)
        body: Any = ()
        try:
            body = application({**ENVIRON, **environ}, lambda *told: None)  # type: ignore[arg-type]
            for _ in body:
                assert observe.current_traceparent() is None and not observe.log_fields.get()
        except (ZeroDivisionError, SystemExit):
            pass
        finally:
            getattr(body, "close", int)()
        assert telemetry.tracer_provider.force_flush()
    finally:
        telemetry.shutdown()
    return list(exporter.get_finished_spans())


def divides(request: Request) -> Response:
    raise ZeroDivisionError("by nought")


def divides_inside(request: Request) -> Response:
    with observe.span("inside"):
        return divides(request)


@pytest.mark.parametrize(
    ("flag", "trusted", "ratio", "recorded"),
    [
        ("01", None, 0.0, False),
        ("01", False, 0.0, False),
        ("01", True, 0.0, True),
        ("00", True, 1.0, False),
        ("00", False, 1.0, True),
        ("01", False, 1.0, True),
    ],
)
def test_the_sampled_flag_counts_from_trusted_proxies_only(
    flag: str, trusted: bool | None, ratio: float, recorded: bool
) -> None:
    seen: list[str | None] = []

    def handler(request: Request) -> Response:
        with observe.span("inside"):
            seen.append(observe.current_traceparent())
        return Response(204)

    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    environ = {"HTTP_TRACEPARENT": f"00-{trace}-00f067aa0ba902b7-{flag}"}
    if trusted is not None:
        environ |= {"forge.trusted_proxy": trusted}
    spans = asked(handler, ratio, **environ)
    assert [span.name for span in spans] == (["inside", "GET /x"] if recorded else [])
    assert all(f"{span.context.trace_id:032x}" == trace for span in spans)
    assert seen[0] is not None and seen[0][3:35] == trace
    assert seen[0].endswith("-01" if recorded else "-00")


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


@pytest.mark.parametrize("fails", [False, True])
def test_the_span_of_a_body_of_pieces_lasts_to_its_end(fails: bool) -> None:
    logged: list[Any] = []

    def pieces() -> Iterator[bytes]:
        for _ in range(2):
            with observe.span("a piece"):
                logged.append(observe.log_fields.get())
            yield b"piece"
        if fails:
            raise ZeroDivisionError("by nought")

    *inner, outer = asked(lambda request: Response(200, pieces()))
    assert [span.name for span in (*inner, outer)] == ["a piece", "a piece", "GET /x"]
    assert {span.parent.span_id for span in inner} == {outer.context.span_id}
    assert all(fields["request_id"] and fields["route"] == "/x" for fields in logged)
    assert outer.attributes["http.response.status_code"] == 200  # it was sent by then
    assert len(outer.events) == fails
    assert outer.attributes.get("error.type") == ("ZeroDivisionError" if fails else None)


def test_a_body_that_fails_before_its_first_piece_is_a_500() -> None:
    (span,) = asked(lambda request: Response(200, (bytes(1 // n) for n in (0, 1))))
    assert span.attributes["http.response.status_code"] == 500
    assert span.attributes["error.type"] == "ZeroDivisionError" and len(span.events) == 1


def test_an_end_of_the_process_is_a_failed_span() -> None:
    def ends(request: Request) -> Response:
        raise SystemExit(3)

    (span,) = asked(ends)
    assert span.attributes["http.response.status_code"] == 500
    assert span.attributes["error.type"] == "500"


def test_what_a_failed_handler_held_is_gone_when_it_is_answered() -> None:
    """Not when garbage is collected: a statement's span would end after its request's."""
    gone: list[bool] = []

    class Held:
        def __del__(self) -> None:
            gone.append(True)

    def fails(request: Request) -> Response:
        held = Held()
        raise ZeroDivisionError(held)

    gc.disable()
    logging.disable()  # the suite keeps what is logged
    try:
        for application in (Application, partial(Application, instrument=RequestSpan)):
            gone.clear()
            router = Router()
            router.add("GET", "/x", fails)
            made: Any = application(router)
            made(dict(ENVIRON), lambda *told: None)
            assert gone == [True]
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()


@pytest.mark.parametrize("how", ["garbage", "signal"])
def test_a_span_that_ends_in_the_middle_of_anothers_begin_or_end_stops_nobody(how: str) -> None:
    """As where a collection of garbage closes a generator, or a signal's handler logs its span."""
    code = f"""
import gc, signal
from forge_min import observe
telemetry = observe.setup("tests", sample_ratio=1.0)
lock = telemetry.recent._lock
def rows():
    with observe.span("rows"):
        yield 1
class Stranded:
    def __init__(self):
        self.rows, self.me = rows(), self
        next(self.rows)
def another(*told):
    with observe.span("another"):
        pass
signal.signal(signal.SIGALRM, another)
with lock:  # what `on_start` and `on_end` hold
    if {how!r} == "garbage":
        Stranded(); gc.collect()
    else:
        signal.raise_signal(signal.SIGALRM)
print("on it goes", len(telemetry.recent.trees()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("on it goes 1"), done.stderr
