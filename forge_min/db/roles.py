"""The application's role, which reads and writes rows and owns nothing.

Run as the owner of the tables, after migrations. Every function is idempotent.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from ..errors import ConfigError
from ..sql_files import load_sql
from .connection import AnyConnection
from .migrate import create_migration_table, migration_lock
from .translate import errors_translated

SQL = load_sql("forge_min.db", "roles.sql")
PLACEHOLDER = "<the password of database.url>"


def ensure_app_role(
    conn: AnyConnection,
    role: str,
    *,
    password: str | None,
    settings: Mapping[str, str] | None = None,
) -> str | None:
    """Create the role if it is missing, and grant its rights in schema public.

    The role may select, insert, update and delete in every present and future table of the
    connected owner, use sequences and call functions. It may only read forge_migration, and neither
    update nor delete rows of the history, forge_audit. If the role is the owner itself, only the
    settings are written.

    conn: connected as the owner of the tables.
    role: its name.
    password: of a new role; an existing role keeps its password. None: a placeholder.
    settings: written with ALTER ROLE, so that they apply behind a pooler too. roles.sql has
        defaults for missing ones.

    Returns None when all is done, else SQL that a role with more rights must run before the next
    call; it holds a placeholder, never the password. Raises psycopg.Error if the connection is
    lost.
    """
    values = {
        "role": role,
        "password": _hashed(conn, role, password),
        "database": conn.info.dbname,
        "settings": Jsonb(dict(settings or {})),
    }
    with migration_lock(conn):
        if _refused(conn, _statements(conn, "create", values)):
            values["password"] = PLACEHOLDER
            refused = _statements(conn, "create", values)
            refused += _statements(conn, "settings", values)
            missing = [statement for statement, _ in refused]
        else:
            create_migration_table(conn)
            missing = _refused(conn, _statements(conn, "grants", values))
            missing += _refused(conn, _statements(conn, "settings", values))
    return "".join(statement + ";\n" for statement in missing) or None


def check_bound_role(conn: AnyConnection) -> None:
    """Check that row-level security applies to the connected role.

    Raises ConfigError F412 for a superuser, a role with BYPASSRLS, and the owner (or a member of
    the owner) of a table with policies in schema public: it would see the rows of all tenants.
    """
    reasons = role_findings(conn, "unbound")
    if reasons:
        raise ConfigError(
            f"the role {conn.info.user} of database.url {' and '.join(reasons)}, so row-level "
            "security would not separate the tenants",
            code="F412",
            hint="name the app's role in database.url and the owner in database.migrate_url",
        )


def role_findings(conn: AnyConnection, name: Literal["unbound", "lacking", "excess"]) -> list[str]:
    """Return problems with the rights of the connected role. Only reads.

    name: "unbound": reasons why row-level security does not apply to it ("is a superuser").
        "lacking": rights of `ensure_app_role` that it does not have ("insert on flights").
        "excess": rights that the app's role does not need ("create roles"); [] for a superuser.
    """
    with errors_translated():
        return [row[0] for row in conn.execute(SQL[name]).fetchall()]


def _hashed(conn: AnyConnection, role: str, password: str | None) -> str:
    """Hash the password here, so that no server log contains it."""
    if password is None:
        return PLACEHOLDER
    encoding = conn.info.encoding
    secret = password.encode(encoding)
    user = role.encode(encoding)
    return conn.pgconn.encrypt_password(secret, user, b"scram-sha-256").decode(encoding)


def _statements(conn: AnyConnection, name: str, values: Mapping[str, object]) -> list[Any]:
    return conn.execute(SQL[name], values).fetchall()


def _refused(conn: AnyConnection, statements: list[Any]) -> list[str]:
    """Run the statements; return those that this role has no right to run."""
    refused = []
    for statement, is_allowed in statements:
        if is_allowed:
            with suppress(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)
                continue
        refused.append(statement)
    return refused
