"""A scratch database: empty, of this owner, gone afterwards. `migrate diff` compares in it.

One that a kill left behind goes when the next one is made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ...errors import Unavailable
from ..connection import Connection, connect
from ..statements import load_sql
from .server import EmbeddedServer

SQL = load_sql("forge_min.db.embedded", "scratch.sql")
_PREFIX = "forge_scratch_"
_FORGOTTEN = 60.0  # seconds after which one that nobody is connected to has no owner any more


@contextmanager
def scratch_database(owner_url: str) -> Iterator[Connection]:
    """A connection to a new, empty database of the server at `owner_url`; dropped afterwards.

    Where that role may not create databases, it is one of an embedded server in a temporary folder.
    Raises Unavailable F408 when there is none here either, else as `connect`.
    """
    name = f"{_PREFIX}{int(time.time()):x}_{os.urandom(6).hex()}"
    database = sql.Identifier(name)
    with connect(owner_url) as owner:
        _drop_forgotten(owner)
        try:
            owner.execute(sql.SQL("create database {} template template0").format(database))
        except psycopg.errors.InsufficientPrivilege:
            with _embedded() as conn:
                yield conn
            return
        try:
            with connect(make_conninfo(owner_url, dbname=name)) as conn:
                yield conn
        finally:
            drop = sql.SQL("drop database {}").format(database)
            try:
                owner.execute(drop + sql.SQL(" with (force)"))
            except psycopg.errors.InsufficientPrivilege:
                owner.execute(drop)  # without FORCE it ends what autovacuum does there


def _drop_forgotten(owner: Connection) -> None:
    """Those that this role may drop; whose begins now, or is in use, stays."""
    for (name,) in owner.execute(SQL["unused"], [_PREFIX]).fetchall():
        began = name.removeprefix(_PREFIX).partition("_")[0]
        with suppress(ValueError, psycopg.Error):  # another one's name; or it is in use after all
            if time.time() - int(began, 16) > _FORGOTTEN:
                owner.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))


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
