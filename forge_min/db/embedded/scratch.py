"""A scratch database: empty, of this owner, gone afterwards. `migrate diff` compares in it.

Its name is the same each time for one database, so the next one replaces what a kill left behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ...errors import Unavailable
from ..connection import Connection, connect
from ..migrate import migration_lock
from .server import EmbeddedServer


@contextmanager
def scratch_database(owner_url: str) -> Iterator[Connection]:
    """A connection to a new, empty database of the server at `owner_url`; dropped afterwards.

    Where that role may not create databases, it is one of an embedded server in a temporary folder.
    Raises Unavailable F408 when there is none here either, else as `connect` and `migration_lock`.
    """
    with connect(owner_url) as owner, migration_lock(owner):
        name = f"forge_scratch_{hashlib.sha256(owner.info.dbname.encode()).hexdigest()[:16]}"
        database = sql.Identifier(name)
        try:
            _drop(owner, database)
            owner.execute(sql.SQL("create database {} template template0").format(database))
        except psycopg.errors.InsufficientPrivilege:
            with _embedded() as conn:
                yield conn
            return
        try:
            with connect(make_conninfo(owner_url, dbname=name)) as conn:
                yield conn
        finally:
            _drop(owner, database)


def _drop(owner: Connection, database: sql.Identifier) -> None:
    drop = sql.SQL("drop database if exists {}").format(database)
    try:
        owner.execute(drop + sql.SQL(" with (force)"))
    except psycopg.errors.InsufficientPrivilege:
        owner.execute(drop)  # without FORCE it ends what autovacuum does there


@contextmanager
def _embedded() -> Iterator[Connection]:
    with TemporaryDirectory(prefix="forge-scratch-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedServer(Path(folder, "server"), settings={"fsync": "off"})
        try:
            server.start()
        except Unavailable as err:
            raise Unavailable(
                f"this role may not create a scratch database, and here is no other: {err.message}",
                code="F408",
                hint="give the owner CREATEDB (alter role ... createdb)",
            ) from err
        with server, connect(server.owner_url) as conn:
            yield conn
