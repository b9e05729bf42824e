"""Wheels from an index, by pip, for this machine or for named platforms."""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution
from pathlib import Path

from ..failure import failure
from .wheel import MINOR, Wheel

# glibc 2.28 is of 2018: what is built for it, or for an older one, runs on any system in support.
_LEVELS = {
    "manylinux": [f"manylinux_2_{minor}" for minor in range(28, 4, -1)] + ["manylinux2014"],
    "musllinux": ["musllinux_1_2", "musllinux_1_1"],
}


def from_index(distributions: Iterable[Distribution], platforms: Iterable[str]) -> list[Wheel]:
    """The wheels of these very versions for every platform, as pip is configured here.

    Never source, so nothing of theirs runs. Raises BuildError F370 with pip's words.
    """
    pins = [f"{dist.name}=={dist.version}" for dist in distributions]
    with tempfile.TemporaryDirectory(prefix="forge-vendor-") as folder:
        for name in platforms:
            _download([*pip_options(name), *pins], folder)
        return [Wheel.read(path) for path in sorted(Path(folder).glob("*.whl"))]


def one_from_index(pin: str) -> Wheel:
    """A wheel that only files are wanted of, whatever Python its code is for. Raises F370."""
    with tempfile.TemporaryDirectory(prefix="forge-vendor-") as folder:
        _download(["--ignore-requires-python", pin], folder)
        return Wheel.read(next(Path(folder).glob("*.whl")))


def here() -> tuple[str, ...]:
    """This machine with either library: where the wheels are used is seldom where they are got."""
    return tuple(f"{libc}_{platform.machine()}" for libc in _LEVELS)


def pip_options(name: str) -> list[str]:
    """What pip is told, to get wheels of a platform for this version of CPython."""
    libc, _, machine = name.partition("_")
    options = ["--implementation", "cp", "--python-version", f"3.{MINOR}"]
    for abi in (f"cp3{MINOR}", "abi3", "none"):
        options += ["--abi", abi]
    for level in _LEVELS[libc]:
        options += ["--platform", f"{level}_{machine}"]
    return options


def _download(options: Sequence[str], folder: str) -> None:
    pip = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-deps", "--only-binary", ":all:", "--dest", folder, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = " ".join(done.stderr.split())[-400:]
        raise failure("not_downloaded", said=said)
