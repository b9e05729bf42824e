"""A scratch database: empty, of this owner, gone afterwards. `migrate diff` compares in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ..errors import Unavailable
from .connection import Connection, connect


@contextmanager
def scratch_database(owner_url: str) -> Iterator[Connection]:
    """A connection to a new, empty database of the server at `owner_url`; dropped afterwards.

    Raises Unavailable F408 when that role may not create databases, else as `connect`.
    """
    name = "forge_scratch_" + os.urandom(6).hex()
    database = sql.Identifier(name)
    with connect(owner_url) as owner:
        try:
            owner.execute(sql.SQL("create database {} template template0").format(database))
        except psycopg.errors.InsufficientPrivilege:
            raise Unavailable(
                "this role may not create a scratch database",
                code="F408",
                hint="give the owner CREATEDB (alter role ... createdb)",
            ) from None
        try:
            with connect(make_conninfo(owner_url, dbname=name)) as conn:
                yield conn
        finally:
            owner.execute(sql.SQL("drop database {} with (force)").format(database))
