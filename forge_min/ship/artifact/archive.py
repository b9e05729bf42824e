"""Writes an artifact atomically, as a deterministic zip or as a folder, and SHA256SUMS beside it.

Only files and folders that a command of forge_min made are replaced.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from ...errors import BuildError
from ...generate import exchange, locked
from ...manifest import INFO, NAME, Manifest, list_files
from ..errors import build_error, first_of

CHECKSUMS = "SHA256SUMS"
SHEBANG = b"#!/usr/bin/env python3\n"


def write_zipapp(members: Mapping[str, bytes], path: Path) -> None:
    """Replace `path` by an executable zip. Raises BuildError F002, and F343 as `zip_bytes`."""

    def fill(temp: Path) -> None:
        temp.write_bytes(zip_bytes(members, SHEBANG))
        temp.chmod(0o755)

    replace(path, fill)


def zip_bytes(members: Mapping[str, bytes], start: bytes = b"") -> bytes:
    """Return the members as a zip behind `start`: sorted, fixed times, an entry for each folder.

    zipimport finds a namespace package only through its folder's entry.

    Raises BuildError F343 for a name outside the archive.
    """
    _check_names(members)
    names = set(members)
    for name in members:
        for folder in PurePosixPath(name).parents:
            if folder.name:
                names.add(f"{folder}/")
    file = io.BytesIO()
    file.write(start)
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(names):
            if name in members:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o100644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, members[name])
            else:
                archive.mkdir(name, 0o755)
    return file.getvalue()


def write_folder(members: Mapping[str, bytes], path: Path) -> None:
    """Replace the folder `path` by these members, without the check of `check_folder`.

    Raises BuildError F002, and F343 for a name outside the folder.
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
    """Return the name by which SHA256SUMS lists an artifact.

    For a folder it is the build info, which has the hash of the manifest, which has all others.
    """
    if path.is_dir():
        return f"{path.name}/{INFO}"
    return path.name


def read_checksums(listing: Path) -> Mapping[str, str]:
    """Return SHA-256 by name from a SHA256SUMS or a manifest; empty if it is unreadable."""
    try:
        return Manifest.read(listing.read_text("utf-8", "replace")).hashes
    except (OSError, BuildError):
        return {}


def write_checksums(path: Path) -> None:
    """Write SHA256SUMS beside the artifact, and keep its lines of other files that exist."""
    folder = path.parent
    listing = folder / CHECKSUMS
    hashes = {
        name: digest
        for name, digest in read_checksums(listing).items()
        if (folder / name).is_file()
    }
    name = checksum_name(path)
    hashes[name] = sha256((folder / name).read_bytes()).hexdigest()
    replace_file(listing, Manifest(hashes).write().encode())


def _check_names(members: Iterable[str]) -> None:
    for name in members:
        if name.startswith("/") or ".." in name.split("/"):
            raise build_error("outside", name=name)


def replace(path: Path, fill: Callable[[Path], object], unwritten: str = "not_written") -> None:
    """Write a temporary file or folder beside `path`, then rename it to `path`.

    fill: writes to the path that it gets.
    unwritten: the entry of messages.toml for the BuildError F002 of a failed write.
    """
    folder = path.parent
    prefix = f".{path.name}.forge-"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            locked(path),
            TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as work,
        ):
            new = Path(work, "new")
            fill(new)
            if new.is_dir():
                exchange(new, path, Path(work, "old"))
            else:
                new.rename(path)
    except OSError as err:
        why = err.strerror or err
        raise build_error(unwritten, path=path, why=why) from err


def replace_file(path: Path, data: bytes, unwritten: str = "not_written") -> None:
    """Replace `path` by a file with these bytes. Raises as `replace`."""
    replace(path, lambda temp: temp.write_bytes(data), unwritten)


def check_folder(path: Path, root: Path, listing: str = NAME) -> None:
    """Raise BuildError F360 for a folder that may not be replaced.

    It may be replaced if it does not contain the project at `root`, and is empty or all its files
    are in its listing.

    listing: the name of the file with hashes, of an artifact its manifest, of a vendor folder its
        SHA256SUMS.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise build_error("foreign_output", path=path, why="it is not a folder")
    if root.resolve().is_relative_to(path.resolve()):
        raise build_error("foreign_output", path=path, why=f"it contains the project {root}")
    unknown = set(list_files(path))
    listed = read_checksums(path / listing)
    if listed:
        unknown.difference_update(listed, [listing])
        if listing == NAME:
            unknown.discard(INFO)
    if unknown:
        names = ", ".join(first_of(sorted(unknown), 3))
        raise build_error("foreign_output", path=path, why=f"it contains {names}")


def check_file(path: Path) -> None:
    """Raise BuildError F360 for a file that may not be replaced.

    An empty file may be replaced, and a zipapp that has a build info or is damaged.
    """
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise build_error("foreign_output", path=path, why="it is not a file")
    with path.open("rb") as file:
        start = file.read(len(SHEBANG) + 4)
    if start and start != SHEBANG + b"PK\3\4":
        raise build_error("foreign_output", path=path, why="it is not a zipapp")
    # It may be damaged.
    with suppress(zipfile.BadZipFile, OSError, ValueError), zipfile.ZipFile(path) as archive:
        if INFO not in archive.namelist():
            raise build_error("foreign_output", path=path, why=f"it is a zipapp without {INFO}")
