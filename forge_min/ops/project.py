"""The project that this process runs: where its files lie, its configuration, its code.

Works the same from a project's folder, a folder artifact and a zip: gen/ says where the rest is.
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
from zipimport import zipimporter

from ..config import Config, load
from ..errors import ConfigError, ForgeError
from ..resources import files

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from ..app import App, Generated, Runtime
    from ..jobs import Kind

FOLDER = ".forge"  # what development keeps beside the project
NOTE = f"{FOLDER}/database.json"  # addresses of its database, while that runs


class Project:
    """root: the folder of app.py, gen/, migrations/ and static/, inside a zip or not.

    build: build-info.json of an artifact; {} elsewhere.
    """

    def __init__(self, root: Traversable, config: Config) -> None:
        self.root = root
        self.config = config
        # What is signed by one process is read by those that are forked from this one.
        self._secret = config.auth.secret.encode() or os.urandom(32)
        info = root / "build-info.json"
        self.build: Mapping[str, Any] = json.loads(info.read_text()) if info.is_file() else {}

    def start(self, *, serving: bool) -> Runtime:
        """Import the project's code and start its services. Raises as `Runtime`."""
        from ..app import Runtime

        app, generated = self.code()
        return Runtime(
            app,
            self.config,
            generated,
            self.root,
            build=self.build,
            serving=serving,
            secret=self._secret,
        )

    def code(self) -> tuple[App, Generated]:
        """Runs user code: app.py and what it imports."""
        from ..app import App, Generated

        registry = importlib.import_module("gen.registry")
        app = getattr(importlib.import_module("app"), "app", None)
        if not isinstance(app, App):
            message = "app.py has no App of the name app"
            raise ForgeError(message, code="F530", hint="write: app = App()")
        contract = json.loads((self.root / "gen" / "openapi.json").read_text(encoding="utf-8"))
        views = getattr(registry, "VIEWS", {})
        return app, Generated(registry.register, contract, views, self._workers())

    def _workers(self) -> list[type[Any]]:
        """WORKERS of every resources/*/jobs.py, whether a hook of its schema names one or not."""
        names = [folder.name for folder in (self.root / "resources").iterdir() if folder.is_dir()]
        modules = [f"resources.{name}.jobs" for name in sorted(names) if name.isidentifier()]
        found = [importlib.import_module(module) for module in modules if find_spec(module)]
        return [worker for module in found for worker in getattr(module, "WORKERS", ())]

    def preload(self) -> None:
        """PERF: load what `start` needs, and no user code, once for processes that are forked: they
        share its memory.
        """
        from .. import app, html  # noqa: F401

        for name in ("AccountPages", "ResourcePages"):
            with suppress(ModuleNotFoundError):  # an artifact has those that its project uses
                getattr(html, name)

    def kinds(self) -> Mapping[str, Kind]:
        """The kinds of jobs that the code has workers for. Raises ForgeError F702, F716 to F720 for
        hooks, schedules and workers that do not fit together.
        """
        from ..app import declared_kinds

        return declared_kinds(*self.code())


def project_root() -> Traversable | None:
    """Beside gen/, which is not imported; else where forge.toml lies."""
    spec = find_spec("gen")
    if spec is not None and isinstance(spec.loader, zipimporter):
        return cast(Path, files("gen")).parent
    if spec is not None and spec.origin:
        return Path(spec.origin).parents[1]
    places = (Path(place) for place in sys.path)
    return next((place for place in places if (place / "forge.toml").is_file()), None)


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration of this process, of a project or of none. Raises ConfigError."""
    root = project_root()
    if root is None or isinstance(root, Path):
        return load(root, environ)
    return load(None, environ, (root / "forge.toml").read_text(encoding="utf-8"))


def load_project(environ: Mapping[str, str] = os.environ) -> Project:
    """The project whose gen/ can be imported.

    Raises ForgeError F531 where there is none, ConfigError for a bad configuration.
    """
    try:
        gen = files("gen")
    except ModuleNotFoundError:
        hint = "run: python -m forge_min generate"
        raise ForgeError("there is no generated code here", code="F531", hint=hint) from None
    return Project(cast(Path, gen).parent, load_config(environ))


def embedded_addresses(folder: Path) -> Mapping[str, str]:
    """The addresses of the database that another command has started here, as variables.

    {} if there is none. folder: the project's.
    """
    try:
        note = json.loads((folder / NOTE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    pairs = note.items() if isinstance(note, dict) else ()
    return {name: value for name, value in pairs if isinstance(value, str)}


@contextmanager
def with_database(*, migrated: bool = True) -> Iterator[Project]:
    """The project with a database: its own, or the embedded one, brought up to date if `migrated`.

    PERF: where it has its own, psycopg is not loaded here, so that `serve` binds its ports before
    that (benchmarks/observe/traces.py). Raises as `load_project`, and ConfigError F204 where there
    is none and none may be started.
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
