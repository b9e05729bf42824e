"""A database for one test: a copy of a template with all migrations."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .. import db

SQL = db.load_sql("forge_min.testing", "testing.sql")
QUICK = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
# JIT would compile longer than a query of a test runs.
QUICK |= {"max_connections": "200", "jit": "off"}
MEMORY = "/dev/shm"
FREE = 4 << 30  # bytes of memory: with less, the folder is on disk
PATIENCE = 0.1  # seconds that a closed session may take to end


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """The URLs of a database: as its owner, which may create databases, and as the app role."""

    __test__ = False  # pytest: not a test class

    name: str
    owner_url: str
    app_url: str


Server = db.EmbeddedServer | TestDatabase
"""A running server. For one that is not embedded, a TestDatabase on it."""


@contextmanager
def fast_server(folder: str | None = None, bin: Path | None = None) -> Iterator[db.EmbeddedServer]:
    """Start a PostgreSQL for one run of tests; its data do not survive a power failure.

    folder: parent folder of its data; None = in memory, with 4 GiB free, else on disk.
    bin: folder of PostgreSQL's programs, as for `EmbeddedServer`.

    Raises the errors of `EmbeddedServer.start`.
    """
    if folder is None and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > FREE:
        folder = MEMORY
    with tempfile.TemporaryDirectory("-tests", "forge-", folder) as parent:
        with db.EmbeddedServer(Path(parent, "pg"), settings=QUICK, bin=bin) as server:
            yield server


@contextmanager
def fresh_database(
    server: Server, migrations: Sequence[db.MigrationFile] = db.FORGE_MIGRATIONS
) -> Iterator[TestDatabase]:
    """Create a database with `migrations` and the rights of the app role; drop it afterwards.

    The first call for a set of migrations creates a template on the server, later calls copy it.
    """
    name = "test_" + os.urandom(6).hex()
    owner = _owner(server.owner_url)
    text = "\n".join(f"{file.label} {file.checksum}" for file in migrations)
    template = "template_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    ((exists, strategy),) = db.run(owner.connection(), SQL["template"], [template])
    if not exists:
        _make_template(server, migrations, template)
    owner.connection().execute(f"create database {name} template {template} strategy {strategy}")
    try:
        owner_url = make_conninfo(server.owner_url, dbname=name)
        app_url = make_conninfo(server.app_url, dbname=name)
        yield TestDatabase(name, owner_url, app_url)
    finally:
        _drop(owner.connection(), server.app_url, name)


@lru_cache
def _owner(url: str) -> db.Database:
    """Return the owner's database, with open connections: to connect takes as long as a drop."""
    owner = db.Database(url, application_name="fresh_database")
    atexit.register(owner.close)
    return owner


def _make_template(server: Server, migrations: Sequence[db.MigrationFile], name: str) -> None:
    """Create a template under a draft name, so that failed migrations leave no template."""
    draft = name + "_draft"
    conn = _owner(server.owner_url).connection()
    with db.migration_lock(conn):
        if db.run(conn, SQL["template"], [name])[0][0]:
            return  # another process was faster
        conn.execute(f"drop database if exists {draft} with (force)")
        conn.execute(f"create database {draft}")
        with db.connect(make_conninfo(server.owner_url, dbname=draft)) as draft_conn:
            db.migrate(draft_conn, migrations)
            role = str(conninfo_to_dict(server.app_url)["user"])
            db.ensure_app_role(draft_conn, role, password=None)
        conn.execute(f"alter database {draft} rename to {name}")


def _drop(conn: db.Connection, app_url: str, name: str) -> None:
    """Drop a database, even with sessions in it."""
    until = time.monotonic() + PATIENCE
    # PERF: PostgreSQL sleeps for 100 ms if a session of the database is about to end.
    while db.run(conn, SQL["sessions"], [name]) and time.monotonic() < until:
        time.sleep(0.001)
    try:
        conn.execute(f"drop database {name} with (force)")
    except psycopg.errors.InsufficientPrivilege:
        # The owner may not end the sessions of the app role, but that role may. Nor may the owner
        # end autovacuum, but DROP without FORCE does.
        with db.connect(app_url, application_name="fresh_database") as app:
            app.execute(SQL["end_sessions"], [name])
        conn.execute(SQL["end_sessions"], [name])
        conn.execute(f"drop database {name}")
