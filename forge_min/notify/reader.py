"""Reading the event log: the position in it, one statement to go on, and when a position is worth
nothing.

Why it is done so, and not with `id > last`: docs, "Why events go through a table". Nothing here
waits or reconnects.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from ..db import Connection
from ..errors import Unavailable
from .hub import Event
from .publish import SQL

MOST = 10_000  # rows of one batch; more mean "read everything again"
MOST_REPLAYED = 1_000  # rows that one returning subscriber may have read for it
XID_BITS = 48


class Snapshot(NamedTuple):
    """PostgreSQL's pg_snapshot: transactions below xmin are over, those from xmax on had not
    begun.
    """

    xmin: int
    xmax: int
    xip: str  # those in between that were still running, as an array literal

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """From the text form, "10:20:10,14,15" (PostgreSQL manual, section 9.28.11)."""
        xmin, xmax, xip = text.split(":")
        return cls(int(xmin), int(xmax), f"{{{xip}}}")


class Reader:
    """A position in the event log that outlives the connection it was read on.

    The window of an event holds the boot's fingerprint above bit 48 and an xid below: an id that a
    client kept from before a crash, or from another cluster, is never taken for one of ours.
    """

    def __init__(self) -> None:
        self._cluster = ""
        self._token = ""
        self._snapshot: Snapshot | None = None
        self.lag = 0.0

    def attach(self, conn: Connection) -> None:
        """Look at which cluster this is. Raises Unavailable F451 on a hot standby.

        Another cluster than before, or another timeline of it, makes the position worthless.
        """
        standby, cluster = _row(conn, "identify")
        if standby:
            raise Unavailable(
                "the database is a hot standby, whose event log cannot be read",
                code="F451",
                hint="give the address of the primary, or wait for the promotion",
            )
        if cluster != self._cluster:
            self._cluster, self._snapshot = cluster, None

    def read(self, conn: Connection) -> list[Event] | None:
        """The events committed since the last call; None when they are not known: refresh
        everybody.

        One statement, in autocommit: its rows and its snapshot belong together.
        """
        known = self._snapshot
        if known is None:
            self._resynchronise(conn)
            return None
        rows = conn.execute(SQL["read"], {"xmax": str(known.xmax), "xip": known.xip}).fetchall()
        text, token, deleted, now = rows[0][:4]
        found = Snapshot.parse(text)
        if token != self._token or found.xmax < known.xmax:
            self._resynchronise(conn)
            return None
        self._snapshot = found
        if len(rows) > MOST or (deleted is not None and known.xmin < int(deleted)):
            return None
        events = _events(rows, self._window(known.xmin))
        newest = max((e.created_at for e in events if e.created_at), default=now)
        self.lag = max(0.0, (now - newest).total_seconds())
        return events

    def since(
        self, conn: Connection, window: int, tenant: UUID | None, topic: str
    ) -> Sequence[Event] | None:
        """What a client may have missed since its batch began; None when that is not known."""
        xid = window & ((1 << XID_BITS) - 1)
        if window != self._window(xid) or not self._token:
            return None
        params = {"window": str(xid), "tenant": tenant, "topic": topic, "limit": MOST + 1}
        rows = conn.execute(SQL["since"], params).fetchall()
        if not rows or len(rows) > MOST_REPLAYED:
            return None
        token, deleted, xmin, read = rows[0][:4]
        if token != self._token or read > MOST:
            return None
        if int(xmin) < xid or (deleted is not None and xid < int(deleted)):
            return None
        # SAFETY: the client's own window, not a newer one: it may hang up in the middle of these.
        return _events(rows, window)

    def _window(self, xid: int) -> int:
        return zlib.crc32(self._token.encode()) << XID_BITS | xid

    def _resynchronise(self, conn: Connection) -> None:
        with conn.transaction():
            conn.execute(SQL["lock_boot"])
            token = _row(conn, "position")[1]
            if token is None or not token.startswith(self._cluster + "/"):
                token = f"{self._cluster}/{secrets.token_hex(16)}"
                conn.execute(SQL["forget_boot"])
                conn.execute(SQL["boot"], {"token": token})
            conn.execute(SQL["delete_ahead"])
        text, token = _row(conn, "position")
        self._token, self._snapshot = token or "", Snapshot.parse(text)


def _row(conn: Connection, name: str) -> tuple[Any, ...]:
    row = conn.execute(SQL[name]).fetchone()
    assert row is not None
    return row


def _events(rows: Sequence[tuple[Any, ...]], window: int) -> list[Event]:
    """Events of the rows of `read` and `since`: after four columns of the statement, those of the
    log.
    """
    return [
        Event(
            topic=row[6],
            kind=row[7],
            resource_id=row[8],
            version=row[9],
            changed=tuple(row[10] or ()),
            payload=row[11],
            tenant_id=row[5],
            id=row[4],
            window=window,
            created_at=row[12],
        )
        for row in rows
        if row[4] is not None
    ]
