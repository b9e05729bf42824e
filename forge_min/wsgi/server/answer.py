"""The head of an answer: checked, so that no value can begin a line of its own, and framed."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import NamedTuple

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS = re.compile(r"[2-5][0-9]{2} [\t\x20-\x7e]*")
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_ORDINARY, _LENGTH, _DATE, _FORBIDDEN = range(4)
_KINDS: dict[str, int] = {}
_KINDS_LIMIT = 1000


class Head(NamedTuple):
    """Checked header lines. length: the application's Content-Length, or None when it gave none."""

    lines: bytes
    length: int | None
    dated: bool


class _Clock:
    """The Date field (RFC 9110 section 6.6.1), formatted once a second."""

    def __init__(self) -> None:
        self._current = (0, "")

    def text(self) -> str:
        """Now, as an IMF-fixdate."""
        now = int(time.time())
        current = self._current
        if current[0] != now:
            current = self._current = (now, formatdate(now, usegmt=True))
        return current[1]


date_text = _Clock().text


def _kind(name: str) -> int:
    """What a name asks of the server. Raises ValueError for what is no token (RFC 9110 section
    5.1).
    """
    lower = name.lower()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no header name")
    if lower in _HOP_BY_HOP:
        kind = _FORBIDDEN
    elif lower == "content-length":
        kind = _LENGTH
    else:
        kind = _DATE if lower == "date" else _ORDINARY
    if len(_KINDS) < _KINDS_LIMIT:
        _KINDS[name] = kind
    return kind


def check_status(status: str) -> int:
    """The number of a status line. Raises ValueError for what is none."""
    if not _STATUS.fullmatch(status):
        raise ValueError(f"{status!r} is no status of a final answer")
    return int(status[:3])


def check_headers(headers: Sequence[tuple[str, str]]) -> Head:
    """Header lines of an application.

    Raises ValueError for a name that is no token, a value with CR, LF, NUL or beyond latin-1, or a
    hop-by-hop field, which PEP 3333 leaves to the server; TypeError for what is no text.
    """
    lines: list[str] = []
    length: int | None = None
    dated = False
    for name, value in headers:
        kind = _KINDS.get(name)
        if kind is None:
            kind = _kind(name)
        if kind:
            if kind == _FORBIDDEN:
                raise ValueError(f"{name} is the server's to give (PEP 3333)")
            if kind == _DATE:
                dated = True
            else:
                length = _length(value, length)
                continue
        lines += (name, ": ", value, "\r\n")
    text = "".join(lines)
    count = len(lines) >> 2
    if text.count("\n") != count or text.count("\r") != count or "\0" in text:
        raise ValueError("a header value holds CR, LF or NUL")
    return Head(text.encode("latin-1"), length, dated)


def _length(value: str, known: int | None) -> int:
    if known is not None or not (value.isascii() and value.isdigit()):
        raise ValueError(f"Content-Length {value!r} is not one number")
    return int(value)
