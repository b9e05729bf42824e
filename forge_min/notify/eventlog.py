"""The event log: appends events, reads them from a position, deletes old ones.

Nothing here opens a connection, waits or retries. Why `id > last` is not enough to read it: docs,
"Why events go through a table".
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
MAX_BATCH = 10_000  # rows of one batch, as in events.sql; if there are more, clients get a refresh
MAX_REPLAY = 1_000  # rows read for one returning subscriber
DELETE_BATCH = 1_000  # rows deleted by one statement, in about 5 ms
MARKS = 8  # per retention period; the statement `mark` counts them
XID_BITS = 48


def publish_tx(conn: psycopg.Connection[Any], event: Event, *, wake: Wake = "poll") -> None:
    """Append an event; it is delivered when the caller's transaction commits.

    conn: connection of the transaction.
    event: its id, window and created_at are ignored.
    wake: how readers find the event if `db.transaction()` cannot nudge them, because the connection
        or the BEGIN is your own. "poll": at their next poll. "notify": by a pg_notify in the
        transaction; commits of transactions with a NOTIFY wait for each other.
    Raises ForgeError F417 for a topic of tenants without a tenant, and the errors of
    `db.translate`.
    """
    if event.tenant_id is None and event.topic in getattr(conn, "tenant_tables", ()):
        message = f"the topic {event.topic} belongs to tenants, but this event has no tenant"
        hint = "Event(..., tenant_id=current_identity().tenant)"
        raise ForgeError(message, code="F417", hint=hint)
    params = asdict(event)
    params["changed"] = list(event.changed) or None
    if event.payload is not None:
        params["payload"] = Jsonb(dict(event.payload))
    db.run(conn, SQL["publish"], params)
    if wake == "notify":
        db.run(conn, SQL["notify_in_transaction"])
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
    """Return the body of a CTE that appends one event per row of another CTE.

    source: the other CTE, with the columns "version" and `key`.
    topic, kind: of the events.
    changed_sql: SQL expression over `source` for the changed fields; trusted code.
    key: name of the key column.
    tenant_param: name of the placeholder with the tenant; None: no tenant.
    Raises ValueError for an invalid name.
    """
    check_names(source, key, tenant_param or "none")
    tenant = "null"
    if tenant_param:
        tenant = f"%({tenant_param})s"
    return (
        "insert into forge_event (tenant_id, topic, kind, resource_id, version, changed)\n"
        f"select {tenant}::uuid, {db.literal(topic)}, {db.literal(kind)},"
        f' {source}."{key}"::text, {source}.version, {changed_sql} from {source}'
    )


def check_names(*names: str) -> None:
    """Raise ValueError for a name that is not safe to paste into SQL."""
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"not a plain SQL name: {name!r}")


def delete_old(conn: Connection, retention: float) -> bool:
    """Delete a batch of old events; return whether there may be more.

    Several processes may do so at the same time. A row is deleted if its xid is below the xmin that
    was recorded `retention` seconds ago: its transaction had ended then, so every reader that
    paused for less than `retention` has read it. Rows are kept for 1 to 1 1/8 times `retention`.
    """
    conn.execute(SQL["mark"], {"period": retention / MARKS})
    deleted = conn.execute(SQL["delete_old"], {"limit": DELETE_BATCH})
    return deleted.rowcount == DELETE_BATCH


class EventLogReader:
    """Reads the event log from a position that survives lost connections.

    The window of an event has the fingerprint of the boot token above bit 48 and an xid below it,
    so an id from before a crash, or from another cluster, is never taken for a valid one.

    lag: age of the newest event of the last batch when it was read, in seconds.
    """

    def __init__(self) -> None:
        self._cluster = ""
        self._token = ""
        self._snapshot = ""  # pg_snapshot's text form (PostgreSQL manual, section 9.28.11)
        self.lag = 0.0

    def attach(self, conn: Connection) -> None:
        """Identify the cluster, and drop the position if it or its timeline has changed.

        Raises Unavailable F451 on a hot standby.
        """
        ((is_standby, cluster),) = conn.execute(SQL["identify"])
        if is_standby:
            message = "the database is a hot standby, whose event log cannot be read"
            hint = "set the address of the primary, or wait until this server is promoted"
            raise Unavailable(message, code="F451", hint=hint)
        if cluster != self._cluster:
            self._cluster = cluster
            self._snapshot = ""

    def forget(self) -> None:
        """Drop the position; the next read takes a new one, and all clients get a refresh."""
        self._snapshot = ""

    def read(self, conn: Connection) -> list[Event] | None:
        """Return the events committed since the last call.

        Returns None if they are not known; then all clients need a refresh. Events are read by one
        statement in autocommit, so that its rows and its snapshot match.
        """
        if not self._snapshot:
            self._resynchronise(conn)
            return None
        seen = {"seen": self._snapshot, "token": self._token}
        rows = conn.execute(SQL["read"], seen).fetchall()
        snapshot, is_current_boot, is_complete, xmin, now = rows[0][9:]
        if not is_current_boot:
            self._resynchronise(conn)
            return None
        self._snapshot = snapshot
        if len(rows) > MAX_BATCH or not is_complete:
            return None
        window = self._window(int(xmin))
        events = _events(rows, window)
        times = [event.created_at for event in events if event.created_at]
        age = now - max(times, default=now)
        self.lag = max(0.0, age.total_seconds())
        return events

    def since(
        self, conn: Connection, sse_id: str, key: TopicKey, within: float
    ) -> list[Event] | None:
        """Return the events that a client of `key` may have missed, and some before them.

        sse_id: id of the last event that the client received; text from the client.
        within: seconds; older events are not replayed.
        Returns None if the events are not known, too old or too many.
        """
        match = SSE_ID.fullmatch(sse_id)
        if match is None or not self._token:
            return None
        window = int(match[1])
        xid = window % (1 << XID_BITS)
        if window != self._window(xid):
            return None
        params = key._asdict()
        params |= {"window": str(xid), "token": self._token, "within": within}
        rows = conn.execute(SQL["since"], params).fetchall()
        if not rows or len(rows) > MAX_REPLAY:
            return None
        # SAFETY: the client's window, not a newer one: it may disconnect before it has read all.
        return _events(rows, window)

    def _window(self, xid: int) -> int:
        fingerprint = zlib.crc32(self._token.encode())
        return fingerprint << XID_BITS | xid

    def _resynchronise(self, conn: Connection) -> None:
        """Take a new position, and set a new token if a crash has removed it."""
        with conn.transaction():
            conn.execute(SQL["lock_boot"])
            ((_, token),) = conn.execute(SQL["position"])
            if token is None or not token.startswith(f"{self._cluster}/"):
                token = f"{self._cluster}/{secrets.token_hex(16)}"
                conn.execute(SQL["forget_boot"])
                conn.execute(SQL["boot"], {"token": token})
            conn.execute(SQL["delete_ahead"])
        ((self._snapshot, token),) = conn.execute(SQL["position"])
        self._token = token or ""


def _events(rows: Sequence[tuple[Any, ...]], window: int) -> list[Event]:
    """Return the events of rows of `read` or `since`; rows with NULLs are not events."""
    events = []
    for row in rows:
        topic, kind, resource, version, changed, payload, tenant, id, created = row[:9]
        if topic is not None:
            log = (payload, tenant, id, window, created)
            events.append(Event(topic, kind, resource, version, tuple(changed), *log))
    return events
