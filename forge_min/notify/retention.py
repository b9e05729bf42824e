"""Deleting what nobody can want any more from the event log: thin batches, and no lock that blocks
anyone.

A row goes when its xid lies below the xmin that was recorded one retention ago: by then its
transaction was over, so every reader that is younger than the retention has had it.
"""

from __future__ import annotations

import time

from ..db import Connection
from .publish import SQL

BATCH = 1_000  # rows per statement: about 5 ms
MARKS = 8  # marks per retention


class Retention:
    """Keeps the log at between one and 1 1/8 times `retention` seconds. Several processes may do
    so at once.
    """

    def __init__(self, retention: float) -> None:
        self._period = retention / MARKS
        self._next = 0.0
        self._more = False
        self.deleted = 0

    @property
    def due(self) -> bool:
        """Whether `step` has something to do now."""
        return self._more or time.monotonic() >= self._next

    def step(self, conn: Connection) -> None:
        """Record a mark when one is due, and delete one batch. Autocommit."""
        if time.monotonic() >= self._next:
            # A mark is due by the database's clock; asking four times per period keeps it near.
            self._next = time.monotonic() + self._period / 4
            conn.execute(SQL["mark"], {"period": self._period})
        gone = conn.execute(SQL["delete_old"], {"limit": BATCH}).rowcount
        self.deleted += gone
        self._more = gone == BATCH
