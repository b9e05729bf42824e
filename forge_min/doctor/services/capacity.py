"""Connections that the site may open against those it can get, and what its sessions begin with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from ... import db
from ...notify.link import is_pooled
from ..finding import Finding, found
from ..site import Site
from .reading import SQL, quoted, reading

# docs/architecture.md, Threads: whose connections these are.
PROCESS = 7  # starter, nudger, hub, two of hub-encode and one of its actions, stream-patrol
LINKS = 1  # reset-links
WORKER = 5  # job-fetch and its LISTEN, job-ack, job-heart, job-house
ADMIN = 5  # two threads, each with one of the site's and one of the pages', and the pages' watch
LIMITS = ("statement_timeout", "lock_timeout")


def check_connections(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """At most so many as all processes of one `serve` may open at once."""
    needed = most_connections(site)
    if is_pooled(conn):
        yield found("D508", "ok", f"up to {needed} to the pooler, which shares its own")
        return
    with reading(conn):
        ((server, role, database, others),) = db.run(conn, SQL["sessions"])
    room = min([server - others, *(limit for limit in (role, database) if limit >= 0)])
    message = f"up to {needed} are opened, and {room} can be had; others hold {others}"
    yield found("D508", "ok" if needed <= room else site.graver, message)


def most_connections(site: Site) -> int:
    """Of one `serve` with its jobs, all processes together."""
    s = site.settings
    jobs = WORKER + sum(s["jobs.queues"].values()) if s["jobs.enabled"] else 0
    each = PROCESS + LINKS + s["server.threads"] + jobs
    count = s["server.processes"]
    admin = ADMIN if s["admin.enabled"] else 0
    if count == 1 or not admin:
        return int(each * count + admin)
    return int(each * count + admin + PROCESS)  # the admin server has a process of its own


def check_limits(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """The time-outs, the time zone and the search path that the role's sessions begin with."""
    with reading(conn):
        now: dict[str, str] = dict(db.run(conn, SQL["session"]))
        ((path, finds),) = db.run(conn, SQL["search_path"])
    if not finds:
        message = f"search_path is {path or 'empty'}, in which no table of public is found"
        reset = f"alter role {quoted(conn.info.user)} reset search_path"
        yield found("D509", "failed", message)._replace(next=f"psql -c {shlex.quote(reset)}")
        return
    wrong = []
    for name in LIMITS:
        wanted = int(site.settings[f"database.{name}"] * 1000)
        if int(now[name]) != wanted:
            wrong.append(f"{name} is {now[name]} ms, configured are {wanted}")
    if now["TimeZone"] not in ("UTC", "Etc/UTC"):
        wrong.append(f"the time zone is {now['TimeZone']}, not UTC")
    yield found("D509", "warning" if wrong else "ok", "; ".join(wrong) or "as configured")
