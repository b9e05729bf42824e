"""The site under test, on a real PostgreSQL: each test has a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from forge_min import db
from forge_min.app import Running
from forge_min.testing import fresh_database, running_app

MIGRATIONS = Path(__file__).parents[1] / "migrations"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[db.EmbeddedServer]:
    """One PostgreSQL for the whole run."""
    with db.EmbeddedServer(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def site(server: db.EmbeddedServer) -> Iterator[Running]:
    """The application, started; its database is a copy of one that is migrated once."""
    files = [*db.FORGE_MIGRATIONS, *db.read_migrations(MIGRATIONS, "app")]
    with fresh_database(server, files) as database, running_app(database, FORGE_ENV="test") as it:
        yield it
