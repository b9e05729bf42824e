"""The admin server: its own `wsgi.Server` with two threads, and the few routes it answers.

What it shows comes from callables, so it knows no database, no job and no configuration.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ..errors import ServerError
from ..observe import CONTENT_TYPE
from ..wsgi import Server
from .stacks import all_stacks

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Answer = tuple[str, str, bytes]
"""Status line, content type, body."""

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_HEADERS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
]


class AdminServer:
    """Answers GET /metrics, /healthz, /readyz and /debug/pprof/threads.

    host, port: where to listen (port 0: any). token: when not empty, every request but /healthz
    needs it as a bearer token. metrics: the scrape's body. health: what /healthz adds to its
    status. ready: whether this process can serve, and why not. The callables run on the threads
    `admin-N`.

    Raises ServerError: F507 off loopback without a token, F503 when the address cannot be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        token: str = "",
        metrics: Callable[[], bytes],
        health: Callable[[], Mapping[str, object]],
        ready: Callable[[], tuple[bool, Mapping[str, object]]],
    ) -> None:
        if not token and not _is_loopback(host):
            raise ServerError(
                f"the admin server may not listen on {host!r} without a token",
                code="F507",
                hint="set FORGE_ADMIN_TOKEN, or FORGE_ADMIN_HOST=127.0.0.1",
            )
        self._token = token.encode()
        self._ready = ready
        self._routes: dict[str, Callable[[], Answer]] = {
            "/metrics": lambda: ("200 OK", CONTENT_TYPE, metrics()),
            "/healthz": lambda: ("200 OK", _JSON, _json({"status": "ok", **health()})),
            "/readyz": self._readyz,
            "/debug/pprof/threads": lambda: ("200 OK", _TEXT, all_stacks().encode()),
        }
        try:
            self._server = Server((host, port), self._answer, threads=2, thread_name="admin")
        except ServerError as err:
            err.hint = "choose another address with FORGE_ADMIN_PORT and FORGE_ADMIN_HOST"
            raise

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Start answering. Idempotent."""
        self._server.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Let running answers end, at most `timeout` seconds, then close. Idempotent."""
        self._server.stop(timeout)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, kind, body = self._choose(environ)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), *_HEADERS]
        if status.startswith("401"):
            headers.append(("WWW-Authenticate", 'Bearer realm="admin"'))
        elif status.startswith("405"):
            headers.append(("Allow", "GET, HEAD"))
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _choose(self, environ: WSGIEnvironment) -> Answer:
        path = environ.get("PATH_INFO", "")
        # /healthz is for probes, which know no secret.
        open_to_all = not self._token or path == "/healthz"
        if not open_to_all and not self._is_allowed(environ.get("HTTP_AUTHORIZATION", "")):
            return "401 Unauthorized", _TEXT, b"a bearer token is required\n"
        route = self._routes.get(path)
        if route is None:
            return "404 Not Found", _TEXT, "".join(f"{path}\n" for path in self._routes).encode()
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", _TEXT, b"only GET and HEAD\n"
        return route()

    def _is_allowed(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        same = hmac.compare_digest(token.strip().encode("utf-8", "replace"), self._token)
        return same and scheme.lower() == "bearer"

    def _readyz(self) -> Answer:
        good, reasons = self._ready()
        status = "200 OK" if good else "503 Service Unavailable"
        return status, _JSON, _json({"ready": good, "reasons": dict(reasons)})


def _json(value: object) -> bytes:
    return json.dumps(value, default=str).encode() + b"\n"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
