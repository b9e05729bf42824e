"""Tiny wheels, and the distributions that they install."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

from forge_min.ship.vendor.wheel import Wheel, pack


def make_wheel(
    name: str = "made",
    version: str = "1.0",
    *tags: str,
    files: dict[str, bytes] | None = None,
    metadata: str = "",
) -> Wheel:
    """A wheel with a module of its name. metadata: more lines of its METADATA."""
    head = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}".encode()
    members = {f"{name}.py": b"x = 1\n", f"{name}-{version}.dist-info/METADATA": head}
    return pack(name, version, tags or ["py3-none-any"], {**members, **(files or {})})


def install(wheel: Wheel, folder: Path) -> PathDistribution:
    """What an installer leaves in site-packages, with a file and lines of its own."""
    dist = wheel.distribution()
    for name in (str(file) for file in dist.files or ()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(dist.locate_file(name).read_bytes())  # type: ignore[attr-defined]
    (info,) = folder.glob(f"{wheel.name.replace('-', '_')}-*.dist-info")
    (info / "INSTALLER").write_text("pip")
    with open(info / "RECORD", "a") as record:
        record.write(f"{info.name}/INSTALLER,,\n../../bin/made,,\n__pycache__/made.pyc,,\n")
    return PathDistribution(info)


def alter(path: Path) -> None:
    """Changes one byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def environment(**more: str) -> dict[str, str]:
    """This one without what leads back to this checkout or to an index."""
    hidden = ("PYTHON", "VIRTUAL_ENV", "PIP_", "FORGE_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    return {**kept, "PYTHON": sys.executable, **more}
