"""A project's wheelhouse: if the project has `vendor/`, a build uses only distributions in it.

Every wheel must be in its lock, whether this machine needs it or not, and no other files may be
beside them. The lock, requirements.lock, is for `pip --require-hashes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
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
    """Return a requirement for each distribution, with the hashes of its wheels."""
    digests: dict[tuple[str, str], list[str]] = {}
    for wheel in sorted(wheels, key=lambda wheel: (wheel.name, wheel.version, wheel.file)):
        digests.setdefault((wheel.name, wheel.version), []).append(wheel.digest)
    lines = f"# {comment}\n"
    for (name, version), hashes in digests.items():
        lines += f"{name}=={version}"
        for digest in hashes:
            lines += f" \\\n    --hash=sha256:{digest}"
        lines += "\n"
    return lines


def read_lock(text: str) -> Pins:
    """Return the hashes of wheels by name and version; also reads locks of pip-compile and uv."""
    pins = {}
    for line in text.replace("\\\n", " ").splitlines():
        pin = _PIN.match(line)
        if pin:
            pins[normalise(pin[1]), pin[2]] = frozenset(_HASH.findall(line))
    return pins


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """The wheels of a vendor folder, read once, and the lock that names each of them."""

    lock: Path
    pinned: Pins
    wheels: tuple[Wheel, ...]

    def find(self, name: str) -> Distribution:
        """Return the distribution of the best wheel. Raises BuildError F341 without a wheel."""
        return self._best(name).distribution()

    def missing(self) -> list[str]:
        """Return the distributions that the lock names and that have no wheel."""
        present = {(wheel.name, wheel.version) for wheel in self.wheels}
        missing = self.pinned.keys() - present
        return sorted(name for name, _ in missing)

    def check_package(self, files: Mapping[str, bytes]) -> None:
        """Raise BuildError F342 unless the running forge_min has the files of its wheel here.

        files: of the running forge_min, with its core.
        Raises BuildError F341 if its wheel is missing.
        """
        wheel = self._best(OWN)
        locked = recorded_package(wheel.distribution())
        for name in sorted(files.keys() | locked.keys()):
            if files.get(name) != locked.get(name):
                raise build_error("own_differs", file=name, wheel=wheel.file, lock=self.lock)

    def _best(self, name: str) -> Wheel:
        wheels = [wheel for wheel in self.wheels if wheel.name == name and fits(wheel)]
        if not wheels:
            raise build_error("no_locked_wheel", name=name, folder=self.lock.parent)
        return min(wheels, key=_priority)


def _priority(wheel: Wheel) -> tuple[bool, bool]:
    """Return an order as pip's: compiled for this Python, then for any Python, then pure."""
    return wheel.file.endswith("-any.whl"), "-abi3-" in wheel.file


def read_wheelhouse(folder: Path) -> Wheelhouse | None:
    """Return the wheelhouse of a vendor folder; None without a lock and a folder of wheels.

    Raises BuildError F371 for wheels without a lock, for a wheel that is not in it, and for a file
    that is not a wheel.
    """
    lock = folder / LOCK
    wheels = folder / WHEELS
    if not lock.exists() and not wheels.exists():
        return None
    try:
        pinned = read_lock(lock.read_text("utf-8"))
    except (OSError, ValueError) as err:
        why = getattr(err, "strerror", None) or err
        raise build_error("no_lock", folder=folder, lock=LOCK, why=why) from err
    paths = sorted(wheels.iterdir()) if wheels.is_dir() else []
    result = Wheelhouse(lock, pinned, tuple(map(Wheel.read, paths)))
    for wheel in result.wheels:
        if wheel.digest not in pinned.get((wheel.name, wheel.version), ()):
            raise build_error("other_wheel", file=wheel.file, lock=lock, digest=wheel.digest)
    return result
