"""forge_min's own wheels, from the files that run, and its source in a project's `_vendor/`."""

from __future__ import annotations

import io
import shutil
import zipfile
from functools import partial
from importlib.metadata import Distribution, PathDistribution
from importlib.metadata import PackageNotFoundError as NotInstalled
from pathlib import Path

from ... import __version__
from ...errors import BuildError
from .. import artifact
from ..failure import failure
from .platforms import compiled_tag
from .wheel import Wheel, pack

NAME = "forge-min"
_PACKAGE = "forge_min"
_INFO = f"{_PACKAGE}-{__version__}.dist-info"
_COMPILED = (".so", ".c", ".pyc", ".pyd")


def own_wheels() -> list[Wheel]:
    """The pure wheel, and where a core is compiled the one with it. Compiles nothing.

    Raises BuildError F341 when forge-min is not installed here, or as another version.
    """
    files = {**_package_files(), **_information()}
    wheels = [pack(NAME, __version__, ["py3-none-any"], files)]
    core = artifact.compiled_core(artifact.package_root())
    if core is not None:
        data = core.read_bytes()
        with_core = {**files, f"{_PACKAGE}/{core.name}": data}
        wheels.append(pack(NAME, __version__, [compiled_tag(core.name, data)], with_core))
    return wheels


def copy_source(root: Path, *, force: bool = False) -> Path:
    """Copies the package into the project's `_vendor/`, beside whatever else lies there.

    Raises BuildError: F360 when the copy there was edited and `force` is missing, F345 when it
    cannot be written or is the one that runs, and as `own_wheels`.
    """
    folder = root / "_vendor"
    if artifact.package_root() == (folder / _PACKAGE).resolve():
        raise failure("runs_there", path=folder / _PACKAGE)
    if not force and not _is_as_copied(folder):
        raise failure("edited_source", path=folder / _PACKAGE)
    wheel = own_wheels()[-1]
    for part in (_PACKAGE, _INFO):
        artifact.replace(folder / part, partial(_extract, wheel, part), "file_not_written")
    for old in folder.glob(f"{_PACKAGE}-*.dist-info"):
        if old.name != _INFO:
            shutil.rmtree(old)
    return folder / _PACKAGE


def _package_files() -> dict[str, bytes]:
    root = artifact.package_root()
    found = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        made = path.suffix in _COMPILED or any(part[0] == "." for part in parts)
        if path.is_file() and not made:
            found["/".join((_PACKAGE, *parts))] = path.read_bytes()
    return found


def _information() -> dict[str, bytes]:
    """Its *.dist-info: from the installed one, wheel or checkout."""
    try:
        dist = Distribution.from_name(NAME)
    except NotInstalled:
        raise _missing("is not installed") from None
    if dist.version != __version__:
        raise _missing(f"is installed as {dist.version}, and {__version__} runs")
    licence = artifact.package_root().parent / "LICENSE"
    texts = {
        "METADATA": dist.read_text("METADATA") or dist.read_text("PKG-INFO"),
        "entry_points.txt": dist.read_text("entry_points.txt"),
        "licenses/LICENSE": dist.read_text("licenses/LICENSE")
        or (licence.read_text("utf-8") if licence.is_file() else None),
    }
    return {f"{_INFO}/{name}": text.encode() for name, text in texts.items() if text}


def _missing(what: str) -> BuildError:
    return failure("no_distribution", name=NAME, what=what, extra=NAME)


def _extract(wheel: Wheel, part: str, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(wheel.data)) as archive:
        for name in archive.namelist():
            if name.startswith(f"{part}/") and not name.endswith("/"):
                file = folder / name.removeprefix(f"{part}/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.read(name))


def _is_as_copied(folder: Path) -> bool:
    """Whether nothing is there, or each file is as the RECORD beside it says, and no other is."""
    package = folder / _PACKAGE
    if not package.exists():
        return True
    records = list(folder.glob(f"{_PACKAGE}-*.dist-info"))
    if len(records) != 1:
        return False
    try:
        recorded = artifact.recorded_files(PathDistribution(records[0]), lambda path: True)
    except BuildError:
        return False
    files = (path.relative_to(folder) for path in package.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if path.suffix != ".pyc"} <= recorded.keys()
