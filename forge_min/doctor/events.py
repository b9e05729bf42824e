"""How events travel from the database to this site: by LISTEN, or by polling."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import psycopg

from ..db import Connection
from ..errors import ForgeError
from ..notify.link import is_pooled
from .finding import Finding

SUBJECT = "events"
PATIENCE = 2.0  # seconds
POOLER = "a pooler stands before the database, and LISTEN does not pass through it"
DIRECT = "give database.direct_url the server's own address, and `listen` works past the pooler"


def check_events(
    connect: Callable[[], Connection], listen: bool, poll_interval: float
) -> Sequence[Finding]:
    """Whether a notification arrives on a connection that `connect` opens, as the hub's does.

    listen: notify.listen. poll_interval: seconds that an event waits where nothing is heard.
    """
    late = f"events are found by polling, up to {poll_interval:g} s after their commit"
    if not listen:
        return [Finding(SUBJECT, "warning", f"notify.listen is off: {late}")]
    try:
        with connect() as conn:
            if is_pooled(conn):
                return [Finding(SUBJECT, "warning", f"{POOLER}: {late}", DIRECT)]
            channel = "forge_doctor_" + secrets.token_hex(4)
            conn.execute(f"listen {channel}")
            conn.execute("select pg_notify(%s, '')", [channel])
            heard = list(conn.notifies(timeout=PATIENCE, stop_after=1))
    except ForgeError as err:
        return [Finding(SUBJECT, "failed", err.message, err.hint or "")]
    except psycopg.Error as err:
        return [Finding(SUBJECT, "failed", f"the database refused: {err}".strip())]
    if not heard:
        return [Finding(SUBJECT, "warning", f"LISTEN hears nothing: {late}", DIRECT)]
    return [Finding(SUBJECT, "ok", "LISTEN hears a notification")]
