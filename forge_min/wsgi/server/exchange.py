"""One request and its answer: calls the application, frames what it gives, hands streams over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from .answer import Head, check_headers, check_status, date_text
from .connection import Connection, Gone
from .refusal import refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_log = logging.getLogger("forge_min.wsgi.server")

Adopt = Callable[[int], None]
"""Takes over the file descriptor of a connection whose head is out; -1 says that the peer was
gone.
"""

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None


def _keeps_alive(environ: dict[str, Any]) -> bool:
    """What the request says about the connection (RFC 9112 section 9.3)."""
    tokens: str | None = environ.get("HTTP_CONNECTION")
    modern: bool = environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    if tokens is None:
        return modern
    names = [token.strip() for token in tokens.lower().split(",")]
    return "close" not in names and (modern or "keep-alive" in names)


class Draining(Protocol):
    """What an exchange wants to know of the server."""

    @property
    def draining(self) -> bool:
        """It stops: nothing new is taken in."""


class Exchange:
    """One run of an application.

    conn: owned by this thread until `run` is over. last: the server stops, so this is the
    connection's last answer.
    """

    __slots__ = (
        "_adopt",
        "_chunked",
        "_conn",
        "_core",
        "_environ",
        "_head",
        "_last",
        "_left",
        "_registered",
        "_sent",
        "_status",
        "_status_text",
    )

    def __init__(self, conn: Connection, environ: dict[str, Any], core: Draining) -> None:
        self._conn = conn
        self._environ = environ
        self._core = core
        self._last = False
        self._head: Head | None = None
        self._status = 0
        self._status_text = ""
        self._sent = False
        self._chunked = False
        self._left: int | None = None
        self._adopt: Adopt | None = None
        self._registered = False

    def run(self, app: WSGIApplication) -> None:
        """Call the application and write its answer; what does not fit stays in `conn.out`.

        Afterwards `conn.closing` says whether a further request may follow. Raises Gone.
        """
        self._environ["forge.stream"] = self.stream
        try:
            body = app(self._environ, self.start_response)
            try:
                self._answer(body)
            finally:
                if type(body) is not list and hasattr(body, "close"):
                    body.close()
        except Gone:
            self.hand_over(-1)
            raise
        except (Exception, SystemExit):
            self._failed()

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: _ExcInfo = None,
        /,
    ) -> Callable[[bytes], object]:
        """PEP 3333. Raises ValueError for what must not be written, RuntimeError when called
        twice.
        """
        if exc_info is not None:
            try:
                if self._sent and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._head is not None:
            raise RuntimeError("start_response was called twice")
        self._status = check_status(status)
        self._status_text = status
        self._head = check_headers(headers)
        return self._write

    def stream(self, adopt: Adopt) -> None:
        """`environ["forge.stream"]`: `adopt` gets the socket once head and body of this answer are
        out.

        It is called exactly once, with -1 where there is nothing to stream to: another status than
        200, HEAD, a failure, a peer that is gone, a server that stops. It owns what it gets, even
        when it raises.
        """
        if self._registered:
            raise RuntimeError("forge.stream was called twice")
        self._registered = True
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

    # -- the body ----------------------------------------------------------------------------------

    def _answer(self, body: Iterable[bytes]) -> None:
        self._last = self._core.draining
        if self._adopt is not None and (self._last or self._status != 200 or self._is_head()):
            self.hand_over(-1)
        # PERF: one list item and its head leave in one send (benchmarks/http, hello).
        if type(body) is list and not self._sent and self._adopt is None:
            data = body[0] if len(body) == 1 else b"".join(body)
            self._whole(data)
            return
        for data in body:
            if data:
                self._write(data)
        if not self._sent:
            self._send_head(0, b"")
        if self._chunked:
            self._conn.send_all(b"0\r\n\r\n")
        if self._left:
            raise ValueError(f"the body is {self._left} bytes shorter than its Content-Length")

    def _whole(self, data: bytes) -> None:
        """An answer whose body is all there."""
        head = self._started()
        size = len(data)
        if head.length is not None and head.length != size and self._has_body():
            raise ValueError(f"the body has {size} bytes, Content-Length says {head.length}")
        if not self._has_body():
            size = size if head.length is None else head.length
            data = b""
        out = self._head_bytes(head, size) + data
        self._sent = True
        self._conn.send(out)

    def _write(self, data: bytes) -> None:
        """One piece of the body; the first one sends the head (also PEP 3333's `write`)."""
        if not self._sent:
            self._send_head(None, data)
            return
        if self._has_body():
            self._conn.send_all(self._piece(data))

    def _send_head(self, size: int | None, data: bytes) -> None:
        """The head and the first piece; without a known size: chunks, or the connection's end."""
        head = self._started()
        length = head.length if head.length is not None else size
        if self._adopt is not None:
            length = None
        elif length is None and self._has_body():
            self._chunked = self._environ["SERVER_PROTOCOL"] == "HTTP/1.1"
            self._last = self._last or not self._chunked
        self._left = length if self._has_body() else None
        out = self._head_bytes(head, length)
        if data and self._has_body():
            out += self._piece(data)
        self._sent = True
        self._conn.send_all(out)

    def _piece(self, data: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ValueError("the body is longer than its Content-Length")
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _has_body(self) -> bool:
        """RFC 9112 section 6.3: these answers end with their head, whatever it says."""
        return self._status not in (204, 304) and not self._is_head()

    def _is_head(self) -> bool:
        return bool(self._environ["REQUEST_METHOD"] == "HEAD")

    # -- the head ----------------------------------------------------------------------------------

    def _started(self) -> Head:
        if self._head is None:
            raise RuntimeError("the application did not call start_response")
        return self._head

    def _head_bytes(self, head: Head, length: int | None) -> bytes:
        """The head as it goes out. length: of the body, None when its end tells."""
        lines: list[str] = []
        if not head.dated:
            lines += ("Date: ", date_text(), "\r\n")
        if self._chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        elif length is not None and self._status not in (204, 304):
            lines += ("Content-Length: ", str(length), "\r\n")
        conn = self._conn
        conn.closing = self._last or self._adopt is not None or not _keeps_alive(self._environ)
        if conn.closing:
            lines.append("Connection: close\r\n")
        elif self._environ["SERVER_PROTOCOL"] == "HTTP/1.0":
            lines.append("Connection: keep-alive\r\n")
        lines.append("\r\n")
        first = f"HTTP/1.1 {self._status_text}\r\n"
        return first.encode("latin-1") + head.lines + "".join(lines).encode("latin-1")

    def _failed(self) -> None:
        """An application that raised: one clean 500, or a cut connection when its answer had
        begun.
        """
        _log.exception(
            "the application failed: %s %s",
            self._environ["REQUEST_METHOD"],
            self._environ["PATH_INFO"],
        )
        self._conn.closing = True
        self.hand_over(-1)
        if self._sent:
            raise Gone
        detail = "something went wrong here; the log holds the details"
        answer = refusal(500, detail, date_text(), "F510")
        if self._is_head():
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        self._conn.send(answer)
