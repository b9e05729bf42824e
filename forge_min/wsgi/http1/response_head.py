"""The head of a response, checked so that a value cannot begin a new line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache

from ...fanout import try_format_head
from ...lazy import lazy_pattern

_NAME = lazy_pattern(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS = lazy_pattern(r"[2-5][0-9]{2} [\t\x20-\x7e]*")
_CONTROL = lazy_pattern(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # except CR and LF
_HOP_BY_HOP = lazy_pattern(
    r"connection|keep-alive|proxy-(?:authenticate|authorization|connection)|te|trailer"
    r"|transfer-encoding|upgrade"
)
Fields = Sequence[tuple[str, str]]

Head = tuple[int, bytes, int | None, bool]
"""A checked head: status, lines, Content-Length, has Date.

The lines are the status line and the application's fields as they are sent, without Content-Length,
which is None if it is not set. "Has Date" is whether Date is among the fields.
"""


@lru_cache(1)
def _date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()


def date_line() -> bytes:
    """Return the Date field of a response that is sent now (RFC 9110 section 6.6.1)."""
    return _date(int(time.time()))


# LOCK: none; a dict's operations are atomic. Caches of valid names and statuses: the results of
# `_kind` and `_status`, up to _MAX_CACHED each.
_KINDS: dict[str, str] = {}
_STATUSES: dict[str, tuple[int, bytes]] = {}
_MAX_CACHED = 1000


def _kind(name: str) -> str:
    """Return the lower-case name of a field that the server reads, "" for others.

    Raises ValueError if it is not a token (RFC 9110 section 5.1), or for a hop-by-hop field.
    """
    lower = name.lower()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name")
    if _HOP_BY_HOP.fullmatch(lower):
        raise ValueError(f"{name} is set by the server (PEP 3333)")
    kind = ""
    if lower in ("content-length", "date"):
        kind = lower
    if type(name) is str and len(_KINDS) < _MAX_CACHED:
        _KINDS[name] = kind
    return kind


def _status(status: str) -> tuple[int, bytes]:
    """Return the number and the status line (RFC 9112 section 4). Raises ValueError."""
    if not _STATUS.fullmatch(status):
        raise ValueError(f"{status!r} is not the status of a final response")
    line = f"HTTP/1.1 {status}\r\n".encode()
    result = (int(status[:3]), line)
    if type(status) is str and len(_STATUSES) < _MAX_CACHED:
        _STATUSES[status] = result
    return result


def checked_head(status: str, headers: Fields) -> Head:
    """Check and format the head that an application sets.

    Raises ValueError for the status of an interim response, a name that is not a token, a value
    with a control character (RFC 9110 section 5.5) or outside of latin-1, and for hop-by-hop
    fields, which PEP 3333 reserves for the server. Raises TypeError if a value is not text.
    """
    # PERF: a simple head is formatted in one pass (benchmarks/http, hello).
    head = try_format_head(status, headers, _STATUSES, _KINDS)
    if head is not None:
        return head
    number, line = _status(status)
    lines: list[str] = []
    length = None
    has_date = False
    for name, value in headers:
        kind = _kind(name)
        if kind == "content-length":
            if length is not None or not (value.isascii() and value.isdigit()):
                raise ValueError(f"Content-Length {value!r} is not one number")
            length = int(value)
            continue
        if kind:
            has_date = True
        lines += (name, ": ", value, "\r\n")
    text = "".join(lines)
    count = len(lines) // 4
    breaks_line = text.count("\n") != count or text.count("\r") != count
    if breaks_line or _CONTROL.search(text):
        raise ValueError("a header value contains a control character")
    return number, line + text.encode("latin-1"), length, has_date
