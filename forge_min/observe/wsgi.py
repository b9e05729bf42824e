"""`trace_wsgi`: one server span per request around any WSGI application (PEP 3333)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from .logs import redact
from .tracing import Span, Value, span

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
_OPTIONAL = {"client.address": "REMOTE_ADDR", "user_agent.original": "HTTP_USER_AGENT"}
_PORTS = {"http": "80", "https": "443"}
_PATH = 1024  # characters of a path: thousands of spans wait for a collector that is away
_LONGEST = 256  # characters of what a client says of itself


def trace_wsgi(app: WSGIApplication) -> WSGIApplication:
    """Wrap a WSGI application: a span from the call to the close of the body.

    Reads `traceparent`; names and attributes as the stable OpenTelemetry conventions for HTTP say.
    The application may put the route's pattern into `environ["forge.route"]` before it answers.
    """

    def traced(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with ExitStack() as stack:
            active = stack.enter_context(_span(environ))
            environ["HTTP_TRACEPARENT"] = active.traceparent or ""  # of what is called next
            body = app(environ, _noting(environ, start_response, active))
            kind = _Pieces if hasattr(body, "__len__") else _Body
            body = kind(body, active)
            stack.pop_all()  # from here on the body's close ends the span
        return body

    return traced


def http_attributes(environ: WSGIEnvironment) -> dict[str, Value]:
    """What a request's span says of the request. The query string may hold secrets: it is left out.

    Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
    """
    method = environ.get("REQUEST_METHOD", "")
    known = method if method in _METHODS else "_OTHER"
    attributes: dict[str, Value] = {
        "http.request.method": known,
        "url.path": redact(_path(environ))[:_PATH],
        "url.scheme": environ.get("wsgi.url_scheme", "http"),
        **_asked_for(environ),
        "network.protocol.version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2],
    }
    for name, key in _OPTIONAL.items():
        if found := environ.get(key):
            attributes[name] = redact(found[:_LONGEST])
    if known == "_OTHER":
        attributes["http.request.method_original"] = method[:32]
    return attributes


def _path(environ: WSGIEnvironment) -> str:
    """As the log has it: PEP 3333 hands bytes over as latin-1."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if path.isascii():
        return path
    return path.encode("latin-1", "replace").decode("utf-8", "backslashreplace")


def _asked_for(environ: WSGIEnvironment) -> dict[str, Value]:
    """The host and port that the client names (RFC 9110 section 7.2), else where the server is."""
    named: str = environ.get("HTTP_HOST", "")[:_LONGEST]
    host, _, port = named.rpartition(":")
    if not named:
        host, port = environ.get("SERVER_NAME", ""), environ.get("SERVER_PORT", "")
    elif not (host and port.isascii() and port.isdigit()):
        host, port = named, _PORTS.get(environ.get("wsgi.url_scheme", ""), "")
    found: dict[str, Value] = {"server.address": host}
    if port.isascii() and port.isdigit():  # of a Unix socket there is none
        found["server.port"] = int(port[:5])
    return found


def span_name(method: str, route: str = "") -> str:
    """Of low cardinality: "GET /flights/{id}", "HTTP" for a method that is none."""
    return f"{method if method in _METHODS else 'HTTP'} {route}".rstrip()


def _span(environ: WSGIEnvironment) -> Span:
    # Not what this thread is in by now: a body that another thread has closed leaves it there.
    parent = environ.get("HTTP_TRACEPARENT", "")
    attributes, name = http_attributes(environ), span_name(environ.get("REQUEST_METHOD", ""))
    state = environ.get("HTTP_TRACESTATE", "")
    return span(name, kind="server", attributes=attributes, parent=parent, state=state)


def _noting(environ: WSGIEnvironment, start_response: StartResponse, active: Span) -> StartResponse:
    def start(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        if active.recording:
            code = status[:3]  # what is no number is the server's to refuse (PEP 3333)
            record_response(environ, active, int(code) if code.isdecimal() else 500)
        if exc_info is None:  # some servers' start_response takes two arguments
            return start_response(status, headers)
        return start_response(status, headers, exc_info)

    return start


def record_response(environ: WSGIEnvironment, active: Span, code: int) -> None:
    """What a request's span says of its answer, whose status is `code`, and of its route."""
    active.set_attribute("http.response.status_code", code)
    route = environ.get("forge.route", "")
    active.update_name(span_name(environ["REQUEST_METHOD"], route))
    if route:
        active.set_attribute("http.route", route)
    if code >= 500:
        active.set_attribute("error.type", str(code))
        active.fail()


class _Body:
    """The body; its close ends the span, after the application's own close. Its pieces are made in
    the span, whatever the thread does between them.
    """

    def __init__(self, body: Iterable[bytes], active: Span) -> None:
        self._body, self._active = body, active
        self._context = copy_context()
        active.leave()

    def __iter__(self) -> Iterator[bytes]:
        run = self._context.run
        try:
            pieces = run(iter, self._body)
            while (piece := run(next, pieces, None)) is not None:
                yield piece
        except Exception:
            self._active.__exit__(*sys.exc_info())
            raise

    def close(self) -> None:
        with ExitStack() as stack:
            stack.push(self._active)
            if hasattr(self._body, "close"):
                self._context.run(self._body.close)


class _Pieces(_Body):
    """One that knows how many they are: of one piece servers tell the length (PEP 3333)."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]
