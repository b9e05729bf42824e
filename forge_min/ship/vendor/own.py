"""forge_min's own wheels, from the files that run, and its source in a project's `_vendor/`."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from importlib.metadata import PathDistribution
from pathlib import Path, PurePosixPath

from ... import __version__
from ...errors import BuildError
from ...manifest import listed
from ..artifact import package
from ..artifact.archive import write_folder
from ..artifact.distributions import find_installed, recorded_files
from ..artifact.package import compiled_core
from ..failure import failure
from .wheel import PURE, Wheel, compiled_tag, complete, pack

NAME = "forge-min"
_PACKAGE = "forge_min"
_INFO = f"{_PACKAGE}-{__version__}.dist-info"


def own_wheels() -> list[Wheel]:
    """The pure wheel, and the one with the core that runs here. Compiles nothing.

    Raises BuildError F341 when forge-min is not installed here, or as another version; as
    `package_files`.
    """
    return [pack(NAME, __version__, [tag], files) for tag, files in _contents()]


def wheel_for(libc: str) -> Wheel:
    """The wheel with the core that runs here if it is for this C library, else the pure one.

    libc: "manylinux" or "musllinux". Raises as `own_wheels`.
    """
    pure, *compiled = own_wheels()
    return next((wheel for wheel in compiled if f"-{libc}" in wheel.file), pure)


def other_wheels(paths: Iterable[Path]) -> list[Wheel]:
    """Wheels of forge_min that were made elsewhere. Raises BuildError F371 for any other file."""
    wheels = [Wheel.read(path) for path in paths]
    for wheel in wheels:
        if (wheel.name, wheel.distribution().version) != (NAME, __version__):
            raise failure("not_own", file=wheel.file, version=__version__)
    return wheels


def copy_source(root: Path, *, force: bool = False) -> Path:
    """Copies the package, its core too, into the project's `_vendor/`; what else is there stays.

    Raises BuildError: F360 when the copy there was edited and `force` is missing, or is the one
    that runs; F345 when it cannot be written; as `own_wheels`.
    """
    folder = root / "_vendor"
    if package.package_root() == (folder / _PACKAGE).resolve():
        raise failure("runs_there", path=folder / _PACKAGE)
    if not force and not _is_as_copied(folder):
        raise failure("edited_source", path=folder / _PACKAGE)
    tag, files = _contents()[-1]
    members = complete([tag], files)
    for part in (_PACKAGE, _INFO):
        start = f"{part}/"
        inside = {n.removeprefix(start): d for n, d in members.items() if n.startswith(start)}
        write_folder(inside, folder / part)
    for old in folder.glob(f"{_PACKAGE}-*.dist-info"):
        if old.name != _INFO:
            shutil.rmtree(old)
    return folder / _PACKAGE


def _contents() -> list[tuple[str, dict[str, bytes]]]:
    """Tag and files of each of our wheels, the one with the core last."""
    files = package.package_files(package.package_root())
    core = compiled_core(files)
    data = files.pop(core) if core is not None else b""
    pure = {**files, **_information()}
    if core is None:
        return [(PURE, pure)]
    return [(PURE, pure), (compiled_tag(PurePosixPath(core).name, data), {**pure, core: data})]


def _information() -> dict[str, bytes]:
    """Its *.dist-info: from the installed one, wheel or checkout."""
    dist = find_installed(NAME, __version__)
    licence = package.package_root().parent / "LICENSE"
    texts = {
        "METADATA": dist.read_text("METADATA") or dist.read_text("PKG-INFO"),
        "entry_points.txt": dist.read_text("entry_points.txt"),
        "licenses/LICENSE": dist.read_text("licenses/LICENSE")
        or (licence.read_text("utf-8") if licence.is_file() else None),
    }
    return {f"{_INFO}/{name}": text.encode() for name, text in texts.items() if text}


def _is_as_copied(folder: Path) -> bool:
    """Whether nothing is there, or each file is as the RECORD beside it says, and no other is."""
    copied, records = folder / _PACKAGE, list(folder.glob(f"{_PACKAGE}-*.dist-info"))
    if not copied.exists() and not records:
        return True
    if len(records) != 1:
        return False
    try:
        recorded = recorded_files(PathDistribution(records[0]), lambda path: True)
    except BuildError:
        return False
    names = {f"{top.name}/{name}" for top in (copied, records[0]) for name in listed(top)}
    return {name for name in names if not name.endswith(".pyc")} <= recorded.keys()
