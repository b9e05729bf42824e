"""A request, read from a PEP 3333 environ part by part when it is needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import parse_qs, quote

from ..auth import Identity
from ..errors import BadRequest
from ..i18n import NumberError, parse_number, text
from .contract import environ_key
from .problem import HTTPProblem

FORM = "application/x-www-form-urlencoded"
_MAX_PAIRS = 1000


def _not_json(word: str) -> NoReturn:
    raise NumberError(text("{word} is not a number in JSON", word=word))


# PERF: json.loads with any option creates a decoder at each call.
_decode = json.JSONDecoder(parse_constant=_not_json, parse_float=parse_number).decode


def _pairs(line: str | bytes) -> dict[str, list[str]]:
    """Decode a query or form (WHATWG URL section 5.1), at most 1,000 pairs."""
    try:
        if isinstance(line, bytes):
            line = line.decode("ascii")
        if "%" in line or "+" in line or line.count("&") >= _MAX_PAIRS:
            return parse_qs(
                line, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PAIRS
            )
        # PERF: nothing is encoded; parse_qs takes four times as long (benchmarks/http, list).
        pairs: dict[str, list[str]] = {}
        for pair in line.split("&"):
            if pair:
                name, _, value = pair.partition("=")
                pairs.setdefault(name, []).append(value)
        return pairs
    except ValueError as err:
        if not isinstance(err, UnicodeDecodeError):
            why = text("it has more than {max} fields", max=_MAX_PAIRS)
        elif err.encoding == "ascii":
            why = text("it is not ASCII")
        else:
            why = text("it is not UTF-8")
        raise BadRequest(text("the query or the form cannot be read: {why}", why=why)) from err


def _json_error(err: Exception) -> str:
    """Describe the error in a JSON text, without Python's own words."""
    if isinstance(err, json.JSONDecodeError):
        return text("line {line} column {column}", line=err.lineno, column=err.colno)
    if isinstance(err, UnicodeError):
        return text("it is not UTF-8")
    if isinstance(err, RecursionError):
        return text("it is nested too deeply")
    if isinstance(err, NumberError):
        return str(err)
    return text("a number has too many digits")


def first(pairs: Mapping[str, Sequence[str]], name: str) -> str:
    """Return the first value of a name in a query or form; "" if it is not set."""
    values = pairs.get(name) or [""]
    return values[0]


Routed = tuple[Callable[["Request"], Any], str, str]
"""A handler, and the method and path for which it was found."""


class Request:
    """One request, for its middleware and its handler.

    environ: as in PEP 3333.
    id: the request id.
    max_body: bytes; a larger body raises HTTPProblem 413.

    Attributes:

    method: as sent.
    path: decoded, starts with "/".
    params: values of the parameters in the route's pattern, by name.
    route: the pattern that matched, "" if none did.
    routed: the handler, and the method and path for which it was found. Middleware may change both.
    identity: set by `Identify`, also for the middleware outside of it.
    fields: fields of the request's lines in the log.
    """

    # PERF: on the class, so that most requests need not set them (benchmarks/http, hello).
    path = "/"
    route = ""
    routed: Routed | None = None
    identity: Identity | None = None
    # LOCK: none. A cached_property of Python 3.11 has one lock for all requests: while one client
    # sends its body slowly, no other body could be read.
    _query: dict[str, list[str]] | None = None
    _body: bytes | None = None

    def __init__(self, environ: dict[str, Any], id: str = "", max_body: int = 1 << 20) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.params: dict[str, str] = {}
        self.id = id
        self.fields: dict[str, object] = {"request_id": id}
        self.max_body = max_body

    def read_path(self) -> None:
        """Decode the path into `path`. Raises BadRequest if it is not UTF-8."""
        path: str = self.environ.get("PATH_INFO", "")
        # OPTIONS without a path is for the whole server (RFC 9112 section 3.2.4).
        if not path and self.method == "OPTIONS" and not self.environ.get("SCRIPT_NAME"):
            path = "*"
        path = path or "/"
        try:
            if not path.isascii():
                path = path.encode("latin-1").decode()  # PEP 3333 decodes bytes as latin-1
        except UnicodeError as err:
            self.path = quote(path, safe="/", encoding="latin-1")  # for the log
            raise BadRequest(text("the path is not UTF-8")) from err
        self.path = path

    @property
    def root(self) -> str:
        """The prefix of every path of this application, for links; "" at the top of its host.

        It is PEP 3333's SCRIPT_NAME, quoted.
        """
        return quote(self.environ.get("SCRIPT_NAME", "").encode("latin-1"))

    @property
    def query(self) -> dict[str, list[str]]:
        """The pairs of the query, in order, with blank values. Raises BadRequest."""
        if self._query is None:
            line: str = self.environ.get("QUERY_STRING") or ""
            self._query = _pairs(line) if line else {}
        return self._query

    def header(self, name: str) -> str | None:
        """Return the value of a header, or None. The server joins repeated ones."""
        value: str | None = self.environ.get(environ_key(name))
        return value

    def has_match(self, tag: str) -> bool:
        """Return whether If-None-Match has this tag, compared weakly (RFC 9110 section 13.1.2)."""
        header = self.header("If-None-Match")
        if header is None:
            return False
        tags = (item.strip().removeprefix("W/") for item in header.split(","))
        return not {tag, "*"}.isdisjoint(tags)

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case; "" if it is not set."""
        value: str = self.environ.get("CONTENT_TYPE") or ""
        return value.partition(";")[0].strip().lower()

    @property
    def body(self) -> bytes:
        """The whole body, decoded from chunks.

        Raises HTTPProblem 413 if it is larger than `max_body`, BadRequest if it ends before its
        Content-Length.
        """
        if self._body is None:
            self._body = self._read_body()
        return self._body

    def _read_body(self) -> bytes:
        length: str = self.environ.get("CONTENT_LENGTH") or ""
        if not length and not self.environ.get("wsgi.input_terminated"):
            return b""
        limit = self.max_body + 1
        size = limit
        if length.isdecimal():
            size = min(int(length), limit)
        if not length or size < limit:
            data = self._read(size)
            if length and len(data) < size:
                # RFC 9112 section 8. Our server checks it; others do not.
                raise BadRequest(text("the body is shorter than its Content-Length"))
            if len(data) < limit:
                return data
        message = text("the body has more than {max} bytes", max=self.max_body)
        raise HTTPProblem(413, message, code="F523")

    def _read(self, size: int) -> bytes:
        read = self.environ["wsgi.input"].read
        data: bytes = read(size)
        while len(data) < size:
            part = read(size - len(data))
            if not part:
                break
            data += part
        return data

    def json(self) -> Any:
        """Parse the body as JSON (RFC 8259); numbers with a decimal point are exact, as Decimal.

        Raises BadRequest if it is malformed, HTTPProblem 415 if its type is not JSON or if it is
        compressed.
        """
        kind = self.content_type
        is_json = kind == "application/json" or kind.endswith("+json")
        self._check_type("application/json", is_sent=is_json)
        try:
            return _decode(self.body.decode())
        except (ValueError, RecursionError) as err:
            raise BadRequest(text("malformed JSON: {why}", why=_json_error(err))) from err

    def form(self) -> dict[str, list[str]]:
        """Return the pairs of a posted HTML form.

        Raises BadRequest if it is malformed, HTTPProblem 415 for another media type or a compressed
        body.
        """
        self._check_type(FORM, is_sent=self.content_type == FORM)
        return _pairs(self.body)

    def _check_type(self, media_type: str, *, is_sent: bool) -> None:
        """Reject a body of another media type, and a compressed one: nothing decompresses it."""
        if not is_sent:
            raise HTTPProblem(415, text("send {type}", type=media_type), code="F522")
        # RFC 9110 section 8.4
        coding = self.header("Content-Encoding") or "identity"
        if coding.strip().lower() != "identity":
            message = text("send the body without Content-Encoding")
            headers = [("Accept-Encoding", "identity")]
            raise HTTPProblem(415, message, code="F522", headers=headers)
