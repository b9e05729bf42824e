"""The project of tests/wide: every field, option and relation at once, generated into a copy."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from forge_min import db
from forge_min.actions import Registry
from forge_min.auth import Identity, as_identity
from forge_min.db import EmbeddedServer, MigrationFile
from forge_min.generate import generate
from forge_min.migrations import diff
from forge_min.parse import parse_project
from forge_min.testing import fresh_database

from artifact_runner import Site, built_once

WIDE = Path(__file__).parent / "wide"
OPERATOR = Identity(user="operator", system=True, tenant=UUID(int=1))
OWN = ("gen", "resources", "app")
Migrations = tuple[MigrationFile, ...]


@pytest.fixture(scope="session")
def wide_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with gen/ and migrations/0001_initial.sql. Do not change it: the session shares it."""
    root = tmp_path_factory.mktemp("made") / "wide"
    shutil.copytree(WIDE / "resources", root / "resources")
    for name in ("app.py", "forge.toml"):
        shutil.copy(WIDE / name, root / name)
    parsed = parse_project(root)
    assert parsed.diagnostics == (), "\n".join(d.format() for d in parsed.diagnostics)
    generate(root, parsed.resources)
    first = diff(root, parsed.resources, [])
    assert first is not None
    first.write()
    return root


@pytest.fixture(scope="session")
def wide_migrations(wide_project: Path) -> Migrations:
    """All that the project's database needs."""
    return (*db.FORGE_MIGRATIONS, *db.read_migrations(wide_project / "migrations", "app"))


@pytest.fixture
def wide_code(wide_project: Path) -> Iterator[Path]:
    """The same, while its `gen`, `resources` and `app` are what an import finds."""
    with importable(wide_project):
        yield wide_project


@contextmanager
def importable(root: Path) -> Iterator[None]:
    """A project's modules instead of another's that may be loaded under the same names."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in OWN}
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
        for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
            del sys.modules[name]
        sys.modules.update(before)


@contextmanager
def wide_registry(server: EmbeddedServer, migrations: Migrations) -> Iterator[Registry]:
    """The actions of the project on a database of its own. Its code must be importable."""
    with fresh_database(server, migrations) as database, as_identity(OPERATOR):
        registry = Registry(db.Database(database.app_url), {})
        importlib.import_module("gen.registry").register(registry, "/api/v1")
        try:
            yield registry
        finally:
            registry.database.close()


@pytest.fixture(scope="session")
def wide_artifact(wide_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as one file."""
    return built_once(tmp_path_factory, wide_project)


@contextmanager
def served(artifact: Path, server: EmbeddedServer, folder: Path) -> Iterator[Site]:
    """The artifact, migrated and answering, on a database of its own."""
    with fresh_database(server, ()) as database:
        site = Site(artifact, database, folder)
        try:
            site.serve()
            yield site
        finally:
            site.stop()
