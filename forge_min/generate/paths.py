"""Which sets of file paths can lie in one folder, on every file system and for Python's import."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from ..errors import BuildError

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def check_paths(paths: Iterable[str]) -> None:
    """BuildError F303 for a path that leaves the folder, and for two that cannot both be there."""
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in sorted(paths):
        parts = path.split("/")
        if any(not _NAME.fullmatch(part) or set(part) == {"."} for part in parts):
            raise _collision(f"{path!r} is not a path of a generated file")
        if path.lower() in seen:
            raise _collision(f'"{path}" and "{seen[path.lower()]}" differ in case only')
        seen[path.lower()] = path
        for parent in PurePosixPath(path.lower()).parents:
            folders.setdefault(str(parent), path)
    for low, path in seen.items():
        for folder in (low, low.removesuffix(".py")):
            if folder in folders:
                raise _collision(f'"{path}" and "{folders[folder]}" would have one name')


def _collision(message: str) -> BuildError:
    return BuildError(message, code="F303", hint="rename the resource or the page")
