"""A project's wheelhouse: where `vendor/` lies in it, a build takes distributions from there alone.

Every wheel there must be one that the lock names, whether this machine needs it or not, and nothing
but wheels lies beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from .. import artifact
from ..failure import failure
from .lock import NAME, Pins, read_lock_file
from .own import NAME as OWN
from .platforms import fits
from .wheel import Wheel

FOLDER = "vendor"
WHEELS = "wheelhouse"


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """The wheels of a vendor folder, read once, and the lock that names each of them."""

    lock: Path
    pinned: Pins
    wheels: tuple[Wheel, ...]

    def has(self, name: str) -> bool:
        """Whether it holds a wheel of this distribution for this machine and Python."""
        return bool(self._fitting(name))

    def find(self, name: str) -> Distribution:
        """What the wheel would install. Raises BuildError F341."""
        return self._best(name).distribution()

    def missing(self) -> list[str]:
        """The distributions that the lock names, and no wheel is of."""
        there = {(wheel.name, wheel.version) for wheel in self.wheels}
        return sorted(name for name, version in self.pinned.keys() - there)

    def check_package(self, files: Mapping[str, bytes]) -> None:
        """Raises BuildError unless these, of the forge_min that runs, are those of the wheel here:
        F342 for one that differs, is added or missing (a core too), F341 without such a wheel.
        """
        wheel = self._best(OWN)
        locked = artifact.recorded_package(wheel.distribution())
        for name in sorted(files.keys() | locked.keys()):
            if files.get(name) != locked.get(name):
                raise failure("own_differs", file=name, wheel=wheel.file, lock=self.lock)

    def _best(self, name: str) -> Wheel:
        found = self._fitting(name)
        if not found:
            raise failure("no_locked_wheel", name=name, folder=self.lock.parent)
        # As pip: what is compiled for this Python, then for any, then what is not compiled.
        return min(
            found, key=lambda wheel: (wheel.file.endswith("-any.whl"), "-abi3-" in wheel.file)
        )

    def _fitting(self, name: str) -> list[Wheel]:
        return [wheel for wheel in self.wheels if wheel.name == name and fits(wheel)]


def read_wheelhouse(folder: Path) -> Wheelhouse | None:
    """The one in a vendor folder, or None where there is neither a lock nor a folder of wheels.

    Raises BuildError F371 for wheels without a lock, for a wheel that it does not name, and for
    what is no wheel.
    """
    lock, wheels = folder / NAME, folder / WHEELS
    if not lock.exists() and not wheels.exists():
        return None
    pinned = read_lock_file(lock)
    paths = sorted(wheels.iterdir()) if wheels.is_dir() else []
    found = tuple(Wheel.read(path) for path in paths)
    for wheel in found:
        if wheel.digest not in pinned.get((wheel.name, wheel.version), ()):
            raise failure("other_wheel", file=wheel.file, lock=lock, digest=wheel.digest)
    return Wheelhouse(lock, pinned, found)


def collect(house: Wheelhouse | None, names: Iterable[str]) -> list[Distribution]:
    """These distributions and all that they require, sorted by name: from the wheelhouse, without
    one from what is installed.

    Raises BuildError F341 for one that is missing.
    """
    return artifact.collect(names, house.find) if house else artifact.collect(names)


def package_files(house: Wheelhouse | None) -> dict[str, bytes]:
    """The files of the forge_min that runs, as its installer recorded them and, with a wheelhouse,
    as the locked wheel has them. Raises as `artifact.package_files` and `check_package`.
    """
    files = artifact.package_files(artifact.package_root())
    if house:
        house.check_package(files)
    return files
