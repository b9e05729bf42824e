"""The admin server: its routes, and a `wsgi.Server` of its own with four threads.

Its values come from a `HealthSource`: it depends on neither database, jobs nor configuration.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from functools import partial
from ipaddress import ip_address

from .. import wsgi
from ..errors import ServerError
from ..resources import files, manual
from .access import Access
from .inspection import HealthSource
from .pages import show_icon, show_overview, show_profiles
from .profiles import PATH, Profiles
from .traces import show_traces

_THREADS = 4  # a profile holds one until it ends, a process that hangs two more for 2 s
_MOST = 10_000  # bytes of a form
# The theme of the manual has small images and styles in its pages, and no script.
_MANUAL_POLICY = (
    dict(wsgi.SECURITY_HEADERS)["Content-Security-Policy"]
    + "; img-src 'self' data:; style-src 'self' 'unsafe-inline'"
)


class AdminServer:
    """Serves the overview at /, /metrics, /healthz, /readyz, /debug/ and /jobs.

    host, port: the address to listen on; port 0 chooses a free port.
    health: the values to show.
    project: the project's name, for the pages.
    token: if not empty, required by every request except /healthz.
    listener: a socket that already listens on this address.

    Raises ServerError: F507 for an address other than loopback without a token, F500 if the address
    is not available.
    """

    def __init__(
        self,
        host: str,
        port: int,
        health: HealthSource,
        *,
        project: str = "forge_min",
        token: str = "",
        listener: socket.socket | None = None,
    ) -> None:
        if not token and not _is_loopback(host):
            raise ServerError(
                f"the admin server may not listen on {host!r} without a token",
                code="F507",
                hint="set FORGE_ADMIN_TOKEN, or FORGE_ADMIN_HOST=127.0.0.1",
            )
        self._health = health
        self._stopping = threading.Event()
        access = Access(token, host)
        inspector = health.inspector
        wait = self._stopping.wait
        started = time.monotonic()
        routes: dict[str, wsgi.Handler] = {
            **access.routes(),
            **Profiles(inspector, wait).routes(),
            "GET /": partial(show_overview, health, project, started),
            "GET /favicon.ico": show_icon,
            f"GET {PATH}": partial(show_profiles, inspector, project),
            "GET /debug/traces": partial(show_traces, inspector, wait, project),
            "GET /metrics": self._metrics,
            "GET /healthz": lambda _: wsgi.json_response({"status": "ok", **health.alive()}),
            "GET /readyz": self._readyz,
            "GET /static/forge/{path...}": wsgi.StaticFiles(files("forge_min.html") / "assets"),
            "GET /static/admin/{path...}": wsgi.StaticFiles(files(__package__) / "assets"),
            "GET /docs": _open_manual,
            "GET /jobs": self._show_jobs,
            "GET /jobs/{path...}": self._show_jobs,
            "POST /jobs/{path...}": self._show_jobs,
        }
        pages = manual()
        if pages is not None:
            routes["GET /docs/{path...}"] = partial(_show_manual, wsgi.StaticFiles(pages))
        router = wsgi.Router()
        for route, handler in routes.items():
            method, path = route.split(" ")
            router.add(method, path, handler)
        csrf = wsgi.CSRF(secrets.token_bytes(32), secure=False)
        application = wsgi.Application(
            router, middleware=[csrf, access], outer=[_plain_errors], max_body=_MOST
        )
        try:
            self._server = wsgi.Server(
                (host, port), application, threads=_THREADS, listener=listener, thread_name="admin"
            )
        except ServerError as err:
            err.hint = "choose another address with FORGE_ADMIN_PORT and FORGE_ADMIN_HOST"
            raise

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._server.server_port

    def start(self) -> None:
        """Start serving. Idempotent."""
        self._server.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop profiles, wait at most `timeout` seconds for responses, then close. Idempotent."""
        self._stopping.set()
        self._server.stop(timeout)

    def _metrics(self, request: wsgi.Request) -> wsgi.Response:
        kind, body = self._health.metrics(request.header("Accept") or "")
        return wsgi.Response(200, body, [("Content-Type", kind)])

    def _readyz(self, request: wsgi.Request) -> wsgi.Response:
        ready, reasons = self._health.ready()
        content = {"ready": ready, "reasons": dict(reasons)}
        return wsgi.json_response(content, 200 if ready else 503)

    def _show_jobs(self, request: wsgi.Request) -> wsgi.Response:
        show = self._health.jobs()
        if show is None:
            raise wsgi.HTTPProblem(503, "the application is starting; try again", code="F506")
        return show(request)


def _show_manual(pages: wsgi.Handler, request: wsgi.Request) -> wsgi.Response:
    response = pages(request)
    response.headers.append(("Content-Security-Policy", _MANUAL_POLICY))
    return response


def _open_manual(request: wsgi.Request) -> wsgi.Response:
    if manual() is None:
        raise wsgi.HTTPProblem(404, "there is no manual here; `build --with-manual` packs it")
    return wsgi.redirect("/docs/index.html")


def _plain_errors(request: wsgi.Request, handler: wsgi.Handler) -> wsgi.Response:
    """Middleware that makes errors plain text, and forbids caches to store responses."""
    response = handler(request)
    if response.header("Content-Type") == "application/problem+json":
        assert isinstance(response.body, bytes)
        headers = [pair for pair in response.headers if pair[0] != "Content-Type"]
        detail = json.loads(response.body)["detail"]
        response = wsgi.text_response(f"{detail}\n", response.status, headers)
    if response.header("Cache-Control") is None:
        response.headers.append(("Cache-Control", "no-store"))
    return response


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
