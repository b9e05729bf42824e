"""The files of the running forge_min, and those of them that an artifact contains.

An artifact has the packages of the ground and RUN layers, and no package that builds.
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

# tests/test_architecture.py compares these packages with its layers.
CARRIED = frozenset(
    ("__init__", "_compat", "errors", "i18n", "resources", "lazy", "sql_files", "redaction")
    + ("config", "temporal", "manifest", "fanout")
    + ("_fanout_body_py", "_fanout_io_py", "_fanout_py", "_fanout_task_py")
    + ("observe", "db", "notify", "auth", "jobs", "sse", "actions", "wsgi", "mail")
    + ("api", "html", "admin", "app", "ops", "doctor", "entry")
)
_NAME = "forge_min"
_COMPILED_SUFFIXES = (".so", ".c", ".pyc", ".pyd")
_CORES = tuple(f"{_NAME}/_fanout{suffix}" for suffix in EXTENSION_SUFFIXES)
_EDITABLE = "_vendor"  # the folder of an editable copy in a project's repository


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
    infos = sorted(root.parent.glob(f"{_NAME}-*.dist-info"))
    if infos and root.parent.name != _EDITABLE:
        return {k: v for info in infos for k, v in recorded_package(PathDistribution(info)).items()}
    paths = (path for path in sorted(root.rglob("*")) if path.is_file())
    names = {f"{_NAME}/{path.relative_to(root).as_posix()}": path for path in paths}
    core = compiled_core(names)
    return {
        name: path.read_bytes()
        for name, path in names.items()
        if _is_source(PurePosixPath(name)) and (name == core or name not in _CORES)
    }


def recorded_package(dist: Distribution) -> dict[str, bytes]:
    """Return the files of an installed forge_min, or of its wheel. Raises as `recorded_files`."""
    return recorded_files(dist, _is_source)


def package_members(files: Mapping[str, bytes], *, with_manual: bool = False) -> dict[str, bytes]:
    """Return the members of an artifact among these files; a compiled core is in `_native/`."""
    carried_data = {"aggregates.toml", "codes.toml"} | ({"_manual"} if with_manual else set())
    members: dict[str, bytes] = {}
    for name, data in files.items():
        top = PurePosixPath(name).parts[1]
        carried = top.partition(".")[0] in CARRIED or top in carried_data
        source = "/templates/" in name and name.endswith(".html")  # its module is beside it
        if carried and not source:
            members[name] = data
            if name.endswith(".toml"):  # for `resources.table`
                members[name + JSON] = json.dumps(tomllib.loads(data.decode())).encode()
    core = compiled_core(files)
    if core is not None:
        members[f"_native/{core}"] = files[core]
    return members


def compiled_core(names: Iterable[str]) -> str | None:
    """Return the name of the compiled `_fanout` that this Python would load, or None."""
    names = set(names)
    return next((name for name in _CORES if name in names), None)


def _is_source(path: PurePosixPath) -> bool:
    if path.parts[0] != _NAME or any(part.startswith(".") for part in path.parts):
        return False
    return path.suffix not in _COMPILED_SUFFIXES or path.as_posix() in _CORES
