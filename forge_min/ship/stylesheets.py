"""What stylesheets may say: nothing from another host, and to Tailwind nothing that runs code.

An artifact runs where there is no internet, and every page's policy is `default-src 'self'`: a
browser would refuse such a reference anyway, silently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .failure import failure
from .project import read_file

# As Tailwind reads: no comment begins in a string, nor behind a backslash.
_PIECE = re.compile(
    r"""\\.|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|(?P<comment>/\*.*?(?:\*/|\Z))""", re.DOTALL
)
_ELSEWHERE = re.compile(
    r"""(?:@import\s*|url\(\s*)["']?\s*((?:[a-z][a-z0-9+.-]*:)?//[^\s"')]*)""", re.I
)
_RULE = re.compile(
    r"""@(plugin|config|import|reference|source)\b\s*((?:"[^"\n]*"|'[^'\n]*'|[^;{}])*)"""
)
# Of @import, @tailwind and @media.
_PLACE = re.compile(r"""\bsource\(\s*("[^"\n]*"|'[^'\n]*'|[^)]*)""")
# What lies in the binary: any other plugin is JavaScript of the project.
_PLUGIN = re.compile(r"""(["'])@tailwindcss/(?:forms|typography|aspect-ratio)\1\s*""")
# Anything else could be code by another name, or a module in a folder above.
_SHEET = re.compile(
    r"""(?P<quote>["'])(?P<name>tailwindcss(?:/[a-z./]+)?|(?:https?://|data:).*?|\./[^:"'()\\]*\.css)"""
    r"""(?P=quote)(?:\s|\Z)|url\(\s*["']?(?P<link>(?!/)[^"')\s]+)["']?\s*\)""",
    re.DOTALL,
)


def check_stylesheets(root: Path) -> int:
    """The number of stylesheets in static/. Raises BuildError F343 for one that loads from afar,
    or may not be read.
    """
    sheets = sorted(path for path in (root / "static").rglob("*.css") if path.is_file())
    for sheet in sheets:
        text = without_comments(read_file(root, sheet).decode("utf-8", "replace"))
        match = _ELSEWHERE.search(text)
        if match:
            line = text.count("\n", 0, match.start()) + 1
            raise failure("from_afar", file=sheet.relative_to(root), line=line, url=match[1])
    return len(sheets)


def check_input(sheets: Mapping[str, bytes]) -> None:
    """Raises BuildError F348 where a stylesheet for Tailwind (by its name in the project) runs code
    of the project, takes in what is no stylesheet, or has it look outside of the project.
    """
    for name, data in sheets.items():
        text = data.decode("utf-8", "replace")
        # SAFETY: Tailwind joins what stands around a comment: "@plug/**/in" is a rule.
        plain = _PIECE.sub(lambda piece: "" if piece["comment"] else piece[0], text)
        depth = name.count("/")
        wrong = [r for r in _RULE.finditer(plain) if not _is_harmless(r[1], r[2].strip(), depth)]
        wrong += [place for place in _PLACE.finditer(plain) if not _stays_inside(place[1], depth)]
        for found in wrong:
            what = " ".join(found[0].split())
            raise failure("css_code", file=name, line=_line(text, found.start()), what=what)


def without_comments(text: str) -> str:
    """The stylesheet, every line in its place."""
    return _PIECE.sub(_blank, text)


def _is_harmless(rule: str, value: str, depth: int) -> bool:
    if rule == "plugin":
        return _PLUGIN.fullmatch(value) is not None
    if rule == "source":
        place = value.removeprefix("not ").strip()
        return place.startswith("inline(") or _stays_inside(place, depth)
    sheet = _SHEET.match(value) if rule != "config" else None
    return sheet is not None and ".." not in (sheet["name"] or sheet["link"]).split("/")


def _stays_inside(place: str, depth: int) -> bool:
    """Whether a pattern in a file that lies `depth` folders deep finds only what lies beside it."""
    steps = place.strip("\"' \t\r\n").split("/")
    while depth and steps and steps[0] in ("..", "."):
        depth -= steps.pop(0) == ".."
    rest = "/".join(steps)
    return not rest.startswith("/") and not re.search(r"\.\.|[{,]/", rest)


def _line(text: str, offset: int) -> int:
    """Where something stands that is `offset` characters into the text without comments."""
    for piece in _PIECE.finditer(text):
        if piece["comment"] and piece.start() <= offset:
            offset += len(piece[0])
    return text.count("\n", 0, offset) + 1


def _blank(piece: re.Match[str]) -> str:
    return "\n" * piece[0].count("\n") if piece["comment"] else piece[0]
