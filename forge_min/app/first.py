"""The first connection of a process, opened while the application is put together."""

from __future__ import annotations

import threading

from .. import db


class FirstConnection(threading.Thread):
    """PERF: the server's look at a password takes a tenth of what is left of a start
    (benchmarks/observe).
    """

    def __init__(self, database: db.Database) -> None:
        super().__init__(name="first-connection", daemon=True)
        self._database = database
        self._refusal: Exception | None = None
        self.start()

    def run(self) -> None:
        """Open it, and hand it on."""
        try:
            self._database.connection()
        except Exception as err:
            self._refusal = err
        self._database.hand_on()

    def answer(self) -> db.Connection:
        """It, for the thread that asks. Raises as `db.connect`."""
        self.join()
        if self._refusal is not None:
            raise self._refusal
        return self._database.connection()
