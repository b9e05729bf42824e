"""The project as far as it can be read, for `doctor`: what is wrong is handed over, not raised.

Needs no psycopg and no compiled core.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..config import Config, inspect
from ..data import Packed
from ..manifest import INFO, NAME
from .project import NOTE, Project, load_project, project_root

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from ..app import App, Generated


class Inspected(NamedTuple):
    """root: the project, in a folder or a zip; None where there is none. mistakes: of its
    configuration. build: an artifact's build info. artifact, native: its file or folder, and where
    its compiled parts load from.
    """

    root: Traversable | None
    config: Config
    mistakes: list[Exception]
    build: Mapping[str, Any]
    artifact: Path | None
    native: Path | None

    def code(self) -> tuple[App, Generated]:
        """As of `Project`. Raises ForgeError F531 where there is no gen/."""
        return (load_project() if self.root is None else Project(self.root, self.config)).code()


def inspect_project(*, production: bool, environ: Mapping[str, str] = os.environ) -> Inspected:
    """The project of this process. production: read it as one, whatever FORGE_ENV says.

    In development its database is the embedded one, where that runs.
    """
    root, mistakes, text = project_root(), list[Exception](), None
    folder = root if isinstance(root, Path) else None
    if production:
        environ = {**environ, "FORGE_ENV": "production"}
    elif folder is not None:
        environ = {**_embedded(folder), **environ}
    if root is not None and folder is None:
        try:
            text = (root / "forge.toml").read_text("utf-8")
        except Exception as err:  # a damaged zip raises many things
            mistakes.append(err)
    config, errors = inspect(folder, environ, text)
    artifact = None
    if isinstance(root, Packed):
        artifact = Path(root.archive)
    elif folder is not None and (folder / NAME).is_file():
        artifact = folder
    native = (p.resolve() for p in map(Path, sys.path) if p.name == "_native" and p.is_dir())
    return Inspected(root, config, [*mistakes, *errors], _build(root), artifact, next(native, None))


def _build(root: Traversable | None) -> Mapping[str, Any]:
    """{} where there is none, or none that can be read: the manifest's check says so."""
    try:
        return dict(json.loads((root / INFO).read_text("utf-8"))) if root is not None else {}
    except Exception:
        return {}


def _embedded(folder: Path) -> Mapping[str, str]:
    """The addresses of the database that another command has started, as variables."""
    try:
        note = json.loads((folder / NOTE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    pairs = note.items() if isinstance(note, dict) else ()
    return {name: value for name, value in pairs if isinstance(value, str)}
