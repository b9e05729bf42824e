"""The project that this process runs: its files, its configuration and its code.

Works the same from a project's folder, a folder artifact and a zip: the rest is found beside gen/.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .. import i18n
from ..config import Config, inspect, load
from ..errors import ConfigError, ForgeError
from ..resources import ArchivePath, files

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from ..app import ApplicationManual, ProjectCode, Runtime

FOLDER = ".forge"  # files of development, in the project's folder
NOTE = f"{FOLDER}/database.json"  # addresses of the embedded database while it runs


class Project:
    """A project: its files, its configuration and its build info.

    root: the folder of app.py, gen/, migrations/ and static/, on disk or inside a zip.
    build: build-info.json of an artifact; {} in any other case.
    """

    def __init__(self, root: Traversable, config: Config) -> None:
        self.root = root
        self.config = config
        # Forked processes share it: each accepts the signatures of the others.
        self._secret = config.auth.secret.encode() or os.urandom(32)
        self.build: Mapping[str, Any] = {}
        info = root / "build-info.json"
        if info.is_file():
            self.build = json.loads(info.read_text())

    def start(self, *, serving: bool) -> Runtime:
        """Import the project's code and start its services. Raises as `Runtime`."""
        from ..app import Runtime

        return Runtime(self.code(), build=self.build, serving=serving, secret=self._secret)

    def code(self) -> ProjectCode:
        """Import app.py and gen/registry.py, which runs user code.

        Raises ForgeError F530 if app.py has no App named `app`, and anything that user code raises.
        """
        from ..app import App, ProjectCode

        registry = importlib.import_module("gen.registry")
        module = importlib.import_module("app")
        app = getattr(module, "app", None)
        if not isinstance(app, App):
            message = "app.py has no App named app"
            raise ForgeError(message, code="F530", hint="write: app = App()")
        text = (self.root / "gen" / "openapi.json").read_text("utf-8")
        return ProjectCode(
            app,
            self.config,
            self.root,
            registry.register,
            openapi=json.loads(text),
            views=getattr(registry, "VIEWS", {}),
            workers=self._workers(),
        )

    def manual(self) -> ApplicationManual:
        """Return the application's own manual. Needs no database. Raises as `code`."""
        from ..app import ApplicationManual, declared_router

        code = self.code()
        i18n.load(self.root / "locale")
        registry, router = declared_router(code)
        return ApplicationManual(code, registry, router.routes())

    def _workers(self) -> list[type[Any]]:
        """Return WORKERS of every resources/*/jobs.py, whether a hook names one or not."""
        folders = (self.root / "resources").iterdir()
        names = sorted(folder.name for folder in folders if folder.is_dir())
        workers: list[type[Any]] = []
        for name in names:
            module = f"resources.{name}.jobs"
            if name.isidentifier() and find_spec(module):
                workers += getattr(importlib.import_module(module), "WORKERS", ())
        return workers

    def preload(self) -> None:
        """Load the modules that `start` needs, without user code.

        PERF: once for all forked processes, which share the memory.
        """
        from .. import app, html  # noqa: F401

        for name in ("AccountPages", "ResourcePages"):
            with suppress(ModuleNotFoundError):  # an artifact has those that its project uses
                getattr(html, name)


def project_root() -> Traversable | None:
    """Return the folder of gen/, which is not imported, or of forge.toml; None without both."""
    spec = find_spec("gen")
    if spec is not None and spec.submodule_search_locations:
        return cast(Path, files("gen")).parent
    for entry in sys.path:
        if (Path(entry) / "forge.toml").is_file():
            return Path(entry)
    return None


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """Load the configuration of this process, also without a project. Raises ConfigError."""
    return load(project_root(), environ)


def load_project(environ: Mapping[str, str] = os.environ) -> Project:
    """Return the project of the importable gen/.

    Raises ForgeError F531 if gen/ cannot be found, and ConfigError for a bad configuration.
    """
    root = project_root()
    if root is None or not (root / "gen").is_dir():
        hint = "run: python -m forge_min generate"
        raise ForgeError("generated code (gen/) not found", code="F531", hint=hint)
    return Project(root, load_config(environ))


def embedded_addresses(folder: Path) -> Mapping[str, str]:
    """Return the addresses of the database that another command has started here, as variables.

    folder: the project's. Returns {} if no command has.
    """
    try:
        note = json.loads((folder / NOTE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(note, dict):
        return {}
    return {name: value for name, value in note.items() if isinstance(value, str)}


def inspect_project(*, production: bool) -> dict[str, Any]:
    """Return the fields of `doctor.Site` that this process's project provides, by name.

    production: read the configuration of production, whatever FORGE_ENV is. In development the
    database is the embedded one while that runs.
    Errors are returned, not raised. Needs neither psycopg nor the compiled core.
    """
    from ..manifest import INFO, NAME  # PERF: no server waits for zipfile

    environ: Mapping[str, str] = os.environ
    root = project_root()
    folder = root if isinstance(root, Path) else None
    if production:
        environ = {**environ, "FORGE_ENV": "production"}
    elif folder is not None:
        environ = {**embedded_addresses(folder), **environ}
    config, errors = inspect(root, environ)
    artifact = None
    if isinstance(root, ArchivePath):
        artifact = Path(root.archive)
    elif folder is not None and (folder / NAME).is_file():
        artifact = folder
    build: dict[str, Any] = {}
    if root is not None:
        with suppress(Exception):  # the check of the manifest reports it
            build = dict(json.loads((root / INFO).read_text("utf-8")))
    native = (p.resolve() for p in map(Path, sys.path) if p.name == "_native" and p.is_dir())

    def code() -> ProjectCode:
        project = load_project() if root is None else Project(root, config)
        return project.code()

    return {
        "settings": config.values,
        "sources": config.sources,
        "mistakes": errors,
        "warnings": config.warnings,
        "root": root,
        "artifact": artifact,
        "native": next(native, None),
        "build": build,
        "code": code,
    }


@contextmanager
def with_database(*, migrated: bool = True) -> Iterator[Project]:
    """Yield the project with a database: its own, or the embedded one, migrated if `migrated`.

    PERF: if the project has its own database, psycopg is not loaded here, so that `serve` binds its
    ports before that (benchmarks/observe/traces.py).

    Raises as `load_project`, and ConfigError F204 if database.url is not set and the embedded
    database may not be used.
    """
    project = load_project()
    c = project.config
    if c.database.url:
        yield project
        return
    if c.env != "development" or not isinstance(project.root, Path):
        hint = "export FORGE_DATABASE_URL=postgresql://user:password@host:5432/name"
        raise ConfigError("database.url is not set", code="F204", hint=hint)
    from .development import with_embedded

    with with_embedded(project, project.root, migrated=migrated) as ready:
        yield ready
