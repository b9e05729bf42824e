"""Pages that put values into a URL, and values that try to leave the origin by it. No tests."""

from __future__ import annotations

from hypothesis import strategies as st

PAGES = [
    f'<a href="{url}">x</a>'
    for url in (
        "${x}", "${x}/", "${x}/a", "${x}/a/${y}", "${x}/@${y}", "${x}/%${y}", "${x}/?${y}",
        "${x}/#${y}", "${x}?${y}", "${x}#${y}", "${x}.png", "${x}evil.example/${y}", "${x}-",
        "${x}/.${y}/${z}", "/a${x}", "/-/${x}/${y}", "a/${x}", "../${x}", "?${x}", "#${x}/${y}",
    )
]  # fmt: skip
_PIECES = (
    "/", "/", "\\", "//", "\t", "\n", "\r", " ", "\0", "\x01", "\x1f", "\x7f", "\x80", "\x85",
    "\xa0", "\xad", "\u2003", "\u2028", "\ufeff", "\uff0f", ":", "@", "?", "#", ".", "..", "%2f",
    "%09", "&#47;", "&Tab;", "evil.example", "a", "http:", "https:", "HTTPS:", "http://", "https://",
    "ws://", "javascript:", "java", "script:alert(1)", "data:,", "file:", "blob:", "mailto:", "1:",
)  # fmt: skip
VALUES = st.lists(st.sampled_from(_PIECES), max_size=6).map("".join)
