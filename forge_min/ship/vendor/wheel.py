"""Wheels in memory, read or packed: of other distributions, and of forge_min itself.

Format: PyPA "Binary distribution format". A wheel is read once, so the hashed bytes are used.
"""

from __future__ import annotations

import csv
import io
import platform
import re
import shutil
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path, PurePosixPath

from ... import __version__
from ...errors import BuildError
from ...manifest import list_files
from ..artifact import package
from ..artifact.archive import write_folder, zip_bytes
from ..artifact.distributions import (
    INSTALLERS_OWN,
    find_installed,
    normalise,
    record_hash,
    recorded_files,
)
from ..errors import build_error

_FILE = re.compile(r"([^-]+)-([^-]+)(?:-\d[^-]*)?-([^-]+)-([^-]+)-([^-]+)\.whl")
_INFO = re.compile(r"[^/]+\.dist-info/")
OWN = "forge-min"
_PACKAGE = "forge_min"
_OWN_INFO = f"{_PACKAGE}-{__version__}.dist-info"
PURE = "py3-none-any"
MINOR = sys.version_info.minor


@dataclass(frozen=True, slots=True)
class Wheel:
    """The name and the bytes of a wheel's file."""

    file: str
    data: bytes

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """Read a wheel. Raises BuildError F371 unless it is a readable file with a wheel's name."""
        with suppress(OSError):
            if path.is_file() and _FILE.fullmatch(path.name):  # reading a pipe would block
                return cls(path.name, path.read_bytes())
        raise build_error("no_wheel", file=path.name)

    @property
    def parts(self) -> tuple[str, ...]:
        """Normalised name, version, and tags of Python, ABI and platform, such as "cp313.py3"."""
        match = _FILE.fullmatch(self.file)
        assert match is not None, self.file
        name, *others = match.groups()
        return (normalise(name), *others)

    @property
    def name(self) -> str:
        """The normalised name of its distribution."""
        return self.parts[0]

    @property
    def version(self) -> str:
        """The version of its distribution."""
        return self.parts[1]

    @property
    def digest(self) -> str:
        """The SHA-256 in hexadecimal."""
        return sha256(self.data).hexdigest()

    def distribution(self) -> Distribution:
        """Return the distribution in it. Raises BuildError F371 if it is not a zip with one."""
        with suppress(zipfile.BadZipFile, ValueError):
            archive = zipfile.ZipFile(io.BytesIO(self.data))
            matches = map(_INFO.match, archive.namelist())
            (folder,) = {match[0] for match in matches if match}
            return PathDistribution(zipfile.Path(archive, folder))
        raise build_error("no_wheel", file=self.file)


def pack(name: str, version: str, tags: Sequence[str], files: Mapping[str, bytes]) -> Wheel:
    """Return the wheel of these files and of those that `complete` adds."""
    columns = zip(*(tag.split("-") for tag in tags), strict=True)
    tag = "-".join(".".join(sorted(set(column))) for column in columns)
    stem = normalise(name).replace("-", "_")
    return Wheel(f"{stem}-{version}-{tag}.whl", zip_bytes(complete(tags, files)))


def complete(tags: Iterable[str], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files with a RECORD in their one *.dist-info, and a WHEEL if it has none.

    tags: such as "py3-none-any", several for several platforms.
    """
    matches = map(_INFO.match, sorted(files))
    info = next(match[0] for match in matches if match)
    tags = sorted(tags)
    pure = "true" if all(tag.endswith("-any") for tag in tags) else "false"
    lines = ["Wheel-Version: 1.0", "Generator: forge_min", f"Root-Is-Purelib: {pure}"]
    lines += [f"Tag: {tag}" for tag in tags]
    members = {f"{info}WHEEL": "".join(f"{line}\n" for line in lines).encode()}
    members |= files
    record = io.StringIO()
    writer = csv.writer(record, lineterminator="\n")
    for name, data in sorted(members.items()):
        writer.writerow([name, record_hash(data), len(data)])
    writer.writerow([f"{info}RECORD", "", ""])
    members[f"{info}RECORD"] = record.getvalue().encode()
    return members


def repack(dist: Distribution) -> Wheel:
    """Return a wheel of an installed distribution, without the files that installers move.

    Its bytes and its hash differ from the index's wheel. Raises as `recorded_files`.
    """
    files = recorded_files(dist, _is_from_wheel)
    text = dist.read_text("WHEEL") or f"Tag: {PURE}"
    tags = re.findall(r"^Tag: (\S+)", text, re.MULTILINE)
    return pack(dist.name, dist.version, tags, files)


def _is_from_wheel(path: PurePosixPath) -> bool:
    return path.suffix != ".pyc" and path.name not in INSTALLERS_OWN


def is_musl() -> bool:
    """Return whether this Python runs on musl."""
    return "musl" in EXTENSION_SUFFIXES[0]


def compiled_tag(file: str, data: bytes) -> str:
    """Return the tag of a wheel with this module, which was compiled on this machine."""
    python = f"cp3{MINOR}-cp3{MINOR}"
    if ".abi3." in file:
        python = "cp311-abi3"
    machine = platform.machine()
    if is_musl():
        return f"{python}-musllinux_1_2_{machine}"
    # The newest of its versioned symbols determines the oldest usable glibc (PEP 600).
    levels = map(int, re.findall(rb"GLIBC_2\.(\d+)", data))
    level = max(levels, default=17)
    return f"{python}-manylinux_2_{level}_{machine}"


def fits(wheel: Wheel) -> bool:
    """Return whether this Python can load it; pip compares the version of the C library."""
    pythons, abis, platforms = (tag.split(".") for tag in wheel.parts[2:])
    native = f"cp3{MINOR}"
    versions = {"py3", f"py3{MINOR}", native}
    if "abi3" in abis:
        versions.update(f"cp3{minor}" for minor in range(2, MINOR + 1))
    if versions.isdisjoint(pythons):
        return False
    if not {"none", "abi3", native}.intersection(abis):
        return False
    libc = "musllinux" if is_musl() else "manylinux"
    usable = re.compile(rf"any|({libc}\w*|linux)_{re.escape(platform.machine())}")
    return any(usable.fullmatch(name) for name in platforms)


def own_wheels() -> list[Wheel]:
    """Return the pure wheel of forge_min, and the one with the running core. Compiles nothing.

    Raises BuildError F341 if forge-min is not installed with this version; and as `package_files`.
    """
    return [pack(OWN, __version__, [tag], files) for tag, files in _contents()]


def wheel_for(libc: str) -> Wheel:
    """Return the wheel with the running core if it is for this C library, else the pure one.

    libc: "manylinux" or "musllinux". Raises as `own_wheels`.
    """
    pure, *compiled = own_wheels()
    for wheel in compiled:
        if f"-{libc}" in wheel.file:
            return wheel
    return pure


def other_wheels(paths: Iterable[Path]) -> list[Wheel]:
    """Read wheels of forge_min from other machines. Raises BuildError F371 for any other file."""
    wheels = [Wheel.read(path) for path in paths]
    for wheel in wheels:
        version = wheel.distribution().version
        if wheel.name != OWN or version != __version__:
            raise build_error("not_own", file=wheel.file, version=__version__)
    return wheels


def copy_source(root: Path, *, force: bool = False) -> Path:
    """Copy the package with its core into the project's `_vendor/`, beside other files there.

    force: replace an edited copy.
    Raises BuildError F360 if the copy was edited or is running, F002 if it cannot be written; and
    as `own_wheels`.
    """
    folder = root / "_vendor"
    copy = folder / _PACKAGE
    if package.package_root() == copy.resolve():
        raise build_error("runs_there", path=copy)
    if not force and not _is_as_copied(folder):
        raise build_error("edited_source", path=copy)
    tag, files = _contents()[-1]
    parts: dict[str, dict[str, bytes]] = {_PACKAGE: {}, _OWN_INFO: {}}
    for path, data in complete([tag], files).items():
        part, _, name = path.partition("/")
        parts[part][name] = data
    for part, members in parts.items():
        write_folder(members, folder / part)
    for old in folder.glob(f"{_PACKAGE}-*.dist-info"):
        if old.name != _OWN_INFO:
            shutil.rmtree(old)
    return copy


def _contents() -> list[tuple[str, dict[str, bytes]]]:
    """Return tag and files of each wheel of forge_min, the one with the core last."""
    files = package.package_files(package.package_root())
    files |= _information()
    core = package.compiled_core(files)
    if core is None:
        return [(PURE, files)]
    pure = dict(files)
    del pure[core]
    tag = compiled_tag(PurePosixPath(core).name, files[core])
    return [(PURE, pure), (tag, files)]


def _information() -> dict[str, bytes]:
    """Return the files of its *.dist-info, from the installed wheel or checkout."""
    dist = find_installed(OWN, __version__)
    texts = {name: dist.read_text(name) for name in ("entry_points.txt", "licenses/LICENSE")}
    texts["METADATA"] = dist.read_text("METADATA") or dist.read_text("PKG-INFO")
    licence = package.package_root().parent / "LICENSE"
    if not texts["licenses/LICENSE"] and licence.is_file():
        texts["licenses/LICENSE"] = licence.read_text("utf-8")
    return {f"{_OWN_INFO}/{name}": text.encode() for name, text in texts.items() if text}


def _is_as_copied(folder: Path) -> bool:
    """Return whether it has no copy, or exactly the files of its RECORD, unchanged."""
    copy = folder / _PACKAGE
    records = list(folder.glob(f"{_PACKAGE}-*.dist-info"))
    if not records:
        return not copy.exists()
    if len(records) > 1:
        return False
    try:
        recorded = recorded_files(PathDistribution(records[0]), lambda path: True)
    except BuildError:
        return False
    for top in (copy, records[0]):
        for name in list_files(top):
            if f"{top.name}/{name}" not in recorded and not name.endswith(".pyc"):
                return False
    return True
