"""The app's role: its privileges, missing ones, and whether row-level security binds it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import psycopg
from psycopg import sql

from ... import db
from ..finding import Finding, State, join_names, new_finding, verdict
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
        lacking, excess = db.role_findings(conn, "lacking"), db.role_findings(conn, "excess")
    if owned and not any(reason.startswith("owns ") for reason in reasons):
        reasons.append(f"owns {owned}")
    user = conn.info.user
    state: State = "failed" if tenants else site.if_unsafe
    unbound = f"{user} {' and '.join(reasons)}" if reasons else ""
    well = f"{user} owns nothing, and all policies bind it"
    yield verdict("D601", state, unbound, well, next=psql(repair) if repair else "", role=user)
    missing = f"{user} lacks: {join_names(lacking)}" if lacking else ""
    yield verdict("D602", "failed", missing, "none")
    more = f"{user} may {', '.join(excess)}" if excess else ""
    revoked = "; ".join(_revoke(privilege, user, conn.info.dbname) for privilege in excess)
    yield verdict("D603", "warning", more, "none", statement=shlex.quote(revoked))


def _revoke(privilege: str, user: str, database: str) -> str:
    """Return the statement that revokes an excess privilege, from PUBLIC as well."""
    role, (verb, _, names) = quoted(user), privilege.partition(" ")
    if verb == "truncate":
        return f"revoke truncate on {', '.join(map(quoted, names.split(', ')))} from public, {role}"
    if verb == "act":
        names = names.removeprefix("as ")
        return f"revoke {', '.join(map(quoted, names.split(', ')))} from {role}"
    return _REVOKE[privilege].format(role=role, database=quoted(database))


def check_isolation(site: Site, declared: Declarations, conn: db.Connection) -> Iterator[Finding]:
    """Check the catalog of tenants' tables, and which rows the role sees without a tenant."""
    with read_only(conn):
        relations = _scoped(conn, declared)
    tenants = _has_tenants(declared, relations)
    missing = (declared.scoped or frozenset()) - {table.name for table in relations}
    wrong = [f"{name} is missing, or has no tenant_id" for name in sorted(missing)]
    wrong += [f"{one.name} {why}" for one in relations if one.table and (why := _gap(one))]
    well = f"binds {conn.info.user} on {sum(table.table for table in relations)} tables"
    yield verdict("D604", "failed" if tenants else site.if_unsafe, "; ".join(wrong), well)
    yield from _check_rows(site, conn, [table for table in relations if table.readable])


def _scoped(conn: db.Connection, declared: Declarations) -> list[TenantTable]:
    params = {"scoped": sorted(declared.scoped or ())}
    return [TenantTable(*row) for row in db.run(conn, SQL["scoped"], params)]


def _has_tenants(declared: Declarations, relations: list[TenantTable]) -> bool:
    """Return whether the code or the catalog has tables of tenants."""
    return bool(declared.scoped) or any(not one.name.startswith("forge_") for one in relations)


def _gap(one: TenantTable) -> str:
    if not one.secured:
        return "has no row-level security"
    if not one.policies:
        return "has no policy for this role, which therefore sees no rows"
    return "" if one.active else "has policies that do not apply to this role"


def _check_rows(site: Site, conn: db.Connection, tables: list[TenantTable]) -> Iterator[Finding]:
    """Query the tables as the app's role, without a tenant.

    If no row is visible, the owner or the planner knows whether the table has rows.
    """
    seen, unread, tried, empty = [], [], [], []
    with ExitStack() as stack:
        owner = open_owner(site, stack)
        for table in tables:
            visible = _shows(conn, table.name)
            if isinstance(visible, str):
                unread.append((table.name, visible))
            elif visible:
                seen.append(table.name)
            elif table.rows or (owner is not None and _shows(owner, table.name) is True):
                tried.append(table.name)
            else:
                empty.append(table.name)
    if seen:
        message = f"without a tenant, {conn.info.user} sees rows of {join_names(seen)}"
        yield new_finding("D605", "failed", message, table=quoted(seen[0]))
    elif unread:
        name, why = unread[0]
        message = f"no rows are visible; {name} cannot be read: {why}"
        yield new_finding("D605", "warning", message, table=quoted(name))
    elif tried:
        rest = f"; {len(empty)} are empty" if empty else ""
        yield new_finding("D605", "ok", f"no rows are visible of {join_names(tried)}{rest}")
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
