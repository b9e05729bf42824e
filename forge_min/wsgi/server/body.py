"""The body of a request: how it is framed, and the bytes as they come in, capped before any
application runs.
"""

from __future__ import annotations

import re
from typing import Any

from .refusal import Refused

MAX_CHUNK_LINE = 1024
"""Bytes of a chunk-size line with its extensions and end."""
MAX_TRAILERS = 16384
"""Bytes of all trailer lines; they are checked and thrown away (RFC 9110 section 6.5.1)."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16}+)[ \t]*+(?:;[^\x00-\x08\x0a-\x1f\x7f]*+)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n")


def _too_large(limit: int) -> Refused:
    return Refused(413, f"at most {limit} bytes are read here")


class Sized:
    """A body of a known length (RFC 9112 section 6.2)."""

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        self.length = length

    def take(self, data: bytearray) -> bytes | None:
        """The whole body, cut off the front of `data`, or None while it is not all there."""
        if len(data) < self.length:
            return None
        body = bytes(data[: self.length])
        del data[: self.length]
        return body


class Chunked:
    """A chunked body (RFC 9112 section 7.1), decoded as it comes in."""

    __slots__ = ("_body", "_left", "_limit", "_step", "_trailers")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._body = bytearray()
        self._left = 0
        self._trailers = 0
        self._step = self._size

    def take(self, data: bytearray) -> bytes | None:
        """The whole body, cut off the front of `data`, or None while it is not all there.

        Raises Refused 400 for wrong framing, 413 above the limit.
        """
        while self._step(data):
            if self._left < 0:
                return bytes(self._body)
        return None

    def _size(self, data: bytearray) -> bool:
        """A chunk-size line, or False while it is not all there."""
        line = _line(data, MAX_CHUNK_LINE)
        if line is None:
            return False
        found = _SIZE.fullmatch(line)
        if found is None:
            raise Refused(400, "a chunk size is malformed")
        self._left = int(found[1], 16)
        if len(self._body) + self._left > self._limit:
            raise _too_large(self._limit)
        self._step = self._data if self._left else self._trailer
        return True

    def _data(self, data: bytearray) -> bool:
        """As much of the chunk as is there."""
        part = data[: self._left]
        del data[: self._left]
        self._body += part
        self._left -= len(part)
        if self._left:
            return False
        self._step = self._end
        return True

    def _end(self, data: bytearray) -> bool:
        """The line end after a chunk."""
        if not b"\r\n".startswith(data[:2]):
            raise Refused(400, "a chunk is longer than its size")
        if len(data) < 2:
            return False
        del data[:2]
        self._step = self._size
        return True

    def _trailer(self, data: bytearray) -> bool:
        """One trailer line; an empty one ends the body, which `_left` below zero says."""
        line = _line(data, MAX_TRAILERS - self._trailers)
        if line is None:
            return False
        self._trailers += len(line)
        if line == b"\r\n":
            self._left = -1
        elif not _TRAILER.fullmatch(line):
            raise Refused(400, "a trailer field is malformed")
        return True


def _line(data: bytearray, limit: int) -> bytes | None:
    """A line with its end, cut off the front of `data`, or None. Raises Refused when it is too
    long.
    """
    end = data.find(b"\n", 0, limit) + 1
    if end:
        line = bytes(data[:end])
        del data[:end]
        return line
    if len(data) >= limit:
        raise Refused(400, "a line of the chunked framing is too long")
    return None


def body_of(environ: dict[str, Any], limit: int) -> Sized | Chunked | None:
    """The framing that a head declares (RFC 9112 section 6.3), or None when there is no body.

    limit: bytes. Raises Refused for every declaration that two programs could read in two ways.
    """
    length: str | None = environ.get("CONTENT_LENGTH")
    coding: str | None = environ.pop("HTTP_TRANSFER_ENCODING", None)
    if coding is not None:
        if length is not None:
            raise Refused(400, "Content-Length and Transfer-Encoding exclude each other")
        _check_coding(coding, environ["SERVER_PROTOCOL"])
        return Chunked(limit)
    if length is None:
        return None
    if not (length.isascii() and length.isdigit()):
        raise Refused(400, "Content-Length is not one number")
    if len(length) > 19 or int(length) > limit:
        raise _too_large(limit)
    return Sized(int(length)) if int(length) else None


def _check_coding(coding: str, protocol: str) -> None:
    """`chunked`, once, on HTTP/1.1 only (RFC 9112 section 6.1)."""
    if protocol != "HTTP/1.1":
        raise Refused(400, "Transfer-Encoding needs HTTP/1.1")
    names = [name.strip(" \t").lower() for name in coding.split(",")]
    if names == ["chunked"]:
        return
    if names.count("chunked") == 1 and names[-1] == "chunked" and "" not in names:
        raise Refused(501, "no transfer coding but chunked is understood")
    raise Refused(400, "Transfer-Encoding is malformed")
