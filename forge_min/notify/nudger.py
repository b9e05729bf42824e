"""The nudger: sends coalesced NOTIFYs after commits, on a connection and a thread of its own.

A nudge is a hint. One that is lost costs a poll interval, never an event.
"""

from __future__ import annotations

from .eventlog import SQL
from .link import AWAY, Connect, Loop

INTERVAL = 0.002  # seconds


class Nudger:
    """Wakes the hubs and workers of every process: the first nudge at once, then one per 2 ms.

    connect: opens the thread's connection.
    """

    def __init__(self, connect: Connect) -> None:
        self._loop = Loop("nudger", self._step, connect)
        self._waiting: set[str] = set()  # each operation on it is atomic

    def nudge(self, payload: str) -> None:
        """Send `payload` soon ("e", "j:<queue>"). Never blocks, never raises; the same one twice
        is one.
        """
        self._waiting.add(payload)
        self._loop.wake.set()

    def start(self) -> None:
        """Start the thread `nudger`. Idempotent."""
        self._loop.start()

    def stop(self) -> None:
        """Send what waits and end the thread. Idempotent."""
        self._loop.stop()

    def _step(self) -> None:
        self._loop.rest()
        # SAFETY: taken out before they are sent: a commit that nudges meanwhile needs a NOTIFY of
        # its own.
        payloads = [self._waiting.pop() for _ in range(len(self._waiting))]
        try:
            if payloads:
                self._loop.connection().execute(SQL["notify"], {"payloads": payloads})
        except AWAY:
            self._waiting.update(payloads)
            self._loop.wake.set()
            raise
        self._loop.stopping.wait(INTERVAL)
