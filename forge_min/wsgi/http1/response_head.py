"""The head of an answer: checked, so that no value can begin a line of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache

from ...fanout import try_format_head
from ...lazy import lazy_pattern

_NAME = lazy_pattern(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS = lazy_pattern(r"[2-5][0-9]{2} [\t\x20-\x7e]*")
_CONTROL = lazy_pattern(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # but for those that end a line
_HOP_BY_HOP = lazy_pattern(
    r"connection|keep-alive|proxy-(?:authenticate|authorization|connection)|te|trailer"
    r"|transfer-encoding|upgrade"
)
Fields = Sequence[tuple[str, str]]

Head = tuple[int, bytes, int | None, bool]
"""A checked head: the status; its line and the application's fields, as they are sent; its
Content-Length, which is not among them, or None; whether Date is among them.
"""


@lru_cache(1)
def _date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()


def date_line() -> bytes:
    """The Date field of an answer that is made now (RFC 9110 section 6.6.1)."""
    return _date(int(time.time()))


# LOCK: none; a dict's operations are atomic. What is known to be good: of names what `_kind` says,
# of statuses what `_status` does; so many of each.
_KINDS: dict[str, str] = {}
_STATUSES: dict[str, tuple[int, bytes]] = {}
_MOST = 1000


def _kind(name: str) -> str:
    """The name in lower case of a field that the server looks at, "" for others. Raises ValueError
    for what is no token (RFC 9110 section 5.1), or a hop-by-hop field.
    """
    lower = name.lower()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no header name")
    if _HOP_BY_HOP.fullmatch(lower):
        raise ValueError(f"{name} is the server's to give (PEP 3333)")
    kind = lower if lower in ("content-length", "date") else ""
    if type(name) is str and len(_KINDS) < _MOST:
        _KINDS[name] = kind
    return kind


def _status(status: str) -> tuple[int, bytes]:
    """The number and the status line (RFC 9112 section 4). Raises ValueError."""
    if not _STATUS.fullmatch(status):
        raise ValueError(f"{status!r} is no status of a final answer")
    found = int(status[:3]), f"HTTP/1.1 {status}\r\n".encode()
    if type(status) is str and len(_STATUSES) < _MOST:
        _STATUSES[status] = found
    return found


def checked_head(status: str, headers: Fields) -> Head:
    """The head that an application wants.

    Raises ValueError for a status of no final answer, a name that is no token, a value with a
    control character (RFC 9110 section 5.5) or beyond latin-1, or a hop-by-hop field, which PEP
    3333 leaves to the server; TypeError for what is no text.
    """
    # PERF: what is plain is written in one pass (benchmarks/http, hello).
    plain = try_format_head(status, headers, _STATUSES, _KINDS)
    if plain is not None:
        return plain
    number, line = _status(status)
    lines: list[str] = []
    length: int | None = None
    dated = False
    for name, value in headers:
        kind = _kind(name)
        if kind == "content-length":
            if length is not None or not (value.isascii() and value.isdigit()):
                raise ValueError(f"Content-Length {value!r} is not one number")
            length = int(value)
            continue
        if kind:
            dated = True
        lines += (name, ": ", value, "\r\n")
    text = "".join(lines)
    count = len(lines) // 4
    if text.count("\n") != count or text.count("\r") != count or _CONTROL.search(text):
        raise ValueError("a header value holds a control character")
    return number, line + text.encode("latin-1"), length, dated
