"""The example's generated code, imported once, on a fresh database for each test."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forge_min import db
from forge_min.generate import generate
from forge_min.migrations import desired_sql
from forge_min.parse import parse_project
from forge_min.testing import TestDatabase

EXAMPLE = Path(__file__).parents[1] / "examples" / "departures"


class Example:
    """actions by topic, on the app role's connection; `sql` asks as the owner."""

    def __init__(self, database: TestDatabase, registry: Any, owner: db.Connection) -> None:
        self.url = database.app_url
        self.registry = registry
        self._owner = owner

    def __getitem__(self, topic: str) -> Any:
        return self.registry.actions[topic]

    def sql(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        """Rows as the owner sees them."""
        return self._owner.execute(query, params).fetchall()

    def country(self, code: str = "DE", name: str = "Germany") -> Any:
        """A new country."""
        return self["countries"].create({"code": code, "name": name})

    def airport(self, icao: str, country: Any, **fields: object) -> Any:
        """A new airport."""
        place = {"latitude": "52.5", "longitude": "13.4"}
        data = {"icao": icao, "name": f"Airport {icao}", "country_id": str(country.id)}
        return self["airports"].create(data | place | fields)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the example whose gen/ and resources/ can be imported."""
    root = tmp_path_factory.mktemp("departures")
    for name in ("resources", "views", "migrations"):
        shutil.copytree(EXAMPLE / name, root / name)
    parsed = parse_project(root)
    assert not parsed.diagnostics
    generate(root, parsed.resources)
    sys.path.insert(0, str(root))
    yield root
    sys.path.remove(str(root))
    for name in [n for n in sys.modules if n.split(".")[0] in ("gen", "resources")]:
        del sys.modules[name]


@pytest.fixture
def example(project: Path, fresh_database: TestDatabase) -> Iterator[Example]:
    """The registry of the example on a database of this test alone."""
    from forge_min.actions import Registry

    owner = db.connect(fresh_database.owner_url)
    owner.execute(desired_sql(parse_project(project).resources))
    database = db.Database(fresh_database.app_url)
    registry = Registry(database, {})
    importlib.import_module("gen.registry").register(registry, "/api/v1")
    try:
        yield Example(fresh_database, registry, owner)
    finally:
        database.close()
        owner.close()


@pytest.fixture
def listing() -> Callable[..., Any]:
    """Parse a query string's pairs and list."""
    from forge_min.actions import ListQuery

    def ask(actions: Any, **query: str) -> Any:
        pairs = {name: [value] for name, value in query.items()}
        return actions.list(ListQuery.parse(actions.resource, pairs))

    return ask
