"""The admin server: its own `wsgi.Server` with four threads, and the routes that it answers.

What it shows comes from callables, so it knows no database, no job and no configuration.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ..data import files
from ..errors import BadRequest, ServerError, Unavailable
from ..wsgi import Application, HTTPProblem, Request, Router, Server, StaticFiles
from .access import SIGN_IN, Access
from .answer import Answer, Routes, json_text, reads, text
from .history import Figures, History
from .inside import Inside, OneProcess
from .pages import Pages
from .profiles import Profiles
from .traces import Traces

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_JOBS = ("/jobs", "/events", "/static/jobs/")  # what the application of the jobs page answers
_OPEN = ("/favicon.ico", "/healthz")  # probes, and the form to sign in, know no secret
_THREADS = 4  # a profile takes one for as long as it lasts, what hangs two more for 2 s: see Inside
_MOST = 10_000  # bytes of a form


class AdminServer:
    """Answers the overview at /, /metrics, /healthz, /readyz, /debug/pprof/ and /jobs.

    host, port: where to listen (port 0: any). project: the site's name. token: when not empty,
    every request but /healthz needs it. metrics: takes the Accept header, gives the scrape's type
    and body. health: what /healthz adds to its status. ready: whether this process can serve, and
    why not. jobs: the application of the jobs page, None until there is one. figures: what the
    plots show, read every 2 s on the thread `admin-history`. inside: the processes that profiles
    are of; this one by default. listener: a socket that listens there already. The other callables
    run on the threads `admin-N`.

    Raises ServerError: F507 off loopback without a token, F503 when the address cannot be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        project: str = "forge_min",
        token: str = "",
        metrics: Callable[[str], tuple[str, bytes]],
        health: Callable[[], Mapping[str, object]],
        ready: Callable[[], tuple[bool, Mapping[str, object]]],
        jobs: Callable[[], WSGIApplication | None] = lambda: None,
        figures: Callable[[], Figures] = lambda: ([], None),
        inside: Inside | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        if not token and not _is_loopback(host):
            raise ServerError(
                f"the admin server may not listen on {host!r} without a token",
                code="F507",
                hint="set FORGE_ADMIN_TOKEN, or FORGE_ADMIN_HOST=127.0.0.1",
            )
        self._access = Access(token, host)
        self._token, self._jobs = token, jobs
        self._ending = threading.Event()
        self._history = History(figures)
        inside = inside or OneProcess()
        pages = Pages(project, health, self._history, inside)
        self._routes: Routes = {
            **pages.routes(),
            "/metrics": reads(lambda query, accept: Answer("200 OK", *metrics(accept))),
            "/healthz": reads(lambda query, accept: json_text({"status": "ok", **health()})),
            "/readyz": reads(lambda query, accept: _readyz(*ready())),
            **Profiles(inside, self._ending.wait).routes(),
            **Traces(inside, self._ending.wait, pages.page).routes(),
        }
        self._static = _static_files()
        try:
            self._server = Server(
                (host, port),
                self._answer,
                threads=_THREADS,
                listener=listener,
                thread_name="admin",
            )
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
        self._history.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End profiles, let running answers end, at most `timeout` seconds, then close.
        Idempotent.
        """
        self._ending.set()
        self._server.stop(timeout)
        self._history.stop()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ, max_body=_MOST)
        try:
            request.read_path()
            answer = self._check(request)
            if answer is None:
                app = self._application(request.path)
                if app is not None:
                    return app(environ, start_response)
                answer = self._choose(request)
        except BadRequest as err:
            answer = text(err.message + "\n", "400 Bad Request")
        except HTTPProblem as err:
            answer = text(err.message + "\n", f"{err.status} {HTTPStatus(err.status).phrase}")
        except Unavailable as err:
            answer = text(err.message + "\n", "503 Service Unavailable")
            answer = answer._replace(headers=[("Retry-After", str(err.retry_after))])
        start_response(answer.status, answer.all_headers())
        return [] if request.method == "HEAD" else [answer.body]

    def _check(self, request: Request) -> Answer | None:
        """The answer to who may not ask for this; None for who may."""
        refused = self._access.refused(request)
        if refused is not None or request.path in _OPEN or request.path.startswith("/static/"):
            return refused
        if request.path == SIGN_IN and self._token:
            return self._access.sign_in(request)
        if self._access.is_allowed(request):
            return None
        return self._access.asked_to_sign_in(request, request.path.startswith(_JOBS))

    def _application(self, path: str) -> WSGIApplication | None:
        """What answers this in its own way."""
        if path.startswith(_JOBS):
            return self._jobs()
        return self._static if path.startswith("/static/") else None

    def _choose(self, request: Request) -> Answer:
        methods = self._routes.get(request.path)
        if methods is None and request.path.startswith(_JOBS):
            return text("the application is starting\n", "503 Service Unavailable")
        if methods is None:
            known = sorted([*self._routes, "/jobs"])
            return text("".join(f"{path}\n" for path in known), "404 Not Found")
        route = methods.get(request.method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            answer = text(f"only {allowed}\n", "405 Method Not Allowed")
            return answer._replace(headers=[("Allow", allowed)])
        given = request.form() if request.method == "POST" else request.query
        return route(given, request.header("Accept") or "")


def _static_files() -> Application:
    router = Router()
    router.add("GET", "/static/forge/{path...}", StaticFiles(files("forge_min.wsgi") / "assets"))
    router.add("GET", "/static/admin/{path...}", StaticFiles(files(__package__) / "assets"))
    return Application(router)


def _readyz(good: bool, reasons: Mapping[str, object]) -> Answer:
    status = "200 OK" if good else "503 Service Unavailable"
    return json_text({"ready": good, "reasons": dict(reasons)}, status)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
