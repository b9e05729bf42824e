"""The connections that the site may open, and the settings of its sessions."""

from __future__ import annotations

from collections.abc import Iterator

from ... import db
from ..finding import Finding, new_finding, verdict
from ..site import Site
from .queries import SQL, psql, quoted, read_only, role_in_database

# docs/operate/scaling.md: the connections of a serving process except those for requests, of its
# worker except those for jobs, and of the admin server. Of them, hub and fetcher bypass a pooler.
OWN, WORKER, ADMIN = 10, 4, 5
STANDBY = 2  # of a serving process to each standby, except those for requests
LIMITS = ("statement_timeout", "lock_timeout")
# `migrate up` keeps other values that the role itself has.
PRESETS = {"TimeZone": "UTC", "jit": "off"}
_ADDRESS = "forge-min config --sources"  # shows the origin of the address, and its options= win


def check_connections(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Compare the connections of all processes on all hosts with the server's limits."""
    needed, direct = most_connections(site), direct_connections(site)
    with read_only(conn):
        ((server, role, database, others, elsewhere, here),) = db.run(conn, SQL["sessions"])
    user, name = quoted(conn.info.user), quoted(conn.info.dbname)
    mine = {f"role {user}": (role, elsewhere), f"database {name}": (database, here)}
    limits = {what: held for what, (most, held) in mine.items() if 0 <= most < needed + held}
    left = [most - held for most, held in mine.values() if most >= 0]
    free = max(0, min([server - others, *left]))
    if db.is_pooled(conn):
        message = (
            f"up to {needed - direct} to the pooler (its max_client_conn) and {direct} directly;"
            f" the server has {max(0, free - direct)} for its pools{_to_standbys(site)}"
        )
        yield new_finding("D508", "ok" if direct < free else site.if_unsafe, message)
        return
    message = f"needs up to {needed}, and {free} are free; other sessions use {others}"
    message += _to_standbys(site)
    raised = [f"alter {what} connection limit {needed + held}" for what, held in limits.items()]
    step = psql(*raised) if raised else ""
    yield new_finding("D508", "ok" if needed <= free else site.if_unsafe, message, next=step)


def most_connections(site: Site) -> int:
    """Return the maximum for `serve` on all hosts, all processes with their jobs."""
    s = site.settings
    jobs = WORKER + sum(s["jobs.queues"].values()) if s["jobs.enabled"] else 0
    own = OWN + bool(s["database.replica_urls"])
    return int(site.hosts * (s["server.processes"] * (own + s["server.threads"] + jobs) + ADMIN))


def _to_standbys(site: Site) -> str:
    s = site.settings
    number = site.hosts * s["server.processes"] * (s["server.threads"] + STANDBY)
    return f"; each standby needs up to {number}" if s["database.replica_urls"] else ""


def direct_connections(site: Site) -> int:
    """Return the number of them that bypass a pooler: each hub and each fetcher."""
    s = site.settings
    return int(site.hosts * s["server.processes"] * (1 + s["jobs.enabled"]))


def check_limits(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Check the time-outs, presets and search path of the role's new sessions."""
    with read_only(conn):
        now = {name: (value, beyond) for name, value, beyond in db.run(conn, SQL["session"])}
        ((path, finds),) = db.run(conn, SQL["search_path"])
    here = f"alter role {role_in_database(conn)}"
    options = conn.info.options.lower()
    if not finds:
        message = f"search_path is {path or 'empty'}, without the schema public"
        in_address = "search_path" in options
        step = _ADDRESS if in_address else psql(f"{here} set search_path to public")
        yield new_finding("D509", "failed", message, next=step)
        return
    wrong, by_hand = [], []  # by_hand: statements for settings that `migrate up` does not repair
    for name in LIMITS:
        wanted, (value, beyond) = int(site.settings[f"database.{name}"] * 1000), now[name]
        if int(value) != wanted:
            wrong.append(f"{name} is {value} ms, configured are {wanted} ms")
            by_hand += [f"{here} reset {name}"] if beyond else []
    for name, preset in PRESETS.items():
        setting = now[name][0].removeprefix("Etc/")
        if setting != preset:
            wrong.append(f"{name} is {setting}, not {preset}")
            by_hand.append(f"{here} set {name} to '{preset}'")
    step = psql(*by_hand) if by_hand else ""
    if wrong and any(name.lower() in options for name in now):
        wrong.append("options= in database.url overrides the role's settings")
        step = _ADDRESS
    yield verdict("D509", "warning", "; ".join(wrong), "as configured", next=step)
