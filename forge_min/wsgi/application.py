"""The PEP 3333 callable: one request through middleware and router, and what every answer gets.

It runs under any WSGI server. Spans, metrics and logs come in as plain values: nothing here imports
a telemetry library.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from types import FunctionType, MethodType
from typing import Any, Protocol
from wsgiref.types import StartResponse

from ..auth import current_identity
from ..errors import BadRequest, NotFound
from ..fanout import Counter
from ..i18n import LANGUAGES, in_language, negotiate
from ..observe import log_fields
from .contract import (
    ERROR,
    RELEASE,
    REPORTED,
    REQUEST_ID,
    REQUEST_ID_KEY,
    ROUTE,
    SECURITY_HEADERS,
    STATUS,
    Parked,
)
from .problem import MethodNotAllowed, failed
from .request import Request, Routed
from .response import Response, StreamingBody
from .router import Handler, Middleware, Router

Observe = Callable[[str, str, int, float], None]
"""Told (method, route pattern, status, seconds) after every request: metrics. Of a body of pieces
after the last one; its status is 500 where no piece came, as that was answered.
"""

Access = Callable[[str, str, int, float], None]
"""Told (method, path, status, seconds), at the same moment: `observe.AccessLog`."""


class Instrumentation(Protocol):
    """Opened around every request: a span. What it gives, if it wants to know, is called with the
    status before it closes: after the last piece of a body of pieces. Until then `leave` has this
    thread go on with something else; each piece is made in a copy of the context of before.
    """

    def __enter__(self) -> Callable[[int], None] | None:
        """Begin."""

    def leave(self) -> None:
        """Give this thread back; called once the answer has begun, if its body is of pieces."""

    def __exit__(self, *error: Any) -> object:
        """End; with the exception that a body of pieces ended with."""


_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_HSTS = ("Strict-Transport-Security", "max-age=31536000")
_OF_EVERY = frozenset(name.lower() for name, _ in (*SECURITY_HEADERS, _HSTS, ("X-Request-ID", "")))

_OF_THE_SERVER = KeyboardInterrupt, SystemExit, Parked  # which ends itself by the first two


class Application:
    """A web application for any PEP 3333 server.

    middleware: stands around the router, the first one outermost; sees errors of handlers as
    answers already. outer: the same around all of that, so it sees every answer. observe, access,
    around: see Observe, Access, Around; access is called within `around`. max_body: bytes, checked
    here too, for servers without a cap. probe: a handler that is called without `middleware`.
    Every answer carries a request id (`X-Request-ID`, the client's own when it is well formed), the
    headers of contract.md and a Content-Length when the body is bytes.
    """

    def __init__(
        self,
        router: Router,
        *,
        middleware: Sequence[Middleware] = (),
        outer: Sequence[Middleware] = (),
        observe: Observe | None = None,
        access: Access | None = None,
        around: Callable[[Request], Instrumentation] | None = None,
        max_body: int = 1 << 20,
        probe: Handler | None = None,
    ) -> None:
        self._router = router
        self._probe = probe
        # Twice: middleware in between sets the identity, which may have a language of its own.
        self._chain = _stacked(middleware, self._dispatch)
        self._outside = _stacked(outer, self._answer)
        self._observe = observe
        self._access = access
        self._around = around
        self._max_body = max_body
        self._id = f"{os.urandom(6).hex()}-%x"
        self._numbers = itertools.count(1)
        self._begun, self._over = Counter(), Counter()  # exact under threads

    @property
    def in_flight(self) -> int:
        """Requests that are being answered: begun, and the body's last byte not yet handed to the
        server. A stream that the server took over is none.
        """
        over = self._over.value  # first: what ends meanwhile has begun
        return int(self._begun.value - over)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        # PERF: in one piece, what every request asks for: a call costs as much as what it does
        # (benchmarks/http, hello).
        sent: str | None = environ.get("HTTP_X_REQUEST_ID")
        if sent is None or not REQUEST_ID.fullmatch(sent):
            # A random prefix and a count; uuid4 costs as much as the router.
            sent = self._id % next(self._numbers)
        environ[REQUEST_ID_KEY] = sent
        request = Request(environ, sent, self._max_body)
        path = environ.get("PATH_INFO")
        if path and path.isascii():
            request.path = path
        else:  # for who answers outside of `_answer`, which refuses what is not UTF-8
            with suppress(BadRequest):
                request.read_path()
        token = log_fields.set(request.fields)
        around = None if self._around is None else self._around(request)
        streams = False
        self._begun.inc()  # PERF: with its end 0.1 µs (benchmarks/observe, request)
        finish = around.__enter__() if around is not None else None
        started, told = time.perf_counter(), False
        try:
            response = self._outside(request)
            if LANGUAGES:
                response = _labelled(request, response)
            response = self._start(request, response, start_response)
            body, status = response.body, response.status
            if type(body) is bytes:
                told = True
                self._tell(request, status, started)
                if finish is not None:
                    finish(status)
                if status >= 500:
                    environ.pop(ERROR, None)  # it holds the frames that hold this
            else:
                streams = True
                ended = partial(self._ended, request, status, started, finish, around)
                body = StreamingBody(body, ended)  # type: ignore[arg-type]  # it is no bytes
                body.forge_release = environ.get(RELEASE)
        except Parked:
            if around is not None:
                around.__exit__(None, None, None)
            raise
        except BaseException as err:
            if not told:  # the server answers, unless it ends
                self._tell(request, 500, started)
                if finish is not None:
                    finish(500)
            if around is not None:
                around.__exit__(type(err), err, err.__traceback__)
            raise
        finally:
            if not streams:  # else its close says when
                self._over.inc()
                if (release := environ.pop(RELEASE, None)) is not None:
                    release()
            log_fields.reset(token)
        if around is not None:
            around.leave() if streams else around.__exit__(None, None, None)
        if request.method == "HEAD":  # PEP 3333 leaves it to the application; waitress does not cut
            if isinstance(body, StreamingBody):
                body.close()
            return () if streams else []
        return body if streams else [body]  # type: ignore[list-item,return-value]

    def answered(self, environ: dict[str, Any], status: int, detail: str, seconds: float) -> None:
        """Tell metrics, the access log and a span of what the server has answered by itself (see
        `OnAnswered`). 500: a handler was given up, whose own span goes on.
        """
        request = Request(environ, environ[REQUEST_ID_KEY])
        request.path = environ["PATH_INFO"].encode("latin-1").decode(errors="backslashreplace")
        request.route = environ.get(ROUTE, "")
        request.fields["detail"] = detail
        if request.route:
            request.fields["route"] = request.route
        token = log_fields.set(request.fields)
        try:
            if status == 500 or self._around is None:
                self._say(request, status, seconds)
            else:
                with self._around(request) as finish:
                    self._say(request, status, seconds)
                    if finish is not None:
                        finish(status)
        finally:
            log_fields.reset(token)

    def _ended(
        self,
        request: Request,
        status: int,
        started: float,
        finish: Callable[[int], None] | None,
        around: Instrumentation | None,
        error: BaseException | None,
        *,
        begun: bool,
    ) -> None:
        """Told after the last piece of a body. error: what it ended with. begun: a piece was
        written.
        """
        self._over.inc()
        if (release := request.environ.pop(RELEASE, None)) is not None:
            release()
        status = 500 if error is not None and not begun else status
        self._tell(request, status, started)
        if finish is not None:
            finish(status)
        request.environ.pop(ERROR, None)
        if around is not None:
            around.__exit__(type(error), error, None)

    def _tell(self, request: Request, status: int, started: float) -> None:
        environ = request.environ
        given = environ.get(STATUS)  # a server's, who answered instead
        if given is None:
            self._say(request, status, time.perf_counter() - started)
        elif not environ.get(REPORTED):
            self._say(request, given, time.perf_counter() - started)

    def _say(self, request: Request, status: int, seconds: float) -> None:
        method = request.method if request.method in _METHODS else "OTHER"
        if self._observe is not None:
            self._observe(method, request.route, status, seconds)
        if self._access is not None:
            self._access(request.method, request.path, status, seconds)

    def _start(self, request: Request, response: Response, start: StartResponse) -> Response:
        """Begin the answer; one that the server refuses, say for a line end in a header, is a
        500.
        """
        try:
            line = _STATUS_LINES.get(response.status) or f"{response.status} Unknown"
            start(line, self._headers(request, response))
        except Exception as err:
            if hasattr(response.body, "close"):
                response.body.close()  # nobody will read it (PEP 3333)
            response = failed(request, err)
            headers = self._headers(request, response)
            start(_STATUS_LINES[response.status], headers, sys.exc_info())
        return response

    def _answer(self, request: Request, spoken: bool = False) -> Response:
        """Through the middleware; whatever is raised there becomes an answer too. spoken: in the
        language of who asks already.
        """
        if LANGUAGES and not spoken:  # PERF: English alone costs nothing (benchmarks/http, hello)
            with in_language(_wanted(request)):
                return self._answer(request, True)
        try:
            if request.path is not request.environ.get("PATH_INFO"):
                request.read_path()
            chain = self._chain
            try:
                if self._route(request)[0] is self._probe:
                    chain = self._dispatch
            except (NotFound, MethodNotAllowed):
                pass  # whom the middleware lets through is told so
            response = chain(request)
            if type(response) is Response and type(response.body) is bytes:
                return response
            return _checked(response)
        except _OF_THE_SERVER:
            raise
        except BaseException as err:
            return failed(request, err)

    def _route(self, request: Request) -> Routed:
        """Find the handler: before the middleware, so that what it asks of the database, and whom
        it refuses, is told of by the route. Raises as `Router.match`.
        """
        handler, request.params, pattern = self._router.match(request.method, request.path)
        request.routed = found = (handler, request.method, request.path)
        request.route = request.environ[ROUTE] = pattern
        request.fields["route"] = pattern
        return found

    def _dispatch(self, request: Request, spoken: bool = False) -> Response:
        """The innermost handler: call, turn errors into answers. spoken: as of `_answer`."""
        if LANGUAGES and not spoken:
            with in_language(_wanted(request)):
                return self._dispatch(request, True)
        try:
            found = request.routed
            if found is None or found[1] is not request.method or found[2] is not request.path:
                # It raises, or middleware has changed where it goes.
                request.route = request.environ[ROUTE] = ""
                request.fields.pop("route", None)
                found = self._route(request)
            response = found[0](request)
            if type(response) is Response and type(response.body) is bytes:
                return response
            return _checked(response)
        except _OF_THE_SERVER:
            raise
        except BaseException as err:  # asyncio's CancelledError, say
            return failed(request, err)

    def _headers(self, request: Request, response: Response) -> list[tuple[str, str]]:
        """The headers of every answer; a name that the handler set stays as it is."""
        given = [*SECURITY_HEADERS, ("X-Request-ID", request.id)]
        if request.environ.get("wsgi.url_scheme") == "https":
            given.append(_HSTS)
        out = list(response.headers)
        taken = {name.lower() for name, _ in out}
        if not taken.isdisjoint(_OF_EVERY):
            given = [pair for pair in given if pair[0].lower() not in taken]
        out += given
        if type(response.body) is bytes and response.status not in (204, 304):
            out.append(("Content-Length", str(len(response.body))))
        return out


def _stacked(middleware: Sequence[Middleware], handler: Handler) -> Handler:
    """The handler with these around it, the first one outermost."""
    for outer in reversed(middleware):
        handler = _around(outer, handler)
    return handler


def _around(outer: Middleware, inner: Handler) -> Handler:
    # PERF: a closure costs half of a partial of a function, and a method's call less than its
    # object's (benchmarks/http, hello).
    plain = isinstance(outer, FunctionType | MethodType)
    call: Middleware = outer if plain else outer.__call__  # type: ignore[operator]
    return lambda request: call(request, inner)


def _wanted(request: Request) -> str:
    """The identity's language or the one that is asked for."""
    wanted = current_identity().language or request.header("Accept-Language") or ""
    language = request.environ["forge.language"] = negotiate(wanted)
    return language


def _labelled(request: Request, response: Response) -> Response:
    """What people read says its language (RFC 9110 sections 8.5 and 12.5.5). A new Response: a
    handler may give the same one to every request.
    """
    kind = response.header("Content-Type") or ""
    if not kind.startswith(("text/html", "application/problem+json")):
        return response
    headers = [*response.headers, ("Vary", "Accept-Language")]
    language = request.environ.get("forge.language")
    if language and response.header("Content-Language") is None:
        headers.append(("Content-Language", language))
    return Response(response.status, response.body, headers)


def _checked(response: object) -> Response:
    """A handler that gives anything but a Response with a body is a defect of the application."""
    if not isinstance(response, Response):
        raise TypeError(f"a handler gave {type(response).__name__}, not a Response")
    body: Any = response.body
    if isinstance(body, bytes):
        whole = body if type(body) is bytes else bytes(body)
        return Response(response.status, whole, response.headers)
    pieces = body if isinstance(body, list | tuple) else ()
    if isinstance(body, str | bytearray | memoryview) or not hasattr(body, "__iter__"):
        raise TypeError(f"the body is {type(body).__name__}, not bytes or an iterable of bytes")
    if not all(isinstance(piece, bytes) for piece in pieces):
        raise TypeError("a piece of the body is not bytes")
    return response
