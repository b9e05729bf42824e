"""The head of a request: from bytes to CGI names, by one regular expression per part.

Strict where RFC 9112 lets a server choose: whatever two programs could read in two ways is refused.
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

# Possessive quantifiers: no input can make these patterns try twice. A target has no fragment,
# hence no "#" (RFC 9112 section 3).
_METHOD_TARGET = r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++) ([\x21\x22\x24-\x7e]++)"
_LINE = lazy_pattern(_METHOD_TARGET + r" HTTP/(1\.[01])\r\n")
_OTHER_VERSION = lazy_pattern(_METHOD_TARGET + r" HTTP/[0-9]\.[0-9]\r\n")
# A field line, or (third group) all that is left when a
# line is none (RFC 9112 section 5). No underscore in names: it would collide with "-" in an
# environ. No control character in values.
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
"""Fields that are one value: two of them are refused, never joined. If-Match is none: it is a list
of tags, which may come in parts (RFC 9110 sections 5.3 and 13.1.1).
"""


def check_partial(data: bytearray, start: int) -> None:
    """Refuse a head that is not complete yet, as soon as it can no longer become a good one.

    start: how much of `data` an earlier call has seen.
    """
    line = data.find(b"\r\n", 0, MAX_LINE + 2)
    bare = _BARE_LF.search(data, max(start - 1, 0))
    at = bare.start() if bare else len(data)
    if line < 0 and min(at, len(data)) > MAX_LINE + 1:
        raise ProtocolError(414, f"a request line has at most {MAX_LINE} bytes")
    if line >= 0 and min(at, len(data)) > line + 2 + MAX_HEADERS + 1:
        raise ProtocolError(431, f"header fields have at most {MAX_HEADERS} bytes")
    if bare:
        raise ProtocolError(400, "a line ends with CR LF")


def _not_a_line(text: str) -> ProtocolError:
    """Why a head does not begin with a request line."""
    if "\n" in text.replace("\r\n", ""):
        return ProtocolError(400, "a line ends with CR LF")
    if _OTHER_VERSION.match(text):
        return ProtocolError(505, "this server speaks HTTP/1.1 and HTTP/1.0")
    return ProtocolError(400, "the request line is malformed")


def parse_head(data: bytes | bytearray, environ: dict[str, Any]) -> None:
    """Fill `environ` with what a whole head (its last CR LF CR LF included) says.

    Raises ProtocolError. The caller has checked the limits of length.
    """
    text = data.decode("latin-1")
    line = _LINE.match(text)
    if line is None:
        raise _not_a_line(text)
    method, target, version = line.groups()
    environ["REQUEST_METHOD"] = method
    environ["SERVER_PROTOCOL"] = "HTTP/" + version
    environ["PATH_INFO"] = target.partition("?")[0]  # until it is decoded, for who refuses it
    fields = _FIELD.findall(text, line.end(), len(text) - 2)
    if fields and fields[-1][2]:
        raise ProtocolError(400, "a header field is malformed")
    if len(fields) > MAX_FIELDS:
        raise ProtocolError(431, f"at most {MAX_FIELDS} header fields are read")
    for name, value, _ in fields:
        key = environ_key(name)
        value = value.rstrip(" \t")
        if key in environ:
            environ[key] = _joined(key, environ[key], value)
        else:
            environ[key] = value
    _check_host(version, environ)
    # PERF: the two calls below only for the targets that need them (benchmarks/http, hello).
    if target[0] != "/":
        target = _other_form(method, target, environ)
    path, _, query = target.partition("?")
    if "%" in path:
        path = _decoded(path)
    environ["PATH_INFO"] = path
    environ["QUERY_STRING"] = query


def _joined(key: str, first: str, second: str) -> str:
    """Two fields of one name as one value (RFC 9110 section 5.3; cookies RFC 6265 section 5.4)."""
    if _SINGLE.fullmatch(key):
        raise ProtocolError(400, "a header field that is one value was sent twice")
    return first + ("; " if key == "HTTP_COOKIE" else ", ") + second


def _check_host(version: str, environ: dict[str, Any]) -> None:
    """Exactly one well-formed Host on HTTP/1.1 (RFC 9112 section 3.2)."""
    host = environ.get("HTTP_HOST")
    if host is None:
        if version == "1.1":
            raise ProtocolError(400, "a Host field is missing")
    elif not is_host(host):
        raise ProtocolError(400, "the Host field is malformed")


def is_host(text: str) -> bool:
    """Whether it is what a Host field may hold (RFC 9110 section 7.2)."""
    return _HOST.fullmatch(text) is not None


def _other_form(method: str, target: str, environ: dict[str, Any]) -> str:
    """Absolute and asterisk form (RFC 9112 section 3.2.2 and 3.2.4); this is no proxy."""
    if target == "*" and method == "OPTIONS":
        return ""  # PEP 3333: a path begins with a slash or is empty
    if method == "CONNECT":
        raise ProtocolError(501, "this server is no proxy")
    found = _ABSOLUTE.fullmatch(target)
    if found is None or not is_host(found[1]):
        raise ProtocolError(400, "the request target is malformed")
    environ["HTTP_HOST"] = found[1]
    rest = found[2]
    return rest if rest.startswith("/") else "/" + rest


def _decoded(path: str) -> str:
    """Percent-decoded, as PEP 3333 wants it: each byte one character."""
    if _BAD_ESCAPE.search(path):
        raise ProtocolError(400, "the request target is malformed")
    plain = unquote_to_bytes(path)
    if 0 in plain:
        raise ProtocolError(400, "the request target holds a NUL")
    return plain.decode("latin-1")
