"""One request and its response: calls the application, frames the body, hands streams over."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from ...fanout import Task, try_format_response
from ..contract import CONNECTED, RELEASE, REPORTED, ROUTE, STATUS, STREAM, Parked, request_id
from ..http1 import (
    FAILED,
    ExpectedBody,
    Fields,
    Head,
    Phase,
    ProtocolError,
    checked_head,
    date_line,
    read_requests,
    refused_body,
)

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication

_log = logging.getLogger("forge_min.wsgi.server")

Adopt = Callable[[int], None]
"""Takes over the descriptor of a connection after the head is sent, or -1 without one."""

_BYTES_AT_ONCE = 1 << 20  # bytes of one body that are written before other connections
_SECONDS_AT_ONCE = 0.1  # for which parts of one body are made before other connections
_PER_PIECE = 1024  # bytes that each part of a body counts in addition to its length
_MAX_UNSENT = 1 << 18  # unsent bytes of one response from which on its body waits
_WRITE_POLL = 0.001  # seconds
_END = object()

LoggedRequest = tuple[tuple[str, str, str], dict[str, str]]
"""Method, path and id for a message of the log, and the `extra` of its record."""


class ClientDisconnected(Exception):
    """The response cannot be sent: the peer is gone, or the server has responded in our place."""


def logged_request(environ: dict[str, Any]) -> LoggedRequest:
    """Return the logged fields of a request."""
    id = request_id(environ)
    route = environ.get(ROUTE)
    extra = {"request_id": id}
    if route:
        extra["route"] = route
    # The application may have removed any key (PEP 3333).
    method = environ.get("REQUEST_METHOD", "-")
    path = environ.get("PATH_INFO", "-")
    return (method, path, id), extra


@lru_cache(100)
def _keeps_alive(tokens: str, modern: bool) -> bool:
    """Return whether a Connection field keeps the connection open (RFC 9112 section 9.3)."""
    names = [token.strip() for token in tokens.lower().split(",")]
    if "close" in names:
        return False
    return modern or "keep-alive" in names


def last_response(app: WSGIApplication, environ: dict[str, Any]) -> bytes:
    """Return the whole response of an application that the server itself has (`problem`)."""
    head = []

    def start_response(status: str, headers: Fields, exc_info: Any = None, /) -> Any:
        head.append(checked_head(status, headers))

    body = b"".join(app(environ, start_response))
    length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    _, lines, _, _ = head[0]
    response = lines + date_line() + length
    if environ.get("REQUEST_METHOD") != "HEAD":
        response += body
    return response


class RequestReader:
    """Reads a request that is not plain.

    buffer: received bytes that belong to no request yet.
    """

    def __init__(self, base: dict[str, Any], max_body: int) -> None:
        self.buffer = bytearray()
        self._max_body = max_body
        self._requests = read_requests(self.buffer, base, max_body)

    def receive(self, task: Task) -> dict[str, Any] | ExpectedBody | Phase:
        """Return the environ of a complete request, or the missing part.

        task: "input", "body", "refused" or "late". Raises ProtocolError.
        """
        if task.kind == "body":
            return self._requests.send(task.value)
        if task.kind == "refused":
            return self._requests.throw(refused_body(task.value, self._max_body))
        self.buffer += task.value
        arrived = next(self._requests)
        if task.kind == "late":
            late = ProtocolError(408, "the request did not arrive in time")
            return self._requests.throw(late)  # raises it, with its environ
        return arrived


class Exchange:
    """One run of an application.

    task: of the connection; another one after each `resume`.
    environ: read, never kept. It holds `stream`, and because of the cycle only the garbage
        collector would free a request.
    """

    # PERF: on the class, so that most responses need not set them (benchmarks/http, hello).
    logged: LoggedRequest = ("-", "-", "-"), {}  # these six are set for bodies other than lists
    _release: Callable[[], None] | None = None  # RELEASE of the request
    _log_context: Context | None = None  # the body's `forge_context`
    _context = Context()
    _body: Iterable[bytes] = ()
    _pieces: Iterator[bytes] | None = None
    _is_http11 = _keeps_alive = _is_plain = True
    _bodiless = _sent = _chunked = _closing = False
    _head: Head | None = None
    _adopt: Adopt | None = None
    _remaining: int | None = None

    def __init__(self, task: Task, environ: dict[str, Any]) -> None:
        self.task = task
        tokens = environ.get("HTTP_CONNECTION")
        if environ["SERVER_PROTOCOL"] != "HTTP/1.1":
            self._is_http11 = self._keeps_alive = self._is_plain = False
        if tokens is not None:
            self._keeps_alive = _keeps_alive(tokens, self._is_http11)
            self._is_plain = self._is_plain and self._keeps_alive
        if environ["REQUEST_METHOD"] == "HEAD":
            self._bodiless = True
            self._is_plain = False

    def run(self, app: WSGIApplication, environ: dict[str, Any]) -> None:
        """Call the application and write its response.

        Of a long body a part is written, and the task ends with this exchange as its state: call
        `resume` with the next one. Raises ClientDisconnected.
        """
        environ[STREAM] = self.stream
        environ[CONNECTED] = self._connected
        try:
            body = app(environ, self.start_response)
            if type(body) is list:
                # PERF: head and body are formatted in one call (benchmarks/http, hello).
                response = self._try_format(body) or self._format(b"".join(body))
                self._end(response)
            else:
                self.logged = logged_request(environ)
                self._release = environ.get(RELEASE)
                self._body = body
                self._context = copy_context()
                self._log_context = getattr(body, "forge_context", None)
                self._continue()
        except ClientDisconnected:
            self.hand_over(-1)
            raise
        except Parked:
            raise
        except BaseException:  # also CancelledError and SystemExit of the application
            self._log_failure(logged_request(environ))
            if not self.task.end(last_response(FAILED, environ)):
                raise ClientDisconnected from None

    def resume(self, task: Task) -> None:
        """Continue the body after the peer has read the part that was sent.

        Any worker may call it; the body runs in the context of the first one. Raises
        ClientDisconnected.
        """
        self.task = task
        try:
            self._continue()
        except ClientDisconnected:
            self.hand_over(-1)
            raise
        except BaseException:
            self._log_failure(self.logged)
            raise ClientDisconnected from None

    def abandon(self) -> None:
        """Close the body of a peer that has disconnected before its last part."""
        try:
            self._close()
        except BaseException:
            self._log("a body failed to close", self.logged)
        self.hand_over(-1)

    def cut_off(self, task: Task, environ: dict[str, Any] | None, *, reported: bool) -> bool:
        """Respond 500 instead of an application that does not return; called by another thread.

        Ends the connection if the response has begun, or if environ is None.

        task: of the worker that is given up. It may have just ended it; then this does nothing.
        reported: whether the caller reports the response, so that the application must not.

        Returns whether 500 was sent.
        """
        has_responded = False
        if environ is not None:
            failed = last_response(FAILED, dict(environ))
            # SAFETY: in this order: the application reads STATUS first.
            environ[REPORTED] = reported
            environ[STATUS] = 500
            has_responded = task.end(failed, unless_begun=True)
            if not has_responded:
                del environ[STATUS]
        if not has_responded and not task.end(b""):
            return False
        release = self._release
        if environ is not None:
            release = environ.pop(RELEASE, release)
        if release is not None:  # the handler may never return
            release()
        if not has_responded:
            self._fail_body(TimeoutError("the handler was given up"))
        return has_responded

    def start_response(
        self, status: str, headers: Fields, exc_info: OptExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """Set the head of the response (PEP 3333).

        Raises ValueError for a head that must not be sent, RuntimeError if called twice.
        """
        if exc_info is None and self._head is not None:
            raise RuntimeError("start_response was called twice")
        if exc_info is not None and self._sent and exc_info[1] is not None:
            raise exc_info[1]
        self._head = checked_head(status, headers)
        return self._write

    def stream(self, adopt: Adopt) -> None:
        """Hand the socket over after this response (`environ["forge.stream"]`).

        adopt: called exactly once, with the descriptor after head and body are sent. It is -1 if
            there is nothing to stream to: another status than 200, HEAD, a failure, a client that
            has disconnected, or a server that stops. It owns the descriptor, even if it raises.

        Raises RuntimeError for a second call, or after the response has begun.
        """
        if self._adopt is not None or self._sent:
            raise RuntimeError("forge.stream is called once, before the response begins")
        self._adopt = adopt
        self._is_plain = False

    def hand_over(self, fd: int) -> None:
        """Call `adopt` with the descriptor or -1. A second call does nothing."""
        adopt = self._adopt
        self._adopt = None
        if adopt is not None:
            try:
                adopt(fd)
            except Exception:
                _log.exception("a stream could not be handed over")
        elif fd >= 0:  # a failure has handed -1 over already
            os.close(fd)

    def _connected(self) -> bool:
        return self.task.connected

    def _try_format(self, body: list[bytes]) -> bytes | None:
        """Return a complete simple response, or None when unsure: `_format` handles all."""
        if not self._is_plain or self._head is None or self._sent or self.task.last:
            return None
        return try_format_response(self._head, body)

    def _log(self, event: str, logged: LoggedRequest) -> None:
        """Log the current exception with the fields of its request."""
        request, extra = logged
        log = partial(_log.exception, f"{event}: %s %s request_id=%s", *request, extra=extra)
        if self._log_context is None:
            log()
        else:
            self._log_context.run(log)

    def _log_failure(self, logged: LoggedRequest) -> None:
        """Log the current exception. Raises ClientDisconnected if the response has begun."""
        self._log("the application failed", logged)
        self.hand_over(-1)
        if self._sent:
            raise ClientDisconnected from None

    def _continue(self) -> None:
        """Write parts of the body while the peer reads them, up to _BYTES_AT_ONCE."""
        try:
            if not self._context.run(self._write_pieces):
                if not self.task.wait_sent(b"", self):
                    raise ClientDisconnected
                return
            size = None if self._bodiless else 0
            self._end(self._format(b"", size))
        except BaseException as err:
            if not isinstance(err, ClientDisconnected):
                self._fail_body(err)
            self._close()
            raise
        self._close()

    def _fail_body(self, error: BaseException) -> None:
        """Notify the body of an Application that its response ends with this error."""
        if hasattr(self._body, "forge_fail"):
            self._body.forge_fail(error, begun=self._sent)

    def _write_pieces(self) -> bool:
        """Write parts of the body; return False if more may be left."""
        if self._pieces is None:
            self._pieces = iter(self._body)
        budget = _BYTES_AT_ONCE
        until = time.monotonic() + _SECONDS_AT_ONCE
        while budget > 0 and self.task.unsent < _MAX_UNSENT and time.monotonic() < until:
            data: Any = next(self._pieces, _END)
            if data is _END:
                return True
            if data:
                self._send(self._frame(data))
            budget -= len(data) + _PER_PIECE
        return False

    def _close(self) -> None:
        body = self._body
        self._body = ()
        if hasattr(body, "close"):
            self._context.run(body.close)

    def _write(self, data: bytes) -> None:
        """Send one part of the body, the first one with the head (PEP 3333's `write`).

        It waits while the peer is slow: the application holds the thread anyway.
        """
        self._send(self._frame(data))
        while self.task.unsent >= _MAX_UNSENT:
            time.sleep(_WRITE_POLL)

    def _send(self, data: bytes) -> None:
        """Send bytes. Raises ClientDisconnected."""
        if data:
            self._sent = True
            if not self.task.send(data) or self.task.unsent < 0:
                raise ClientDisconnected

    def _end(self, data: bytes) -> None:
        """Send the last bytes of the response. Raises ClientDisconnected."""
        task = self.task
        if self._adopt is not None:
            is_accepted = task.detach(data, self)
        elif self._closing:
            is_accepted = task.end(data)
        else:
            is_accepted = task.respond(data)
        if not is_accepted:
            raise ClientDisconnected

    def _format(self, data: bytes, size: int | None = -1) -> bytes:
        """Return the bytes that end the response: the rest of its body, with the head if needed."""
        if size == -1:
            size = len(data)
        frame = self._frame(data, size)
        if self._chunked:
            frame += b"0\r\n\r\n"
        if self._remaining:
            raise ValueError(f"the body is {self._remaining} bytes shorter than its Content-Length")
        return frame

    def _frame(self, data: bytes, size: int | None = None) -> bytes:
        """Return a part of the body as it is sent, the first one with the head.

        size: bytes of the whole body, if known.
        """
        head = b""
        if not self._sent:
            head = self._begin(size)
        if self._bodiless:
            data = b""
        if self._remaining is not None:
            self._remaining -= len(data)
            if self._remaining < 0:
                raise ValueError("the body is longer than its Content-Length")
        if self._chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        return head + data

    def _begin(self, size: int | None) -> bytes:
        """Return the head; decide the framing of the body, and whether the connection persists."""
        if self._head is None:
            raise RuntimeError("the application did not call start_response")
        self._chunked = False
        self._remaining = None  # a head before this one was not sent
        status, lines, length, has_date = self._head
        last = self.task.last
        if last or status != 200 or self._bodiless:
            self.hand_over(-1)
        # RFC 9112 section 6.3: these responses end with their head, whatever its fields.
        has_no_body = status in (204, 304)
        self._bodiless = self._bodiless or has_no_body
        if length is None:
            length = size
        self._closing = last or self._adopt is not None or not self._keeps_alive
        fields = b""
        if not has_date:
            fields = date_line()
        if has_no_body or self._adopt is not None:
            pass
        elif length is not None:
            fields += b"Content-Length: %d\r\n" % length
            if not self._bodiless:
                if size not in (None, length):
                    raise ValueError(f"the body has {size} bytes, but Content-Length is {length}")
                self._remaining = length
        elif self._is_http11 and not self._bodiless:
            self._chunked = True
            fields += b"Transfer-Encoding: chunked\r\n"
        elif not self._bodiless:
            self._closing = True
        if self._closing:
            fields += b"Connection: close\r\n"
        elif not self._is_http11:
            fields += b"Connection: keep-alive\r\n"
        return lines + fields + b"\r\n"
