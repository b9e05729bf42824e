"""What a handler is asked: one request, read from a PEP 3333 environ when a part of it is
wanted.
"""

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
    raise NumberError(text("{word} is no number of JSON", word=word))


# PERF: json.loads with any option builds a decoder at each call.
_decode = json.JSONDecoder(parse_constant=_not_json, parse_float=parse_number).decode


def _pairs(line: str | bytes) -> dict[str, list[str]]:
    """Decoded pairs of a query or form (WHATWG URL section 5.1), at most 1,000 of them."""
    try:
        line = line if isinstance(line, str) else line.decode("ascii")
        if "%" not in line and "+" not in line and line.count("&") < _MAX_PAIRS:
            # PERF: nothing is encoded; parse_qs takes four times as long (benchmarks/http, list).
            found: dict[str, list[str]] = {}
            for name, _, value in (pair.partition("=") for pair in line.split("&") if pair):
                found.setdefault(name, []).append(value)
            return found
        return parse_qs(line, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PAIRS)
    except ValueError as err:
        why = text("it has more than {max} fields", max=_MAX_PAIRS)
        if isinstance(err, UnicodeDecodeError):
            ascii_only = err.encoding == "ascii"
            why = text("it is not ASCII") if ascii_only else text("it is not UTF-8")
        raise BadRequest(text("the query or the form cannot be read: {why}", why=why)) from err


def _defect(err: Exception) -> str:
    """What is wrong with a JSON text, without the words that Python has for itself."""
    if isinstance(err, json.JSONDecodeError):
        return text("line {line} column {column}", line=err.lineno, column=err.colno)
    if isinstance(err, UnicodeError):
        return text("it is not UTF-8")
    if isinstance(err, RecursionError):
        return text("it is nested too deeply")
    return str(err) if isinstance(err, NumberError) else text("a number has too many digits")


def first(pairs: Mapping[str, Sequence[str]], name: str) -> str:
    """The first value of a query or form by this name; "" where there is none."""
    return (pairs.get(name) or [""])[0]


Routed = tuple[Callable[["Request"], Any], str, str]
"""A handler, and the method and path that led to it."""


class Request:
    """One request. Attributes may be read by every middleware and the handler of this request only.

    method: as sent. path: decoded, starts with "/". params: what the route's pattern named. route:
    the pattern that matched, "" when none did. routed: the handler, and the method and path that
    led to it: middleware may change these. id: the request id. identity: set by `Identify`, also
    for the middleware around it. fields: of its lines in the log. environ: PEP 3333's. max_body:
    bytes; a larger body is HTTPProblem 413.
    """

    # PERF: of the class, so that most requests need not set them (benchmarks/http, hello).
    path = "/"
    route = ""
    routed: Routed | None = None
    identity: Identity | None = None
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
        """Decode the path into `path`. Raises BadRequest when its bytes are not UTF-8."""
        path: str = self.environ.get("PATH_INFO") or self._of_no_path()
        try:
            # PEP 3333 hands bytes over as latin-1.
            self.path = path if path.isascii() else path.encode("latin-1").decode()
        except UnicodeError as err:
            self.path = quote(path, safe="/", encoding="latin-1")  # for the log
            raise BadRequest(text("the path is not UTF-8")) from err

    def _of_no_path(self) -> str:
        """The start; or of OPTIONS the whole server, RFC 9112 section 3.2.4."""
        whole = self.method == "OPTIONS" and not self.environ.get("SCRIPT_NAME")
        return "*" if whole else "/"

    @property
    def root(self) -> str:
        """What stands before every path of this application: PEP 3333's SCRIPT_NAME, quoted, ""
        at the top of its host. Links begin with it.
        """
        return quote(self.environ.get("SCRIPT_NAME", "").encode("latin-1"))

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's pairs, in order, blank values kept. Raises BadRequest."""
        if self._query is None:
            line: str = self.environ.get("QUERY_STRING") or ""
            self._query = _pairs(line) if line else {}
        return self._query

    def header(self, name: str) -> str | None:
        """A header's value (repeated ones joined by the server), or None."""
        value: str | None = self.environ.get(environ_key(name))
        return value

    def has_match(self, tag: str) -> bool:
        """If-None-Match names this entity tag, compared weakly (RFC 9110 section 13.1.2)."""
        given = self.header("If-None-Match")
        if given is None:
            return False
        tags = (item.strip().removeprefix("W/") for item in given.split(","))
        return not {tag, "*"}.isdisjoint(tags)

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case; "" when there is none."""
        value: str = self.environ.get("CONTENT_TYPE") or ""
        return value.partition(";")[0].strip().lower()

    @property
    def body(self) -> bytes:
        """The whole body, decoded from chunks already. Raises HTTPProblem 413 above `max_body`,
        BadRequest for one that ends before its Content-Length.
        """
        if self._body is None:
            self._body = self._read_body()
        return self._body

    def _read_body(self) -> bytes:
        length: str = self.environ.get("CONTENT_LENGTH") or ""
        if not length and not self.environ.get("wsgi.input_terminated"):
            return b""
        most = self.max_body + 1
        size = min(int(length), most) if length.isdecimal() else most
        if not length or size < most:
            data = self._read(size)
            if length and len(data) < size:
                # RFC 9112 section 8. Our server sees to it; others hand over what they got.
                raise BadRequest(text("the body ended early"))
            if len(data) < most:
                return data
        message = text("at most {max} bytes are read here", max=self.max_body)
        raise HTTPProblem(413, message, code="F523")

    def _read(self, size: int) -> bytes:
        read = self.environ["wsgi.input"].read
        data: bytes = read(size)
        while len(data) < size and (more := read(size - len(data))):
            data += more
        return data

    def json(self) -> Any:
        """The body as JSON (RFC 8259); numbers with a point come as Decimal, exact.

        Raises BadRequest when it is malformed, HTTPProblem 415 when its type is not JSON, or it is
        compressed.
        """
        kind = self.content_type
        if kind != "application/json" and not kind.endswith("+json"):
            raise _other_type("application/json")
        self._check_coding()
        try:
            return _decode(self.body.decode())
        except (ValueError, RecursionError) as err:
            raise BadRequest(text("malformed JSON: {why}", why=_defect(err))) from err

    def form(self) -> dict[str, list[str]]:
        """The pairs of a posted HTML form. Raises BadRequest, or HTTPProblem 415 for another
        type or one that is compressed.
        """
        if self.content_type != FORM:
            raise _other_type(FORM)
        self._check_coding()
        return _pairs(self.body)

    def _check_coding(self) -> None:
        """Refuse what is compressed (RFC 9110 section 8.4): nothing here would unpack it."""
        coding = (self.header("Content-Encoding") or "identity").strip().lower()
        if coding != "identity":
            message = text("send the body as it is, without Content-Encoding")
            headers = [("Accept-Encoding", "identity")]
            raise HTTPProblem(415, message, code="F522", headers=headers)


def _other_type(wanted: str) -> HTTPProblem:
    return HTTPProblem(415, text("send {type}", type=wanted), code="F522")
