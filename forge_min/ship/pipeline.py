"""The build in three steps: generate, css, package.

It needs no database and no network, and executes no code of the project.
"""

from __future__ import annotations

import json
import platform
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..errors import BuildError
from ..generate import generate
from ..manifest import INFO, NAME, Manifest
from ..parse import ResourceIR
from .artifact import archive, distributions
from .artifact.assets import prepare_assets
from .artifact.bytecode import compile_members
from .artifact.imports import check_imports
from .artifact.package import compiled_core, package_files, package_members, package_root
from .artifact.unused import unused_parts, without
from .errors import build_error, first_of
from .progress import Step, no_network, timed
from .project import ProjectInfo, check_files, project_members, read_project, style_sources
from .provenance import commit, source_date
from .stylesheets import APP_CSS, asks_for_tailwind, check_stylesheets, make_stylesheet
from .vendor.sbom import NAME as SBOM
from .vendor.sbom import sbom_of_artifact
from .vendor.wheelhouse import FOLDER, read_wheelhouse
from .verify import compare, read_current

Format = Literal["zipapp", "dir"]
_BOOT = "forge_min/ship/artifact/boot.py"
_SHIP = "forge_min/ship/"
_SOURCES_OF_GEN = ("views/*.*", "resources/*/views/*.*", "resources/*/schema.py")
SKIPPED = "skipped"  # css of build-info.json: --skip-css


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The result of a build.

    path: the artifact.
    size: bytes of all its files.
    steps: seconds by name of the step, in order.
    info: the content of build-info.json.
    warnings: problems that do not stop a build.
    """

    path: Path
    format: Format
    size: int
    steps: Mapping[str, float]
    info: Mapping[str, Any]
    warnings: tuple[BuildError, ...]


def build(
    root: Path,
    resources: Sequence[ResourceIR],
    *,
    output: Path | None = None,
    format: Format = "zipapp",
    offline: bool = False,
    skip_css: bool = False,
    with_manual: bool = False,
    verify: bool = False,
    step: Step | None = None,
) -> BuildResult:
    """Build the project at `root` into one artifact, and return a description of it.

    The old artifact stays until the new one is complete. An intact artifact of the same inputs is
    not built again.

    resources: all of the project, as `parse_schemas` returns them.
    output: the file or folder to write, by default dist/<name>.pyz or dist/<name> in the project;
        in an existing folder, a zipapp gets its default name.
    format: "zipapp" for one file, "dir" for a folder.
    offline: any network access is an error.
    skip_css: neither make nor check stylesheets.
    with_manual: let the admin server show the manual of forge_min at /docs.
    verify: compare with the existing artifact, and write nothing.
    step: called with a step's name and None when it begins, and with its seconds when it ends.

    Raises ConfigError; the errors of `generate` and `check_imports`; BuildError F34x, F371, without
    replacing anything. With `verify`, raises BuildError F381 if the bytes differ, which names the
    changed inputs, or if gen/ or the stylesheet are stale.
    """
    steps: dict[str, float] = {}
    clock = partial(timed, steps, step)
    network = no_network() if offline else nullcontext()
    with network:
        with clock("generate"):
            project = read_project(root)
            check_files(root)
            report = generate(root, resources, check=verify)
            if verify and report.stale:
                names = [f"gen/{name}" for name in (*report.written, *report.removed)]
                listed = first_of(sorted(names), 5)
                raise build_error("stale_files", files=", ".join(listed))
        with clock("css"):
            if not skip_css:
                make_stylesheet(project, check=verify)
                check_stylesheets(root)
        with clock("package"):
            path, info = _package(
                project, output, format, skip_css=skip_css, with_manual=with_manual, verify=verify
            )
    size = 0
    for file in (path, *path.rglob("*")):
        if file.is_file():
            size += file.stat().st_size
    warnings = []
    for key, name in project.secrets.items():
        warnings.append(build_error("secret_in_file", key=key, variable=name))
    return BuildResult(path, format, size, steps, info, tuple(warnings))


def _package(
    project: ProjectInfo,
    output: Path | None,
    format: Format,
    *,
    skip_css: bool,
    with_manual: bool,
    verify: bool,
) -> tuple[Path, dict[str, object]]:
    path = _output_path(project, output, format)
    if not verify:
        _check_output(path, project.root, format)
    wheelhouse = read_wheelhouse(project.root / FOLDER)
    find = wheelhouse.find if wheelhouse else distributions.find_installed
    driver = _driver(format, find)
    required = distributions.collect([*distributions.BASE, distributions.DRIVERS[driver]], find)
    package = package_files(package_root())
    carried = package_members(package, with_manual=with_manual)
    if with_manual and "forge_min/_manual/index.html" not in carried:
        raise build_error("no_manual")
    if wheelhouse:
        wheelhouse.check_package(package)
    code = project_members(project.root)
    tracked = files_of_git(project, code)
    unused = unused_parts(code)
    parts = [without(unused, carried), *map(distributions.members, required)]
    sources = _sources(project, code, package, parts)
    sources[SBOM] = sbom_of_artifact(project, required)
    inputs = {"forge-min": __version__}
    for dist in required:
        inputs[dist.name] = dist.version
    builder = {name: data for name, data in package.items() if name.startswith(_SHIP)}
    info: dict[str, object] = {
        "name": project.name,
        "version": project.version,
        "commit": commit(project.root, tracked),
        "date": source_date(project.root),
        "python": platform.python_version(),
        "suffix": EXTENSION_SUFFIXES[0],
        "machine": platform.machine(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "impl": "python" if compiled_core(package) is None else "c",
        "driver": driver,
        "css": SKIPPED if skip_css else "made",
        "inputs": inputs,
        "left_out": unused,
        "lines": {"project": _lines(sources, code), "forge_min": _lines(sources, package)},
        "sources": Manifest.of(sources | builder).digest,
    }
    if not verify:
        current = read_current(path, info)
        if current:
            return path, current
    members = sources | compile_members(sources, zipped=format == "zipapp")
    manifest = Manifest.of(members)
    members[NAME] = manifest.write().encode()
    info["manifest"] = manifest.digest
    members[INFO] = f"{json.dumps(info, indent=1)}\n".encode()
    if verify:
        compare(path, members)
        return path, info
    if format == "zipapp":
        archive.write_zipapp(members, path)
    else:
        archive.write_folder(members, path)
    archive.write_checksums(path)
    return path, info


def files_of_git(project: ProjectInfo, members: Iterable[str]) -> set[str]:
    """Return the names of the files that must be in a commit.

    They are the inputs of the artifact, of gen/, and of a stylesheet that the build makes.
    members: names of the project's members.
    """
    names = set(members)
    for pattern in _SOURCES_OF_GEN:
        for path in project.root.glob(pattern):
            names.add(path.relative_to(project.root).as_posix())
    if asks_for_tailwind(project):
        names.update(style_sources(project))
        names.discard(APP_CSS)
    return {name for name in names if not name.startswith("gen/")}


def _output_path(project: ProjectInfo, output: Path | None, format: Format) -> Path:
    folder = output or project.root / "dist"
    name = project.name
    if format == "zipapp":
        name += ".pyz"
        if folder.is_dir():
            return folder / name
    return output or folder / name


def _check_output(path: Path, root: Path, format: Format) -> None:
    """Raise BuildError F360 or F010 unless an artifact may be written to this path.

    No build may replace other files, or use the name of a file that is beside or in artifacts.
    """
    if path.name in (archive.CHECKSUMS, SBOM, INFO, NAME):
        raise build_error("reserved", path=path)
    if format == "dir":
        archive.check_folder(path, root)
    else:
        archive.check_file(path)


def _driver(format: Format, find: Callable[[str], Distribution]) -> str:
    """Return the psycopg implementation: "binary" has its own libpq, "c" uses the system's.

    "c" is for folders only, and only if its distribution is available.
    """
    if format == "zipapp":
        return "binary"
    try:
        find(distributions.DRIVERS["c"])
    except BuildError as err:
        if err.code != "F341":  # of a distribution that was not found
            raise
        return "binary"
    return "c"


def _sources(
    project: ProjectInfo,
    code: dict[str, bytes],
    package: Mapping[str, bytes],
    parts: Iterable[Mapping[str, bytes]],
) -> dict[str, bytes]:
    """Return the members that are not derived from other members.

    code: the project's members.
    package: all files of forge_min.
    parts: the members of forge_min, and of each other distribution.
    """
    members = {"__main__.py": package[_BOOT]}
    if asks_for_tailwind(project):
        code.pop(project.css, None)  # an input of app.css, which no browser loads
    for part in (code, *parts):
        for name in part.keys() & members.keys():
            raise build_error("same_name", name=name)
        members |= part
    check_imports(code, package, members)
    return prepare_assets(members)


def _lines(sources: Mapping[str, bytes], names: Iterable[str]) -> int:
    """Return the lines of Python among the sources of these names, as `wc -l` counts them."""
    count = 0
    for name in names:
        if name.endswith(".py"):
            count += sources.get(name, b"").count(b"\n")
    return count
