"""Members to disk: one deterministic zip or one folder, whole or not at all, with SHA256SUMS."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from ...generate import exchange
from ..failure import failure
from .sums import SUMS, sums_of

SHEBANG = b"#!/usr/bin/env python3\n"
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can tell


def write_zipapp(members: Mapping[str, bytes], path: Path, *, sums: bool = False) -> None:
    """Replaces `path` by an executable zip: sorted, fixed times, an entry for each folder. sums:
    with its line in SHA256SUMS.

    zipimport finds a namespace package only through its folder's entry. Raises BuildError F345, and
    F343 as `write_zip`.
    """

    def fill(temp: Path) -> None:
        with open(temp, "wb") as file:
            file.write(SHEBANG)
            write_zip(members, file)
        temp.chmod(0o755)

    (_replace_with_sums if sums else replace)(path, fill)


def write_zip(members: Mapping[str, bytes], file: IO[bytes]) -> None:
    """The members as a zip behind what the file holds: sorted, fixed times, folders too. Raises
    BuildError F343 for a name that leads outside.
    """
    _check_names(members)
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(set(members) | _folders(members)):
            _add(archive, name, members.get(name))


def write_folder(members: Mapping[str, bytes], path: Path, *, sums: bool = False) -> None:
    """Replaces the folder `path` by these members, whatever it holds: see `check_folder`. sums:
    with its line in SHA256SUMS. Raises BuildError F345, and F343 for a name that leads outside.
    """

    def fill(temp: Path) -> None:
        _check_names(members)
        temp.mkdir()
        for name in sorted(members):
            file = temp / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(members[name])

    (_replace_with_sums if sums else replace)(path, fill)


def write_sums(path: Path) -> None:
    """SHA256SUMS beside the artifact, for `sha256sum -c`. Lines of others that exist stay."""
    text, file = sums_of(path, path)[1], path.parent / SUMS
    if not file.is_file() or file.read_text("utf-8", "replace") != text:
        replace(file, lambda temp: temp.write_text(text, "utf-8"))


def _check_names(members: Iterable[str]) -> None:
    for name in members:
        if name.startswith("/") or ".." in name.split("/"):
            raise failure("outside", name=name)


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
    with _filled(path, fill, unwritten) as work:
        _put(work, path)


def _replace_with_sums(path: Path, fill: Callable[[Path], object]) -> None:
    """As `replace`, of an artifact and SHA256SUMS: at no time, kills included, does `verify` find
    another artifact than the sums tell of. Both are written before the first rename.
    """
    with _filled(path, fill, "not_written") as work:
        sums, before = path.parent / SUMS, work / "before"
        if sums.is_file():
            shutil.copyfile(sums, before)
        meanwhile, afterwards = sums_of(path, work / "new")
        (work / "meanwhile").write_text(meanwhile, "utf-8")
        (work / "afterwards").write_text(afterwards, "utf-8")
        (work / "meanwhile").rename(sums)
        try:
            _put(work, path)
        except OSError:
            before.rename(sums) if before.exists() else sums.unlink()
            raise
        with suppress(OSError):  # the artifact is there, and told of: the next build tidies
            (work / "afterwards").rename(sums)


@contextmanager
def _filled(path: Path, fill: Callable[[Path], object], unwritten: str) -> Iterator[Path]:
    """A folder beside `path`, gone afterwards, in which `new` is filled. Raises as `replace`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        work = Path(tempfile.mkdtemp(prefix=f"{_scratch(path)}{os.getpid()}-", dir=path.parent))
        try:
            fill(work / "new")
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as err:
        raise failure(unwritten, path=path, why=err.strerror or err) from err


def _put(work: Path, path: Path) -> None:
    if (work / "new").is_dir():
        exchange(work / "new", path, work / "old")
    else:
        (work / "new").rename(path)


def _scratch(path: Path) -> str:
    return f".{path.name}.forge-"


def _sweep(path: Path) -> None:
    """Removes what killed builds left beside the artifact; their process is gone."""
    for left in path.parent.glob(f"{_scratch(path)}*"):
        pid = left.name.removeprefix(_scratch(path)).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
