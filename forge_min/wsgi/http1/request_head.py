"""Parses the head of a request into CGI names, with one regular expression per part.

Strict if RFC 9112 leaves a choice: input that two programs could interpret differently is refused.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from ...lazy import lazy_pattern
from ..contract import environ_key
from .refusal import ProtocolError

MAX_LINE = 8190
"""Bytes of a request line without its end; a longer one is 414."""
MAX_FIELDS = 100
"""Header fields of a request; more are 431."""
MAX_HEADERS = 16384
"""Bytes of all header lines with their ends; more are 431."""

# Possessive quantifiers: no input causes backtracking. A target has no fragment, hence no "#" (RFC
# 9112 section 3).
_METHOD_TARGET = r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++) ([\x21\x22\x24-\x7e]++)"
_LINE = lazy_pattern(_METHOD_TARGET + r" HTTP/(1\.[01])\r\n")
_OTHER_VERSION = lazy_pattern(_METHOD_TARGET + r" HTTP/[0-9]\.[0-9]\r\n")
# A field line, or as third group the rest from the first malformed line on (RFC 9112 section 5).
# Names have no underscore, which would be the same as "-" in environ. Values have no control
# character but tab.
_FIELD = lazy_pattern(
    r"([!#$%&'*+\-.^`|~0-9A-Za-z]++):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)\r\n|(.+)", re.DOTALL
)
_HOST = lazy_pattern(
    r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})++(?::[0-9]{0,5})?+"
    r"|\[[0-9A-Fa-f:.]{2,45}+\](?::[0-9]{0,5})?+"
)
_ABSOLUTE = lazy_pattern(r"https?://([^/?]*+)(.*+)", re.IGNORECASE)
_BAD_ESCAPE = lazy_pattern(r"%(?![0-9A-Fa-f]{2})")
_BARE_LF = lazy_pattern(rb"(?<!\r)\n")

_SINGLE = lazy_pattern(
    r"CONTENT_(?:LENGTH|TYPE)|HTTP_(?:HOST|AUTHORIZATION|IF_(?:UN)?MODIFIED_SINCE"
    r"|IDEMPOTENCY_KEY|LAST_EVENT_ID)"
)
"""Fields with a single value: two of them are refused, never joined.

If-Match is not one of them: its list of tags may be split (RFC 9110 sections 5.3 and 13.1.1).
"""


def check_partial(data: bytearray, start: int) -> None:
    """Refuse an incomplete head that is too long or has a bare LF.

    start: bytes of `data` that an earlier call has checked.

    Raises ProtocolError.
    """
    line = data.find(b"\r\n", 0, MAX_LINE + 2)
    bare = _BARE_LF.search(data, max(start - 1, 0))
    at = len(data)
    if bare:
        at = bare.start()
    if line < 0 and at > MAX_LINE + 1:
        raise ProtocolError(414, f"a request line has at most {MAX_LINE} bytes")
    if line >= 0 and at > line + 2 + MAX_HEADERS + 1:
        raise ProtocolError(431, f"header fields have at most {MAX_HEADERS} bytes")
    if bare:
        raise ProtocolError(400, "each line must end with CR LF")


def _request_line_error(text: str) -> ProtocolError:
    """Return the error for a head without a valid request line."""
    if "\n" in text.replace("\r\n", ""):
        return ProtocolError(400, "each line must end with CR LF")
    if _OTHER_VERSION.match(text):
        return ProtocolError(505, "this server supports HTTP/1.1 and HTTP/1.0")
    return ProtocolError(400, "the request line is malformed")


def parse_head(data: bytes | bytearray, environ: dict[str, Any]) -> None:
    """Parse a complete head, with its final CR LF CR LF, into `environ`.

    The caller has checked the limits of length. Raises ProtocolError.
    """
    text = data.decode("latin-1")
    line = _LINE.match(text)
    if line is None:
        raise _request_line_error(text)
    method, target, version = line.groups()
    environ["REQUEST_METHOD"] = method
    environ["SERVER_PROTOCOL"] = "HTTP/" + version
    environ["PATH_INFO"] = target.partition("?")[0]  # for the log if decoding fails
    fields = _FIELD.findall(text, line.end(), len(text) - 2)
    if fields and fields[-1][2]:
        raise ProtocolError(400, "a header field is malformed")
    if len(fields) > MAX_FIELDS:
        raise ProtocolError(431, f"the request has more than {MAX_FIELDS} header fields")
    for name, value, _ in fields:
        key = environ_key(name)
        value = value.rstrip(" \t")
        if key in environ:
            if _SINGLE.fullmatch(key):
                raise ProtocolError(400, "a header field with a single value was sent twice")
            separator = ", "  # RFC 9110 section 5.3
            if key == "HTTP_COOKIE":
                separator = "; "  # RFC 6265 section 5.4
            value = f"{environ[key]}{separator}{value}"
        environ[key] = value
    _check_host(version, environ)
    # PERF: the two calls below only for the targets that need them (benchmarks/http, hello).
    if target[0] != "/":
        target = _origin_form(method, target, environ)
    path, _, query = target.partition("?")
    if "%" in path:
        path = _decoded(path)
    environ["PATH_INFO"] = path
    environ["QUERY_STRING"] = query


def _check_host(version: str, environ: dict[str, Any]) -> None:
    """Require exactly one well-formed Host on HTTP/1.1 (RFC 9112 section 3.2)."""
    host = environ.get("HTTP_HOST")
    if host is None:
        if version == "1.1":
            raise ProtocolError(400, "a Host field is missing")
    elif not is_host(host):
        raise ProtocolError(400, "the Host field is malformed")


def is_host(text: str) -> bool:
    """Return whether a text is a valid Host field (RFC 9110 section 7.2)."""
    return _HOST.fullmatch(text) is not None


def _origin_form(method: str, target: str, environ: dict[str, Any]) -> str:
    """Turn absolute and asterisk form into a path (RFC 9112 section 3.2.2 and 3.2.4)."""
    if target == "*" and method == "OPTIONS":
        return ""  # PEP 3333: a path begins with a slash or is empty
    if method == "CONNECT":
        raise ProtocolError(501, "this server is not a proxy")
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not is_host(match[1]):
        raise ProtocolError(400, "the request target is malformed")
    environ["HTTP_HOST"] = match[1]
    path = match[2]
    if not path.startswith("/"):
        path = f"/{path}"
    return path


def _decoded(path: str) -> str:
    """Decode percent-encoding to one character for each byte, as PEP 3333 requires."""
    if _BAD_ESCAPE.search(path):
        raise ProtocolError(400, "the request target is malformed")
    decoded = unquote_to_bytes(path)
    if 0 in decoded:
        raise ProtocolError(400, "the request target contains a NUL")
    return decoded.decode("latin-1")
