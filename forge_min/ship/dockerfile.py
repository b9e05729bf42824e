"""The files for a container image: Dockerfile and .dockerignore, written once, never over an edit.

The first line of each holds the hash of the rest, so that an edited file is known from one of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Literal

from .. import __version__
from ..data import files
from .artifact import replace
from .failure import failure
from .project import read_project

Base = Literal["alpine", "debian"]
_MARK = "# forge: sha256="


@dataclass(frozen=True, slots=True)
class Deployed:
    """Names of files in the project: written now, and those that were as they should be."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]


def deploy(
    root: Path, *, base: Base = "alpine", force: bool = False, check: bool = False
) -> Deployed:
    """Writes the files for an image of the project at `root`; with `check`, only compares.

    Raises BuildError F360 when a file was edited and `force` is missing (then nothing is written),
    F361 when `check` finds a file that is missing or differs, F345 when one cannot be written.
    """
    wanted = _render(root, base)
    found = {name: _read(root / name) for name in wanted}
    differing = sorted(name for name in wanted if found[name] != wanted[name])
    if check and differing:
        raise failure("differs", names=", ".join(differing))
    edited = [name for name in differing if not _is_ours(found[name])]
    if edited and not force:
        raise failure("edited", names=", ".join(edited))
    for name in differing:
        write = partial(Path.write_bytes, data=wanted[name].encode())
        replace(root / name, write, "file_not_written")
    return Deployed(tuple(differing), tuple(sorted(wanted.keys() - set(differing))))


def _render(root: Path, base: Base) -> dict[str, str]:
    project = read_project(root)
    values = {
        "name": project.name,
        "version": project.version,
        "forge_version": __version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    values["install"] = _template("install.tmpl", values)
    values["runtime"] = _template("runtime.tmpl", values).rstrip("\n")
    texts = {
        "Dockerfile": _template(f"{base}.Dockerfile.tmpl", values),
        ".dockerignore": _template("dockerignore.tmpl", values),
    }
    return {name: f"{_MARK}{_hash(text)}\n{text}" for name, text in texts.items()}


def _template(name: str, values: Mapping[str, str]) -> str:
    text = files(__package__).joinpath("templates", name).read_text("utf-8")
    return Template(text).substitute(values)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _is_ours(text: str | None) -> bool:
    """Whether the file is missing, or its first line holds the hash of the others."""
    if text is None:
        return True
    first, _, rest = text.partition("\n")
    return first == _MARK + _hash(rest)


def _read(path: Path) -> str | None:
    return path.read_text("utf-8", "replace") if path.is_file() else None
