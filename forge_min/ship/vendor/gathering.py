"""Where wheels come from: an index by pip, or what is installed here."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution
from pathlib import Path

from ..failure import failure
from .platforms import pip_options
from .wheel import Wheel, repack


def from_index(distributions: Iterable[Distribution], platforms: Iterable[str]) -> list[Wheel]:
    """The wheels of these very versions for every platform, as pip is configured here.

    Never source, so nothing of theirs runs. Raises BuildError F370 with pip's words.
    """
    pins = [f"{dist.name}=={dist.version}" for dist in distributions]
    with tempfile.TemporaryDirectory(prefix="forge-vendor-") as folder:
        for platform in platforms:
            _download([*pip_options(platform), *pins], folder)
        return [Wheel.read(path) for path in sorted(Path(folder).glob("*.whl"))]


def one_from_index(pin: str) -> Wheel:
    """A wheel that only files are wanted of, whatever Python its code is for. Raises F370."""
    with tempfile.TemporaryDirectory(prefix="forge-vendor-") as folder:
        _download(["--ignore-requires-python", pin], folder)
        return Wheel.read(next(Path(folder).glob("*.whl")))


def from_environment(distributions: Iterable[Distribution]) -> list[Wheel]:
    """Made again from what is installed; for this machine only. Raises as `repack`."""
    return [repack(dist) for dist in distributions]


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
