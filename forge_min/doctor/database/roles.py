"""The app's role: its privileges, missing ones, and whether row-level security binds it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import psycopg
from psycopg import sql

from ... import db
from ..finding import Finding, State, join_names, labelled, new_finding, verdict
from ..site import Site
from .code import Declarations
from .queries import SQL, open_owner, psql, quoted, read_only

PATIENCE = 1.5  # seconds that the query of one table may take
_HAS_ROWS = sql.SQL("select exists (select from public.{} where tenant_id is not null)")


_REVOKE = {
    "create in schema public": "revoke create on schema public from public, {role}",
    "create schemas": "revoke create on database {database} from public, {role}",
    "create roles": "alter role {role} nocreaterole",
    "create databases": "alter role {role} nocreatedb",
    "replicate": "alter role {role} noreplication",
    "change forge_migration": (
        "revoke insert, update, delete on forge_migration from public, {role}"
    ),
    "change forge_audit": "revoke update, delete on forge_audit from public, {role}",
}
"""Excess privileges of `role_findings`, except on tables and roles → the statement to revoke."""


class TenantTable(NamedTuple):
    """A table, or a view, of tenants' rows.

    policies: number of policies for this role.
    active: whether PostgreSQL applies them to this role.
    rows: the planner's estimate.
    """

    name: str
    table: bool
    secured: bool
    policies: int
    active: bool
    rows: float
    readable: bool


def check_role(site: Site, declared: Declarations, conn: db.Connection) -> Iterator[Finding]:
    """Check that policies bind the app's role, and find missing and excess privileges."""
    with read_only(conn):
        reasons = db.role_findings(conn, "unbound")
        ((owned,),) = db.run(conn, SQL["owned"])
        ((repair,),) = db.run(conn, SQL["bound"])
        tenants = _has_tenants(declared, _scoped(conn, declared))
        lacking = db.role_findings(conn, "lacking")
        excess = db.role_findings(conn, "excess")
    if owned and not any(reason.startswith("owns ") for reason in reasons):
        reasons.append(f"owns {owned}")
    user = conn.info.user
    if reasons:
        step = psql([repair]) if repair else ""
        message = f"{user} {' and '.join(reasons)}"
        yield new_finding("D601", _state(site, tenants), message, next=step, role=user)
    else:
        yield new_finding("D601", "ok", f"{user} owns nothing, and all policies bind it")
    yield verdict("D602", "failed", labelled(f"{user} lacks", lacking), "none")
    if excess:
        revoked = "; ".join(_revoke(privilege, user, conn.info.dbname) for privilege in excess)
        message = f"{user} may {', '.join(excess)}"
        yield new_finding("D603", "warning", message, statement=shlex.quote(revoked))
    else:
        yield new_finding("D603", "ok", "none")


def _state(site: Site, tenants: bool) -> State:
    """Return the state of a fault of isolation, which is always serious if there are tenants."""
    return "failed" if tenants else site.if_unsafe


def _revoke(privilege: str, user: str, database: str) -> str:
    """Return the statement that revokes an excess privilege, from PUBLIC as well."""
    role = quoted(user)
    verb, _, names = privilege.partition(" ")
    if verb == "truncate":
        return f"revoke truncate on {_quote_each(names)} from public, {role}"
    if verb == "act":
        return f"revoke {_quote_each(names.removeprefix('as '))} from {role}"
    return _REVOKE[privilege].format(role=role, database=quoted(database))


def _quote_each(names: str) -> str:
    return ", ".join(map(quoted, names.split(", ")))


def check_isolation(site: Site, declared: Declarations, conn: db.Connection) -> Iterator[Finding]:
    """Check the catalog of tenants' tables, and which rows the role sees without a tenant."""
    with read_only(conn):
        relations = _scoped(conn, declared)
    tenants = _has_tenants(declared, relations)
    missing = (declared.scoped or frozenset()) - {table.name for table in relations}
    wrong = [f"{name} is missing, or has no tenant_id" for name in sorted(missing)]
    tables = [relation for relation in relations if relation.table]
    for table in tables:
        gap = _gap(table)
        if gap:
            wrong.append(f"{table.name} {gap}")
    well = f"binds {conn.info.user} on {len(tables)} tables"
    yield verdict("D604", _state(site, tenants), "; ".join(wrong), well)
    readable = [relation for relation in relations if relation.readable]
    yield from _check_rows(site, conn, readable)


def _scoped(conn: db.Connection, declared: Declarations) -> list[TenantTable]:
    params = {"scoped": sorted(declared.scoped or ())}
    return [TenantTable(*row) for row in db.run(conn, SQL["scoped"], params)]


def _has_tenants(declared: Declarations, relations: list[TenantTable]) -> bool:
    """Return whether the code or the catalog has tables of tenants."""
    return bool(declared.scoped) or any(not r.name.startswith("forge_") for r in relations)


def _gap(table: TenantTable) -> str:
    if not table.secured:
        return "has no row-level security"
    if not table.policies:
        return "has no policy for this role, which therefore sees no rows"
    if not table.active:
        return "has policies that do not apply to this role"
    return ""


def _check_rows(site: Site, conn: db.Connection, tables: list[TenantTable]) -> Iterator[Finding]:
    """Query the tables as the app's role, without a tenant.

    If no row is visible, the owner or the planner knows whether the table has rows.
    """
    visible = []
    errors = []
    hidden = []
    with ExitStack() as stack:
        owner = open_owner(site, stack)
        for table in tables:
            result = _shows(conn, table.name)
            if isinstance(result, str):
                errors.append((table.name, result))
            elif result:
                visible.append(table.name)
            elif table.rows or (owner is not None and _shows(owner, table.name) is True):
                hidden.append(table.name)
    if visible:
        message = f"without a tenant, {conn.info.user} sees rows of {join_names(visible)}"
        yield new_finding("D605", "failed", message, table=quoted(visible[0]))
    elif errors:
        name, why = errors[0]
        message = f"no rows are visible; {name} cannot be read: {why}"
        yield new_finding("D605", "warning", message, table=quoted(name))
    elif hidden:
        message = f"no rows are visible of {join_names(hidden)}"
        empty = len(tables) - len(hidden)
        if empty:
            message += f"; {empty} are empty"
        yield new_finding("D605", "ok", message)
    else:
        yield new_finding("D605", "skipped", "no table of tenants has rows")


def _shows(conn: db.Connection, name: str) -> bool | str:
    """Return whether any tenant's row is visible without a tenant, or why that is unknown."""
    try:
        with read_only(conn, PATIENCE):
            row = conn.execute(_HAS_ROWS.format(sql.Identifier(name))).fetchone()
    except (psycopg.errors.QueryCanceled, psycopg.errors.InsufficientPrivilege) as err:
        return err.diag.message_primary or type(err).__name__
    return bool(row and row[0])
