"""The wide project, started in this process on a database of the test alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from forge_min import db
from forge_min.app import Runtime
from forge_min.auth import Identity
from forge_min.db import EmbeddedServer
from forge_min.testing import fresh_database, running_app


@pytest.fixture
def site(wide_code: Path, server: EmbeddedServer) -> Iterator[Runtime]:
    """The started project."""
    migrations = [*db.FORGE_MIGRATIONS, *db.read_migrations(wide_code / "migrations", "app")]
    with fresh_database(server, migrations) as database, running_app(database) as running:
        yield running


@pytest.fixture
def manager() -> Identity:
    """Somebody who may do everything, in a tenant."""
    roles = frozenset({"member", "manager", "admin", "editor", "owner"})
    return Identity("ann", roles, uuid4())
