"""Connections that only read, and soon give up.

No setting outlives its transaction: behind a pooler the session is the next one's.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ... import db
from ..site import Site

SQL = db.load_sql(__package__, "doctor.sql")
CONNECT = 3  # seconds, for each host of an address


def open_connection(site: Site, key: str = "database.url") -> db.Connection:
    """A connection to the address that this setting has. Raises as `db.connect`."""
    url = site.settings[key]
    try:
        url = make_conninfo(url, connect_timeout=CONNECT)
    except psycopg.Error:
        pass  # db.connect says what is wrong with it
    name = f"{site.settings['project.name']} doctor"
    return db.connect(url, application_name=name, prepare="off")


@contextmanager
def read_only(conn: db.Connection, patience: float = 5.0) -> Iterator[None]:
    """A transaction in which nothing can be written, no tenant is set, and a statement may take
    `patience` seconds.
    """
    with conn.transaction(force_rollback=True):
        conn.execute("set transaction read only")
        conn.execute(SQL["limits"], {"patience": f"{patience * 1000:.0f}"})
        yield


def parts_of(url: str) -> dict[str, Any]:
    """What an address says, as libpq reads it; nothing where it cannot be read."""
    try:
        return conninfo_to_dict(url)
    except psycopg.Error:
        return {}


def host_and_port(url: str) -> dict[str, str]:
    """host and port of an address, as psql takes them."""
    given = parts_of(url)
    host, port = given.get("host") or "localhost", given.get("port") or 5432
    return {"host": str(host), "port": str(port)}


def psql(*statements: str) -> str:
    """The command that sends them."""
    return f"psql -c {shlex.quote('; '.join(statements))}"


def role_in_database(conn: db.Connection) -> str:
    """Us in this database, as ALTER ROLE names it: what is set there goes before what the role, the
    database or the server's file says.
    """
    return f"{quoted(conn.info.user)} in database {quoted(conn.info.dbname)}"


def quoted(name: str) -> str:
    """As SQL takes it; plain where it can be."""
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'
