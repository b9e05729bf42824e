"""The application's role: it reads and writes rows, and owns nothing.

Run as the owner of the tables, after migrations. Every call gives the same end state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from .migrate import Connection, create_migration_table, migration_lock

# Written where the role has no such setting yet. The app relies on UTC: rows come back in it.
DEFAULTS = {"statement_timeout": "30s", "lock_timeout": "5s", "timezone": "UTC"}
OWN_OBJECTS = """
select case when c.relkind = 'S' then 'sequence' else 'table' end, c.relname
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  and pg_has_role(c.relowner, 'USAGE')
order by 1, 2"""
OWN_FUNCTIONS = """
select p.oid::regprocedure::text from pg_proc p
where p.pronamespace = 'public'::regnamespace and pg_has_role(p.proowner, 'USAGE')
  and p.prokind = 'f' and not p.prosecdef
order by 1"""
SET_NOW = """
select coalesce(array_agg(setting), '{}')
from pg_db_role_setting s, unnest(s.setconfig) setting
where s.setrole = to_regrole(%s) and s.setdatabase = 0"""


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
    written with ALTER ROLE, so that they hold behind a pooler too; DEFAULTS fill in what the
    role has no setting for. A role that is the owner
    itself only gets settings. A role that exists keeps its password. Returns None when all is
    done, else the SQL that somebody with more rights has to run (it holds a placeholder, never
    the password); after that, call again. Raises psycopg.Error on a lost connection.
    """
    with migration_lock(conn):
        create = _create(conn, role, password)
        if not _exists(conn, role) and not _try(conn, create):
            missing = [_create(conn, role, None), *_settings(conn, role, settings or {})]
        else:
            steps = [*_grants(conn, role, database), *_settings(conn, role, settings or {})]
            missing = [step for step in steps if not _try(conn, step)]
        return "".join(step.as_string(conn) + ";\n" for step in missing) or None


def _create(conn: Connection, role: str, password: str | None) -> sql.Composed:
    """CREATE ROLE; the password goes over already hashed, so that no server log ever holds it."""
    shown = "<the password of database.url>"
    if password is not None:
        encoding = conn.info.encoding
        shown = conn.pgconn.encrypt_password(
            password.encode(encoding), role.encode(encoding), b"scram-sha-256"
        ).decode(encoding)
    return sql.SQL("create role {} login password {}").format(
        sql.Identifier(role), sql.Literal(shown)
    )


def _grants(conn: Connection, role: str, database: str) -> list[sql.Composed]:
    if role == _scalar(conn, "select current_user"):
        return []
    create_migration_table(conn)
    name = sql.Identifier(role)
    public = sql.SQL("alter default privileges in schema public grant {} to {}")
    steps = [
        sql.SQL("grant connect on database {} to {}").format(sql.Identifier(database), name)
        for _ in _lacks(conn, "has_database_privilege", role, database, "CONNECT")
    ]
    steps += [
        sql.SQL("grant usage on schema public to {}").format(name)
        for _ in _lacks(conn, "has_schema_privilege", role, "public", "USAGE")
    ]
    objects = conn.execute(OWN_OBJECTS).fetchall()
    tables = [sql.Identifier("public", row[1]) for row in objects if row[0] == "table"]
    sequences = [sql.Identifier("public", row[1]) for row in objects if row[0] == "sequence"]
    functions = [sql.SQL(row[0]) for row in conn.execute(OWN_FUNCTIONS).fetchall()]
    for rights, kind, found in (
        ("select, insert, update, delete", "table", tables),
        ("usage, select", "sequence", sequences),
        ("execute", "function", functions),
    ):
        if found:
            steps.append(
                sql.SQL(f"grant {rights} on {kind} {{}} to {{}}").format(
                    sql.SQL(", ").join(found), name
                )
            )
        steps.append(public.format(sql.SQL(f"{rights} on {kind}s"), name))
    steps.append(
        sql.SQL("revoke insert, update, delete on public.forge_migration from {}").format(name)
    )
    return steps


def _settings(conn: Connection, role: str, settings: Mapping[str, str]) -> list[sql.Composed]:
    found = _scalar(conn, SET_NOW, sql.Identifier(role).as_string(conn)) or []
    now = {entry.partition("=")[0].lower(): entry.partition("=")[2] for entry in found}
    wanted = {name: value for name, value in DEFAULTS.items() if name not in now} | dict(settings)
    return [
        sql.SQL("alter role {} set {} = {}").format(
            sql.Identifier(role), sql.Identifier(name), sql.Literal(value)
        )
        for name, value in wanted.items()
        if now.get(name.lower()) != value
    ]


def _try(conn: Connection, step: sql.Composed) -> bool:
    try:
        conn.execute(step)
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _exists(conn: Connection, role: str) -> bool:
    return bool(_scalar(conn, "select count(*) from pg_roles where rolname = %s", role))


def _lacks(conn: Connection, function: str, role: str, name: str, right: str) -> list[str]:
    held = _scalar(conn, f"select {function}(%s::text, %s::text, %s::text)", role, name, right)
    return [] if held else [right]


def _scalar(conn: Connection, query: str, *params: object) -> Any:
    row = conn.execute(sql.SQL(query), params or None).fetchone()
    return row[0] if row else None
