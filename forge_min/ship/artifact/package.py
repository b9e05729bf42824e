"""The files of the running forge_min, and those of them that an artifact contains.

An artifact has the packages of the ground and RUN layers, and no package that builds.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path, PurePosixPath

from ...resources import JSON
from .distributions import recorded_files

# tests/test_architecture.py compares these packages with its layers.
CARRIED = {
    "__init__", "_compat", "errors", "i18n", "resources", "lazy", "sql_files", "redaction",
    "config", "temporal", "manifest", "fanout",
    "_fanout_body_py", "_fanout_io_py", "_fanout_py", "_fanout_task_py",
    "observe", "db", "notify", "auth", "jobs", "sse", "actions", "wsgi", "mail",
    "api", "html", "admin", "app", "ops", "doctor", "entry",
}  # fmt: skip
_NAME = "forge_min"
_COMPILED_SUFFIXES = (".so", ".c", ".pyc", ".pyd")
_CORES = tuple(f"{_NAME}/_fanout{suffix}" for suffix in EXTENSION_SUFFIXES)


def package_root() -> Path:
    """Return the folder of the running package: installed, a checkout, or in `_vendor/`."""
    return Path(__file__).resolve().parents[2]


def package_files(root: Path) -> dict[str, bytes]:
    """Return the package's files by name, such as "forge_min/app/runtime.py".

    Of compiled files, only the core that this Python loads is among them.

    root: the package's folder.
    Raises BuildError F342 if an installed file was changed, F341 if one is missing. A checkout and
    a project's `_vendor/` have no record of their files.
    """
    result: dict[str, bytes] = {}
    infos = sorted(root.parent.glob(f"{_NAME}-*.dist-info"))
    if infos and root.parent.name != "_vendor":
        for info in infos:
            result |= recorded_package(PathDistribution(info))
        return result
    paths = {}
    for path in sorted(root.rglob("*")):
        name = f"{_NAME}/{path.relative_to(root).as_posix()}"
        if path.is_file() and _is_source(PurePosixPath(name)):
            paths[name] = path
    core = compiled_core(paths)
    for name, path in paths.items():
        if name == core or name not in _CORES:
            result[name] = path.read_bytes()
    return result


def recorded_package(dist: Distribution) -> dict[str, bytes]:
    """Return the files of an installed forge_min, or of its wheel. Raises as `recorded_files`."""
    return recorded_files(dist, _is_source)


def package_members(files: Mapping[str, bytes], *, with_manual: bool = False) -> dict[str, bytes]:
    """Return the members of an artifact among these files; a compiled core is in `_native/`."""
    carried = {*CARRIED, "aggregates.toml", "codes.toml"}
    if with_manual:
        carried.add("_manual")
    members = {}
    for name, data in files.items():
        top = PurePosixPath(name).parts[1]
        source = "/templates/" in name and name.endswith(".html")  # its module is beside it
        if source or carried.isdisjoint((top, top.partition(".")[0])):
            continue
        members[name] = data
        if name.endswith(".toml"):  # for `resources.table`
            content = tomllib.loads(data.decode())
            members[name + JSON] = json.dumps(content).encode()
    core = compiled_core(files)
    if core is not None:
        members[f"_native/{core}"] = files[core]
    return members


def compiled_core(names: Collection[str]) -> str | None:
    """Return the name of the compiled `_fanout` that this Python would load, or None."""
    for core in _CORES:
        if core in names:
            return core
    return None


def _is_source(path: PurePosixPath) -> bool:
    if path.parts[0] != _NAME:
        return False
    if any(part.startswith(".") for part in path.parts):
        return False
    return path.suffix not in _COMPILED_SUFFIXES or path.as_posix() in _CORES
