"""The application's role: it reads and writes rows, and owns nothing.

Run as the owner of the tables, after migrations. Every call gives the same end state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import psycopg
from psycopg.types.json import Jsonb

from ..errors import ConfigError
from .migrate import Connection, create_migration_table, migration_lock
from .statements import load_sql
from .translate import errors_translated

SQL = load_sql("forge_min.db", "roles.sql")
PLACEHOLDER = "<the password of database.url>"


def ensure_app_role(
    conn: Connection,
    role: str,
    *,
    password: str | None,
    database: str,
    settings: Mapping[str, str] | None = None,
) -> str | None:
    """Create the role if it is missing, give it its rights in schema public and its settings.

    It may select, insert, update and delete in every table of the connected owner, present and
    future, use sequences and call functions; forge_migration it may only read. `settings` are
    written with ALTER ROLE, so that they hold behind a pooler too; roles.sql has defaults for what
    the role has no setting for. A role that is the owner itself only gets settings. A role that
    exists keeps its password. Returns None when all is done, else the SQL that somebody with more
    rights has to run (it holds a placeholder, never the password); after that, call again.
    Raises psycopg.Error on a lost connection.
    """
    values = {
        "role": role,
        "database": database,
        "settings": Jsonb(dict(settings or {})),
    }
    with migration_lock(conn):
        create = _statements(conn, "create", values, password=_hashed(conn, role, password))
        if _refused(conn, create):
            missing = _statements(conn, "create", values, password=PLACEHOLDER)
            missing += _statements(conn, "settings", values)
        else:
            create_migration_table(conn)
            missing = _refused(conn, _statements(conn, "grants", values))
            missing += _refused(conn, _statements(conn, "settings", values))
    return "".join(statement + ";\n" for statement in missing) or None


def check_bound_role(conn: Connection) -> None:
    """That row-level security binds the connected role.

    Raises ConfigError F412 for a superuser, BYPASSRLS, or (a member of) the owner of a table of
    schema public with policies: a tenant's rows would be everybody's.
    """
    reasons = role_findings(conn, "unbound")
    if reasons:
        raise ConfigError(
            f"the role {conn.info.user} of database.url {' and '.join(reasons)}, so no policy "
            "would keep one tenant's rows from another",
            code="F412",
            hint="name the app's role in database.url and the owner in database.migrate_url",
        )


def role_findings(conn: Connection, name: Literal["unbound", "lacking", "excess"]) -> list[str]:
    """What is wrong with the rights of the connected role. Only reads.

    unbound: why row-level security does not bind it ("is a superuser"). lacking: rights that
    `ensure_app_role` grants and it does not have ("insert on flights"). excess: rights that the
    app's role does not need ("create roles"); empty for a superuser.
    """
    with errors_translated():
        return [row[0] for row in conn.execute(SQL[name]).fetchall()]


def _hashed(conn: Connection, role: str, password: str | None) -> str:
    """Hashed by the client, so that no server log ever holds the password."""
    if password is None:
        return PLACEHOLDER
    encoding = conn.info.encoding
    return conn.pgconn.encrypt_password(
        password.encode(encoding), role.encode(encoding), b"scram-sha-256"
    ).decode(encoding)


def _statements(
    conn: Connection, name: str, values: Mapping[str, object], **more: object
) -> list[str]:
    return [row[0] for row in conn.execute(SQL[name], {**values, **more}).fetchall()]


def _refused(conn: Connection, statements: list[str]) -> list[str]:
    """Run them; those for which this role has not the rights."""
    refused = []
    for statement in statements:
        try:
            conn.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            refused.append(statement)
    return refused
