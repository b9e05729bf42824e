"""Fixtures of this folder: the short ways of `world`, a project with its database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from forge_min.db import Connection, EmbeddedServer, connect
from forge_min.db.embedded.binaries import installed
from forge_min.testing import TestDatabase

from migrations.world import Schema, World


@pytest.fixture(scope="session")
def pg_dump(server: EmbeddedServer) -> str | None:
    """The program that fits the best server, "" where there is none. Without one, and on the
    others (None), the catalog is compared by our query alone.
    """
    with connect(server.owner_url) as conn:
        major = conn.info.server_version // 10_000
    found = installed()
    if found and found[0].major != major:
        return None
    for binaries in found:
        program = binaries.folder / "pg_dump"
        if binaries.major == major and program.exists():
            return str(program)
    return shutil.which("pg_dump") or ""


@pytest.fixture
def schema() -> Schema:
    """The short ways."""
    return Schema()


@pytest.fixture
def world(
    tmp_path: Path, server: EmbeddedServer, fresh_database: TestDatabase, pg_dump: str | None
) -> Iterator[World]:
    """A project without files, and its database."""
    world = World(tmp_path, server, fresh_database, pg_dump)
    with world.conn:
        yield world


@pytest.fixture
def conn(fresh_database: TestDatabase) -> Iterator[Connection]:
    """The owner's connection to a database of this test."""
    with connect(fresh_database.owner_url) as conn:
        yield conn
