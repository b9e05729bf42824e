"""Writes generated files: a folder that is replaced as a whole, and files that are written once.

The new folder is written beside the old one, and replaces it by one rename, so that one of them
exists at any time. A killed run leaves a folder ".gen.forge-...", which the next run removes.
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
from ..manifest import list_files

MARKER = ".generated"
_MARKER_TEXT = (
    "Written by forge_min. Do not edit: the next `generate` replaces all files of this folder.\n"
)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h


@dataclass(frozen=True, slots=True)
class TreeChanges:
    """The changes of a run, or of a check: sorted paths below the folder."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]

    @property
    def stale(self) -> bool:
        """Whether the folder differs, or differed before the run, from the generated files."""
        return bool(self.written or self.removed)


def write_tree(folder: Path, files: Mapping[str, str], *, check: bool = False) -> TreeChanges:
    """Write exactly these files into `folder`; __pycache__ may stay.

    Unchanged files keep their modification time. `parse` and `pages` have checked the paths: none
    leaves the folder, and no two collide on a file system that ignores case.

    files: text by path with "/".
    check: compare, and write nothing.
    Raises BuildError F002 if the folder cannot be written, F001 if a .py file does not compile,
    F360 if forge_min did not write the folder. Nothing is changed then.
    """
    contents = {path: text.encode() for path, text in files.items()}
    contents[MARKER] = _MARKER_TEXT.encode()
    with _write_errors(folder):
        if check:
            return _compare(folder, contents)
        with locked(folder):
            return _replace(folder, contents)


def scaffold(root: Path, files: Mapping[str, str], *, overwrite: bool = False) -> list[str]:
    """Write those of `files` that do not exist, and return their paths, sorted.

    files: text by path below `root`.
    overwrite: write all of them.
    Raises BuildError F002 if a file cannot be written.
    """
    return [path for path in sorted(files) if _write(root / path, files[path], overwrite)]


def _write(target: Path, text: str, overwrite: bool) -> bool:
    """Write the complete file or nothing; return False if it exists and stays."""
    data = text.encode()
    with _write_errors(target):
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
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        message = f"{path} cannot be written: {err.strerror or err}"
        hint = "check the owner of the folder above it, and that the disk is not full or read-only"
        raise BuildError(message, code="F002", hint=hint) from err


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the folder above `path`, and delete the folders .NAME.forge-... of killed runs there.

    LOCK: one writer at a time in that folder; the kernel releases it if the process dies.
    """
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in path.parent.glob(f".{path.name}.forge-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def _replace(folder: Path, contents: Mapping[str, bytes]) -> TreeChanges:
    changes = _compare(folder, contents)
    if not changes.stale:
        return changes
    with tempfile.TemporaryDirectory(
        prefix=f".{folder.name}.forge-", dir=folder.parent, ignore_cleanup_errors=True
    ) as scratch:
        new = Path(scratch, "new")
        for path, data in contents.items():
            target = new / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path in changes.unchanged:
                shutil.copy2(folder / path, target)
            else:
                target.write_bytes(data)
        exchange(new, folder, Path(scratch, "old"))
    return changes


def exchange(new: Path, folder: Path, old: Path) -> None:
    """Replace `folder` by the folder `new`, atomically if the system supports it.

    Otherwise two renames are used, and a kill between them leaves no folder until the next run.

    old: the path to which the replaced folder may be moved.
    """
    if _exchange(new, folder):
        return
    try:
        if folder.exists():
            os.rename(folder, old)
    except OSError as err:
        if err.errno != errno.EXDEV:
            raise
        # overlayfs cannot rename a folder of a lower layer (a container image), but can delete it.
        shutil.rmtree(folder)
    os.rename(new, folder)


def _exchange(new: Path, folder: Path) -> bool:
    """Call renameat2(2) with RENAME_EXCHANGE; return False if it is not supported."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    if call is None:
        return False
    status = call(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(folder), _RENAME_EXCHANGE)
    return bool(status == 0)


def _compare(folder: Path, contents: Mapping[str, bytes]) -> TreeChanges:
    present = _present(folder)
    if present and MARKER not in present:
        message = f"{folder} has files that forge_min did not write"
        hint = f"move {folder.name}/ away, because generate replaces the whole folder"
        raise BuildError(message, code="F360", hint=hint)
    written = []
    unchanged = []
    for path, data in sorted(contents.items()):
        if path in present and _same(folder / path, data):
            unchanged.append(path)  # it was compiled when it was written
            continue
        written.append(path)
        if path.endswith(".py"):
            _compile(path, data)
    removed = sorted(present - contents.keys())
    return TreeChanges(tuple(written), tuple(removed), tuple(unchanged))


def _present(folder: Path) -> set[str]:
    """Return the paths below the folder of everything that is not a folder, links included."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        message = f"{folder} is not a folder"
        raise BuildError(message, code="F360", hint="move it away: generated files are put there")
    if not folder.exists():
        return set()
    names = list_files(folder, onerror=_raise)
    return {name for name in names if "__pycache__" not in name.split("/")}


def _raise(err: OSError) -> None:
    raise err


def _same(path: Path, data: bytes) -> bool:
    entry = path.lstat()
    if not stat.S_ISREG(entry.st_mode) or entry.st_size != len(data):
        return False
    return path.read_bytes() == data


def _compile(path: str, data: bytes) -> None:
    try:
        compile(data, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as err:
        line = f", line {err.lineno}" if isinstance(err, SyntaxError) and err.lineno else ""
        message = f"the generated {path} is not Python{line}: {err.args[0]}"
        hint = "this is a defect of forge_min: report it with the schema"
        raise BuildError(message, code="F001", hint=hint) from err
