"""How events travel from the database to this site: by LISTEN, or by polling."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from ...notify.link import is_pooled
from ..finding import Finding, found
from ..site import Site
from .reading import open_connection

PATIENCE = 2.0  # seconds
POOLER = "a pooler stands before the database, and LISTEN does not pass through it"


def check_events(site: Site) -> Iterator[Finding]:
    """Whether a notification arrives on a connection of the hub's kind. It goes to a channel of
    this check alone, and needs no right and no row.
    """
    late = f"events are found by polling, up to {site.settings['notify.poll_interval']:g} s late"
    if not site.settings["notify.listen"]:
        yield found("D504", "warning", f"notify.listen is off: {late}")
        return
    with open_connection(site, "database.direct_url") as conn:
        if is_pooled(conn):
            yield found("D504", "warning", f"{POOLER}: {late}")
            return
        channel = "forge_doctor_" + secrets.token_hex(4)
        conn.execute(f"listen {channel}")
        conn.execute("select pg_notify(%s, '')", [channel])
        if list(conn.notifies(timeout=PATIENCE, stop_after=1)):
            yield found("D504", "ok", "LISTEN hears a notification")
        else:
            yield found("D504", "warning", f"LISTEN hears nothing: {late}")
