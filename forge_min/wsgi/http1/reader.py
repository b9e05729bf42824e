"""Reads requests from a stream of bytes, without a socket and however the stream is split."""

from __future__ import annotations

import enum
import io
from collections.abc import Generator
from typing import Any

from ...lazy import lazy_pattern
from .refusal import ProtocolError
from .request_head import MAX_LINE, check_partial, parse_head

MAX_CHUNK_LINE = 1024
"""Bytes of a chunk-size line with its extensions and end."""
MAX_TRAILERS = 16384
"""Bytes of all trailer lines; they are checked and discarded (RFC 9110 section 6.5.1)."""

_SIZE = lazy_pattern(rb"([0-9A-Fa-f]{1,16}+)(?:[ \t]*+;[^\x00-\x08\x0a-\x1f\x7f]*+)?\r\n")
_TRAILER = lazy_pattern(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n")


class Phase(enum.Enum):
    """The reason why a connection waits.

    EXPECT: for a body of a client that waits for 100 Continue.
    """

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    EXPECT = "expect"


Environ = dict[str, Any]
BodyReader = Generator[Phase, None, bytes]


def read_requests(
    data: bytearray, base: Environ, max_body: int
) -> Generator[Environ | Phase, None, None]:
    """Yield every request of a stream as an environ; a Phase if more of `data` is needed.

    data: filled by the caller, consumed here.
    base: the constant part of environ, copied for each request.
    max_body: bytes.

    Raises ProtocolError and ends with it.
    """
    while True:
        environ = base.copy()
        try:
            yield from _head(data, environ)
            body = yield from _body(data, environ, max_body)
        except ProtocolError as err:
            err.environ = environ
            raise
        environ["wsgi.input"] = io.BytesIO(body)
        yield environ


def _head(data: bytearray, environ: Environ) -> Generator[Phase, None, None]:
    """Read a head of any kind into `environ`."""
    while len(data) < 2:
        yield Phase.HEAD if data else Phase.IDLE
    if data.startswith(b"\r\n"):
        del data[:2]  # RFC 9112 section 2.2: one empty line before a request is ignored
    seen = 0
    while (end := data.find(b"\r\n\r\n", max(seen - 3, 0)) + 4) < 4:
        check_partial(data, seen)
        seen = len(data)
        yield Phase.HEAD if data else Phase.IDLE
    if end > MAX_LINE:
        check_partial(data[: end - 1], 0)
    parse_head(data[:end], environ)
    del data[:end]


def _body(data: bytearray, environ: Environ, limit: int) -> BodyReader:
    """Read the body after a head, which may have none."""
    expected = environ.get("HTTP_EXPECT")
    if expected is not None and expected.lower() != "100-continue":
        raise ProtocolError(417, "Expect supports only 100-continue")
    if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" not in environ:
        return b""
    length = body_length(environ, limit)
    if expected and length != 0 and not data and environ["SERVER_PROTOCOL"] == "HTTP/1.1":
        yield Phase.EXPECT  # RFC 9110 section 10.1.1
    body = yield from _chunked(data, limit) if length is None else _sized(data, length)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def body_length(environ: Environ, limit: int) -> int | None:
    """Return the declared length of a body, None for chunks (RFC 9112 section 6.3).

    Raises ProtocolError for every declaration that two programs could interpret differently, and
    above `limit` bytes.
    """
    length: str | None = environ.get("CONTENT_LENGTH")
    coding: str | None = environ.pop("HTTP_TRANSFER_ENCODING", None)
    if coding is None:
        if length is None or not (length.isascii() and length.isdigit()):
            raise ProtocolError(400, "Content-Length is not one number")
        if len(length) > 19 or int(length) > limit:
            raise _too_large(limit)
        return int(length)
    if length is not None:
        raise ProtocolError(400, "Content-Length and Transfer-Encoding exclude each other")
    if environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        raise ProtocolError(400, "Transfer-Encoding needs HTTP/1.1")
    names = [name.strip(" \t").lower() for name in coding.split(",")]
    if names.count("chunked") != 1 or names[-1] != "chunked" or "" in names:
        raise ProtocolError(400, "Transfer-Encoding is malformed")
    if len(names) > 1:
        raise ProtocolError(501, "Transfer-Encoding supports only chunked")
    return None


def _too_large(limit: int) -> ProtocolError:
    return ProtocolError(413, f"the body has more than {limit} bytes")


def _sized(data: bytearray, length: int) -> BodyReader:
    """Read a body of a known length (RFC 9112 section 6.2)."""
    while len(data) < length:
        yield Phase.BODY
    body = bytes(data[:length])
    del data[:length]
    return body


def _chunked(data: bytearray, limit: int) -> BodyReader:
    """Decode a chunked body (RFC 9112 section 7.1). Raises ProtocolError 400 or 413."""
    body = bytearray()
    while True:
        match = _SIZE.fullmatch((yield from _line(data, MAX_CHUNK_LINE)))
        if match is None:
            raise ProtocolError(400, "a chunk size is malformed")
        size = int(match[1], 16)
        if len(body) + size > limit:
            raise _too_large(limit)
        if not size:
            break
        while (end := data[size : size + 2]) != b"\r\n":
            if not b"\r\n".startswith(end):
                raise ProtocolError(400, "a chunk is longer than its size")
            yield Phase.BODY
        body += data[:size]
        del data[: size + 2]
    left = MAX_TRAILERS
    while (line := (yield from _line(data, left))) != b"\r\n":
        if not _TRAILER.fullmatch(line):
            raise ProtocolError(400, "a trailer field is malformed")
        left -= len(line)
    return bytes(body)


def _line(data: bytearray, limit: int) -> BodyReader:
    """Read a line with its end. Raises ProtocolError if it has more than `limit` bytes."""
    while not (end := data.find(b"\n", 0, limit) + 1):
        if len(data) >= limit:
            raise ProtocolError(400, "a line of the chunked framing is too long")
        yield Phase.BODY
    line = bytes(data[:end])
    del data[:end]
    return line
