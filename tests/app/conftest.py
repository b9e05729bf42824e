"""The wide project on a database of the test alone; started by the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from forge_min import db
from forge_min.app import Running
from forge_min.db import EmbeddedServer
from forge_min.testing import TestDatabase, fresh_database, running_app


@pytest.fixture
def wide_database(wide_code: Path, server: EmbeddedServer) -> Iterator[TestDatabase]:
    """A migrated database; the project can be imported."""
    migrations = [*db.FORGE_MIGRATIONS, *db.read_migrations(wide_code / "migrations", "app")]
    with fresh_database(server, migrations) as database:
        yield database


@pytest.fixture
def site(wide_database: TestDatabase) -> Iterator[Running]:
    """The started project."""
    with running_app(wide_database) as running:
        yield running
