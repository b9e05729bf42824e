"""The vendor folder: wheels, lock, bill of materials, licences, installer, checksums.

It is written atomically. pip downloads the wheels from an index.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...manifest import Manifest
from ...resources import files, manual
from ..artifact.archive import CHECKSUMS, check_folder, write_folder
from ..artifact.distributions import BASE, DRIVERS, collect
from ..errors import build_error, one_line
from ..progress import Step, no_network, run_program, timed
from ..project import read_project
from .sbom import NAME as SBOM
from .sbom import licence_of, licence_texts, sbom_of_wheels
from .wheel import MINOR, Wheel, other_wheels, own_wheels, repack
from .wheelhouse import FOLDER, LOCK, WHEELS, write_lock

_INSTALLER = "pip"  # installs the others, and is not used at run time
# glibc 2.28 is of 2018: wheels for it, or for older ones, run on all supported systems.
_LEVELS = {
    "manylinux": [f"manylinux_2_{minor}" for minor in range(28, 4, -1)] + ["manylinux2014"],
    "musllinux": ["musllinux_1_2", "musllinux_1_1"],
}


@dataclass(frozen=True, slots=True)
class VendorResult:
    """The written folder.

    path: the folder.
    size: bytes of all its files.
    steps: seconds by name of the step, in order.
    wheels: names of the wheels.
    licences: licence by distribution, "" if it names none.
    """

    path: Path
    size: int
    steps: Mapping[str, float]
    wheels: tuple[str, ...]
    licences: Mapping[str, str]


def vendor(
    root: Path,
    *,
    output: Path | None = None,
    platforms: Sequence[str] = (),
    own: Sequence[Path] = (),
    offline: bool = False,
    step: Step | None = None,
) -> VendorResult:
    """Write a folder with the packages that the project at `root` needs, for its installation.

    It has the versions that are installed here, for this X.Y of Python.

    output: the folder, by default vendor/ in the project.
    platforms: such as "musllinux_aarch64", by default this machine's with either C library.
    own: wheels of forge_min for other machines.
    offline: pack the installed packages, for this machine only, instead of using an index.
    step: as `build` calls it.

    Raises ConfigError and BuildError F34x, F37x, and leaves the previous folder unchanged then.
    """
    steps: dict[str, float] = {}
    clock = partial(timed, steps, step)
    path = output or root / FOLDER
    check_folder(path, root, CHECKSUMS)
    network = no_network() if offline else nullcontext()
    with network:
        with clock("own wheel"):
            project = read_project(root)
            required = collect([*BASE, DRIVERS["binary"], _INSTALLER])
            wheels = other_wheels(own)
            names = {wheel.file for wheel in wheels}
            wheels += [wheel for wheel in own_wheels() if wheel.file not in names]
        with clock("wheels"):
            if offline:
                wheels += map(repack, required)
            else:
                pins = [f"{dist.name}=={dist.version}" for dist in required]
                default = [f"{libc}_{platform.machine()}" for libc in _LEVELS]
                wheels += _download([*pip_options(p), *pins] for p in platforms or default)
        with clock("folder"):
            bill = sbom_of_wheels(project, wheels)
            members = _members(wheels, bill)
            write_folder(members, path)
    size = sum(map(len, members.values()))
    names_of_wheels = tuple(wheel.file for wheel in wheels)
    licences = {wheel.name: licence_of(wheel.distribution()) for wheel in wheels}
    return VendorResult(path, size, steps, names_of_wheels, licences)


def _members(wheels: Sequence[Wheel], bill: bytes) -> dict[str, bytes]:
    """Return the files of the folder by name."""
    installer = files("forge_min.ship").joinpath("templates", "install.sh.tmpl").read_bytes()
    locked = [wheel for wheel in wheels if wheel.name != _INSTALLER]
    lock = write_lock(locked, f"CPython 3.{MINOR}")
    members = {LOCK: lock.encode(), SBOM: bill, "install.sh": installer}
    for wheel in wheels:
        members |= licence_texts(wheel.distribution())
        folder = _INSTALLER if wheel.name == _INSTALLER else WHEELS
        members[f"{folder}/{wheel.file}"] = wheel.data
    pages = manual()
    if isinstance(pages, Path):
        for path in pages.rglob("*.*"):
            name = path.relative_to(pages).as_posix()
            members[f"manual/{name}"] = path.read_bytes()
    members[CHECKSUMS] = Manifest.of(members).write().encode()
    return members


def pip_options(name: str) -> list[str]:
    """Return pip's options for wheels of a platform and this version of CPython."""
    libc, _, machine = name.partition("_")
    options = ["--implementation", "cp", "--python-version", f"3.{MINOR}"]
    for abi in (f"cp3{MINOR}", "abi3", "none"):
        options += ["--abi", abi]
    for level in _LEVELS[libc]:
        options += ["--platform", f"{level}_{machine}"]
    return options


def _download(runs: Iterable[Sequence[str]]) -> list[Wheel]:
    """Return the wheels that pip downloads with this machine's settings.

    No source is downloaded, so no code of a package runs.

    runs: the options and requirements of each run of pip.
    Raises BuildError F370 with pip's output.
    """
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest"]
    with tempfile.TemporaryDirectory(prefix="forge-vendor-") as folder:
        for options in runs:
            result = run_program([*command, folder, *options])
            if result.returncode:
                raise build_error("not_downloaded", output=one_line(result.stderr))
        paths = sorted(Path(folder).glob("*.whl"))
        return [Wheel.read(path) for path in paths]
