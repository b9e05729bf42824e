"""Two folders change places: in one step where the system can, else in two renames."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h


def exchange(new: Path, folder: Path, old: Path) -> None:
    """Put `new` where `folder` is; what was there goes to `new` or `old`, or is gone. OSError."""
    if not folder.exists():
        os.rename(new, folder)
    elif not _exchange(new, folder):
        _in_two_steps(new, folder, old)


def _exchange(new: Path, folder: Path) -> bool:
    """renameat2(2) with RENAME_EXCHANGE; False where the system or the file system has none."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    names = (os.fsencode(new), os.fsencode(folder))
    return bool(call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def _in_two_steps(new: Path, folder: Path, old: Path) -> None:
    """A kill between the steps leaves no folder for a moment; the next run puts `old` back."""
    try:
        os.rename(folder, old)
    except OSError as err:
        if err.errno != errno.EXDEV:
            raise
        # overlayfs cannot rename a folder of a lower layer (a container image): it can delete one.
        shutil.rmtree(folder)
    try:
        os.rename(new, folder)
    except OSError:
        if old.exists():
            os.rename(old, folder)
        raise
