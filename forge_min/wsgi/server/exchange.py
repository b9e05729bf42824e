"""One request and its answer: calls the application, frames what it gives, hands streams over."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import Context, copy_context
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ...fanout import try_format_response
from ..contract import RELEASE, REPORTED, ROUTE, SOCKET, STATUS, STREAM, Parked, request_id
from ..http1 import FAILED, Fields, Head, checked_head, date_line
from .connection import ClientDisconnected, Connection

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication

_log = logging.getLogger("forge_min.wsgi.server")

Adopt = Callable[[int], None]
"""Takes over the file descriptor of a connection whose head is out; -1 says that the peer was
gone.
"""

Write = Callable[[bytes], object]

_AT_ONCE = 1 << 20  # bytes of pieces that are written before others get their turn
_PER_PIECE = 1024  # bytes that a piece counts for, however short it is
_END = object()
# LOCK: who cuts an answer short has written to the connection before its worker closes that.
_CUTTING = threading.Lock()


class Where(NamedTuple):
    """A request, for the log."""

    method: str
    path: str
    id: str
    route: str

    @property
    def fields(self) -> dict[str, str]:
        """`extra` of a record of it."""
        return {"request_id": self.id, **({"route": self.route} if self.route else {})}


def request_of(environ: dict[str, Any]) -> Where:
    """Of this request."""
    route = environ.get(ROUTE, "")
    return Where(environ["REQUEST_METHOD"], environ["PATH_INFO"], request_id(environ), route)


@lru_cache(100)
def _keeps_alive(tokens: str, modern: bool) -> bool:
    """What the request's Connection field says of the connection (RFC 9112 section 9.3)."""
    names = [token.strip() for token in tokens.lower().split(",")]
    return "close" not in names and (modern or "keep-alive" in names)


class Exchange:
    """One run of an application.

    conn: owned by this thread until `run` is over. environ is read, never kept: it holds `stream`,
    and a cycle would leave every request to the garbage collector.
    """

    # PERF: of the class, so that most answers need not set them (benchmarks/http, hello).
    streams = False
    """The socket is to be handed over."""
    where: Where | None = None  # these five of a body that is no list
    _inside: Context | None = None  # of its request, where it tells that
    _context = Context()
    _body: Iterable[bytes] = ()
    _pieces: Iterator[bytes] | None = None
    _plain = _modern = _keeps_alive = True
    _bodiless = _mine = _sent = _chunked = False
    _head: Head | None = None
    _adopt: Adopt | None = None
    _left: int | None = None

    def __init__(self, conn: Connection, environ: dict[str, Any]) -> None:
        self.conn = conn
        # LOCK: none; list.pop is atomic. Who takes it may write: the worker, or who gives it up.
        self._right = [True]
        tokens = environ.get("HTTP_CONNECTION")
        if environ["SERVER_PROTOCOL"] != "HTTP/1.1":
            self._modern = self._keeps_alive = self._plain = False
        if tokens is not None:
            self._keeps_alive = _keeps_alive(tokens, self._modern)
            self._plain = self._plain and self._keeps_alive
        if environ["REQUEST_METHOD"] == "HEAD":
            self._bodiless, self._plain = True, False

    def run(self, app: WSGIApplication, environ: dict[str, Any]) -> None:
        """Call the application and write its answer; what does not fit stays in `conn.out`.

        Where pieces of the body are left, `conn.answering` is this exchange: see `resume`. Else
        `conn.closing` says whether a further request may follow, and `streams` whether to hand the
        socket over. Raises ClientDisconnected.
        """
        environ[STREAM], environ[SOCKET] = self.stream, self.conn.sock
        try:
            body = app(environ, self.start_response)
            if type(body) is list:
                # PERF: a whole body and its head leave in one send (benchmarks/http, hello).
                whole = self._whole(body)
                if whole is None:
                    whole = b"".join(body)
                    self._write(whole, len(whole))
                    if self.streams or self._chunked or self._left:
                        self._finish()
                else:
                    self.conn.send(whole, whole=True)
            else:
                self.where = request_of(environ)
                self._body, self._context = body, copy_context()
                self._inside = getattr(body, "forge_context", None)
                self._go_on()
        except ClientDisconnected:
            self.hand_over(-1)
            raise
        except Parked:
            raise
        except BaseException:  # a CancelledError or SystemExit is the application's too
            self._failed(request_of(environ))
            self._take_right()
            self.conn.last = True
            Exchange(self.conn, environ).run(FAILED, environ)

    def resume(self) -> None:
        """Go on where `run` or this has left off, when the peer has taken all that was written:
        on any worker, in the context of the first one. Raises ClientDisconnected.
        """
        self.conn.answering = None
        try:
            self._go_on()
        except ClientDisconnected:
            self.hand_over(-1)
            raise
        except BaseException:
            assert self.where is not None
            self._failed(self.where)
            raise ClientDisconnected from None

    def abandon(self) -> None:
        """The peer is gone before the last piece of the body."""
        try:
            self._close()
        except BaseException:
            if self.where is not None:
                self._log("a body failed to close", self.where)
        self.hand_over(-1)

    def cut(self, environ: dict[str, Any] | None, *, told: bool) -> bool:
        """Called by another thread than the worker: answer 500 in place of the application, which
        does not come back, or end the connection where the answer has begun; whether it has not.
        told: somebody hears of it now, and need not hear of it once more.
        """
        release = getattr(self._body, "forge_release", None)
        if environ is not None:
            release = environ.pop(RELEASE, release)
        if release is not None:  # its handler may never come back
            release()
        with _CUTTING, suppress(OSError, ClientDisconnected):
            try:
                self._right.pop()
            except IndexError:
                environ = None
            if environ is None:
                self._tell_body(TimeoutError("the handler was given up"))
                self.conn.sock.shutdown(socket.SHUT_RDWR)
                return False
            # For who tells of it later; the first one before the second, which is asked for.
            environ[REPORTED] = told
            environ[STATUS] = 500
            self.conn.last, self.conn.held = True, False
            environ = dict(environ)
            Exchange(self.conn, environ).run(FAILED, environ)
            self.conn.sock.shutdown(socket.SHUT_WR)
        return environ is not None

    def start_response(
        self, status: str, headers: Fields, exc_info: OptExcInfo | None = None, /
    ) -> Write:
        """PEP 3333. Raises ValueError for what must not be written, RuntimeError when called
        twice.
        """
        if exc_info is None and self._head is not None:
            raise RuntimeError("start_response was called twice")
        if exc_info is not None and self._sent and exc_info[1] is not None:
            raise exc_info[1]
        self._head = checked_head(status, headers)
        return self._write

    def stream(self, adopt: Adopt) -> None:
        """`environ["forge.stream"]`: `adopt` gets the socket once head and body of this answer are
        out.

        It is called exactly once, with -1 where there is nothing to stream to: another status than
        200, HEAD, a failure, a peer that is gone, a server that stops. It owns what it gets, even
        when it raises.
        """
        if self._adopt is not None or self._sent:
            raise RuntimeError("forge.stream is called once, before the answer begins")
        self._adopt, self.streams, self._plain = adopt, True, False

    def hand_over(self, fd: int) -> None:
        """Give the socket, or -1, to whoever asked for it; does nothing the second time."""
        adopt, self._adopt = self._adopt, None
        if adopt is not None:
            self.streams = False
            try:
                adopt(fd)
            except Exception:
                _log.exception("the owner of a stream failed to take it over")

    def _whole(self, body: list[bytes]) -> bytes | None:
        """The answer of a body that is there, of the plainest kind, to be sent by this thread; None
        where `_write` has to look closer. Raises ClientDisconnected if another thread has answered.
        """
        if not self._plain or self._head is None or self._mine or self.conn.last:
            return None
        whole = try_format_response(self._head, body)
        if whole is not None:
            self._take_right()
            # SAFETY: nothing is left: `write`, kept and called later, would begin a second answer.
            self._sent, self._left = True, 0
        return whole

    def _log(self, what: str, where: Where) -> None:
        """Log what is being handled, with the fields of its request."""
        message = f"{what}: %s %s request_id=%s"
        log = partial(_log.exception, message, *where[:3], extra=where.fields)
        log() if self._inside is None else self._inside.run(log)

    def _failed(self, where: Where) -> None:
        """Log what is being handled. Raises ClientDisconnected where an answer has begun."""
        self._log("the application failed", where)
        self.hand_over(-1)
        if self._sent:
            raise ClientDisconnected from None

    def _take_right(self) -> None:
        """Claim the response for this thread. Raises ClientDisconnected if another one has it."""
        if not self._mine:
            try:
                self._mine = self._right.pop()
            except IndexError:
                with _CUTTING:
                    raise ClientDisconnected from None

    def _go_on(self) -> None:
        """Write pieces of the body as long as the peer takes them and nobody else has to wait."""
        try:
            if not self._context.run(self._write_pieces):
                self.conn.answering = self
                return
            self._finish()
        except BaseException as err:
            if not isinstance(err, ClientDisconnected):
                self._tell_body(err)
            self._close()
            raise
        self._close()

    def _tell_body(self, error: BaseException) -> None:
        """A body of an Application hears what its answer ends with, and whether that has begun."""
        fail = getattr(self._body, "forge_fail", None)
        if fail is not None:
            fail(error, begun=self._sent)

    def _write_pieces(self) -> bool:
        """False where pieces may be left."""
        if self._pieces is None:
            self._pieces = iter(self._body)
        room = _AT_ONCE
        while room > 0 and not self.conn.out:
            data: Any = next(self._pieces, _END)
            if data is _END:
                return True
            if data:
                self._write(data)
            room -= len(data) + _PER_PIECE
        return False

    def _close(self) -> None:
        body, self._body = self._body, ()
        if hasattr(body, "close"):
            self._context.run(body.close)

    def _finish(self) -> None:
        if not self._sent:
            # Of what HEAD asks for, nobody knows how long it would be.
            self._write(b"", None if self._bodiless else 0)
        if self._chunked:
            self.conn.send(b"0\r\n\r\n")
        if self._left:
            raise ValueError(f"the body is {self._left} bytes shorter than its Content-Length")
        if self._adopt is not None:
            self.conn.send_rest()

    def _write(self, data: bytes, size: int | None = None) -> None:
        """One piece of the body; the first one sends the head (also PEP 3333's `write`).

        size: of the whole body, where it is known.
        """
        if not self._mine:
            self._take_right()
        out = b"" if self._sent else self._begin(size)
        if self._bodiless:
            data = b""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ValueError("the body is longer than its Content-Length")
        if self._chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        out += data
        if out:
            self._sent = True
            self.conn.send(out, whole=bool(size))

    def _begin(self, size: int | None) -> bytes:
        """The head; decides how the body is framed, and whether the connection goes on."""
        conn = self.conn
        if self._head is None:
            raise RuntimeError("the application did not call start_response")
        status, lines, length, dated = self._head
        if conn.last or status != 200 or self._bodiless:
            self.hand_over(-1)
        # RFC 9112 section 6.3: these answers end with their head, whatever it says.
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
                    raise ValueError(f"the body has {size} bytes, Content-Length says {length}")
                self._left = length
        elif self._modern and not self._bodiless:
            self._chunked = True
            last += b"Transfer-Encoding: chunked\r\n"
        elif not self._bodiless:
            closing = True
        if closing:
            last += b"Connection: close\r\n"
        elif not self._modern:
            last += b"Connection: keep-alive\r\n"
        conn.closing = closing
        return lines + last + b"\r\n"


class WorkerState:
    """What one worker thread does now.

    began: when it began to answer, by time.perf_counter(). given_up: nothing waits for the thread
    any more, another one has taken its place.
    """

    __slots__ = ("began", "environ", "exchange", "given_up", "thread")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.exchange: Exchange | None = None
        self.environ: dict[str, Any] | None = None  # of a request whose answer has not begun
        self.began = 0.0
        self.given_up = False
