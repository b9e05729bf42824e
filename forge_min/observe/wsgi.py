"""The attributes of the server span of a request (PEP 3333)."""

from __future__ import annotations

from http import HTTPMethod
from typing import TYPE_CHECKING

from ..redaction import redact
from .tracing import Span, Value

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_METHODS = frozenset(HTTPMethod)
_OPTIONAL = {"client.address": "REMOTE_ADDR", "user_agent.original": "HTTP_USER_AGENT"}
_PORTS = {"http": "80", "https": "443"}
_PATH = 1024  # characters of a path: thousands of spans wait for an unreachable collector
_LONGEST = 256  # characters of a host, a client address, or a user agent


def http_attributes(environ: WSGIEnvironment) -> dict[str, Value]:
    """Return the attributes of a request's span. The query string, with its secrets, is omitted.

    Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
    """
    original = environ.get("REQUEST_METHOD", "")
    method = original if original in _METHODS else "_OTHER"
    # The path as in the log. PEP 3333 passes its bytes as latin-1.
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    path = path.encode("latin-1", "replace").decode("utf-8", "backslashreplace")
    attributes: dict[str, Value] = {
        "http.request.method": method,
        "url.path": redact(path)[:_PATH],
        "url.scheme": environ.get("wsgi.url_scheme", "http"),
        **_server_attributes(environ),
        "network.protocol.version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2],
    }
    for name, key in _OPTIONAL.items():
        value = environ.get(key)
        if value:
            attributes[name] = redact(value[:_LONGEST])
    if method == "_OTHER":
        attributes["http.request.method_original"] = original[:32]
    return attributes


def _server_attributes(environ: WSGIEnvironment) -> dict[str, Value]:
    """Return host and port of the Host header (RFC 9110 section 7.2), else of the server."""
    header: str = environ.get("HTTP_HOST", "")[:_LONGEST]
    host, _, port = header.rpartition(":")
    if not header:
        host = environ.get("SERVER_NAME", "")
        port = environ.get("SERVER_PORT", "")
    elif not (host and port.isascii() and port.isdigit()):
        host = header
        port = _PORTS.get(environ.get("wsgi.url_scheme", ""), "")
    attributes: dict[str, Value] = {"server.address": host}
    if port.isascii() and port.isdigit():  # a Unix socket has no port
        attributes["server.port"] = int(port[:5])
    return attributes


def span_name(method: str, route: str = "") -> str:
    """Return a name of low cardinality, as "GET /flights/{id}"; "HTTP" for an unknown method."""
    if method not in _METHODS:
        method = "HTTP"
    return f"{method} {route}".rstrip()


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
