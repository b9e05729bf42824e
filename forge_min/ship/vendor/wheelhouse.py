"""A project's wheelhouse: where `vendor/` lies in it, a build takes distributions from there alone.

Every wheel there must be one that the lock names, whether this machine needs it or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path

from .. import artifact
from ..failure import failure
from .lock import NAME, read_lock
from .platforms import fits
from .wheel import Wheel

FOLDER = "vendor"
WHEELS = "wheelhouse"


def collect(root: Path, names: Iterable[str]) -> list[Distribution]:
    """These distributions and all that they require, sorted by name: from the project's `vendor/`,
    else from what is installed.

    Raises BuildError: F371 for a wheel that the lock does not name, F341 for one that is missing.
    """
    lock = root / FOLDER / NAME
    if not lock.is_file():
        return artifact.collect(names)
    wheels = _read(lock)

    def find(name: str) -> Distribution:
        found = [wheel for wheel in wheels if wheel.name == name and fits(wheel)]
        if not found:
            raise failure("no_locked_wheel", name=name, folder=lock.parent)
        compiled_first = sorted(found, key=lambda wheel: wheel.file.endswith("-any.whl"))
        return compiled_first[0].distribution()

    return artifact.collect(names, find)


def _read(lock: Path) -> list[Wheel]:
    pinned = read_lock(lock.read_text("utf-8"))
    wheels = [Wheel.read(path) for path in sorted((lock.parent / WHEELS).glob("*.whl"))]
    for wheel in wheels:
        if wheel.digest not in pinned.get((wheel.name, wheel.version), ()):
            raise failure("other_wheel", file=wheel.file, lock=lock, digest=wheel.digest)
    return wheels
