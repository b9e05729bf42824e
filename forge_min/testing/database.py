"""A database for one test: a copy of a template in which the migrations are applied already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ..db import (
    FORGE_MIGRATIONS,
    Connection,
    MigrationFile,
    connect,
    ensure_app_role,
    migrate,
    migration_lock,
)


class Server(Protocol):
    """A running server: any, not only an embedded one. The owner may create databases."""

    @property
    def owner_url(self) -> str:
        """The address for the role that owns the tables."""

    @property
    def app_url(self) -> str:
        """The address for the role that owns nothing."""


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """An address for each role of one database."""

    __test__ = False  # pytest: this is no test class

    name: str
    owner_url: str
    app_url: str


@contextmanager
def fresh_database(
    server: Server, migrations: Sequence[MigrationFile] = FORGE_MIGRATIONS
) -> Iterator[TestDatabase]:
    """A database with `migrations` applied and the app role's rights given; dropped afterwards.

    The first call for a set of migrations makes a template on the server; each further one copies
    it.
    """
    app = conninfo_to_dict(server.app_url)
    name = "test_" + os.urandom(6).hex()
    with connect(server.owner_url, application_name="fresh_database") as conn:
        template = _ensure_template(conn, server, migrations, str(app["user"]))
        _copy(conn, template, name)
    try:
        yield TestDatabase(
            name, _with_name(server.owner_url, name), _with_name(server.app_url, name)
        )
    finally:
        _drop(server, name)


def _drop(server: Server, name: str) -> None:
    drop = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
    with connect(server.owner_url, application_name="fresh_database") as conn:
        try:
            conn.execute(drop)
        except errors.InsufficientPrivilege:
            _end_sessions(server.app_url, name)
            conn.execute(drop)


def _end_sessions(url: str, name: str) -> None:
    """End that role's sessions in a database: the owner may not, but the role itself may."""
    with connect(url, application_name="fresh_database") as conn:
        conn.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = %s and usename = current_user",
            [name],
        )


def _ensure_template(
    conn: Connection, server: Server, migrations: Sequence[MigrationFile], role: str
) -> str:
    text = "\n".join(f"{file.label} {file.checksum}" for file in migrations)
    name = "template_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    with migration_lock(conn):
        if not conn.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            _make_template(conn, server, migrations, role, name)
    return name


def _make_template(
    conn: Connection, server: Server, migrations: Sequence[MigrationFile], role: str, name: str
) -> None:
    """Made under another name, so that a template whose migrations failed is never used."""
    draft = sql.Identifier(name + "_draft")
    conn.execute(sql.SQL("drop database if exists {} with (force)").format(draft))
    conn.execute(sql.SQL("create database {}").format(draft))
    with connect(_with_name(server.owner_url, name + "_draft")) as inside:
        migrate(inside, migrations)
        ensure_app_role(inside, role, password=None, database=name + "_draft")
    conn.execute(sql.SQL("alter database {} rename to {}").format(draft, sql.Identifier(name)))


def _copy(conn: Connection, template: str, name: str) -> None:
    try:
        conn.execute(
            sql.SQL("create database {} template {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    except errors.ObjectInUse as err:
        raise RuntimeError(f"somebody is connected to {template}, so it cannot be copied") from err


def _with_name(url: str, name: str) -> str:
    return make_conninfo(url, dbname=name)
