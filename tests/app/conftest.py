"""The wide project on a database of the test alone; started by the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest
from forge_min import db
from forge_min.app import Runtime
from forge_min.auth import accounts, credentials
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


class Anna(NamedTuple):
    """A member and manager of the tenant north, and not of south. headers: what she sends."""

    id: UUID
    north: UUID
    south: UUID
    headers: dict[str, str]


@pytest.fixture
def anna(wide_database: TestDatabase) -> Anna:
    """In the project's database."""
    with db.connect(wide_database.app_url) as conn:
        user = accounts.create_user(conn, "anna@example.com", roles=["member", "manager"])
        north, south = (accounts.create_tenant(conn, slug) for slug in ("north", "south"))
        accounts.grant(conn, user, [], north)
        bearer = {"Authorization": f"Bearer {credentials.create_key(conn, user)}"}
    return Anna(user, north, south, bearer)


@pytest.fixture
def site(wide_database: TestDatabase) -> Iterator[Runtime]:
    """The started project."""
    with running_app(wide_database) as running:
        yield running
