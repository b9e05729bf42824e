"""The event log: writing to it in the caller's transaction, reading on from a position, deleting
what is old.

Why it is read so, and not with `id > last`: docs, "Why events go through a table". Nothing here
opens a connection, waits or retries.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from .. import db
from ..db import Connection
from ..errors import ForgeError, Unavailable
from ..lazy import lazy_pattern
from .events import Event, TopicKey

Wake = Literal["poll", "notify"]
SQL = db.load_sql("forge_min.notify", "events.sql")
NAME = lazy_pattern(r"[a-z_][a-z0-9_]{0,62}")
SSE_ID = lazy_pattern(r"([0-9]{1,30})\.[0-9]{1,19}")
MOST = 10_000  # rows of one batch, as in events.sql; more mean "read everything again"
MOST_REPLAYED = 1_000  # rows that one returning subscriber may have read for it
BATCH = 1_000  # rows deleted by one statement: about 5 ms
MARKS = 8  # per retention; statement `mark` counts them
XID_BITS = 48


def publish_tx(conn: psycopg.Connection[Any], event: Event, *, wake: Wake = "poll") -> None:
    """Append `event`; it is delivered if and when the caller's transaction commits.

    wake: where `db.transaction()` cannot nudge (a connection or a BEGIN of your own), readers find
    the event by polling; "notify" wakes them with a pg_notify in the transaction, whose commit then
    waits for those of all others that do so. Raises ForgeError F417 for a topic of tenants without
    a tenant, and the errors of `db.translate`.
    """
    if event.tenant_id is None and event.topic in getattr(conn, "tenant_tables", ()):
        raise ForgeError(
            f"the topic {event.topic} belongs to tenants, but this event has none",
            code="F417",
            hint="Event(..., tenant_id=current_identity().tenant)",
        )
    payload = None if event.payload is None else Jsonb(dict(event.payload))
    params = asdict(event) | {"changed": list(event.changed) or None, "payload": payload}
    db.run(conn, SQL["publish"], params)
    if wake == "notify":
        db.run(conn, SQL["notify"], {"payloads": ["e"]})
    else:
        db.nudge(conn, "e")


def event_fragment(
    source: str,
    topic: str,
    kind: str,
    *,
    changed_sql: str = "null::text[]",
    key: str = "id",
    tenant_param: str | None = None,
) -> str:
    """The body of a CTE that appends one event for every row of the CTE `source`, which has version
    and the column `key`.

    tenant_param: name of the placeholder with the tenant; None = of no tenant. changed_sql: an SQL
    expression over `source`, written by our own code. Raises ValueError for a name that is none.
    """
    check_names(source, key, tenant_param or "none")
    tenant = f"%({tenant_param})s" if tenant_param else "null"
    return (
        "insert into forge_event (tenant_id, topic, kind, resource_id, version, changed)\n"
        f"select {tenant}::uuid, {db.literal(topic)}, {db.literal(kind)},"
        f' {source}."{key}"::text, {source}.version, {changed_sql} from {source}'
    )


def check_names(*names: str) -> None:
    """Raises ValueError for what may not be pasted into SQL as a name."""
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"not a plain SQL name: {name!r}")


def delete_old(conn: Connection, retention: float) -> bool:
    """Delete a batch of what was visible to all `retention` seconds ago; whether there may be more.

    Keeps the log at between one and 1 1/8 times `retention`. Several processes may do so at once.
    A row goes when its xid lies below the xmin that was recorded one retention ago: by then its
    transaction was over, so every reader that is younger than the retention has had it.
    """
    conn.execute(SQL["mark"], {"period": retention / MARKS})
    return conn.execute(SQL["delete_old"], {"limit": BATCH}).rowcount == BATCH


class EventLogReader:
    """A position in the event log that outlives the connection it was read on.

    The window of an event holds the boot's fingerprint above bit 48 and an xid below: an id that a
    client kept from before a crash, or from another cluster, is never taken for one of ours.
    lag: how old the newest event of the last batch was when it was read, in seconds.
    """

    def __init__(self) -> None:
        self._cluster = ""
        self._token = ""
        self._snapshot = ""  # pg_snapshot's text form (PostgreSQL manual, section 9.28.11)
        self.lag = 0.0

    def attach(self, conn: Connection) -> None:
        """Look at which cluster this is. Raises Unavailable F451 on a hot standby.

        Another cluster than before, or another timeline of it, makes the position worthless.
        """
        ((standby, cluster),) = conn.execute(SQL["identify"])
        if standby:
            raise Unavailable(
                "the database is a hot standby, whose event log cannot be read",
                code="F451",
                hint="give the address of the primary, or wait for the promotion",
            )
        if cluster != self._cluster:
            self._cluster, self._snapshot = cluster, ""

    def forget(self) -> None:
        """Take a new position at the next read, which refreshes everybody."""
        self._snapshot = ""

    def read(self, conn: Connection) -> list[Event] | None:
        """The events committed since the last call; None when they are not known: refresh
        everybody.

        One statement, in autocommit: its rows and its snapshot belong together.
        """
        if not self._snapshot:
            self._resynchronise(conn)
            return None
        seen = {"seen": self._snapshot, "token": self._token}
        rows = conn.execute(SQL["read"], seen).fetchall()
        snapshot, ours, whole, xmin, now = rows[0][9:]
        if not ours:
            self._resynchronise(conn)
            return None
        self._snapshot = snapshot
        if len(rows) > MOST or not whole:
            return None
        events = _events(rows, self._window(int(xmin)))
        newest = max((e.created_at for e in events if e.created_at), default=now)
        self.lag = max(0.0, (now - newest).total_seconds())
        return events

    def since(
        self, conn: Connection, sse_id: str, key: TopicKey, within: float
    ) -> list[Event] | None:
        """What a client of `key` may have missed after the event `sse_id`, and some before it; None
        when that is not known, or older than `within` seconds. The text of the id is the client's.
        """
        found = SSE_ID.fullmatch(sse_id)
        window = int(found[1]) if found else 0
        xid = window & ((1 << XID_BITS) - 1)
        if window != self._window(xid) or not self._token:
            return None
        wanted = {"window": str(xid), "tenant": key.tenant, "topic": key.topic, "within": within}
        rows = conn.execute(SQL["since"], wanted | {"token": self._token}).fetchall()
        if not rows or len(rows) > MOST_REPLAYED:
            return None
        # SAFETY: the client's own window, not a newer one: it may hang up in the middle of these.
        return _events(rows, window)

    def _window(self, xid: int) -> int:
        return zlib.crc32(self._token.encode()) << XID_BITS | xid

    def _resynchronise(self, conn: Connection) -> None:
        """Take a new position, and a new token where nobody has put one since the crash."""
        with conn.transaction():
            conn.execute(SQL["lock_boot"])
            ((_, token),) = conn.execute(SQL["position"])
            if token is None or not token.startswith(self._cluster + "/"):
                token = f"{self._cluster}/{secrets.token_hex(16)}"
                conn.execute(SQL["forget_boot"])
                conn.execute(SQL["boot"], {"token": token})
            conn.execute(SQL["delete_ahead"])
        ((self._snapshot, token),) = conn.execute(SQL["position"])
        self._token = token or ""


def _events(rows: Sequence[tuple[Any, ...]], window: int) -> list[Event]:
    """Events of rows of `read` or `since`, which begin as an `Event` does; NULLs are none."""
    events = []
    for row in rows:
        topic, kind, resource, version, changed, payload, tenant, id, created = row[:9]
        if topic is not None:
            log = (payload, tenant, id, window, created)
            events.append(Event(topic, kind, resource, version, tuple(changed), *log))
    return events
