"""Members to disk: one deterministic zip or one folder, whole or not at all, beside SHA256SUMS.

A command replaces what it made itself, and nothing that a user put there.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath

from ...errors import BuildError
from ...generate import exchange
from ...manifest import INFO, NAME, Manifest, listed
from ..errors import build_error

CHECKSUMS = "SHA256SUMS"
SHEBANG = b"#!/usr/bin/env python3\n"


def write_zipapp(members: Mapping[str, bytes], path: Path) -> None:
    """Replaces `path` by an executable zip. Raises BuildError F345, and F343 as `zip_bytes`."""

    def fill(temp: Path) -> None:
        temp.write_bytes(zip_bytes(members, SHEBANG))
        temp.chmod(0o755)

    replace(path, fill)


def zip_bytes(members: Mapping[str, bytes], start: bytes = b"") -> bytes:
    """Return the members as a zip behind `start`: sorted, fixed times, an entry for each folder.

    zipimport finds a namespace package only through its folder's entry. Raises BuildError F343 for
    a name that leads outside.
    """
    _check_names(members)
    file = io.BytesIO()
    file.write(start)
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(set(members) | _folders(members)):
            if name in members:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o100644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, members[name])
            else:
                archive.mkdir(name, 0o755)
    return file.getvalue()


def write_folder(members: Mapping[str, bytes], path: Path) -> None:
    """Replaces the folder `path` by these members, whatever it holds: see `check_folder`.

    Raises BuildError F345, and F343 for a name that leads outside.
    """

    def fill(temp: Path) -> None:
        _check_names(members)
        temp.mkdir()
        for name in sorted(members):
            file = temp / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(members[name])

    replace(path, fill)


def checksum_name(path: Path) -> str:
    """The name by which SHA256SUMS lists an artifact.

    Of a folder that is its build info, which has the hash of the manifest, which has all others.
    """
    return f"{path.name}/{INFO}" if path.is_dir() else path.name


def read_checksums(path: Path) -> Mapping[str, str]:
    """Name → SHA-256 of SHA256SUMS beside the artifact; empty if it cannot be read."""
    try:
        return Manifest.read((path.parent / CHECKSUMS).read_text("utf-8", "replace")).hashes
    except (OSError, BuildError):
        return {}


def write_checksums(path: Path) -> None:
    """SHA256SUMS beside the artifact, for `sha256sum -c`. Lines of others that exist stay."""
    names = {
        name: hash for name, hash in read_checksums(path).items() if (path.parent / name).is_file()
    }
    name = checksum_name(path)
    names[name] = sha256((path.parent / name).read_bytes()).hexdigest()
    replace_file(path.parent / CHECKSUMS, Manifest(names).write().encode())


def _check_names(members: Iterable[str]) -> None:
    for name in members:
        if name.startswith("/") or ".." in name.split("/"):
            raise build_error("outside", name=name)


def _folders(names: Iterable[str]) -> set[str]:
    return {f"{parent}/" for name in names for parent in PurePosixPath(name).parents if parent.name}


def replace(path: Path, fill: Callable[[Path], object], unwritten: str = "not_written") -> None:
    """Fills a temporary neighbour, then renames it over `path`; what was there stays until then.

    unwritten: the entry of messages.toml for a BuildError F345.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        work = Path(tempfile.mkdtemp(prefix=f"{_scratch(path)}{os.getpid()}-", dir=path.parent))
        try:
            fill(work / "new")
            if (work / "new").is_dir():
                exchange(work / "new", path, work / "old")
            else:
                (work / "new").rename(path)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as err:
        raise build_error(unwritten, path=path, why=err.strerror or err) from err


def replace_file(path: Path, data: bytes, unwritten: str = "not_written") -> None:
    """`replace` by a file with these bytes."""
    replace(path, lambda temp: temp.write_bytes(data), unwritten)


def _scratch(path: Path) -> str:
    return f".{path.name}.forge-"


def _sweep(path: Path) -> None:
    """Removes what killed builds left beside the artifact; their process is gone."""
    for left in path.parent.glob(f"{_scratch(path)}*"):
        pid = left.name.removeprefix(_scratch(path)).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)


def check_folder(path: Path, root: Path, listing: str = NAME) -> None:
    """Raises BuildError F345 for a folder that may not be replaced.

    It may if `listing` lists every file in it, or it is empty, and the project at `root` does not
    lie in it. listing: of an artifact its manifest, of a vendor folder its SHA256SUMS.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise build_error("not_ours", path=path, why="it is no folder")
    if root.resolve().is_relative_to(path.resolve()):
        raise build_error("not_ours", path=path, why=f"it holds the project {root}")
    names = listed(path) if path.is_dir() else []
    if names and (strange := sorted(set(names) - _known(path, listing))):
        more = ", ..." if len(strange) > 3 else ""
        raise build_error("not_ours", path=path, why=f"it holds {', '.join(strange[:3])}{more}")


def check_file(path: Path) -> None:
    """Raises BuildError F345 for a file that may not be replaced.

    An empty one may, and a zipapp with a build info or what is left of one.
    """
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise build_error("not_ours", path=path, why="it is no file")
    with path.open("rb") as file:
        start = file.read(len(SHEBANG) + 4)
    if start and start != SHEBANG + b"PK\3\4":
        raise build_error("not_ours", path=path, why="it is no zipapp")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return  # a zipapp that nobody can read
    if INFO not in names:
        raise build_error("not_ours", path=path, why=f"it is a zipapp without {INFO}")


def _known(path: Path, listing: str) -> set[str]:
    """The names of what may be in such a folder; none where its list cannot be read."""
    try:
        hashes = Manifest.read((path / listing).read_text("utf-8")).hashes
    except (OSError, ValueError, BuildError):
        return set()
    return {*hashes, listing, *((INFO,) if listing == NAME else ())}
