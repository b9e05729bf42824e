"""The vendor folder: wheels, lock, bill of materials, licences, installer, sums; all or none."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import Distribution
from pathlib import Path

from ...data import files
from ...manifest import Manifest
from ..artifact.archive import SUMS, check_folder, write_folder
from ..artifact.distributions import BASE, DRIVERS, collect
from ..project import read_project
from ..steps import Step, no_network, timed
from .gathering import from_index, here
from .own import other_wheels, own_wheels
from .sbom import NAME as SBOM
from .sbom import licence_of, licence_texts, sbom_of_wheels
from .scripts import fetch_scripts
from .wheel import Wheel, repack
from .wheelhouse import FOLDER, LOCK, WHEELS, write_lock

_NEEDED = (*BASE, DRIVERS["binary"])
_TOOL = "pip"  # installs the others; where they run, nothing needs it
_SHIP = __package__.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Vendored:
    """What was written. size: bytes. steps: name → seconds, in order. licences: by distribution,
    "" where it names none. scripts: files in static/.
    """

    path: Path
    size: int
    steps: Mapping[str, float]
    wheels: tuple[str, ...]
    licences: Mapping[str, str]
    scripts: tuple[str, ...]


def vendor(
    root: Path,
    *,
    output: Path | None = None,
    platforms: Sequence[str] = (),
    own: Sequence[Path] = (),
    offline: bool = False,
    step: Step | None = None,
) -> Vendored:
    """Fills a folder with what a machine without network needs for the project at `root`.

    The versions are those that are installed here, and the Python is this one's X.Y. output: by
    default vendor/ in the project. platforms: "musllinux_aarch64" and the like, by default this
    machine's with either C library. own: wheels of forge_min for other machines. offline: asks no
    index, and packs what is installed, for this machine alone. step: as of `build`.

    Raises ConfigError and BuildError F34x, F37x: what was there is as it was then.
    """
    steps: dict[str, float] = {}
    clock = partial(timed, steps, step)
    path = output or root / FOLDER
    check_folder(path, root, SUMS)
    with no_network() if offline else nullcontext():
        with clock("own wheel"):
            project = read_project(root)
            needed = collect([*_NEEDED, _TOOL])
            others = other_wheels(own)
            made = {wheel.file for wheel in others}
            wheels = [*others, *(wheel for wheel in own_wheels() if wheel.file not in made)]
        with clock("wheels"):
            if offline:
                wheels += map(repack, needed)
            else:
                wheels += from_index(needed, platforms or here())
        with clock("scripts"):
            scripts = dict(fetch_scripts(project, offline=offline))
        with clock("folder"):
            bill = sbom_of_wheels(project, wheels, scripts)
            members = _members(wheels, scripts.values(), bill)
            write_folder(members, path)
    size = sum(map(len, members.values()))
    names = {wheel.name: licence_of(wheel.distribution()) for wheel in wheels}
    return Vendored(path, size, steps, tuple(w.file for w in wheels), names, tuple(scripts))


def _members(
    wheels: Sequence[Wheel], others: Iterable[Distribution], bill: bytes
) -> dict[str, bytes]:
    """Every file by its name. others: distributions that scripts were taken from."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    installer = files(_SHIP).joinpath("templates", "install.sh.tmpl").read_text("utf-8")
    lock = write_lock([wheel for wheel in wheels if wheel.name != _TOOL], f"CPython {python}")
    members = {LOCK: lock.encode(), SBOM: bill, "install.sh": installer.encode()}
    for wheel in wheels:
        members[f"{_TOOL if wheel.name == _TOOL else WHEELS}/{wheel.file}"] = wheel.data
    for dist in (*(wheel.distribution() for wheel in wheels), *others):
        members |= licence_texts(dist)
    return {**members, SUMS: Manifest.of(members).write().encode()}
