"""The admin server: its own `wsgi.Server` with two threads, and the few routes it answers.

What it shows comes from callables, so it knows no database, no job and no configuration. Where a
token protects it, a browser signs in with that and gets a cookie.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ..errors import ServerError
from ..wsgi import Server
from .stacks import all_stacks

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Answer = tuple[str, str, bytes]
"""Status line, content type, body."""

_PAGES = ("/jobs", "/events", "/static/")  # what the application of the jobs page answers
_COOKIE = "forge_admin"
_FORM_POLICY = (
    "Content-Security-Policy",
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'",
)
_FORM = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/forge/forge.css">
<link rel="stylesheet" href="/static/jobs/jobs.css">
<main><h1>Sign in</h1><!--wrong--><form method="post" action="/sign-in">
<p><label>admin.token<br><input type="password" name="token" required autofocus></label></p>
<button>Sign in</button></form></main></html>
"""
_WRONG = b'<p role="alert">That is not the token.</p>'
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_HEADERS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
]


class AdminServer:
    """Answers GET /metrics, /healthz, /readyz, /debug/pprof/threads, and /jobs.

    host, port: where to listen (port 0: any). token: when not empty, every request but /healthz
    needs it as a bearer token. metrics: takes a scrape's Accept, gives content type and body.
    health: what /healthz adds to its status. ready: whether this process can serve, and why not.
    jobs: the application of the jobs page, None until there is one. The callables run on the
    threads `admin-N`.

    Raises ServerError: F507 off loopback without a token, F503 when the address cannot be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        token: str = "",
        metrics: Callable[[str], tuple[str, bytes]],
        health: Callable[[], Mapping[str, object]],
        ready: Callable[[], tuple[bool, Mapping[str, object]]],
        jobs: Callable[[], WSGIApplication | None] = lambda: None,
    ) -> None:
        if not token and not _is_loopback(host):
            raise ServerError(
                f"the admin server may not listen on {host!r} without a token",
                code="F507",
                hint="set FORGE_ADMIN_TOKEN, or FORGE_ADMIN_HOST=127.0.0.1",
            )
        self._token = token.encode()
        # The token itself stays out of the browser's storage.
        self._cookie = hmac.digest(self._token, b"forge_min admin", "sha256").hex()
        self._jobs = jobs
        self._ready = ready
        self._routes: dict[str, Callable[[str], Answer]] = {
            "/metrics": lambda accept: ("200 OK", *metrics(accept)),
            "/healthz": lambda _: ("200 OK", _JSON, _json({"status": "ok", **health()})),
            "/readyz": self._readyz,
            "/debug/pprof/threads": lambda _: ("200 OK", _TEXT, all_stacks().encode()),
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
        path, allowed = environ.get("PATH_INFO", ""), self._is_allowed(environ)
        if path == "/sign-in" and self._token:
            return self._sign_in(environ, start_response)
        if path.startswith(_PAGES):
            if not allowed and not path.startswith("/static/"):
                return _answered(start_response, "303 See Other", [("Location", "/sign-in")])
            app = self._jobs()
            if app is not None:
                return app(environ, start_response)
        status, kind, body = self._choose(environ, allowed)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), *_HEADERS]
        if status.startswith("401"):
            headers.append(("WWW-Authenticate", 'Bearer realm="admin"'))
        elif status.startswith("405"):
            headers.append(("Allow", "GET, HEAD"))
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _choose(self, environ: WSGIEnvironment, allowed: bool) -> Answer:
        path = environ.get("PATH_INFO", "")
        if path != "/healthz" and not allowed:  # that is for probes, which know no secret
            return "401 Unauthorized", _TEXT, b"a bearer token is required\n"
        route = self._routes.get(path)
        if route is None and path.startswith(_PAGES):
            return "503 Service Unavailable", _TEXT, b"the application is starting\n"
        if route is None:
            known = [*self._routes, "/jobs"]
            return "404 Not Found", _TEXT, "".join(f"{path}\n" for path in known).encode()
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", _TEXT, b"only GET and HEAD\n"
        return route(environ.get("HTTP_ACCEPT", ""))

    def _is_allowed(self, environ: WSGIEnvironment) -> bool:
        """By bearer token (RFC 6750), or by the cookie of somebody who has signed in."""
        if not self._token:
            return True
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() == "bearer":
            return _same(token.strip(), self._token.decode())
        cookies = (
            pair.strip().partition("=") for pair in environ.get("HTTP_COOKIE", "").split(";")
        )
        return any(name == _COOKIE and _same(value, self._cookie) for name, _, value in cookies)

    def _sign_in(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """A form that takes the token, for browsers."""
        wrong = b""
        if environ["REQUEST_METHOD"] == "POST":
            given = parse_qs(environ["wsgi.input"].read(4096).decode("ascii", "replace"))
            if _same(given.get("token", [""])[-1], self._token.decode()):
                cookie = f"{_COOKIE}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"
                return _answered(
                    start, "303 See Other", [("Location", "/jobs"), ("Set-Cookie", cookie)]
                )
            wrong = _WRONG
        body = _FORM.replace(b"<!--wrong-->", wrong)
        headers = [("Content-Type", "text/html; charset=utf-8"), *_HEADERS[:2], _FORM_POLICY]
        return _answered(start, "403 Forbidden" if wrong else "200 OK", headers, body)

    def _readyz(self, _: str) -> Answer:
        good, reasons = self._ready()
        status = "200 OK" if good else "503 Service Unavailable"
        return status, _JSON, _json({"ready": good, "reasons": dict(reasons)})


def _answered(
    start: StartResponse, status: str, headers: list[tuple[str, str]], body: bytes = b""
) -> Iterable[bytes]:
    start(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), known.encode())


def _json(value: object) -> bytes:
    return json.dumps(value, default=str).encode() + b"\n"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
