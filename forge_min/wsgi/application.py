"""The PEP 3333 callable: passes a request through middleware and router, completes the response.

It runs under any WSGI server. Spans, metrics and logs are parameters: nothing here imports a
telemetry library.
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
from .problem import MethodNotAllowed, error_response
from .request import Request, Routed
from .response import Response, StreamingBody
from .router import Handler, Middleware, Router

Observe = Callable[[str, str, int, float], None]
"""Called with (method, route pattern, status, seconds) after every request, for metrics.

A streamed response counts after its last part. If it failed before the first part, the client got
500, and so does this function.
"""

OnStatus = Callable[[int], None]
"""Called with the status before the end of `Instrumentation`."""


class Instrumentation(Protocol):
    """A span around every request, as a context manager.

    A streamed response ends it after its last part. Each part runs in a copy of its context.
    """

    def __enter__(self) -> OnStatus | None:
        """Begin. Returns a function that gets the status, or None."""

    def leave(self) -> None:
        """Detach from this thread; called once a streamed response has begun."""

    def __exit__(self, *error: Any) -> object:
        """End, with the exception that ended a streamed response."""


_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_HSTS = ("Strict-Transport-Security", "max-age=31536000")
_STANDARD_HEADERS = frozenset(
    name.lower() for name, _ in (*SECURITY_HEADERS, _HSTS, ("X-Request-ID", ""))
)

_SERVER_EXCEPTIONS = KeyboardInterrupt, SystemExit, Parked  # the server handles these


class Application:
    """A web application for any PEP 3333 server.

    router: the table of routes.
    middleware: wraps the router, the first one outermost; it gets errors of handlers as responses.
    problem_page: called with each response of 400 or above; returns it, or a page instead of it.
    outer: wraps all of that, so that it gets every response.
    observe: see Observe.
    access: as `observe`, but called with the path, and within `instrument`: `observe.AccessLog`.
    instrument: see Instrumentation.
    max_body: bytes of a body, checked here too, for servers without a limit.
    probe: a handler that is called without `middleware`.

    Every response has a request id (`X-Request-ID`, the client's own if it is well-formed), the
    security headers of docs/reference/http.md, and a Content-Length if its body is bytes.
    """

    def __init__(
        self,
        router: Router,
        *,
        middleware: Sequence[Middleware] = (),
        problem_page: Callable[[Request, Response], Response] | None = None,
        outer: Sequence[Middleware] = (),
        observe: Observe | None = None,
        access: Observe | None = None,
        instrument: Callable[[Request], Instrumentation] | None = None,
        max_body: int = 1 << 20,
        probe: Handler | None = None,
    ) -> None:
        self._router = router
        self._probe = probe
        self._problem_page = problem_page
        # Twice: middleware in between sets the identity, which may have its own language.
        self._chain = _wrap_all(middleware, self._dispatch)
        self._outer_chain = _wrap_all(outer, self._answer)
        self._observe = observe
        self._access = access
        self._instrument = instrument
        self._max_body = max_body
        self._id = f"{os.urandom(6).hex()}-%x"
        self._numbers = itertools.count(1)
        self._begun = Counter()
        self._finished = Counter()  # exact under threads

    @property
    def in_flight(self) -> int:
        """Number of requests for which the server does not have the complete response yet.

        Streams that the server took over do not count.
        """
        finished = self._finished.value  # read first: a request that ends now has begun
        return int(self._begun.value - finished)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request (PEP 3333)."""
        # PERF: the common path is in one function: a call costs as much as its work
        # (benchmarks/http, hello).
        sent: str | None = environ.get("HTTP_X_REQUEST_ID")
        if sent is None or not REQUEST_ID.fullmatch(sent):
            # PERF: a random prefix and a number; uuid4 costs as much as the router.
            sent = self._id % next(self._numbers)
        environ[REQUEST_ID_KEY] = sent
        request = Request(environ, sent, self._max_body)
        path = environ.get("PATH_INFO")
        if path and path.isascii():
            request.path = path
        else:  # for `outer` middleware; `_answer` rejects paths that are not UTF-8
            with suppress(BadRequest):
                request.read_path()
        token = log_fields.set(request.fields)
        instrument = None
        if self._instrument is not None:
            instrument = self._instrument(request)
        stream = None
        self._begun.inc()  # PERF: 0.1 µs together with its end (benchmarks/observe, request)
        on_status = None
        if instrument is not None:
            on_status = instrument.__enter__()
        started = time.perf_counter()
        recorded = False
        try:
            response = self._outer_chain(request)
            if LANGUAGES:
                response = _with_language(request, response)
            response = self._start(request, response, start_response)
            body = response.body
            status = response.status
            if type(body) is bytes:
                recorded = True
                self._record(request, status, started, on_status)
                if status >= 500:
                    environ.pop(ERROR, None)  # its frames refer to this environ
            else:
                ended = partial(self._on_close, request, status, started, on_status, instrument)
                stream = StreamingBody(body, ended)  # type: ignore[arg-type]  # not bytes here
        except Parked:
            if instrument is not None:
                instrument.__exit__(None, None, None)
            raise
        except BaseException as err:
            if not recorded:  # the server responds instead, unless it stops
                self._record(request, 500, started, on_status)
            if instrument is not None:
                instrument.__exit__(type(err), err, err.__traceback__)
            raise
        finally:
            if stream is None:  # else `_on_close` does it
                self._finished.inc()
                release = environ.pop(RELEASE, None)
                if release is not None:
                    release()
            log_fields.reset(token)
        if instrument is not None:
            if stream is None:
                instrument.__exit__(None, None, None)
            else:
                instrument.leave()
        # PEP 3333 leaves HEAD to the application; waitress sends a body.
        is_head = request.method == "HEAD"
        if stream is not None:
            if not is_head:
                return stream
            stream.close()
            return ()
        if is_head:
            return []
        return [body]  # type: ignore[list-item]

    def record_server_response(
        self, environ: dict[str, Any], status: int, detail: str, seconds: float
    ) -> None:
        """Report a response of the server itself to metrics, access log and a span.

        It is an `OnServerResponse`. After 500 a handler was given up; its own span still runs.
        """
        request = Request(environ, environ[REQUEST_ID_KEY])
        request.path = environ["PATH_INFO"].encode("latin-1").decode(errors="backslashreplace")
        request.route = environ.get(ROUTE, "")
        request.fields["detail"] = detail
        if request.route:
            request.fields["route"] = request.route
        token = log_fields.set(request.fields)
        try:
            if status == 500 or self._instrument is None:
                self._report(request, status, seconds)
                return
            with self._instrument(request) as on_status:
                self._report(request, status, seconds)
                if on_status is not None:
                    on_status(status)
        finally:
            log_fields.reset(token)

    def _on_close(
        self,
        request: Request,
        status: int,
        started: float,
        on_status: OnStatus | None,
        instrument: Instrumentation | None,
        error: BaseException | None,
        *,
        begun: bool,
    ) -> None:
        """End a streamed response.

        error: the exception that ended it.
        begun: whether a part was sent.
        """
        self._finished.inc()
        release = request.environ.pop(RELEASE, None)
        if release is not None:
            release()
        if error is not None and not begun:
            status = 500
        self._record(request, status, started, on_status)
        request.environ.pop(ERROR, None)
        if instrument is not None:
            instrument.__exit__(type(error), error, None)

    def _record(
        self, request: Request, status: int, started: float, on_status: OnStatus | None
    ) -> None:
        environ = request.environ
        server_status = environ.get(STATUS)  # if the server has responded instead
        if server_status is None or not environ.get(REPORTED):
            seconds = time.perf_counter() - started
            self._report(request, server_status or status, seconds)
        if on_status is not None:
            on_status(status)

    def _report(self, request: Request, status: int, seconds: float) -> None:
        if self._observe is not None:
            method = request.method
            if method not in _METHODS:
                method = "OTHER"
            self._observe(method, request.route, status, seconds)
        if self._access is not None:
            self._access(request.method, request.path, status, seconds)

    def _start(self, request: Request, response: Response, start: StartResponse) -> Response:
        """Begin the response; if the server rejects it, for a header for example, it is 500."""
        try:
            line = _STATUS_LINES.get(response.status) or f"{response.status} Unknown"
            start(line, self._headers(request, response))
        except Exception as err:
            if hasattr(response.body, "close"):
                response.body.close()  # it will not be read (PEP 3333)
            response = error_response(request, err)
            headers = self._headers(request, response)
            start(_STATUS_LINES[response.status], headers, sys.exc_info())
        return response

    def _answer(self, request: Request, localized: bool = False) -> Response:
        """Call the middleware; turn its exceptions into responses.

        localized: whether the language of the request is set already.
        """
        # PERF: no cost without catalogues (benchmarks/http, hello)
        if LANGUAGES and not localized:
            with in_language(_current_language(request)):
                return self._answer(request, True)
        try:
            if request.path is not request.environ.get("PATH_INFO"):
                request.read_path()
            chain = self._chain
            try:
                if self._route(request)[0] is self._probe:
                    chain = self._dispatch
            except (NotFound, MethodNotAllowed):
                pass  # the response, if the middleware permits the request
            response = chain(request)
            if type(response) is not Response or type(response.body) is not bytes:
                response = _checked(response)
        except _SERVER_EXCEPTIONS:
            raise
        except BaseException as err:
            response = error_response(request, err)
        if response.status < 400 or self._problem_page is None:
            return response
        try:
            return self._problem_page(request, response)
        except Exception as err:
            return error_response(request, err)

    def _route(self, request: Request) -> Routed:
        """Find the handler. Raises as `Router.match`.

        It runs before the middleware, so that its queries and refusals are reported by route.
        """
        method = request.method
        path = request.path
        (_, pattern, handler, _), request.params = self._router.match(method, path)
        request.routed = routed = (handler, method, path)
        request.route = request.environ[ROUTE] = pattern
        request.fields["route"] = pattern
        return routed

    def _dispatch(self, request: Request, localized: bool = False) -> Response:
        """Call the handler; turn its exceptions into responses. localized: see `_answer`."""
        if LANGUAGES and not localized:
            with in_language(_current_language(request)):
                return self._dispatch(request, True)
        try:
            routed = request.routed
            if routed is None or routed[1] is not request.method or routed[2] is not request.path:
                # It was not found, or middleware has changed the method or path.
                request.route = request.environ[ROUTE] = ""
                request.fields.pop("route", None)
                routed = self._route(request)
            response = routed[0](request)
            if type(response) is Response and type(response.body) is bytes:
                return response
            return _checked(response)
        except _SERVER_EXCEPTIONS:
            raise
        except BaseException as err:  # also CancelledError of asyncio
            return error_response(request, err)

    def _headers(self, request: Request, response: Response) -> list[tuple[str, str]]:
        """Add the standard headers; the handler's own header takes precedence."""
        standard = [*SECURITY_HEADERS, ("X-Request-ID", request.id)]
        if request.environ.get("wsgi.url_scheme") == "https":
            standard.append(_HSTS)
        headers = list(response.headers)
        names = {name.lower() for name, _ in headers}
        if not names.isdisjoint(_STANDARD_HEADERS):
            standard = [header for header in standard if header[0].lower() not in names]
        headers += standard
        body = response.body
        if type(body) is bytes and response.status not in (204, 304):
            headers.append(("Content-Length", str(len(body))))
        return headers


def _wrap_all(middleware: Sequence[Middleware], handler: Handler) -> Handler:
    """Wrap the handler in middleware, the first one outermost."""
    for outer in reversed(middleware):
        handler = _instrument(outer, handler)
    return handler


def _instrument(outer: Middleware, inner: Handler) -> Handler:
    # PERF: a closure costs half as much as a partial, and calling a method less than calling its
    # object (benchmarks/http, hello).
    call = outer
    if not isinstance(outer, FunctionType | MethodType):
        call = outer.__call__  # type: ignore[operator]
    return lambda request: call(request, inner)


def _current_language(request: Request) -> str:
    """Return the language of the identity, else the one that the client prefers."""
    preferred = current_identity().language or request.header("Accept-Language") or ""
    language = request.environ["forge.language"] = negotiate(preferred)
    return language


def _with_language(request: Request, response: Response) -> Response:
    """Add the language of a page or problem (RFC 9110 sections 8.5 and 12.5.5).

    Returns a new Response, because a handler may return the same one for every request.
    """
    kind = response.header("Content-Type") or ""
    if not kind.startswith(("text/html", "application/problem+json")):
        return response
    headers = [("Vary", "Accept-Language")]
    language = request.environ.get("forge.language")
    if language and response.header("Content-Language") is None:
        headers.append(("Content-Language", language))
    return response.with_headers(headers)


def _checked(response: object) -> Response:
    """Return the response. Raises TypeError if it or its body has the wrong type."""
    if not isinstance(response, Response):
        raise TypeError(f"a handler returned {type(response).__name__}, not a Response")
    body: Any = response.body
    if isinstance(body, bytes):
        return Response(response.status, bytes(body), response.headers)
    if isinstance(body, str | bytearray | memoryview) or not hasattr(body, "__iter__"):
        raise TypeError(f"the body is {type(body).__name__}, not bytes or an iterable of bytes")
    if isinstance(body, list | tuple):
        for part in body:
            if not isinstance(part, bytes):
                raise TypeError("a part of the body is not bytes")
    return response
