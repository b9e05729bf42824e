"""The PEP 3333 callable: one request through middleware and router, and what every answer gets.

It runs under any WSGI server. Spans, metrics and logs come in as plain values: nothing here imports
a telemetry library.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .problem import problem_response, status_of
from .request import Request
from .response import SECURITY_HEADERS, Response
from .router import Handler, Middleware, Router

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Observe = Callable[[str, str, int, float], None]
"""Told (method, route pattern, status, seconds) after every request: metrics."""

Around = Callable[[Request], AbstractContextManager[Callable[[int], None]]]
"""Opened around every request: a span. What it gives is called with the status before it closes."""

_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECURITY = tuple((name.lower(), (name, value)) for name, value in SECURITY_HEADERS)
_HSTS = ("Strict-Transport-Security", "max-age=31536000")

_access = logging.getLogger("forge_min.access")
_log = logging.getLogger("forge_min.wsgi")


def _compose(middleware: Sequence[Middleware], inner: Handler) -> Handler:
    """The first of `middleware` is the outermost."""

    def wrap(outer: Middleware, handler: Handler) -> Handler:
        return lambda request: outer(request, handler)

    for item in reversed(middleware):
        inner = wrap(item, inner)
    return inner


class Application:
    """A web application for any PEP 3333 server.

    middleware: stands around the router, the first one outermost; sees errors of handlers as
    answers already. observe: see Observe. around: see Around. max_body: bytes, checked here too,
    for servers without a cap. Every answer carries a request id (`X-Request-ID`, the client's own
    when it is well formed), the headers of contract.md and a Content-Length when the body is bytes.
    One line per request goes to the logger `forge_min.access`, at INFO.
    """

    def __init__(
        self,
        router: Router,
        *,
        middleware: Sequence[Middleware] = (),
        observe: Observe | None = None,
        around: Around | None = None,
        max_body: int = 1 << 20,
    ) -> None:
        self._router = router
        self._chain = _compose(middleware, self._dispatch)
        self._observe = observe
        self._around = around
        self._max_body = max_body
        self._id_prefix = os.urandom(6).hex()
        self._numbers = itertools.count(1)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        started = time.perf_counter()
        request = Request(environ, self._request_id(environ), self._max_body)
        if self._around is None:
            response = self._answer(request)
        else:
            with self._around(request) as finish:
                response = self._answer(request)
                finish(response.status)
        headers = self._finish(request, response)
        seconds = time.perf_counter() - started
        if self._observe is not None:
            method = request.method if request.method in _METHODS else "OTHER"
            self._observe(method, request.route, response.status, seconds)
        if _access.isEnabledFor(logging.INFO):
            self._log_access(request, response.status, seconds)
        status = response.status
        start_response(_STATUS_LINES.get(status) or f"{status} Unknown", headers)
        body = response.body
        return [body] if isinstance(body, bytes) else body

    def _request_id(self, environ: dict[str, Any]) -> str:
        sent: str | None = environ.get("HTTP_X_REQUEST_ID")
        if sent is not None and _REQUEST_ID.fullmatch(sent):
            return sent
        # PERF: a random prefix and a count; uuid4 costs as much as the router (benchmarks/http,
        # hello).
        return f"{self._id_prefix}-{next(self._numbers):x}"

    def _answer(self, request: Request) -> Response:
        """Through the middleware; whatever is raised there becomes an answer too."""
        try:
            request.read_path()
            return self._chain(request)
        except Exception as err:
            return self._failed(request, err)

    def _dispatch(self, request: Request) -> Response:
        """The innermost handler: route, call, turn errors into answers."""
        try:
            match = self._router.match(request.method, request.path)
            request.params = match.params
            request.route = match.pattern
            response = match.handler(request)
            if type(response) is Response:
                return response
            return _checked(response)
        except Exception as err:
            return self._failed(request, err)

    def _failed(self, request: Request, error: Exception) -> Response:
        status = status_of(error)
        if status == 500:
            _log.error(
                "request %s failed: %s %s", request.id, request.method, request.path, exc_info=error
            )
        elif status == 503:
            _log.warning("request %s: %s", request.id, error)
        return problem_response(error, request.id)

    def _finish(self, request: Request, response: Response) -> list[tuple[str, str]]:
        """The headers of every answer; a name that the handler set stays as it is."""
        headers = response.headers
        names = {name.lower() for name, _ in headers}
        out = [
            *headers,
            *[pair for name, pair in _SECURITY if name not in names],
            ("X-Request-ID", request.id),
        ]
        if isinstance(response.body, bytes) and response.status not in (204, 304):
            out.append(("Content-Length", str(len(response.body))))
        if request.environ.get("wsgi.url_scheme") == "https":
            out.append(_HSTS)
        return out

    def _log_access(self, request: Request, status: int, seconds: float) -> None:
        _access.info(
            "%s %s %d %.1fms id=%s",
            request.method,
            request.path,
            status,
            seconds * 1e3,
            request.id,
        )


def _checked(response: object) -> Response:
    """A handler that gives anything but a Response is a defect of the application."""
    if isinstance(response, Response):
        return response
    raise TypeError(f"a handler gave {type(response).__name__}, not a Response")
