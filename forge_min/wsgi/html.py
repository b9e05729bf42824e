"""HTML text from values: escaping, the mark of what is HTML already, and the check of URLs."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_ALLOWED = frozenset(("http", "https", "mailto", "tel"))
_IGNORED = re.compile(r"[\x00-\x20\x7f-\x9f]+")


class Raw(str):
    """Text that is HTML already and goes out as it is. Whoever makes one vouches for it."""

    __slots__ = ()


def escape(value: object) -> str:
    """A value as HTML text, safe in an element and in a quoted attribute; None is "".

    A Raw is escaped like any other text: only `raw` lets one through.
    """
    if type(value) is not str:
        if value is None:
            return ""
        value = str(value)
    # PERF: most values are one word; this saves five scans (benchmarks/http, case html).
    if value.isalnum():
        return value
    return (
        value.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace('"', "&#34;")
        .replace("'", "&#39;")
    )


def raw(value: object) -> str:
    """A Raw as it is. TypeError for anything else: nobody vouched for it."""
    if not isinstance(value, Raw):
        raise TypeError(f"!raw needs a Raw, not {type(value).__name__}: mark it with wsgi.Raw(...)")
    return value


def check_url(value: object) -> str:
    """A URL for href, src or action: relative, or of scheme http, https, mailto or tel; anything
    else is "#".

    Control characters and spaces are left out first, as browsers do (WHATWG URL section 4.4). The
    result is not escaped yet.
    """
    text = "" if value is None else str(value)
    bare = _IGNORED.sub("", text)
    scheme = _SCHEME.match(bare)
    if scheme and scheme[1].lower() not in _ALLOWED:
        return "#"
    return text.strip()
