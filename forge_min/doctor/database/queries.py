"""Read-only connections with short time-outs.

No setting outlives its transaction: behind a pooler the session is shared with other clients.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ... import db
from ..site import Site

SQL = db.load_sql(__package__, "doctor.sql")
CONNECT = 3  # seconds, for each host of an address


def open_connection(site: Site, key: str = "database.url") -> db.Connection:
    """Connect to the address of this setting. Raises as `db.connect`."""
    url = site.settings[key]
    with suppress(psycopg.Error):  # db.connect raises the error
        url = make_conninfo(url, connect_timeout=CONNECT)
    name = f"{site.settings['project.name']} doctor"
    return db.connect(url, application_name=name, prepare="off")


def open_owner(site: Site, stack: ExitStack) -> db.Connection | None:
    """Return a connection of the owner, if its address is set and works; D514 reports why not."""
    if site.settings["database.migrate_url"] != site.settings["database.url"]:
        with suppress(Exception):
            return stack.enter_context(open_connection(site, "database.migrate_url"))
    return None


@contextmanager
def read_only(conn: db.Connection, patience: float = 5.0) -> Iterator[None]:
    """Run a read-only transaction without a tenant.

    patience: the statement time-out, seconds.
    """
    with conn.transaction(force_rollback=True):
        conn.execute("set transaction read only")
        conn.execute(SQL["limits"], {"patience": f"{patience * 1000:.0f}"})
        yield


def parts_of(url: str) -> dict[str, Any]:
    """Return the parts of an address as libpq reads it; {} if it cannot be read."""
    try:
        return conninfo_to_dict(url)
    except psycopg.Error:
        return {}


def host_and_port(url: str) -> dict[str, str]:
    """Return host and port of an address, as arguments of psql."""
    parts = parts_of(url)
    return {
        "host": str(parts.get("host") or "localhost"),
        "port": str(parts.get("port") or 5432),
    }


def psql(statements: Sequence[str]) -> str:
    """Return the command that runs these statements; "" without any."""
    if not statements:
        return ""
    return f"psql -c {shlex.quote('; '.join(statements))}"


def role_in_database(conn: db.Connection) -> str:
    """Return our role in this database, for ALTER ROLE.

    Its settings override those of the role, the database and the server's file.
    """
    return f"{quoted(conn.info.user)} in database {quoted(conn.info.dbname)}"


def quoted(name: str) -> str:
    """Return an SQL identifier, quoted if that is necessary."""
    if re.fullmatch("[a-z_][a-z0-9_]*", name):
        return name
    return '"' + name.replace('"', '""') + '"'
