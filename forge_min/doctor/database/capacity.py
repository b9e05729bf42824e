"""Connections that the site may open against those it can get, and what its sessions begin with."""

from __future__ import annotations

from collections.abc import Iterator

from ... import db
from ...db import is_pooled
from ..finding import Finding, new_finding, verdict
from ..site import Site
from .queries import SQL, psql, quoted, read_only, role_in_database

# docs/architecture.md, Threads: connections of a process beside its workers for requests and jobs,
# and those of the admin server. No process opens more.
OWN, ADMIN = 20, 5
LIMITS = ("statement_timeout", "lock_timeout")
_ADDRESS = "forge-min config --sources"  # where the address comes from, whose options= goes first


def check_connections(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """At most so many as all processes of one `serve` may open at once."""
    needed = most_connections(site)
    if is_pooled(conn):
        yield new_finding("D508", "ok", f"up to {needed} to the pooler, which shares its own")
        return
    with read_only(conn):
        ((server, role, database, others, elsewhere, here),) = db.run(conn, SQL["sessions"])
    user, name = quoted(conn.info.user), quoted(conn.info.dbname)
    mine = {f"role {user}": (role, elsewhere), f"database {name}": (database, here)}
    limits = {what: held for what, (most, held) in mine.items() if 0 <= most < needed + held}
    left = [most - held for most, held in mine.values() if most >= 0]
    room = max(0, min([server - others, *left]))
    message = f"up to {needed} are opened, and {room} can be had; others hold {others}"
    lifted = [f"alter {what} connection limit {needed + held}" for what, held in limits.items()]
    step = psql(*lifted) if lifted else ""
    yield new_finding("D508", "ok" if needed <= room else site.if_unsafe, message, next=step)


def most_connections(site: Site) -> int:
    """Of one `serve` with its jobs, all processes together."""
    s = site.settings
    jobs = sum(s["jobs.queues"].values()) if s["jobs.enabled"] else 0
    return int(s["server.processes"] * (OWN + s["server.threads"] + jobs) + ADMIN)


def check_limits(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """The time-outs, the time zone and the search path that the role's sessions begin with."""
    with read_only(conn):
        now = {name: (value, beyond) for name, value, beyond in db.run(conn, SQL["session"])}
        ((path, finds),) = db.run(conn, SQL["search_path"])
    here = f"alter role {role_in_database(conn)}"
    options = conn.info.options.lower()
    if not finds:
        message = f"search_path is {path or 'empty'}, in which no table of public is found"
        given = "search_path" in options
        step = _ADDRESS if given else psql(f"{here} set search_path to public")
        yield new_finding("D509", "failed", message, next=step)
        return
    wrong, by_hand = [], []  # the second: what `migrate up` does not mend
    for name in LIMITS:
        wanted, (value, beyond) = int(site.settings[f"database.{name}"] * 1000), now[name]
        if int(value) != wanted:
            wrong.append(f"{name} is {value} ms, configured are {wanted}")
            by_hand += [f"{here} reset {name}"] if beyond else []
    zone = now["TimeZone"][0]
    if zone not in ("UTC", "Etc/UTC"):
        wrong.append(f"the time zone is {zone}, not UTC")
        by_hand.append(f"{here} set timezone to 'UTC'")  # migrate keeps one that the role has
    step = psql(*by_hand) if by_hand else ""
    if wrong and any(name.lower() in options for name in now):
        wrong.append("what options= of its address says goes before that")
        step = _ADDRESS
    yield verdict("D509", "warning", "; ".join(wrong), "as configured", next=step)
