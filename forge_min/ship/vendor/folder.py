"""The vendor folder: wheels, lock, bill of materials, licences, installer, sums; all or none.

Wheels come from an index, by pip. Front-end files come out of wheels: assets.scripts pins each by
its SHA-256, and static/ holds it. A project commits these files, and a build compares them.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from ...manifest import Manifest
from ...resources import files
from ..artifact.archive import CHECKSUMS, check_folder, replace_file, write_folder
from ..artifact.distributions import BASE, DRIVERS, collect, find_installed, recorded_files
from ..errors import build_error
from ..progress import Step, no_network, timed
from ..project import ProjectInfo, read_project
from .sbom import NAME as SBOM
from .sbom import licence_of, licence_texts, sbom_of_wheels
from .wheel import MINOR, Wheel, other_wheels, own_wheels, repack
from .wheelhouse import FOLDER, LOCK, WHEELS, write_lock

_NEEDED = (*BASE, DRIVERS["binary"])
_TOOL = "pip"  # installs the others; where they run, nothing needs it
_SHIP = __package__.rpartition(".")[0]
# glibc 2.28 is of 2018: what is built for it, or for an older one, runs on any system in support.
_LEVELS = {
    "manylinux": [f"manylinux_2_{minor}" for minor in range(28, 4, -1)] + ["manylinux2014"],
    "musllinux": ["musllinux_1_2", "musllinux_1_1"],
}


@dataclass(frozen=True, slots=True)
class VendorResult:
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
) -> VendorResult:
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
    check_folder(path, root, CHECKSUMS)
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
                here = [f"{libc}_{platform.machine()}" for libc in _LEVELS]
                wheels += from_index(needed, platforms or here)
        with clock("scripts"):
            scripts = dict(fetch_scripts(project, offline=offline))
        with clock("folder"):
            bill = sbom_of_wheels(project, wheels, scripts)
            members = _members(wheels, scripts.values(), bill)
            write_folder(members, path)
    size = sum(map(len, members.values()))
    names = {wheel.name: licence_of(wheel.distribution()) for wheel in wheels}
    return VendorResult(path, size, steps, tuple(w.file for w in wheels), names, tuple(scripts))


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
    return {**members, CHECKSUMS: Manifest.of(members).write().encode()}


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
        raise build_error("not_downloaded", said=said)


def check_scripts(project: ProjectInfo) -> None:
    """Raises BuildError F372 unless static/ holds each file that assets.scripts pins."""
    for name, row in project.scripts.items():
        path = project.root / "static" / name
        digest = sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        if digest != row["sha256"]:
            raise build_error("other_script", name=name, digest=digest)


def fetch_scripts(project: ProjectInfo, *, offline: bool) -> Iterator[tuple[str, Distribution]]:
    """Writes each into static/; gives its name, and the distribution that it was taken from.

    offline: from what is installed, else from the index. Raises BuildError F372 for a file with
    another hash, F341 for one that is not there, F370, F345.
    """
    for name, row in project.scripts.items():
        dist = _find(row["wheel"], offline=offline)
        member = PurePosixPath(row["member"])
        data = next(iter(recorded_files(dist, member.__eq__).values()), None)
        if data is None:
            raise build_error("no_member", name=name, **row)
        digest = sha256(data).hexdigest()
        if digest != row["sha256"]:
            raise build_error("other_member", name=name, digest=digest, **row)
        replace_file(project.root / "static" / name, data, "file_not_written")
        yield name, dist


def _find(pin: str, *, offline: bool) -> Distribution:
    if not offline:
        return one_from_index(pin).distribution()
    name, _, version = pin.partition("==")
    return find_installed(name, version)
