"""The build: generate → pages → css → package. No database, no network, no user code executed."""

from __future__ import annotations

import json
import platform
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..errors import BuildError, ErrorGroup
from ..generate import generate
from ..manifest import INFO, NAME, Manifest
from ..pages import compile_pages
from ..parse import ResourceIR
from .artifact import archive, distributions
from .artifact.assets import prepare_assets
from .artifact.bytecode import compile_members
from .artifact.distributions import BASE, DRIVERS
from .artifact.imports import check_imports
from .artifact.package import compiled_core, package_files, package_members, package_root
from .artifact.unused import unused_parts, without
from .errors import build_error
from .progress import Step, no_network, timed
from .project import (
    ProjectInfo,
    check_files,
    generating,
    parse_schemas,
    project_members,
    read_project,
    style_sources,
)
from .provenance import commit, source_date
from .stylesheets import (
    APP_CSS,
    asks_for_tailwind,
    check_stylesheets,
    make_stylesheet,
)
from .vendor.folder import check_scripts
from .vendor.sbom import NAME as SBOM
from .vendor.sbom import sbom_of_artifact
from .vendor.wheelhouse import FOLDER, Wheelhouse, read_wheelhouse
from .verify import compare, read_current

Format = Literal["zipapp", "dir"]
_BOOT = "forge_min/ship/artifact/boot.py"
_SHIP = "forge_min/ship/"
SKIPPED = "skipped"  # css of build-info.json: --skip-css


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build made. steps: name → seconds, in order. size: bytes. info: build-info.json.
    warnings: what is as it should not be, but did not stop it.
    """

    path: Path
    format: Format
    size: int
    steps: Mapping[str, float]
    info: Mapping[str, Any]
    warnings: tuple[BuildError, ...] = ()


def build(
    root: Path,
    *,
    output: Path | None = None,
    format: Format = "zipapp",
    offline: bool = False,
    skip_css: bool = False,
    verify: bool = False,
    step: Step | None = None,
) -> BuildResult:
    """Builds the project at `root` into one artifact; the old one stays until the new one is whole.

    output: the file or folder to make, by default dist/<name>.pyz or dist/<name> in the project; a
    folder that exists takes the file. step: called with a step's name and None when it begins, and
    with its seconds when it ends. offline: an attempt to reach the network is an error. An artifact
    that is whole and of these very inputs stays as it is. verify: build it anew all the same, and
    write nothing, neither gen/ nor a stylesheet.

    Raises ErrorGroup of a BuildError for each mistake in a schema, ConfigError, and BuildError
    F34x, F352, F371: nothing was replaced then; F381 when `verify` gets other bytes than the
    artifact has, naming the inputs that differ, or finds that gen/ or the stylesheet are not what
    their sources give.
    """
    steps: dict[str, float] = {}
    clock = partial(timed, steps, step)
    with no_network() if offline else nullcontext():
        with clock("generate"):
            project = read_project(root)
            check_files(root)
            report = generate(root, _resources(root), check=verify)
            if verify and report.stale:
                raise build_error(
                    "other_made", files=_some_of_gen([*report.written, *report.removed])
                )
        with clock("pages"):
            _check_pages(root)
        with clock("css"):
            check_scripts(project)
            if not skip_css:
                make_stylesheet(project, check=verify)
                check_stylesheets(root)
        with clock("package"):
            path, info = _package(project, output, format, skip_css=skip_css, verify=verify)
    size = sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())
    return BuildResult(path, format, size, steps, info, tuple(_warnings(project)))


def _warnings(project: ProjectInfo) -> Iterator[BuildError]:
    for place, variable in project.secrets.items():
        yield build_error("told_secret", place=place, variable=variable)


def _some_of_gen(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f"gen/{name}" for name in sorted(names)[:5]) + more


def _resources(root: Path) -> tuple[ResourceIR, ...]:
    parsed = parse_schemas(root)
    errors = [
        BuildError(f"{d.file}:{d.line}:{d.col}: {d.message}", code=d.code, hint=d.hint or None)
        for d in parsed.diagnostics
    ]
    if errors:
        raise ErrorGroup("the schemas cannot be used", errors)
    return parsed.resources


def _check_pages(root: Path) -> None:
    """An editor may have saved a view since `generate` read it: the artifact holds one state."""
    for name, text in compile_pages(root).items():
        if (root / "gen" / name).read_text("utf-8") != text:
            raise BuildError(f"the view of gen/{name} changed meanwhile", hint="build again")


def _package(
    project: ProjectInfo, output: Path | None, format: Format, *, skip_css: bool, verify: bool
) -> tuple[Path, dict[str, object]]:
    path = _place(project, output, format)
    if not verify:
        _check_place(path, project.root, format)
    wheelhouse = read_wheelhouse(project.root / FOLDER)
    driver = _driver(format, wheelhouse)
    find = wheelhouse.find if wheelhouse else distributions.find_installed
    needed = distributions.collect([*BASE, DRIVERS[driver]], find)
    package = package_files(package_root())
    if wheelhouse:
        wheelhouse.check_package(package)
    own = project_members(project.root)
    files = files_of_git(project, own)
    unused = unused_parts(own)
    sources = _sources(project, own, package, needed, unused)
    sources[SBOM] = sbom_of_artifact(project, needed)
    builder = {name: data for name, data in package.items() if name.startswith(_SHIP)}
    info: dict[str, object] = {
        "name": project.name,
        "version": project.version,
        "commit": commit(project.root, files),
        "date": source_date(project.root),
        "python": platform.python_version(),
        "suffix": EXTENSION_SUFFIXES[0],
        "machine": platform.machine(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "impl": "python" if compiled_core(package) is None else "c",
        "driver": driver,
        "css": SKIPPED if skip_css else "made",
        "inputs": {"forge-min": __version__, **{d.name: d.version for d in needed}},
        "left_out": unused,
        "lines": {"project": _lines(sources, own), "forge_min": _lines(sources, package)},
        "sources": Manifest.of({**sources, **builder}).digest,
    }
    if not verify and (current := read_current(path, info)):
        return path, current
    members = _compiled(sources, zipped=format == "zipapp")
    manifest = Manifest.of(members)
    members[NAME] = manifest.write().encode()
    info["manifest"] = manifest.digest
    members[INFO] = (json.dumps(info, indent=1) + "\n").encode()
    if verify:
        compare(path, members)
    else:
        write = archive.write_zipapp if format == "zipapp" else archive.write_folder
        write(members, path)
        archive.write_checksums(path)
    return path, info


def files_of_git(project: ProjectInfo, own: Iterable[str]) -> set[str]:
    """Return the names of files that a commit must have.

    They are inputs of the artifact, and of gen/ and a stylesheet that the build makes.
    own: the project's members.
    """
    names = {*own, *generating(project.root)}
    if asks_for_tailwind(project):
        names = (names | style_sources(project).keys()) - {APP_CSS}
    return {name for name in names if not name.startswith("gen/")}


def _place(project: ProjectInfo, output: Path | None, format: Format) -> Path:
    if format == "dir":
        return output or project.root / "dist" / project.name
    name = f"{project.name}.pyz"
    return (output or project.root / "dist") / name if not output or output.is_dir() else output


def _check_place(path: Path, root: Path, format: Format) -> None:
    """Raises BuildError F345 where something lies that no build made, and for the name of a file
    that lies beside an artifact or in it.
    """
    if path.name in (archive.CHECKSUMS, SBOM, INFO, NAME):
        raise build_error("reserved", path=path)
    if format == "dir":
        archive.check_folder(path, root)
    else:
        archive.check_file(path)


def _driver(format: Format, wheelhouse: Wheelhouse | None) -> str:
    """psycopg's implementation: with its own libpq in a zip; in a folder the system's, where the
    distributions come from a place that has it.
    """
    has = wheelhouse.has if wheelhouse else distributions.is_installed
    return "c" if format == "dir" and has(DRIVERS["c"]) else "binary"


def _sources(
    project: ProjectInfo,
    own: dict[str, bytes],
    package: Mapping[str, bytes],
    needed: list[Distribution],
    unused: list[str],
) -> dict[str, bytes]:
    """Every member but those that are made of others. own: the project's. package: all of
    forge_min's own files.
    """
    members = {"__main__.py": package[_BOOT]}
    if asks_for_tailwind(project):
        own.pop(project.css, None)  # no browser reads it
    for part in (
        own,
        without(unused, package_members(package)),
        *map(distributions.members, needed),
    ):
        for name in part.keys() & members.keys():
            raise build_error("same_name", name=name)
        members |= part
    check_imports(own, package, members)
    return prepare_assets(members)


def _lines(sources: Mapping[str, bytes], names: Iterable[str]) -> int:
    """Lines of Python among the sources of these names, each counted as `wc -l` does."""
    return sum(sources.get(name, b"").count(b"\n") for name in names if name.endswith(".py"))


def _compiled(members: Mapping[str, bytes], *, zipped: bool) -> dict[str, bytes]:
    on_disk = {name: text for name, text in members.items() if name.startswith("_native/")}
    others = {name: text for name, text in members.items() if name not in on_disk}
    return {
        **members,
        **compile_members(on_disk, beside=False),
        **compile_members(others, beside=zipped),
    }
