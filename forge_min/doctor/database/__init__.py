"""Checks that need parts of a running site: its code, the compiled core, psycopg, a database.

All checks share one database connection; if it is lost, the rest is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import psycopg

from ... import db
from ...errors import ForgeError
from ..finding import Finding, format_error, new_finding
from ..site import Site
from ..time_limit import run_check
from . import server
from .capacity import check_connections, check_limits
from .code import Declarations, check_code, check_core, check_driver, check_mail
from .jobs import check_jobs
from .lists import check_lists
from .queries import host_and_port, open_connection
from .roles import check_isolation, check_role

_HOLDERS = (
    'psql -c "select pid, relation::regclass, mode from pg_locks '
    "where granted and mode = 'AccessExclusiveLock'\""
)
_NOT_MIGRATED = psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn
Check = Callable[[db.Connection], Iterable[Finding]]


def check_services(site: Site) -> list[Finding]:
    """Run all of them, in order."""
    declared = Declarations()
    results = [new_finding("D104", "ok", "every part loads")]
    results += run_check("D102", partial(check_core, site))
    results += run_check("D103", partial(check_driver, site))
    results += run_check("D105", partial(check_code, site, declared))
    results += run_check("D305", partial(server.check_passwords, site))
    results += run_check("D309", partial(check_mail, site))
    conns: list[db.Connection] = []
    results += run_check("D501", partial(_connect, site, conns))
    checks: dict[str, Check] = {
        "D502": partial(server.check_server, site),
        "D503": partial(server.check_route, site),
        "D504": lambda conn: server.check_events(site),
        "D506": partial(server.check_clock, site),
        "D508": partial(check_connections, site),
        "D509": partial(check_limits, site),
        "D510": partial(server.check_migrations, site),
        "D513": partial(server.check_size, site),
        "D514": lambda conn: server.check_owner(site),
        "D515": partial(check_lists, site, declared),
        "D601": partial(check_role, site, declared),
        "D604": partial(check_isolation, site, declared),
        "D701": partial(check_jobs, site, declared),
    }
    try:
        for code, check in checks.items():
            results += _check_on_connection(code, check, conns)
    finally:
        for conn in conns:
            conn.close()
    return results


def _connect(site: Site, conns: list[db.Connection]) -> Iterator[Finding]:
    url = site.settings["database.url"]
    if not url:
        message = "database.url is not set"
        step = "export FORGE_DATABASE_URL=postgresql://..."
        if not site.prod:
            message += ", and no embedded database is running"
            step = "forge-min serve"
        yield new_finding("D501", site.if_unsafe, message, next=step)
        return
    try:
        conn = open_connection(site)
    except Exception as err:
        yield new_finding("D501", "failed", format_error(err), **host_and_port(url))
        return
    conns.append(conn)
    info = conn.info
    address = f"{info.host or 'the local socket'}:{info.port}"
    yield new_finding("D501", "ok", f"{info.dbname} at {address}, as {info.user}")


def _check_on_connection(code: str, check: Check, conns: list[db.Connection]) -> list[Finding]:
    if not conns or conns[0].closed:
        return [new_finding(code, "skipped", "no database")]
    conn = conns[0]
    results = run_check(code, partial(_translating, code, check, conn))
    if not db.is_idle(conn):  # it was lost, or hangs: no check uses it again
        conn.close()
    return results


def _translating(code: str, check: Check, conn: db.Connection) -> Iterator[Finding]:
    """Run a check; it is skipped if no migration has created its tables yet."""
    try:
        with db.errors_translated():
            yield from check(conn)
    except (psycopg.Error, ForgeError) as err:
        cause = err.__cause__
        if isinstance(cause, _NOT_MIGRATED):
            yield new_finding(code, "skipped", "its tables do not exist yet (D510)")
        elif isinstance(cause, psycopg.errors.LockNotAvailable):
            message = "another session has locked its tables"
            yield new_finding(code, "failed", message, next=_HOLDERS)
        else:
            raise


__all__ = ["check_services"]
