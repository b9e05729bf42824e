"""The server: its version, the route to it, events, clock, migrations and disk space."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ... import db
from ..configuration import is_local, weakness
from ..finding import (
    Finding,
    State,
    any_or_ok,
    format_error,
    labelled,
    new_finding,
    ok_unless,
    verdict,
)
from ..machine import check_free_space
from ..site import Site
from .queries import (
    SQL,
    host_and_port,
    open_connection,
    parts_of,
    psql,
    read_only,
    role_in_database,
)

NEWEST = 18
SKEW = 2.0  # seconds
PASSWORD = 8  # minimum characters
PATIENCE = 2.0  # seconds that a notification may take
POOLER = "a pooler is in front of the database and does not support LISTEN"
_ADDRESSES = ("database.url", "database.direct_url", "database.migrate_url")
_STATES: dict[str, tuple[tuple[str, ...], State, str]] = {
    "D510": (("pending", "half applied"), "failed", "not applied"),
    "D511": (("changed",), "failed", "changed after they were applied"),
    "D512": (("missing",), "warning", "applied by another release"),
}


def check_server(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Check its version, and whether it accepts writes."""
    with read_only(conn):
        ((version, is_standby, is_read_only),) = db.run(conn, SQL["server"])
    newer = conn.info.server_version // 10_000 > NEWEST
    yield new_finding("D502", ok_unless(newer, "warning"), f"PostgreSQL {version}")
    if is_standby:
        yield new_finding("D507", "failed", "this server is a standby, which accepts no writes")
    elif is_read_only:
        message = f"transactions of {conn.info.user} are read-only (default_transaction_read_only)"
        yield new_finding("D507", "failed", message, next=_writing(conn))
    else:
        yield new_finding("D507", "ok", "the server accepts writes")


def _writing(conn: db.Connection) -> str:
    """Return the command that repairs it, in a session that is not read-only itself."""
    statement = f"alter role {role_in_database(conn)} set default_transaction_read_only = off"
    return f"PGOPTIONS='-c default_transaction_read_only=off' {psql([statement])}"


def check_route(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Check for a pooler, and for a network route without encryption."""
    s = site.settings
    if not db.is_pooled(conn):
        yield new_finding("D503", "ok", "none")
    elif s["database.direct_url"] == s["database.url"]:
        yield new_finding("D503", "warning", "in use, without an address past it")
    else:
        with open_connection(site, "database.direct_url") as direct:
            pooled = db.is_pooled(direct)
        if pooled:
            message = "in use, and database.direct_url leads to one, too"
            yield new_finding("D503", "warning", message)
        else:
            yield new_finding("D503", "ok", "in use, with an address past it")
    host = conn.info.host
    if conn.pgconn.ssl_in_use:
        yield new_finding("D505", "ok", "by TLS")
    elif is_local(host):
        yield new_finding("D505", "ok", "the database is on this machine")
    else:
        message = f"the connection to {host} is not encrypted"
        yield new_finding("D505", site.if_unusual, message, host=host, port=conn.info.port)


def check_events(site: Site) -> Iterator[Finding]:
    """Check whether a notification arrives on a connection like the hub's.

    Its channel is only used by this check, and needs neither a privilege nor a row.
    """
    late = f"events are found by polling, up to {site.settings['notify.poll_interval']:g} s late"
    if not site.settings["notify.listen"]:
        yield new_finding("D504", "warning", f"notify.listen is off: {late}")
        return
    with open_connection(site, "database.direct_url") as conn:
        if db.is_pooled(conn):
            yield new_finding("D504", "warning", f"{POOLER}: {late}")
            return
        channel = "forge_doctor_" + secrets.token_hex(4)
        conn.execute(f"listen {channel}")
        conn.execute("select pg_notify(%s, '')", [channel])
        if list(conn.notifies(timeout=PATIENCE, stop_after=1)):
            yield new_finding("D504", "ok", "LISTEN receives notifications")
        else:
            yield new_finding("D504", "warning", f"LISTEN receives no notification: {late}")


def check_clock(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Compare this machine's clock with the database's, in the middle of a round trip."""
    before = time.time()
    with read_only(conn):
        ((database_time,),) = db.run(conn, SQL["clock"])
    skew = database_time - (before + time.time()) / 2
    relation = "ahead of" if skew > 0 else "behind"
    message = f"the database's clock is {abs(skew):.1f} s {relation} this machine's"
    yield new_finding("D506", ok_unless(abs(skew) > SKEW, "warning"), message)


def check_migrations(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Find pending, edited and unknown migrations."""
    files = [*db.FORGE_MIGRATIONS]
    if site.root is not None:
        files += db.read_migrations(site.root / "migrations", "app")
    with read_only(conn):
        rows = db.migration_status(conn, files)
    for code, (states, state, label) in _STATES.items():
        names = [f"{row.source}/{row.name}" for row in rows if row.state in states]
        well = f"all {len(files)} are applied" if code == "D510" else "none"
        yield verdict(code, state, labelled(label, names), well)


def check_size(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Check the size of the database, and the free space of its disk if it is on this machine."""
    with read_only(conn):
        ((size, folder),) = db.run(conn, SQL["size"])
    used = f"the database has {size / (1 << 30):.2f} GiB"
    if not folder or not is_local(conn.info.host) or not os.path.isdir(folder):
        yield new_finding("D513", "ok", f"{used}; the free space of its disk is not known here")
        return
    disk = check_free_space(Path(folder), shutil.disk_usage(folder).free, 1)
    yield new_finding("D513", disk.state, f"{used}; {disk.message}", path=folder)


def check_owner(site: Site) -> Iterator[Finding]:
    """Check whether database.migrate_url works, if it differs from the other addresses."""
    s = site.settings
    if s["database.migrate_url"] in (s["database.url"], s["database.direct_url"]):
        yield new_finding("D514", "ok", "database.migrate_url is not set here")
        return
    try:
        with open_connection(site, "database.migrate_url") as conn:
            yield new_finding("D514", "ok", f"{conn.info.user} can sign in")
    except Exception as err:
        address = host_and_port(s["database.migrate_url"])
        yield new_finding("D514", "warning", format_error(err), **address)


def check_passwords(site: Site) -> Iterator[Finding]:
    """Check the passwords in the addresses of the database."""
    yield from any_or_ok("D305", _weak_passwords(site), "no password is easy to guess")


def _weak_passwords(site: Site) -> Iterator[Finding]:
    keys = {site.settings[key]: key for key in reversed(_ADDRESSES)}
    for url, key in keys.items():
        parts = parts_of(url)
        user = str(parts.get("user") or "")
        password = str(parts.get("password") or "")
        if not password:
            continue
        why = weakness(password, PASSWORD)
        if not why and password.lower() == user.lower():
            why = "is the role's name"
        if why:
            message = f"the password of {key} {why}"
            yield new_finding("D305", site.if_unusual, message, role=user)
