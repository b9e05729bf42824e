"""A database for one test: a copy of a template in which the migrations are applied already."""

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
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .. import db

SQL = db.load_sql("forge_min.testing", "testing.sql")
QUICK = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
QUICK |= {"max_connections": "200", "jit": "off"}  # JIT: longer to compile than to run, here
MEMORY = "/dev/shm"
ROOM = 4 << 30  # bytes: below it a folder in memory is left to others
PATIENCE = 0.1  # seconds in which a session that was closed may end


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """An address for each role of one database: the owner, who may create others, and the app."""

    __test__ = False  # pytest: this is no test class

    name: str
    owner_url: str
    app_url: str


Server = db.EmbeddedServer | TestDatabase
"""What runs already; a TestDatabase of yours stands for one that is not embedded."""


@contextmanager
def fast_server(folder: str | None = None, bin: Path | None = None) -> Iterator[db.EmbeddedServer]:
    """A PostgreSQL for one run of tests, without what makes data outlive a power cut.

    folder: where its data lie meanwhile; None = in memory, where there is room. bin: PostgreSQL's
    programs, as for `EmbeddedServer`. Raises as `EmbeddedServer.start`.
    """
    if folder is None and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        folder = MEMORY
    with tempfile.TemporaryDirectory("-tests", "forge-", folder) as place:
        with db.EmbeddedServer(Path(place, "pg"), settings=QUICK, bin=bin) as server:
            _greet_quickly(server)
            yield server


def _greet_quickly(server: db.EmbeddedServer) -> None:
    """Have passwords hashed once instead of 4,096 times at each connect, from PostgreSQL 16 on:
    those of this server are random, so nobody can guess them.
    """
    with db.connect(server.admin_url) as conn:
        if conn.info.server_version < 160000:
            return
        conn.execute("alter system set scram_iterations = 1")
        conn.execute("select pg_reload_conf()")
        conn.execute("set scram_iterations = 1")
        for url in (server.admin_url, server.owner_url, server.app_url):
            parts = conninfo_to_dict(url)
            role, password = sql.Identifier(str(parts["user"])), str(parts["password"])
            conn.execute(sql.SQL("alter role {} password {}").format(role, password))


@contextmanager
def fresh_database(
    server: Server, migrations: Sequence[db.MigrationFile] = db.FORGE_MIGRATIONS
) -> Iterator[TestDatabase]:
    """A database with `migrations` applied and the app role's rights given; dropped afterwards.

    The first call for a set of migrations makes a template on the server; each further one copies
    it.
    """
    name, owner = "test_" + os.urandom(6).hex(), _owner(server.owner_url)
    text = "\n".join(f"{file.label} {file.checksum}" for file in migrations)
    template = "template_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    ((made, strategy),) = db.run(owner.connection(), SQL["template"], [template])
    if not made:
        _make_template(server, migrations, template)
    owner.connection().execute(f"create database {name} template {template} strategy {strategy}")
    try:
        urls = (make_conninfo(url, dbname=name) for url in (server.owner_url, server.app_url))
        yield TestDatabase(name, *urls)
    finally:
        _drop(owner.connection(), server.app_url, name)


@lru_cache
def _owner(url: str) -> db.Database:
    """The owner's connections, kept open: to connect takes as long as to drop a database."""
    owner = db.Database(url, application_name="fresh_database")
    atexit.register(owner.close)
    return owner


def _make_template(server: Server, migrations: Sequence[db.MigrationFile], name: str) -> None:
    """Made under another name, so that a template whose migrations failed is never used."""
    draft, conn = name + "_draft", _owner(server.owner_url).connection()
    with db.migration_lock(conn):
        if db.run(conn, SQL["template"], [name])[0][0]:
            return  # somebody else was faster
        conn.execute(f"drop database if exists {draft} with (force)")
        conn.execute(f"create database {draft}")
        with db.connect(make_conninfo(server.owner_url, dbname=draft)) as inside:
            db.migrate(inside, migrations)
            role = str(conninfo_to_dict(server.app_url)["user"])
            db.ensure_app_role(inside, role, password=None, database=draft)
        conn.execute(f"alter database {draft} rename to {name}")


def _drop(conn: db.Connection, app_url: str, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    until = time.monotonic() + PATIENCE
    # PERF: PostgreSQL sleeps for 100 ms when it meets a session that is about to end.
    while db.run(conn, SQL["sessions"], [name]) and time.monotonic() < until:
        time.sleep(0.001)
    try:
        conn.execute(f"drop database {name} with (force)")
    except psycopg.errors.InsufficientPrivilege:
        # The owner may end neither the sessions of the app's role, as that role itself may, nor
        # autovacuum's, as DROP does without FORCE.
        with db.connect(app_url, application_name="fresh_database") as app:
            app.execute(SQL["end_sessions"], [name])
        conn.execute(SQL["end_sessions"], [name])
        conn.execute(f"drop database {name}")
