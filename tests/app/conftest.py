"""The wide project on a database of the test alone; started by the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from forge_min.app import Running
from forge_min.db import EmbeddedServer
from forge_min.testing import TestDatabase, fresh_database, running_app

from wide_project import Migrations


@pytest.fixture
def wide_database(
    wide_code: Path, wide_migrations: Migrations, server: EmbeddedServer
) -> Iterator[TestDatabase]:
    """A migrated database; the project can be imported."""
    with fresh_database(server, wide_migrations) as database:
        yield database


@pytest.fixture
def site(wide_database: TestDatabase) -> Iterator[Running]:
    """The started project."""
    with running_app(wide_database) as running:
        yield running
