"""The app's role: what it may, what it lacks, and whether row-level security binds it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import psycopg
from psycopg import sql

from ... import db
from ...db import role_findings
from ..finding import Finding, State, join_names, new_finding, skipped, verdict
from ..site import Site
from .code import ProjectCode
from .queries import SQL, open_connection, psql, quoted, read_only

PATIENCE = 1.5  # seconds that the look at one table may take
_SOMETHING = sql.SQL("select exists (select from public.{} where tenant_id is not null)")


_TAKEN = {
    "create in schema public": "revoke create on schema public from public, {role}",
    "create schemas": "revoke create on database {database} from public, {role}",
    "create roles": "alter role {role} nocreaterole",
    "create databases": "alter role {role} nocreatedb",
    "replicate": "alter role {role} noreplication",
    "change forge_migration": (
        "revoke insert, update, delete on forge_migration from public, {role}"
    ),
}
"""The excess rights of `role_findings`, but for tables and other roles → how each is taken away."""


class TenantTable(NamedTuple):
    """A table, or a view, of tenants' rows. policies: how many hold for this role. active: whether
    PostgreSQL asks them. rows: that the planner knows of.
    """

    name: str
    table: bool
    secured: bool
    policies: int
    active: bool
    owned: bool
    rows: float
    readable: bool


def check_role(site: Site, declared: ProjectCode, conn: db.Connection) -> Iterator[Finding]:
    """Who the app is, and the rights that are missing or too many."""
    with read_only(conn):
        reasons = role_findings(conn, "unbound")
        ((owned,),) = db.run(conn, SQL["owned"])
        ((mended,),) = db.run(conn, SQL["bound"])
        tenants = _tenants(conn, declared)
        lacking, excess = role_findings(conn, "lacking"), role_findings(conn, "excess")
    if owned and not any(reason.startswith("owns ") for reason in reasons):
        reasons.append(f"owns {owned}")
    user = conn.info.user
    state: State = "failed" if tenants else site.if_unsafe
    who = f"{user} {' and '.join(reasons)}" if reasons else ""
    well = f"{user} owns nothing, and no policy is passed over"
    yield verdict("D601", state, who, well, next=psql(mended) if mended else "", role=user)
    missing = f"{user} has not: {join_names(lacking)}" if lacking else ""
    yield verdict("D602", "failed", missing, "there are none")
    more = f"{user} may {', '.join(excess)}" if excess else ""
    taken = "; ".join(_taken(right, user, conn.info.dbname) for right in excess)
    yield verdict("D603", "warning", more, "there are none", statement=shlex.quote(taken))


def _taken(right: str, user: str, database: str) -> str:
    """The statement that takes away an excess right; everybody may have it, too."""
    role, (verb, _, names) = quoted(user), right.partition(" ")
    if verb == "truncate":
        return f"revoke truncate on {', '.join(map(quoted, names.split(', ')))} from public, {role}"
    if verb == "act":
        names = names.removeprefix("as ")
        return f"revoke {', '.join(map(quoted, names.split(', ')))} from {role}"
    return _TAKEN[right].format(role=role, database=quoted(database))


def check_isolation(site: Site, declared: ProjectCode, conn: db.Connection) -> Iterator[Finding]:
    """What the catalog says of tenants' tables, and what the role sees of them with no tenant."""
    with read_only(conn):
        relations = _scoped(conn, declared)
        tenants = _tenants(conn, declared)
    missing = (declared.scoped or frozenset()) - {one.name for one in relations}
    wrong = [f"{name} has no tenant_id, or is not there" for name in sorted(missing)]
    wrong += [f"{one.name} {why}" for one in relations if one.table and (why := _gap(one))]
    well = f"binds {conn.info.user} on {sum(one.table for one in relations)} tables"
    yield verdict("D604", "failed" if tenants else site.if_unsafe, "; ".join(wrong), well)
    yield from _tried(site, conn, [one for one in relations if one.readable])


def _scoped(conn: db.Connection, declared: ProjectCode) -> list[TenantTable]:
    given = {"scoped": sorted(declared.scoped or ())}
    return [TenantTable(*row) for row in db.run(conn, SQL["scoped"], given)]


def _tenants(conn: db.Connection, declared: ProjectCode) -> bool:
    """Whether there are tenants to be kept apart, by the code or by the catalog."""
    own = (one.name for one in _scoped(conn, declared) if not one.name.startswith("forge_"))
    return bool(declared.scoped) or any(own)


def _gap(one: TenantTable) -> str:
    if not one.secured:
        return "has no row-level security"
    if not one.policies:
        return "has no policy for this role, which sees no row at all"
    return "" if one.active else "has policies that PostgreSQL does not ask this role"


def _tried(site: Site, conn: db.Connection, relations: list[TenantTable]) -> Iterator[Finding]:
    """As the app's role; where nothing is seen, the owner or the planner says whether rows are
    there at all.
    """
    seen, unread, tried, empty = [], [], [], []
    with ExitStack() as stack:
        owner = _owner(site, stack)
        for one in relations:
            shown = _shows(conn, one.name)
            if isinstance(shown, str):
                unread.append((one.name, shown))
            elif shown:
                seen.append(one.name)
            elif one.rows or (owner is not None and _shows(owner, one.name) is True):
                tried.append(one.name)
            else:
                empty.append(one.name)
    if seen:
        message = f"with no tenant, {conn.info.user} sees rows of {join_names(seen)}"
        yield new_finding("D605", "failed", message, table=quoted(seen[0]))
    elif unread:
        name, why = unread[0]
        message = f"no row was seen; PostgreSQL refuses to read {name}: {why}"
        yield new_finding("D605", "warning", message, table=quoted(name))
    elif tried:
        rest = f"; {len(empty)} are empty" if empty else ""
        yield new_finding("D605", "ok", f"no row is seen of {join_names(tried)}{rest}")
    else:
        yield skipped("D605", "no table of tenants has a row")


def _owner(site: Site, stack: ExitStack) -> db.Connection | None:
    """Where an address of the owner's is given, and lets us in; D514 says why not."""
    if site.settings["database.migrate_url"] == site.settings["database.url"]:
        return None
    try:
        return stack.enter_context(open_connection(site, "database.migrate_url"))
    except Exception:
        return None


def _shows(conn: db.Connection, name: str) -> bool | str:
    """Whether a row of any tenant is visible when none is set, or why that cannot be read."""
    try:
        with read_only(conn, PATIENCE):
            row = conn.execute(_SOMETHING.format(sql.Identifier(name))).fetchone()
    except (psycopg.errors.QueryCanceled, psycopg.errors.InsufficientPrivilege) as err:
        return err.diag.message_primary or type(err).__name__
    return bool(row and row[0])
