"""Reads requests from a stream of bytes, without a socket and however the stream is split."""

from __future__ import annotations

import enum
import io
from collections.abc import Generator
from typing import Any, NamedTuple

from ...fanout import CHUNKED, BodyRefused, read_body
from .refusal import ProtocolError
from .request_head import MAX_LINE, check_partial, parse_head

_REFUSALS = {
    "malformed": (400, "the chunked body is malformed"),
    "too large": (413, "the body has more than {limit} bytes"),
    "small chunks": (400, "the chunks of the body are too small: fewer than 64 bytes on average"),
}


class Phase(enum.Enum):
    """The part of a request for which a connection waits."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


class ExpectedBody(NamedTuple):
    """The body that follows a head.

    length: bytes, or `fanout.CHUNKED`.
    expects: whether the client waits for 100 Continue (RFC 9110 section 10.1.1).
    """

    length: int
    expects: bool


Environ = dict[str, Any]
Reader = Generator[Environ | ExpectedBody | Phase, bytes | None, None]


def read_requests(data: bytearray, base: Environ, max_body: int) -> Reader:
    """Yield every request of a stream as an environ; a Phase if more of `data` is needed.

    Before each body it yields an ExpectedBody. A caller that collects the body itself sends it to
    the generator; without one it is read from `data`.

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
        yield _phase(data)
    if data.startswith(b"\r\n"):
        del data[:2]  # RFC 9112 section 2.2: one empty line before a request is ignored
    seen = 0
    last_line = data.find(b"\r\n\r\n")
    while last_line < 0:
        check_partial(data, seen)
        seen = len(data)
        yield _phase(data)
        last_line = data.find(b"\r\n\r\n", max(seen - 3, 0))
    end = last_line + 4
    if end > MAX_LINE:
        check_partial(data[: end - 1], 0)
    parse_head(data[:end], environ)
    del data[:end]


def _phase(data: bytearray) -> Phase:
    """Return the phase of a connection before the end of a head."""
    if data:
        return Phase.HEAD
    return Phase.IDLE


def _body(
    data: bytearray, environ: Environ, limit: int
) -> Generator[ExpectedBody | Phase, bytes | None, bytes]:
    """Read the body after a head, which may have none."""
    expected = environ.get("HTTP_EXPECT")
    if expected is not None and expected.lower() != "100-continue":
        raise ProtocolError(417, "Expect supports only 100-continue")
    if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" not in environ:
        return b""
    length = body_length(environ, limit)
    body: bytes | None = b""
    if length:
        waits = bool(expected) and not data
        expects = waits and environ["SERVER_PROTOCOL"] == "HTTP/1.1"
        body = yield ExpectedBody(length, expects)
    if body is None:
        body = yield from _body_of(data, length, limit)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def _body_of(data: bytearray, length: int, limit: int) -> Generator[Phase, bytes | None, bytes]:
    """Read a body from `data`."""
    reader = read_body(data, length, limit)
    while True:
        try:
            next(reader)
        except StopIteration as end:
            body: bytes = end.value
            return body
        except BodyRefused as refused:
            raise refused_body(refused.reason, limit) from None
        yield Phase.BODY


def refused_body(reason: str, limit: int) -> ProtocolError:
    """Return the error for a body that `fanout.read_body` or the I/O thread has refused."""
    status, detail = _REFUSALS[reason]
    return ProtocolError(status, detail.format(limit=limit))


def body_length(environ: Environ, limit: int) -> int:
    """Return the declared length of a body, or CHUNKED (RFC 9112 section 6.3).

    Raises ProtocolError for every declaration that two programs could interpret differently, and
    above `limit` bytes.
    """
    length: str | None = environ.get("CONTENT_LENGTH")
    coding: str | None = environ.pop("HTTP_TRANSFER_ENCODING", None)
    if coding is None:
        if length is None or not (length.isascii() and length.isdigit()):
            raise ProtocolError(400, "Content-Length is not one number")
        if len(length) > 19 or int(length) > limit:
            raise refused_body("too large", limit)
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
    return CHUNKED
