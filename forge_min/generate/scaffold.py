"""Files that are written once and then belong to the user: nothing here overwrites one unasked."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from ..errors import BuildError
from .paths import check_paths


def scaffold(root: Path, files: Mapping[str, str], *, overwrite: bool = False) -> list[str]:
    """Write those of `files` (path below `root` → text) that are not there; their paths, sorted.

    overwrite: write them all. A file appears whole or not at all. BuildError F301 when a folder
    cannot be written.
    """
    check_paths(files)
    return [path for path in sorted(files) if _write(root, path, files[path], overwrite)]


def _write(root: Path, path: str, text: str, overwrite: bool) -> bool:
    target = root / path
    if os.path.lexists(target) and not overwrite:
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return _place(target, text.encode(), overwrite)
    except OSError as err:
        message = f"{target} cannot be written: {err.strerror or err}"
        hint = "check who owns the folder, and that the disk is not full or read-only"
        raise BuildError(message, code="F301", hint=hint) from err


def _place(target: Path, data: bytes, overwrite: bool) -> bool:
    """Write beside the target, then link: unlike a rename, a link never replaces a file."""
    beside = target.with_name(f".{target.name}-{secrets.token_hex(8)}")
    try:
        with open(beside, "xb") as file:
            file.write(data)
        if overwrite:
            os.replace(beside, target)
            return True
        try:
            os.link(beside, target)
        except OSError:  # it is there by now, or no hard links: then a small gap is the best
            if os.path.lexists(target):
                return False
            os.rename(beside, target)
        return True
    finally:
        beside.unlink(missing_ok=True)
