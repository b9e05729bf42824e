"""What a command may replace: what it made itself, and nothing that somebody put there."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from ...errors import BuildError
from ...manifest import INFO, NAME, Manifest, listed
from ..failure import failure
from .archive import SHEBANG


def check_folder(path: Path, root: Path, listing: str = NAME) -> None:
    """Raises BuildError F345 where something else lies than a folder in which `listing` lists
    every file, or an empty one, and where the project at `root` lies in it.

    listing: of an artifact its manifest, of a vendor folder its SHA256SUMS.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise _not_ours(path, "it is no folder")
    if root.resolve().is_relative_to(path.resolve()):
        raise _not_ours(path, f"it holds the project {root}")
    names = listed(path) if path.is_dir() else []
    if names and (strange := sorted(set(names) - _known(path, listing))):
        more = ", ..." if len(strange) > 3 else ""
        raise _not_ours(path, f"it holds {', '.join(strange[:3])}{more}")


def check_file(path: Path) -> None:
    """Raises BuildError F345 where something else lies than a zipapp with a build info, what is
    left of one, or an empty file.
    """
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise _not_ours(path, "it is no file")
    with path.open("rb") as file:
        start = file.read(len(SHEBANG) + 4)
    if start and start != SHEBANG + b"PK\3\4":
        raise _not_ours(path, "it is no zipapp")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return  # a zipapp that nobody can read
    if INFO not in names:
        raise _not_ours(path, f"it is a zipapp without {INFO}")


def _known(path: Path, listing: str) -> set[str]:
    """The names of what may be in such a folder; none where its list cannot be read."""
    try:
        hashes = Manifest.read((path / listing).read_text("utf-8")).hashes
    except (OSError, ValueError, BuildError):
        return set()
    return {*hashes, listing, *((INFO,) if listing == NAME else ())}


def _not_ours(path: Path, why: str) -> BuildError:
    return failure("not_ours", path=path, why=why)
