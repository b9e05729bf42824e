"""The pure-Python twin of the bodies of requests in the I/O thread (`_fanout_body.pxi`)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from .lazy import lazy_pattern

CHUNKED = -1
"""The length of a body in chunks (RFC 9112 section 7.1)."""
MAX_CHUNK_LINE = 1024
"""Bytes of a chunk-size line with its extensions and end."""
MAX_TRAILERS = 16384
"""Bytes of all trailer lines; they are checked and discarded (RFC 9110 section 6.5.1)."""
MIN_CHUNK = 64
"""Bytes of a chunk on average, once a body has SMALL_CHUNKS bytes."""
SMALL_CHUNKS = 4096

_SIZE = lazy_pattern(rb"([0-9A-Fa-f]{1,16}+)(?:[ \t]*+;[^\x00-\x08\x0a-\x1f\x7f]*+)?\r\n")
_TRAILER = lazy_pattern(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n")

BodyReader = Generator[None, None, bytes]
Refusal = Literal["malformed", "too large", "small chunks"]


class BodyRefused(Exception):
    """A body is malformed, larger than the limit, or in chunks that are too small."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Refusal = reason


def read_body(data: bytearray, length: int, limit: int) -> BodyReader:
    """Return a body; yield while more of `data` is needed.

    data: filled by the caller, consumed here.
    length: bytes (RFC 9112 section 6.2), or CHUNKED.
    limit: bytes of the body of a chunked one.

    Raises BodyRefused.
    """
    if length == CHUNKED:
        return (yield from _read_chunks(data, limit))
    while len(data) < length:
        yield
    body = bytes(data[:length])
    del data[:length]
    return body


def _read_chunks(data: bytearray, limit: int) -> BodyReader:
    """Decode a chunked body."""
    body = bytearray()
    chunks = 0
    while True:
        match = _SIZE.fullmatch((yield from _read_line(data, MAX_CHUNK_LINE)))
        if match is None:
            raise BodyRefused("malformed")
        size = int(match[1], 16)
        if len(body) + size > limit:
            raise BodyRefused("too large")
        if not size:
            break
        if len(body) >= SMALL_CHUNKS and len(body) < MIN_CHUNK * chunks:
            raise BodyRefused("small chunks")
        chunks += 1
        while len(data) < size:
            yield
        body += data[:size]
        del data[:size]
        if (yield from _read_line(data, 2)) != b"\r\n":
            raise BodyRefused("malformed")
    left = MAX_TRAILERS
    while (line := (yield from _read_line(data, left))) != b"\r\n":
        if not _TRAILER.fullmatch(line):
            raise BodyRefused("malformed")
        left -= len(line)
    return bytes(body)


def _read_line(data: bytearray, limit: int) -> BodyReader:
    """Read a line with its end. Raises BodyRefused if it has more than `limit` bytes."""
    while not (end := data.find(b"\n", 0, limit) + 1):
        if len(data) >= limit:
            raise BodyRefused("malformed")
        yield
    line = bytes(data[:end])
    del data[:end]
    return line
