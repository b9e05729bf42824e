"""The project as far as it can be read, for `doctor`: errors are returned, not raised.

Needs neither psycopg nor the compiled core.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import inspect
from ..manifest import INFO, NAME
from ..resources import ArchivePath
from .project import Project, embedded_addresses, load_project, project_root

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def inspect_project(*, production: bool) -> dict[str, Any]:
    """Return the fields of `doctor.Site` that this process's project provides, by name.

    production: read the configuration of production, whatever FORGE_ENV is. In development the
    database is the embedded one while that runs.
    """
    environ: Mapping[str, str] = os.environ
    root, mistakes, text = project_root(), list[Exception](), None
    folder = root if isinstance(root, Path) else None
    if production:
        environ = {**environ, "FORGE_ENV": "production"}
    elif folder is not None:
        environ = {**embedded_addresses(folder), **environ}
    if root is not None and folder is None:
        try:
            text = (root / "forge.toml").read_text("utf-8")
        except Exception as err:  # a damaged zip raises many types of errors
            mistakes.append(err)
    config, errors = inspect(folder, environ, text)
    artifact = None
    if isinstance(root, ArchivePath):
        artifact = Path(root.archive)
    elif folder is not None and (folder / NAME).is_file():
        artifact = folder
    native = (p.resolve() for p in map(Path, sys.path) if p.name == "_native" and p.is_dir())
    return {
        "settings": config.values,
        "sources": config.sources,
        "mistakes": [*mistakes, *errors],
        "warnings": config.warnings,
        "root": root,
        "artifact": artifact,
        "native": next(native, None),
        "build": _build(root),
        "code": lambda: (load_project() if root is None else Project(root, config)).code(),
    }


def _build(root: Traversable | None) -> Mapping[str, Any]:
    """Return the build info; {} if it cannot be read, which the manifest's check reports."""
    try:
        return dict(json.loads((root / INFO).read_text("utf-8"))) if root is not None else {}
    except Exception:
        return {}
