"""The response of a handler: status, headers and body, without sockets or environ."""

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
from ..temporal import format_duration

Headers = Iterable[tuple[str, str]]


class Response:
    """One response.

    status: number from 200 to 599.
    body: bytes, or an iterable of bytes of unknown length; its `close()` is called (PEP 3333).
    headers: a list that middleware may change, without Content-Length, Date and Connection, which
        the application and the server set.
    """

    def __init__(
        self, status: int, body: bytes | Iterable[bytes] = b"", headers: Headers = ()
    ) -> None:
        self.status = status
        self.body = body
        self.headers = list(headers)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None. Case is ignored (RFC 9110 section 5.1)."""
        lower = name.lower()
        for key, value in self.headers:
            if key.lower() == lower:
                return value
        return None

    def with_headers(self, headers: Headers) -> Response:
        """Return a copy with more headers: a handler may return one response for every request."""
        return Response(self.status, self.body, [*self.headers, *headers])


class StreamingBody(Iterator[bytes]):
    """The body of a streamed response.

    Each part is made in a copy of the current context, with its log fields and span. The attributes
    that begin with `forge_` are for our server: see `contract`.

    body: the parts.
    on_close: called once in that context, at the end: see `Application._on_close`.
    """

    def __init__(self, body: Iterable[bytes], on_close: Callable[..., None]) -> None:
        self._body = body
        self._on_close: Callable[..., None] | None = on_close
        self.forge_context = copy_context()
        self._run = self.forge_context.run
        self._parts: Iterator[bytes] | None = None
        self._begun = False
        self._error: BaseException | None = None

    def __next__(self) -> bytes:
        try:
            if self._parts is None:
                self._parts = self._run(iter, self._body)
            part = self._run(next, self._parts)
            if not isinstance(part, bytes):
                raise TypeError(f"a part of a body is {type(part).__name__}, not bytes")
        except StopIteration:
            self._begun = True  # also without any part
            raise
        except BaseException as err:
            self._error = err
            raise
        if part:
            self._begun = True
        return part

    def forge_fail(self, error: BaseException, *, begun: bool) -> None:
        """Record the exception that ends the response. begun: whether a part was sent."""
        self._error = error
        self._begun = begun

    def close(self) -> None:
        """End the body (PEP 3333). Idempotent."""
        on_close = self._on_close
        self._on_close = None
        try:
            if hasattr(self._body, "close"):
                self._run(self._body.close)
        except BaseException as err:
            self._error = self._error or err
            raise
        finally:
            error = self._error
            self._error = None
            if on_close is not None:
                self._run(on_close, error, begun=self._begun)


def _encode_value(value: object) -> object:
    """Convert a value of PostgreSQL without a JSON type; numerics stay exact as text."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")  # str() writes an exponent for small numbers
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return format_duration(value)
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no JSON form")


# PERF: json.dumps with any option creates an encoder at each call (benchmarks/http, hello).
_encode = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_encode_value
).encode


_ZEROS = "00000"  # every whole number that `shortest_number` changes ends with it


def _with_short_numbers(value: object) -> object:
    """Return the value with every number in its shortest form."""
    if isinstance(value, dict):
        return {name: _with_short_numbers(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_short_numbers(item) for item in value]
    if isinstance(value, int):
        return shortest_number(value)
    return value


def to_json(value: object) -> bytes:
    """Encode a value as UTF-8 JSON (RFC 8259). UUID, Decimal, dates and enums become strings.

    Raises TypeError for other objects, ValueError for NaN and infinities.
    """
    encoded = try_encode_json(value)
    if encoded is not None:
        return encoded
    written = _encode(value)
    if _ZEROS in written:  # PERF: few values have such a number
        written = _encode(_with_short_numbers(value))
    return written.encode()


def json_response(value: object, status: int = 200, headers: Headers = ()) -> Response:
    """Return a response of `application/json`."""
    kind = ("Content-Type", "application/json")
    return Response(status, to_json(value), [kind, *headers])


def html_response(text: str, status: int = 200, headers: Headers = ()) -> Response:
    """Return a response of `text/html`. `text` is HTML: escape its values (`wsgi.markup`)."""
    kind = ("Content-Type", "text/html; charset=utf-8")
    return Response(status, text.encode(), [kind, *headers])


def text_response(text: str, status: int = 200, headers: Headers = ()) -> Response:
    """Return a response of `text/plain`."""
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, text.encode(errors="replace"), [kind, *headers])


def no_content(headers: Headers = ()) -> Response:
    """Return 204, without a body (RFC 9110 section 15.3.5)."""
    return Response(204, b"", headers)


def local_path(url: str) -> str:
    """Return a URL to redirect to if it is a path of this site, else ""."""
    if not url.startswith("/") or url.startswith("//") or "\\" in url:
        return ""
    if not url.isprintable() or not url.isascii():
        return ""
    return url


def redirect(url: str, status: int = 303) -> Response:
    """Redirect to another page; after 303 the browser uses GET (RFC 9110 section 15.4.4)."""
    return Response(status, b"", [("Location", url)])
