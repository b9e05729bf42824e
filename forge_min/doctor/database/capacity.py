"""The connections that the site may open, and the settings of its sessions."""

from __future__ import annotations

from collections.abc import Iterator

from ... import db
from ..finding import Finding, new_finding, ok_unless, verdict
from ..site import Site
from .queries import SQL, psql, quoted, read_only, role_in_database

# docs/operate/scaling.md: the connections of a serving process except those for requests, of its
# worker except those for jobs, and of the admin server. Of them, hub and fetcher bypass a pooler.
SERVING = 10
WORKER = 4
ADMIN = 5
STANDBY = 2  # of a serving process to each standby, except those for requests
LIMITS = ("statement_timeout", "lock_timeout")
# `migrate up` keeps other values that the role itself has.
PRESETS = {"TimeZone": "UTC", "jit": "off"}
_ADDRESS = "forge-min config --sources"  # shows the origin of the address, and its options= win


def check_connections(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Compare the connections of all processes on all hosts with the server's limits."""
    needed = most_connections(site)
    direct = direct_connections(site)
    with read_only(conn):
        ((server, role, database, others, elsewhere, here),) = db.run(conn, SQL["sessions"])
    limits = (
        (f"role {quoted(conn.info.user)}", role, elsewhere),
        (f"database {quoted(conn.info.dbname)}", database, here),
    )
    free = server - others
    raised = []  # statements
    for owner, limit, used in limits:
        if limit >= 0:
            free = min(free, limit - used)
            if limit < needed + used:
                raised.append(f"alter {owner} connection limit {needed + used}")
    free = max(free, 0)
    standbys = _to_standbys(site)
    if db.is_pooled(conn):
        message = (
            f"up to {needed - direct} to the pooler (its max_client_conn) and {direct} directly;"
            f" the server has {max(0, free - direct)} for its pools{standbys}"
        )
        yield new_finding("D508", ok_unless(direct >= free, site.if_unsafe), message)
        return
    message = f"needs up to {needed}, and {free} are free; other sessions use {others}{standbys}"
    state = ok_unless(needed > free, site.if_unsafe)
    yield new_finding("D508", state, message, next=psql(raised))


def most_connections(site: Site) -> int:
    """Return the maximum for `serve` on all hosts, all processes with their jobs."""
    s = site.settings
    process = SERVING + s["server.threads"]
    if s["database.replica_urls"]:
        process += 1
    if s["jobs.enabled"]:
        process += WORKER + sum(s["jobs.queues"].values())
    return int(site.hosts * (s["server.processes"] * process + ADMIN))


def _to_standbys(site: Site) -> str:
    s = site.settings
    if not s["database.replica_urls"]:
        return ""
    number = site.hosts * s["server.processes"] * (s["server.threads"] + STANDBY)
    return f"; each standby needs up to {number}"


def direct_connections(site: Site) -> int:
    """Return the number of them that bypass a pooler: each hub and each fetcher."""
    s = site.settings
    process = 2 if s["jobs.enabled"] else 1
    return int(site.hosts * s["server.processes"] * process)


def check_limits(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Check the time-outs, presets and search path of the role's new sessions."""
    with read_only(conn):
        settings = {name: (value, beyond) for name, value, beyond in db.run(conn, SQL["session"])}
        ((path, has_public),) = db.run(conn, SQL["search_path"])
    change = f"alter role {role_in_database(conn)}"
    options = conn.info.options.lower()
    if not has_public:
        message = f"search_path is {path or 'empty'}, without the schema public"
        step = psql([f"{change} set search_path to public"])
        if "search_path" in options:
            step = _ADDRESS
        yield new_finding("D509", "failed", message, next=step)
        return
    wrong = []
    repairs = []  # statements for settings that `migrate up` does not repair
    for name in LIMITS:
        value, beyond = settings[name]
        configured = int(site.settings[f"database.{name}"] * 1000)
        if int(value) != configured:
            wrong.append(f"{name} is {value} ms, configured are {configured} ms")
            if beyond:
                repairs.append(f"{change} reset {name}")
    for name, preset in PRESETS.items():
        setting = settings[name][0].removeprefix("Etc/")
        if setting != preset:
            wrong.append(f"{name} is {setting}, not {preset}")
            repairs.append(f"{change} set {name} to '{preset}'")
    step = psql(repairs)
    if wrong and any(name.lower() in options for name in settings):
        wrong.append("options= in database.url overrides the role's settings")
        step = _ADDRESS
    yield verdict("D509", "warning", "; ".join(wrong), "as configured", next=step)
