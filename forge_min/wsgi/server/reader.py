"""Requests from a stream of bytes: pure, without a socket, so that any cutting of the stream
gives the same.
"""

from __future__ import annotations

import enum
import io
from typing import Any

from .body import Chunked, Sized, body_of
from .head import MAX_LINE, check_partial, parse_head
from .refusal import Refused


class Phase(enum.Enum):
    """What a connection waits for."""

    FRESH = 0
    IDLE = 1
    HEAD = 2
    BODY = 3
    WRITE = 4


class Reader:
    """The incoming side of one connection.

    base: the environ's constant part, copied for each request. max_body: bytes.
    Fill `buffer`, then call `take` until it gives None.
    """

    __slots__ = (
        "_base",
        "_body",
        "_environ",
        "_max_body",
        "_seen",
        "_skipped",
        "buffer",
        "expects",
    )

    def __init__(self, base: dict[str, Any], max_body: int) -> None:
        self.buffer = bytearray()
        self.expects = False
        self._base = base
        self._max_body = max_body
        self._seen = 0
        self._skipped = False
        self._environ: dict[str, Any] = {}
        self._body: Sized | Chunked | None = None

    @property
    def phase(self) -> Phase:
        """What the next bytes belong to."""
        if self._body is not None:
            return Phase.BODY
        return Phase.HEAD if self.buffer else Phase.IDLE

    def take(self) -> dict[str, Any] | None:
        """The next complete request as an environ, or None while it is not all there. Raises
        Refused.

        `expects` tells afterwards whether the client waits for 100 Continue (RFC 9110 section
        10.1.1).
        """
        if self._body is None:
            environ = self._take_head()
            if environ is None:
                return None
            if self._body is None:
                environ["wsgi.input"] = io.BytesIO()
                return environ
            self._environ = environ
        body = self._body.take(self.buffer)
        if body is None:
            return None
        environ, self._environ = self._environ, {}
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = io.BytesIO(body)
        self._body = None
        self.expects = False
        return environ

    def _take_head(self) -> dict[str, Any] | None:
        buffer = self.buffer
        if not buffer:
            return None
        if not self._skipped and buffer.startswith(b"\r\n"):
            del buffer[:2]  # RFC 9112 section 2.2: one empty line before a request is ignored
            self._skipped = True
        end = buffer.find(b"\r\n\r\n", max(self._seen - 3, 0)) + 4
        if end < 4:
            check_partial(buffer, self._seen)
            self._seen = len(buffer)
            return None
        if end > MAX_LINE:
            check_partial(buffer[: end - 1], 0)
        environ = self._base.copy()
        if end == len(buffer):
            parse_head(buffer, environ)
            buffer.clear()
        else:
            parse_head(buffer[:end], environ)
            del buffer[:end]
        self._seen = 0
        self._skipped = False
        # PERF: most requests have no body and expect nothing (benchmarks/http, hello).
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            self._body = body_of(environ, self._max_body)
        if "HTTP_EXPECT" in environ:
            self._check_expect(environ)
        return environ

    def _check_expect(self, environ: dict[str, Any]) -> None:
        if environ["HTTP_EXPECT"].lower() != "100-continue":
            raise Refused(417, "no expectation but 100-continue is known")
        if self._body is not None and environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            self.expects = not self.buffer
