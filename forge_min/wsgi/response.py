"""What a handler answers: a status, headers and a body. It knows nothing of sockets or environ."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context

from ..fanout import try_encode_json
from ..i18n import shortest_number

Headers = Iterable[tuple[str, str]]


class Response:
    """One answer.

    status: the number, 200 to 599. body: bytes, or an iterable of bytes for what has no known
    length (its `close()` is called, PEP 3333). headers: a list that middleware may change; no
    Content-Length, Date or Connection, which the application and the server give.
    """

    def __init__(
        self, status: int, body: bytes | Iterable[bytes] = b"", headers: Headers = ()
    ) -> None:
        self.status = status
        self.body = body
        self.headers = list(headers)

    def header(self, name: str) -> str | None:
        """The first value of a header, or None. Names compare without case (RFC 9110 section
        5.1).
        """
        lower = name.lower()
        for key, value in self.headers:
            if key.lower() == lower:
                return value
        return None


class StreamingBody:
    """A body of pieces, each made in a copy of the context of now: its log fields, its span. told:
    called there once, at its end (see `Application._ended`). Our server asks for what begins with
    `forge_`.
    """

    forge_release: Callable[[], None] | None = None  # of its request, see `ConcurrencyLimit`

    def __init__(self, body: Iterable[bytes], told: Callable[..., None]) -> None:
        self._body = body
        self._told: Callable[..., None] | None = told
        self.forge_context = copy_context()
        self._run = self.forge_context.run
        self._pieces: Iterator[bytes] | None = None
        self._begun = False
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._pieces is None:
                self._pieces = self._run(iter, self._body)
            piece = self._run(next, self._pieces)
            if not isinstance(piece, bytes):
                raise TypeError(f"a piece of a body is {type(piece).__name__}, not bytes")
        except StopIteration:
            self._begun = True  # of a body of none, too
            raise
        except BaseException as err:
            self._error = err
            raise
        self._begun = self._begun or bool(piece)
        return piece

    def forge_fail(self, error: BaseException, *, begun: bool) -> None:
        """Our own server says what the answer ends with, and whether some of it was sent."""
        self._error, self._begun = error, begun

    def close(self) -> None:
        """End the body (PEP 3333). Idempotent."""
        told, self._told = self._told, None
        try:
            if hasattr(self._body, "close"):
                self._run(self._body.close)
        except BaseException as err:
            self._error = self._error or err
            raise
        finally:
            error, self._error = self._error, None
            if told is not None:
                self._run(told, error, begun=self._begun)


def _plain(value: object) -> object:
    """Values of PostgreSQL that JSON has no word for; numerics stay exact as text."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")  # str() gives an exponent to a small one
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no JSON form")


# PERF: json.dumps with any option builds an encoder at each call (benchmarks/http, case hello).
_encode = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain
).encode


_ZEROS = "00000"  # every whole number that `shortest_number` changes ends so


def _short(value: object) -> object:
    """The same with every number as short as it can be written."""
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(item) for item in value]
    return shortest_number(value) if isinstance(value, int) else value


def to_json(value: object) -> bytes:
    """UTF-8 JSON (RFC 8259). UUID, Decimal, dates and enums become strings.

    Raises TypeError for other objects, ValueError for NaN and infinities.
    """
    plain = try_encode_json(value)
    if plain is not None:
        return plain
    written = _encode(value)
    if _ZEROS in written:  # PERF: few have a number that long
        written = _encode(_short(value))
    return written.encode()


def json_response(value: object, status: int = 200, headers: Headers = ()) -> Response:
    """An answer of `application/json`."""
    return Response(status, to_json(value), [("Content-Type", "application/json"), *headers])


def html_response(text: str, status: int = 200, headers: Headers = ()) -> Response:
    """An answer of `text/html`. `text` is HTML already: escape what you put in (`wsgi.markup`)."""
    return Response(status, text.encode(), [("Content-Type", "text/html; charset=utf-8"), *headers])


def text_response(text: str, status: int = 200, headers: Headers = ()) -> Response:
    """An answer of `text/plain`."""
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, text.encode(errors="replace"), [kind, *headers])


def no_content(headers: Headers = ()) -> Response:
    """204: done, and nothing to say (RFC 9110 section 15.3.5)."""
    return Response(204, b"", headers)


def redirect(url: str, status: int = 303) -> Response:
    """To another page; 303 makes the browser GET it (RFC 9110 section 15.4.4)."""
    return Response(status, b"", [("Location", url)])
