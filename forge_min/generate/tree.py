"""Generated files on disk: a folder that is replaced as a whole, and files that are written once.

At every moment the old folder or the new one is there: the new one is built beside it and put in
its place by one rename. A killed run leaves a folder ".gen.forge-..." that the next one removes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import BuildError

MARKER = ".generated"
_MARKER_TEXT = (
    "Written by forge_min. Do not edit: everything here is replaced by the next `generate`.\n"
)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h


@dataclass(frozen=True, slots=True)
class TreeChanges:
    """What a run changed, or would change: paths below the folder, sorted."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]

    @property
    def stale(self) -> bool:
        """Whether the folder is (or, after writing, was) not what the schemas ask for."""
        return bool(self.written or self.removed)


def write_tree(folder: Path, files: Mapping[str, str], *, check: bool = False) -> TreeChanges:
    """Make `folder` hold exactly `files` (path with "/" → text), and __pycache__.

    check: only compare. Files that stay the same keep their modification time. BuildError F301 when
    the folder cannot be written, F302 when a .py file does not compile, F304 when the folder is not
    one of ours. In all of them nothing was changed.

    The paths are those of resources and pages. `parse` and `pages` check these names, so that no
    path leaves the folder and no two of them collide, also where case is ignored.
    """
    wanted = {path: text.encode() for path, text in files.items()}
    wanted[MARKER] = _MARKER_TEXT.encode()
    with _writing(folder):
        if check:
            return _compare(folder, wanted)
        with _locked(folder.parent):
            return _replace(folder, wanted)


def scaffold(root: Path, files: Mapping[str, str], *, overwrite: bool = False) -> list[str]:
    """Write those of `files` (path below `root` → text) that are not there; their paths, sorted.

    overwrite: write them all. BuildError F301 when a folder cannot be written.
    """
    return [path for path in sorted(files) if _write(root / path, files[path], overwrite)]


def _write(target: Path, text: str, overwrite: bool) -> bool:
    """Write the file whole or not at all; False if it is there and stays."""
    data = text.encode()
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if overwrite:
            target.unlink(missing_ok=True)
        try:
            file = target.open("xb")
        except FileExistsError:
            return False
        with file:
            try:
                file.write(data)
                file.flush()
            except OSError:
                target.unlink()
                raise
    return True


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        message = f"{place} cannot be written: {err.strerror or err}"
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


def _replace(folder: Path, wanted: Mapping[str, bytes]) -> TreeChanges:
    for scratch in folder.parent.glob(f".{folder.name}.forge-*"):  # of a run that was killed
        shutil.rmtree(scratch, ignore_errors=True)
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
                shutil.copy2(folder / path, target)
            else:
                target.write_bytes(data)
        exchange(new, folder, scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return report


def exchange(new: Path, folder: Path, old: Path) -> None:
    """Put the folder `new` in the place of `folder`, in one step where the system can.

    Else in two renames: a kill between them leaves no folder until the next run.
    """
    if _exchange(new, folder):
        return
    try:
        if folder.exists():
            os.rename(folder, old)
    except OSError as err:
        if err.errno != errno.EXDEV:
            raise
        # overlayfs cannot rename a folder of a lower layer (a container image): it can delete one.
        shutil.rmtree(folder)
    os.rename(new, folder)


def _exchange(new: Path, folder: Path) -> bool:
    """renameat2(2) with RENAME_EXCHANGE; False if the system or the file system has none."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(new), os.fsencode(folder)
    return bool(call and not call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE))


def _compare(folder: Path, wanted: Mapping[str, bytes]) -> TreeChanges:
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
    return TreeChanges(tuple(sorted(written)), tuple(sorted(removed)), tuple(sorted(same)))


def _present(folder: Path) -> set[str]:
    """Everything below the folder that is no folder; links count as themselves."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        message = f"{folder} is not a folder"
        raise BuildError(message, code="F304", hint="move it away: generated files go there")
    found = set()
    for base, folders, names in os.walk(folder, onerror=_raise if folder.exists() else None):
        folders[:] = [name for name in folders if name != "__pycache__"]
        paths = [Path(base, name) for name in (*names, *folders)]
        found |= {
            p.relative_to(folder).as_posix() for p in paths if p.is_symlink() or not p.is_dir()
        }
    return found


def _raise(err: OSError) -> None:
    raise err


def _same(path: Path, data: bytes) -> bool:
    entry = path.lstat()
    return stat.S_ISREG(entry.st_mode) and entry.st_size == len(data) and path.read_bytes() == data


def _compile(path: str, data: bytes) -> None:
    try:
        compile(data, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as err:
        place = f", line {err.lineno}" if isinstance(err, SyntaxError) and err.lineno else ""
        message = f"the generated {path} is not Python{place}: {err.args[0]}"
        hint = "this is a defect of forge_min: please report it with the schema"
        raise BuildError(message, code="F302", hint=hint) from err
