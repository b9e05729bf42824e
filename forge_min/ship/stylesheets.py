"""The CSS step: stylesheets go in as they are, and must need nothing from another host.

An artifact runs where there is no internet, and every page's policy is `default-src 'self'`: a
browser would refuse such a reference anyway, silently.
"""

from __future__ import annotations

import re
from pathlib import Path

from .failure import failure

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_ELSEWHERE = re.compile(
    r"""(?:@import\s+|url\(\s*)["']?\s*((?:[a-z][a-z0-9+.-]*:)?//[^\s"')]*)""", re.I
)


def check_stylesheets(root: Path) -> int:
    """The number of stylesheets in static/. Raises BuildError F343 for one that loads from afar."""
    sheets = sorted((root / "static").rglob("*.css"))
    for sheet in sheets:
        text = without_comments(sheet.read_text("utf-8", "replace"))
        match = _ELSEWHERE.search(text)
        if match:
            line = text.count("\n", 0, match.start()) + 1
            raise failure("from_afar", file=sheet.relative_to(root), line=line, url=match[1])
    return len(sheets)


def without_comments(text: str) -> str:
    """The stylesheet, every line in its place."""
    return _COMMENT.sub(_blank, text)


def _blank(comment: re.Match[str]) -> str:
    return "\n" * comment[0].count("\n")
