"""One request and its answer: calls the application, frames what it gives, hands streams over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..message import FAILED, Fields, Head, checked_head, date_line, request_id
from .connection import Connection, Gone

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication

_log = logging.getLogger("forge_min.wsgi.server")

Adopt = Callable[[int], None]
"""Takes over the file descriptor of a connection whose head is out; -1 says that the peer was
gone.
"""

Write = Callable[[bytes], object]


def _keeps_alive(tokens: str | None, modern: bool) -> bool:
    """What the request's Connection field says of the connection (RFC 9112 section 9.3)."""
    if tokens is None:
        return modern
    names = [token.strip() for token in tokens.lower().split(",")]
    return "close" not in names and (modern or "keep-alive" in names)


class Exchange:
    """One run of an application.

    conn: owned by this thread until `run` is over. environ is read, never kept: it holds `stream`,
    and a cycle would leave every request to the garbage collector.
    """

    def __init__(self, conn: Connection, environ: dict[str, Any]) -> None:
        self._conn = conn
        self._modern = environ["SERVER_PROTOCOL"] == "HTTP/1.1"
        self._keeps_alive = _keeps_alive(environ.get("HTTP_CONNECTION"), self._modern)
        self._bodiless = environ["REQUEST_METHOD"] == "HEAD"
        self._head: Head | None = None
        self._adopt: Adopt | None = None
        self._sent = False
        self._chunked = False
        self._left: int | None = None

    def run(self, app: WSGIApplication, environ: dict[str, Any]) -> None:
        """Call the application and write its answer; what does not fit stays in `conn.out`.

        Afterwards `conn.closing` says whether a further request may follow, and `streams` whether
        to hand the socket over. Raises Gone.
        """
        environ["forge.stream"] = self.stream
        try:
            body = app(environ, self.start_response)
            try:
                self._answer(body)
            finally:
                if hasattr(body, "close"):
                    body.close()
        except Gone:
            self.hand_over(-1)
            raise
        except (Exception, SystemExit):
            where = environ["REQUEST_METHOD"], environ["PATH_INFO"], request_id(environ)
            _log.exception("the application failed: %s %s request_id=%s", *where)
            self.hand_over(-1)
            if self._sent:
                raise Gone from None
            self._conn.last = True
            Exchange(self._conn, environ).run(FAILED, environ)

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
        self._adopt = adopt

    def hand_over(self, fd: int) -> None:
        """Give the socket, or -1, to whoever asked for it; does nothing the second time."""
        adopt, self._adopt = self._adopt, None
        if adopt is not None:
            try:
                adopt(fd)
            except Exception:
                _log.exception("the owner of a stream failed to take it over")

    @property
    def streams(self) -> bool:
        """The socket is to be handed over."""
        return self._adopt is not None

    def _answer(self, body: Iterable[bytes]) -> None:
        size: int | None = None
        if type(body) is list:
            # PERF: a whole body and its head leave in one send (benchmarks/http, hello).
            body = (b"".join(body),)
            size = len(body[0])
        for data in body:
            if data:
                self._write(data, size)
        if not self._sent:
            self._write(b"", 0)
        if self._chunked:
            self._conn.send(b"0\r\n\r\n")
        if self._left:
            raise ValueError(f"the body is {self._left} bytes shorter than its Content-Length")
        if self._adopt is not None:
            self._conn.send_rest()

    def _write(self, data: bytes, size: int | None = None) -> None:
        """One piece of the body; the first one sends the head (also PEP 3333's `write`).

        size: of the whole body, where it is known.
        """
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
            self._conn.send(out, whole=bool(size))

    def _begin(self, size: int | None) -> bytes:
        """The head; decides how the body is framed, and whether the connection goes on."""
        head, conn = self._head, self._conn
        if head is None:
            raise RuntimeError("the application did not call start_response")
        if conn.last or head.status != 200 or self._bodiless:
            self.hand_over(-1)
        # RFC 9112 section 6.3: these answers end with their head, whatever it says.
        no_length = head.status in (204, 304)
        self._bodiless = self._bodiless or no_length
        length = size if head.length is None else head.length
        closing = conn.last or self._adopt is not None or not self._keeps_alive
        last = b"" if head.dated else date_line()
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
        return head.line + head.fields + last + b"\r\n"
