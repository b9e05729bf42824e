"""The package that builds: its files, and the part of them that an artifact carries: ground and RUN
ladder, nothing that builds.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path, PurePosixPath

from ...resources import JSON
from .distributions import recorded_files

# tests/test_architecture.py compares these with its layers.
CARRIED = frozenset(
    ("__init__", "_compat", "errors", "i18n", "resources", "lazy", "config", "manifest")
    + ("fanout", "_fanout_py", "observe", "db", "notify", "auth", "jobs", "sse", "actions", "wsgi")
    + ("api", "html", "admin", "app", "ops", "doctor", "entry")
)
_NAME = "forge_min"
_SUFFIXES = frozenset({".py", ".sql", ".toml", ".html", ".css", ".svg", ".js", ".json", ".yml"})
_COMPILED_SUFFIXES = (".so", ".c", ".pyc", ".pyd")
_CORES = tuple(f"{_NAME}/_fanout{suffix}" for suffix in EXTENSION_SUFFIXES)
_EDITABLE = "_vendor"  # a copy in a project's repository, which may be edited


def package_root() -> Path:
    """The folder of the package that builds: installed, a checkout, or a project's `_vendor/`."""
    return Path(__file__).resolve().parents[2]


def package_files(root: Path) -> dict[str, bytes]:
    """Its files by name, "forge_min/app/app.py", the core that this Python loads too; nothing else
    that is compiled. root: the package's folder.

    Raises BuildError where an installer put it there: F342 for a file that differs from its record,
    F341 for one that is missing. A checkout and a project's `_vendor/` have no such record.
    """
    installed = [] if root.parent.name == _EDITABLE else _installations(root)
    found: dict[str, bytes] = {}
    for folder in installed:
        found |= recorded_package(PathDistribution(folder))
    if installed:
        return found
    paths = (path for path in sorted(root.rglob("*")) if path.is_file())
    names = {f"{_NAME}/{path.relative_to(root).as_posix()}": path for path in paths}
    core = compiled_core(names)
    return {
        name: path.read_bytes()
        for name, path in names.items()
        if _is_ours(PurePosixPath(name)) and (name == core or name not in _CORES)
    }


def recorded_package(dist: Distribution) -> dict[str, bytes]:
    """The same of an installed forge_min, or of a wheel. Raises as `recorded_files`."""
    return recorded_files(dist, _is_ours)


def package_members(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What an artifact carries of these, by name inside it; the core, if any, in `_native/`."""
    found: dict[str, bytes] = {}
    for name, data in files.items():
        room, *deeper = PurePosixPath(name).parts[1:]
        wanted = room.partition(".")[0] in CARRIED or (room == "codes.toml" and not deeper)
        source = "/templates/" in name and name.endswith(".html")  # its module is beside it
        if wanted and not source and PurePosixPath(name).suffix in _SUFFIXES:
            found[name] = data
            if name.endswith(".toml"):  # what data.table reads
                found[name + JSON] = json.dumps(tomllib.loads(data.decode())).encode()
    core = compiled_core(files)
    if core is not None:
        found[f"_native/{core}"] = files[core]
    return found


def compiled_core(names: Iterable[str]) -> str | None:
    """The compiled `_fanout` that this Python would load of files with these names, or None."""
    names = set(names)
    return next((name for name in _CORES if name in names), None)


def _installations(root: Path) -> list[Path]:
    return sorted(root.parent.glob(f"{_NAME}-*.dist-info"))


def _is_ours(path: PurePosixPath) -> bool:
    if path.parts[0] != _NAME or any(part.startswith(".") for part in path.parts):
        return False
    return path.suffix not in _COMPILED_SUFFIXES or path.as_posix() in _CORES
