"""One request and its response: calls the application, frames the body, hands streams over."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import Context, copy_context
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from ...fanout import try_format_response
from ..contract import RELEASE, REPORTED, ROUTE, SOCKET, STATUS, STREAM, Parked, request_id
from ..http1 import FAILED, Fields, Head, checked_head, date_line
from .connection import ClientConnection, ClientDisconnected

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication

_log = logging.getLogger("forge_min.wsgi.server")

Adopt = Callable[[int], None]
"""Takes over the descriptor of a connection after the head is sent, or -1 without one."""

_BYTES_AT_ONCE = 1 << 20  # bytes of one body that are written before other connections
_PER_PIECE = 1024  # bytes that each part of a body counts in addition to its length
_END = object()
# LOCK: `cut_off` has written to the connection before its worker closes it.
_CUTTING_OFF = threading.Lock()


LoggedRequest = tuple[tuple[str, str, str], dict[str, str]]
"""Method, path and id for a message of the log, and the `extra` of its record."""


def logged_request(environ: dict[str, Any]) -> LoggedRequest:
    """Return the logged fields of a request."""
    id, route = request_id(environ), environ.get(ROUTE)
    extra = {"request_id": id, "route": route} if route else {"request_id": id}
    return (environ["REQUEST_METHOD"], environ["PATH_INFO"], id), extra


@lru_cache(100)
def _keeps_alive(tokens: str, modern: bool) -> bool:
    """Return whether a Connection field keeps the connection open (RFC 9112 section 9.3)."""
    names = [token.strip() for token in tokens.lower().split(",")]
    return "close" not in names and (modern or "keep-alive" in names)


class Exchange:
    """One run of an application.

    conn: owned by this thread until `run` returns.
    environ: read, never kept. It holds `stream`, and because of the cycle only the garbage
        collector would free a request.
    """

    # PERF: on the class, so that most responses need not set them (benchmarks/http, hello).
    streams = False
    """Whether the socket will be handed over."""
    logged: LoggedRequest | None = None  # these five are set for bodies other than lists
    _log_context: Context | None = None  # the body's `forge_context`
    _context = Context()
    _body: Iterable[bytes] = ()
    _pieces: Iterator[bytes] | None = None
    _is_plain = _is_http11 = _keeps_alive = True
    _bodiless = _claimed = _sent = _chunked = False
    _head: Head | None = None
    _adopt: Adopt | None = None
    _remaining: int | None = None

    def __init__(self, conn: ClientConnection, environ: dict[str, Any]) -> None:
        self.conn = conn
        # LOCK: none; list.pop is atomic. The thread that pops may write: the worker or `cut_off`.
        self._claim_token = [True]
        tokens = environ.get("HTTP_CONNECTION")
        if environ["SERVER_PROTOCOL"] != "HTTP/1.1":
            self._is_http11 = self._keeps_alive = self._is_plain = False
        if tokens is not None:
            self._keeps_alive = _keeps_alive(tokens, self._is_http11)
            self._is_plain = self._is_plain and self._keeps_alive
        if environ["REQUEST_METHOD"] == "HEAD":
            self._bodiless, self._is_plain = True, False

    def run(self, app: WSGIApplication, environ: dict[str, Any]) -> None:
        """Call the application and write its response.

        Bytes that the kernel does not accept stay in `conn.out`. If parts of the body are left,
        `conn.exchange` is this exchange: call `resume`. Else `conn.closing` is whether the
        connection ends after this response, and `streams` whether to hand the socket over. Raises
        ClientDisconnected.
        """
        environ[STREAM], environ[SOCKET] = self.stream, self.conn.sock
        try:
            body = app(environ, self.start_response)
            if type(body) is list:
                # PERF: head and body are sent in one call (benchmarks/http, hello).
                whole = self._try_format(body)
                if whole is None:
                    whole = b"".join(body)
                    self._write(whole, len(whole))
                    if self.streams or self._chunked or self._remaining:
                        self._finish()
                else:
                    self.conn.send(whole, whole=True)
            else:
                self.logged = logged_request(environ)
                self._body, self._context = body, copy_context()
                self._log_context = getattr(body, "forge_context", None)
                self._continue()
        except ClientDisconnected:
            self.hand_over(-1)
            raise
        except Parked:
            raise
        except BaseException:  # also CancelledError and SystemExit of the application
            self._log_failure(logged_request(environ))
            self._claim()
            self.conn.last = True
            Exchange(self.conn, environ).run(FAILED, environ)

    def resume(self) -> None:
        """Continue the body after the peer has read the part that was sent.

        Any worker may call it; the body runs in the context of the first one. Raises
        ClientDisconnected.
        """
        self.conn.exchange = None
        try:
            self._continue()
        except ClientDisconnected:
            self.hand_over(-1)
            raise
        except BaseException:
            assert self.logged is not None
            self._log_failure(self.logged)
            raise ClientDisconnected from None

    def abandon(self) -> None:
        """Close the body of a peer that has disconnected before its last part."""
        try:
            self._close()
        except BaseException:
            if self.logged is not None:
                self._log("a body failed to close", self.logged)
        self.hand_over(-1)

    def cut_off(self, environ: dict[str, Any] | None, *, reported: bool) -> bool:
        """Respond 500 instead of an application that does not return; called by another thread.

        Ends the connection if the response has begun, or if environ is None.

        reported: whether the caller reports the response, so that the application must not.

        Returns whether 500 was sent.
        """
        release = getattr(self._body, "forge_release", None)
        if environ is not None:
            release = environ.pop(RELEASE, release)
        if release is not None:  # the handler may never return
            release()
        with _CUTTING_OFF, suppress(OSError, ClientDisconnected):
            try:
                self._claim_token.pop()
            except IndexError:
                environ = None
            if environ is None:
                self._fail_body(TimeoutError("the handler was given up"))
                self.conn.sock.shutdown(socket.SHUT_RDWR)
                return False
            # SAFETY: in this order: the application reads STATUS first.
            environ[REPORTED] = reported
            environ[STATUS] = 500
            self.conn.last, self.conn.deferred = True, False
            environ = dict(environ)
            Exchange(self.conn, environ).run(FAILED, environ)
            self.conn.sock.shutdown(socket.SHUT_WR)
        return environ is not None

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
        self._adopt, self.streams, self._is_plain = adopt, True, False

    def hand_over(self, fd: int) -> None:
        """Call `adopt` with the descriptor or -1. A second call does nothing."""
        adopt, self._adopt = self._adopt, None
        if adopt is not None:
            self.streams = False
            try:
                adopt(fd)
            except Exception:
                _log.exception("a stream could not be handed over")

    def _try_format(self, body: list[bytes]) -> bytes | None:
        """Return a complete simple response, which this thread then sends; None if unsure.

        `_write` handles the other ones. Raises ClientDisconnected if another thread has responded.
        """
        if not self._is_plain or self._head is None or self._claimed or self.conn.last:
            return None
        whole = try_format_response(self._head, body)
        if whole is not None:
            self._claim()
            # SAFETY: none remain: a later call of `write` would begin a second response.
            self._sent, self._remaining = True, 0
        return whole

    def _log(self, event: str, logged: LoggedRequest) -> None:
        """Log the current exception with the fields of its request."""
        request, extra = logged
        log = partial(_log.exception, f"{event}: %s %s request_id=%s", *request, extra=extra)
        log() if self._log_context is None else self._log_context.run(log)

    def _log_failure(self, logged: LoggedRequest) -> None:
        """Log the current exception. Raises ClientDisconnected if the response has begun."""
        self._log("the application failed", logged)
        self.hand_over(-1)
        if self._sent:
            raise ClientDisconnected from None

    def _claim(self) -> None:
        """Claim the response for this thread. Raises ClientDisconnected if another one has it."""
        if not self._claimed:
            try:
                self._claimed = self._claim_token.pop()
            except IndexError:
                with _CUTTING_OFF:
                    raise ClientDisconnected from None

    def _continue(self) -> None:
        """Write parts of the body while the peer reads them, up to _BYTES_AT_ONCE."""
        try:
            if not self._context.run(self._write_pieces):
                self.conn.exchange = self
                return
            self._finish()
        except BaseException as err:
            if not isinstance(err, ClientDisconnected):
                self._fail_body(err)
            self._close()
            raise
        self._close()

    def _fail_body(self, error: BaseException) -> None:
        """Notify the body of an Application that its response ends with this error."""
        fail = getattr(self._body, "forge_fail", None)
        if fail is not None:
            fail(error, begun=self._sent)

    def _write_pieces(self) -> bool:
        """Write parts of the body; return False if more may be left."""
        if self._pieces is None:
            self._pieces = iter(self._body)
        budget = _BYTES_AT_ONCE
        while budget > 0 and not self.conn.out:
            data: Any = next(self._pieces, _END)
            if data is _END:
                return True
            if data:
                self._write(data)
            budget -= len(data) + _PER_PIECE
        return False

    def _close(self) -> None:
        body, self._body = self._body, ()
        if hasattr(body, "close"):
            self._context.run(body.close)

    def _finish(self) -> None:
        if not self._sent:
            # The length of the response to a GET is not known.
            self._write(b"", None if self._bodiless else 0)
        if self._chunked:
            self.conn.send(b"0\r\n\r\n")
        if self._remaining:
            raise ValueError(f"the body is {self._remaining} bytes shorter than its Content-Length")
        if self._adopt is not None:
            self.conn.send_rest()

    def _write(self, data: bytes, size: int | None = None) -> None:
        """Send one part of the body, the first one with the head (also PEP 3333's `write`).

        size: bytes of the whole body, if known.
        """
        if not self._claimed:
            self._claim()
        out = b"" if self._sent else self._begin(size)
        if self._bodiless:
            data = b""
        if self._remaining is not None:
            self._remaining -= len(data)
            if self._remaining < 0:
                raise ValueError("the body is longer than its Content-Length")
        if self._chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        out += data
        if out:
            self._sent = True
            self.conn.send(out, whole=bool(size))

    def _begin(self, size: int | None) -> bytes:
        """Return the head; decide the framing of the body, and whether the connection persists."""
        conn = self.conn
        if self._head is None:
            raise RuntimeError("the application did not call start_response")
        status, lines, length, dated = self._head
        if conn.last or status != 200 or self._bodiless:
            self.hand_over(-1)
        # RFC 9112 section 6.3: these responses end with their head, whatever its fields.
        no_length = status in (204, 304)
        self._bodiless = self._bodiless or no_length
        length = size if length is None else length
        closing = conn.last or self._adopt is not None or not self._keeps_alive
        last = b"" if dated else date_line()
        if no_length or self._adopt is not None:
            pass
        elif length is not None:
            last += b"Content-Length: %d\r\n" % length
            if not self._bodiless:
                if size not in (None, length):
                    raise ValueError(f"the body has {size} bytes, but Content-Length is {length}")
                self._remaining = length
        elif self._is_http11 and not self._bodiless:
            self._chunked = True
            last += b"Transfer-Encoding: chunked\r\n"
        elif not self._bodiless:
            closing = True
        if closing:
            last += b"Connection: close\r\n"
        elif not self._is_http11:
            last += b"Connection: keep-alive\r\n"
        conn.closing = closing
        return lines + last + b"\r\n"


class WorkerState:
    """The current work of one worker thread.

    thread: the worker.
    exchange: the exchange that it runs, or None.
    environ: of the request that it runs; None while it resumes a body.
    began: time.perf_counter() at the start of the exchange.
    given_up: whether another worker has replaced it.
    """

    __slots__ = ("began", "environ", "exchange", "given_up", "thread")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.exchange: Exchange | None = None
        self.environ: dict[str, Any] | None = None
        self.began = 0.0
        self.given_up = False
