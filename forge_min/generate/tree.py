"""A folder of generated files, written whole: at every moment the old tree or the new one is there.

It is built beside the folder and put in its place by one rename. Who is killed leaves a folder
".gen.forge-..." that the next run removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import BuildError
from .exchange import exchange
from .paths import check_paths

MARKER = ".generated"
_MARKER_TEXT = (
    "Written by forge_min. Do not edit: everything here is replaced by the next `generate`.\n"
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a run changed, or would change: paths below the folder, sorted."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]

    @property
    def stale(self) -> bool:
        """Whether the folder is (or, after writing, was) not what the schemas ask for."""
        return bool(self.written or self.removed)


def write_tree(folder: Path, files: Mapping[str, str], *, check: bool = False) -> Report:
    """Make `folder` hold exactly `files` (path with "/" → text), and __pycache__.

    check: only compare. Files that stay the same keep their modification time. BuildError F301 when
    the folder cannot be written, F302 when a .py file does not compile, F303 when paths collide,
    F304 when the folder is not one of ours. In all of them nothing was changed.
    """
    check_paths(files)
    wanted = {path: text.encode() for path, text in files.items()}
    wanted[MARKER] = _MARKER_TEXT.encode()
    try:
        if check:
            return _compare(folder, wanted)
        with _locked(folder.parent):
            return _replace(folder, wanted)
    except OSError as err:
        message = f"{folder} cannot be written: {err.strerror or err}"
        hint = "check who owns the folder above it, and that the disk is not full or read-only"
        raise BuildError(message, code="F301", hint=hint) from err


@contextlib.contextmanager
def _locked(parent: Path) -> Iterator[None]:
    """LOCK: one writer at a time in this project; the kernel frees it when its holder dies."""
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(folder: Path, wanted: Mapping[str, bytes]) -> Report:
    _recover(folder)
    report = _compare(folder, wanted)
    if not report.stale:
        return report
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.forge-", dir=folder.parent))
    try:
        new = scratch / "new"
        for path, data in wanted.items():
            target = new / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path in report.unchanged:
                _keep(folder / path, target)
            else:
                target.write_bytes(data)
        exchange(new, folder, scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return report


def _recover(folder: Path) -> None:
    """Undo what a killed run left; the lock is held, so nobody else is at work."""
    for scratch in sorted(folder.parent.glob(f".{folder.name}.forge-*")):
        old = scratch / "old"
        if old.is_dir() and not os.path.lexists(folder):
            old.rename(folder)
        shutil.rmtree(scratch, ignore_errors=True)


def _compare(folder: Path, wanted: Mapping[str, bytes]) -> Report:
    present = _present(folder)
    if present and MARKER not in present:
        message = f"{folder} holds files that forge_min did not write"
        hint = f"move {folder.name}/ away: the folder is replaced as a whole"
        raise BuildError(message, code="F304", hint=hint)
    same = {path for path in present & wanted.keys() if _same(folder / path, wanted[path])}
    written = wanted.keys() - same
    for path in sorted(path for path in written if path.endswith(".py")):
        # What did not change was compiled when it was written.
        _compile(path, wanted[path])
    removed = present - wanted.keys()
    return Report(tuple(sorted(written)), tuple(sorted(removed)), tuple(sorted(same)))


def _present(folder: Path) -> set[str]:
    """Everything below the folder that is no folder; links count as themselves."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        message = f"{folder} is not a folder"
        raise BuildError(message, code="F304", hint="move it away: generated files go there")
    found = set()
    for base, folders, names in os.walk(folder, onerror=_raise if folder.exists() else None):
        inside = Path(base)
        folders[:] = [name for name in folders if name != "__pycache__"]
        links = [name for name in folders if (inside / name).is_symlink()]
        for name in [*names, *links]:
            found.add((inside / name).relative_to(folder).as_posix())
    return found


def _raise(err: OSError) -> None:
    raise err


def _same(path: Path, data: bytes) -> bool:
    entry = path.lstat()
    return stat.S_ISREG(entry.st_mode) and entry.st_size == len(data) and path.read_bytes() == data


def _keep(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:  # no hard links here
        shutil.copy2(old, new)


def _compile(path: str, data: bytes) -> None:
    try:
        compile(data, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as err:
        place = f", line {err.lineno}" if isinstance(err, SyntaxError) and err.lineno else ""
        message = f"the generated {path} is not Python{place}: {err.args[0]}"
        hint = "this is a defect of forge_min: please report it with the schema"
        raise BuildError(message, code="F302", hint=hint) from err
