"""`trace_wsgi`: one server span per request around any WSGI application (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from contextvars import copy_context
from http import HTTPMethod
from typing import TYPE_CHECKING, Any

from ..redaction import redact
from .tracing import Span, Value, span

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_METHODS = frozenset(HTTPMethod)
_OPTIONAL = {"client.address": "REMOTE_ADDR", "user_agent.original": "HTTP_USER_AGENT"}
_PORTS = {"http": "80", "https": "443"}
_PATH = 1024  # characters of a path: thousands of spans wait for an unreachable collector
_LONGEST = 256  # characters of a host, a client address, or a user agent


def trace_wsgi(app: WSGIApplication) -> WSGIApplication:
    """Wrap a WSGI application in a server span, from the call to the close of the body.

    Reads `traceparent`. Names and attributes follow the stable OpenTelemetry conventions for HTTP.
    The application may set `environ["forge.route"]` to the route's pattern before it calls
    start_response.
    """

    def traced(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with ExitStack() as stack:
            active = stack.enter_context(_span(environ))
            environ["HTTP_TRACEPARENT"] = active.traceparent or ""  # for inner spans
            body = app(environ, _record(environ, start_response, active))
            kind = _SizedBody if hasattr(body, "__len__") else _Body
            body = kind(body, active)
            stack.pop_all()  # from now on the body's close ends the span
        return body

    return traced


def http_attributes(environ: WSGIEnvironment) -> dict[str, Value]:
    """Return the attributes of a request's span. The query string, with its secrets, is omitted.

    Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
    """
    method = environ.get("REQUEST_METHOD", "")
    known = method if method in _METHODS else "_OTHER"
    attributes: dict[str, Value] = {
        "http.request.method": known,
        "url.path": redact(_path(environ))[:_PATH],
        "url.scheme": environ.get("wsgi.url_scheme", "http"),
        **_server_attributes(environ),
        "network.protocol.version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2],
    }
    for name, key in _OPTIONAL.items():
        if value := environ.get(key):
            attributes[name] = redact(value[:_LONGEST])
    if known == "_OTHER":
        attributes["http.request.method_original"] = method[:32]
    return attributes


def _path(environ: WSGIEnvironment) -> str:
    """Return the path as in the log. PEP 3333 passes its bytes as latin-1."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path.encode("latin-1", "replace").decode("utf-8", "backslashreplace")


def _server_attributes(environ: WSGIEnvironment) -> dict[str, Value]:
    """Return host and port of the Host header (RFC 9110 section 7.2), else of the server."""
    named: str = environ.get("HTTP_HOST", "")[:_LONGEST]
    host, _, port = named.rpartition(":")
    if not named:
        host, port = environ.get("SERVER_NAME", ""), environ.get("SERVER_PORT", "")
    elif not (host and port.isascii() and port.isdigit()):
        host, port = named, _PORTS.get(environ.get("wsgi.url_scheme", ""), "")
    attributes: dict[str, Value] = {"server.address": host}
    if port.isascii() and port.isdigit():  # a Unix socket has no port
        attributes["server.port"] = int(port[:5])
    return attributes


def span_name(method: str, route: str = "") -> str:
    """Return a name of low cardinality, as "GET /flights/{id}"; "HTTP" for an unknown method."""
    return f"{method if method in _METHODS else 'HTTP'} {route}".rstrip()


def _span(environ: WSGIEnvironment) -> Span:
    # Never the current span: if another thread closed a body, its span is still current here.
    parent = environ.get("HTTP_TRACEPARENT", "")
    attributes, name = http_attributes(environ), span_name(environ.get("REQUEST_METHOD", ""))
    state = environ.get("HTTP_TRACESTATE", "")
    return span(name, kind="server", attributes=attributes, parent=parent, state=state)


def _record(environ: WSGIEnvironment, start_response: StartResponse, active: Span) -> StartResponse:
    """Return a start_response that records the status on the span."""

    def start(status: str, *rest: Any) -> Callable[[bytes], object]:
        if active.recording:
            code = status[:3]  # the server rejects an invalid status (PEP 3333)
            record_response(environ, active, int(code) if code.isdecimal() else 500)
        return start_response(status, *rest)

    return start


def record_response(environ: WSGIEnvironment, active: Span, code: int) -> None:
    """Set the attributes of the response and of the route. code: the status."""
    active.set_attribute("http.response.status_code", code)
    route = environ.get("forge.route", "")
    active.update_name(span_name(environ["REQUEST_METHOD"], route))
    if route:
        active.set_attribute("http.route", route)
    if code >= 500:
        active.set_attribute("error.type", str(code))
        active.fail()


class _Body:
    """A response body that ends the span in `close`, after the application's own close.

    Its chunks are made inside the span, whatever the thread does between them.
    """

    def __init__(self, body: Iterable[bytes], active: Span) -> None:
        self._body, self._active = body, active
        self._context = copy_context()
        active.leave()

    def __iter__(self) -> Iterator[bytes]:
        run = self._context.run
        try:
            chunks = run(iter, self._body)
            while (chunk := run(next, chunks, None)) is not None:
                yield chunk
        except Exception as err:
            self._active.__exit__(type(err), err, err.__traceback__)
            raise

    def close(self) -> None:
        with ExitStack() as stack:
            stack.push(self._active)
            if hasattr(self._body, "close"):
                self._context.run(self._body.close)


class _SizedBody(_Body):
    """A body with a length: servers send the Content-Length of a single chunk (PEP 3333)."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]
