"""Members to disk: one deterministic zip or one folder, whole or not at all, with SHA256SUMS."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO

from ...errors import BuildError
from ...generate.exchange import exchange
from ...manifest import INFO, Manifest
from ..failure import failure

_SHEBANG = b"#!/usr/bin/env python3\n"
SUMS = "SHA256SUMS"
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can tell


def write_zipapp(members: Mapping[str, bytes], path: Path) -> None:
    """Replaces `path` by an executable zip: sorted, fixed times, an entry for each folder.

    zipimport finds a namespace package only through its folder's entry. Raises BuildError F345.
    """

    def fill(temp: Path) -> None:
        with open(temp, "wb") as file:
            file.write(_SHEBANG)
            write_zip(members, file)
        temp.chmod(0o755)

    replace(path, fill)


def write_zip(members: Mapping[str, bytes], file: IO[bytes]) -> None:
    """The members as a zip behind what the file holds: sorted, fixed times, folders too."""
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(set(members) | _folders(members)):
            _add(archive, name, members.get(name))


def write_folder(members: Mapping[str, bytes], path: Path, *, mark: str = INFO) -> None:
    """Replaces the folder `path` by these members. mark: a member that tells such a folder.

    Raises BuildError F345, also when the folder holds anything else.
    """
    check_ours(path, mark)

    def fill(temp: Path) -> None:
        temp.mkdir()
        for name in sorted(members):
            file = temp / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(members[name])

    replace(path, fill)


def check_ours(path: Path, mark: str) -> None:
    """Raises BuildError F345 where something else lies than an empty folder or one of ours."""
    ours = (path / mark).is_file() or (path.is_dir() and not any(path.iterdir()))
    if path.exists() and not ours:
        raise failure("not_ours", path=path)


def sums_name(path: Path) -> str:
    """What SHA256SUMS lists of an artifact: itself; of a folder its build info, which has the hash
    of the manifest, which has all others.
    """
    return f"{path.name}/{INFO}" if path.is_dir() else path.name


def read_sums(path: Path) -> Mapping[str, str]:
    """What SHA256SUMS beside the artifact says; nothing where it cannot be read."""
    try:
        return Manifest.read((path.parent / SUMS).read_text("utf-8", "replace")).hashes
    except (OSError, BuildError):
        return {}


def write_sums(path: Path) -> None:
    """SHA256SUMS beside the artifact, for `sha256sum -c`. Lines of others that exist stay."""
    name, known = sums_name(path), read_sums(path)
    hashes = {n: digest for n, digest in known.items() if (path.parent / n).is_file()}
    hashes[name] = sha256((path.parent / name).read_bytes()).hexdigest()
    replace(path.parent / SUMS, lambda temp: temp.write_text(Manifest(hashes).write()))


def _folders(names: Iterable[str]) -> set[str]:
    return {f"{parent}/" for name in names for parent in PurePosixPath(name).parents if parent.name}


def _add(archive: zipfile.ZipFile, name: str, data: bytes | None) -> None:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.create_system = 3  # Unix: the meaning of external_attr
    entry.external_attr = (0o40755 << 16) | 0x10 if data is None else 0o100644 << 16
    entry.compress_type = zipfile.ZIP_STORED if data is None else zipfile.ZIP_DEFLATED
    archive.writestr(entry, data or b"")


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
        raise failure(unwritten, path=path, why=err.strerror or err) from err


def _scratch(path: Path) -> str:
    return f".{path.name}.forge-"


def _sweep(path: Path) -> None:
    """Removes what killed builds left beside the artifact; their process is gone."""
    for left in path.parent.glob(f"{_scratch(path)}*"):
        pid = left.name.removeprefix(_scratch(path)).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
