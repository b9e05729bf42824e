"""The server: its version, the way to it, how its events arrive, its clock, migrations and disk."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ... import db
from ...db import is_pooled
from ..configuration import is_local, weakness
from ..finding import Finding, State, format_error, join_names, new_finding, verdict
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
PASSWORD = 8  # characters at least
PATIENCE = 2.0  # seconds that a notification may take
POOLER = "a pooler stands before the database, and LISTEN does not pass through it"
_ADDRESSES = ("database.url", "database.direct_url", "database.migrate_url")
_STATES: dict[str, tuple[tuple[str, ...], State, str]] = {
    "D510": (("pending", "half applied"), "failed", "not applied"),
    "D511": (("changed",), "failed", "changed after they were applied"),
    "D512": (("missing",), "warning", "applied by another release"),
}


def check_server(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Its version, and whether it takes writes."""
    with read_only(conn):
        ((version, follows, refuses),) = db.run(conn, SQL["server"])
    newer = conn.info.server_version // 10_000 > NEWEST
    yield new_finding("D502", "warning" if newer else "ok", f"PostgreSQL {version}")
    if follows:
        yield new_finding("D507", "failed", "this server follows another, and takes no writes")
    elif refuses:
        message = f"transactions of {conn.info.user} are read-only (default_transaction_read_only)"
        yield new_finding("D507", "failed", message, next=_writing(conn))
    else:
        yield new_finding("D507", "ok", "the server takes writes")


def _writing(conn: db.Connection) -> str:
    """The session that changes it must be no such one itself."""
    change = psql(f"alter role {role_in_database(conn)} set default_transaction_read_only = off")
    return f"PGOPTIONS='-c default_transaction_read_only=off' {change}"


def check_way(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """What stands between: a pooler, a network that could listen."""
    s = site.settings
    if not is_pooled(conn):
        yield new_finding("D503", "ok", "there is none")
    elif s["database.direct_url"] == s["database.url"]:
        yield new_finding("D503", "warning", "there is one, and no address past it")
    else:
        with open_connection(site, "database.direct_url") as direct:
            behind = is_pooled(direct)
        where = "and database.direct_url leads to one, too" if behind else "with an address past it"
        yield new_finding("D503", "warning" if behind else "ok", f"there is one, {where}")
    host = conn.info.host
    if conn.pgconn.ssl_in_use:
        yield new_finding("D505", "ok", "by TLS")
    elif is_local(host):
        yield new_finding("D505", "ok", "the database is on this machine")
    else:
        message = f"there is none on the way to {host}"
        yield new_finding("D505", site.if_unusual, message, host=host, port=conn.info.port)


def check_events(site: Site) -> Iterator[Finding]:
    """Whether a notification arrives on a connection of the hub's kind.

    It goes to a channel that only this check uses, and needs no right and no row.
    """
    late = f"events are found by polling, up to {site.settings['notify.poll_interval']:g} s late"
    if not site.settings["notify.listen"]:
        yield new_finding("D504", "warning", f"notify.listen is off: {late}")
        return
    with open_connection(site, "database.direct_url") as conn:
        if is_pooled(conn):
            yield new_finding("D504", "warning", f"{POOLER}: {late}")
            return
        channel = "forge_doctor_" + secrets.token_hex(4)
        conn.execute(f"listen {channel}")
        conn.execute("select pg_notify(%s, '')", [channel])
        if list(conn.notifies(timeout=PATIENCE, stop_after=1)):
            yield new_finding("D504", "ok", "LISTEN hears a notification")
        else:
            yield new_finding("D504", "warning", f"LISTEN hears nothing: {late}")


def check_clock(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """This machine's clock against the database's, in the middle of a round trip."""
    before = time.time()
    with read_only(conn):
        ((there,),) = db.run(conn, SQL["clock"])
    skew = there - (before + time.time()) / 2
    way = "ahead of" if skew > 0 else "behind"
    message = f"the database's is {abs(skew):.1f} s {way} this machine's"
    yield new_finding("D506", "warning" if abs(skew) > SKEW else "ok", message)


def check_migrations(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Pending, edited, and unknown ones."""
    files = [*db.FORGE_MIGRATIONS]
    if site.root is not None:
        files += db.read_migrations(site.root / "migrations", "app")
    with read_only(conn):
        rows = db.migration_status(conn, files)
    for code, (states, state, what) in _STATES.items():
        names = join_names(f"{row.source}/{row.name}" for row in rows if row.state in states)
        well = f"all {len(files)} are applied" if code == "D510" else "there are none"
        yield verdict(code, state, names and f"{what}: {names}", well)


def check_size(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """How large the database is, and the room of its disk where that can be seen from here."""
    with read_only(conn):
        ((size, folder),) = db.run(conn, SQL["size"])
    size_text = f"the database has {size / (1 << 30):.2f} GiB"
    if not folder or not is_local(conn.info.host) or not os.path.isdir(folder):
        yield new_finding(
            "D513", "ok", f"{size_text}; the room of its disk cannot be seen from here"
        )
        return
    free = shutil.disk_usage(folder).free
    seen = check_free_space(Path(folder), free, 1)
    yield new_finding("D513", seen.state, f"{size_text}; {seen.message}", path=folder)


def check_owner(site: Site) -> Iterator[Finding]:
    """Whether database.migrate_url lets us in, where it is another one."""
    s = site.settings
    if s["database.migrate_url"] in (s["database.url"], s["database.direct_url"]):
        yield new_finding("D514", "ok", "database.migrate_url is not set here")
        return
    try:
        with open_connection(site, "database.migrate_url") as conn:
            yield new_finding("D514", "ok", f"lets {conn.info.user} in")
    except Exception as err:
        yield new_finding(
            "D514", "warning", format_error(err), **host_and_port(s["database.migrate_url"])
        )


def check_passwords(site: Site) -> Iterator[Finding]:
    """Passwords in the addresses of the database."""
    wrong = {}
    for url, key in {site.settings[key]: key for key in reversed(_ADDRESSES)}.items():
        user, password = (str(parts_of(url).get(name) or "") for name in ("user", "password"))
        weak = password and weakness(password, PASSWORD)
        if weak or (password and password.lower() == user.lower()):
            wrong[key] = user, weak or "is the role's name"
    for key, (user, weak) in wrong.items():
        yield new_finding("D305", site.if_unusual, f"the one of {key} {weak}", role=user)
    if not wrong:
        yield new_finding("D305", "ok", "none that is guessed first")
