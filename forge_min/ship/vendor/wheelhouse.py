"""A project's wheelhouse: where `vendor/` lies in it, a build takes distributions from there alone.

Every wheel there must be one that its lock names, whether this machine needs it or not, and nothing
but wheels lies beside. The lock, requirements.lock, is what pip --require-hashes reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from itertools import groupby
from pathlib import Path

from ..artifact.distributions import normalise
from ..artifact.package import recorded_package
from ..errors import build_error
from .wheel import OWN, Wheel, fits

Pins = Mapping[tuple[str, str], frozenset[str]]

FOLDER = "vendor"
WHEELS = "wheelhouse"
LOCK = "requirements.lock"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def write_lock(wheels: Iterable[Wheel], comment: str) -> str:
    """One requirement a distribution, with the hashes of its wheels for all platforms."""
    lines = [f"# {comment}"]
    ordered = sorted(wheels, key=lambda wheel: (wheel.name, wheel.version, wheel.file))
    for (name, version), same in groupby(ordered, key=lambda wheel: (wheel.name, wheel.version)):
        digests = [f"    --hash=sha256:{wheel.digest}" for wheel in same]
        lines.append(" \\\n".join([f"{name}=={version}", *digests]))
    return "\n".join(lines) + "\n"


def read_lock(text: str) -> Pins:
    """Name and version → the hashes of its wheels. Also reads what pip-compile and uv write."""
    found = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        pin = _PIN.match(line)
        if pin:
            found[normalise(pin[1]), pin[2]] = frozenset(_HASH.findall(line))
    return found


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
        locked = recorded_package(wheel.distribution())
        for name in sorted(files.keys() | locked.keys()):
            if files.get(name) != locked.get(name):
                raise build_error("own_differs", file=name, wheel=wheel.file, lock=self.lock)

    def _best(self, name: str) -> Wheel:
        found = self._fitting(name)
        if not found:
            raise build_error("no_locked_wheel", name=name, folder=self.lock.parent)
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
    lock, wheels = folder / LOCK, folder / WHEELS
    if not lock.exists() and not wheels.exists():
        return None
    try:
        pinned = read_lock(lock.read_text("utf-8"))
    except (OSError, ValueError) as err:
        why = getattr(err, "strerror", None) or err
        raise build_error("no_lock", folder=folder, lock=LOCK, why=why) from err
    paths = sorted(wheels.iterdir()) if wheels.is_dir() else []
    found = tuple(Wheel.read(path) for path in paths)
    for wheel in found:
        if wheel.digest not in pinned.get((wheel.name, wheel.version), ()):
            raise build_error("other_wheel", file=wheel.file, lock=lock, digest=wheel.digest)
    return Wheelhouse(lock, pinned, found)
