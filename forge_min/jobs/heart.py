"""The thread `job-heart`: says that this worker lives, rescues the jobs of those that do not,
watches time.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from uuid import UUID

from ..notify.link import Connect, Loop
from .job import SQL


class Heart:
    """Beats every `heartbeat` seconds; silent for `rescue_after` seconds, the worker counts as
    dead.

    check: called often with time.monotonic(), for time limits. tick: seconds between its calls.
    """

    def __init__(
        self,
        connect: Connect,
        worker: UUID,
        queues: Mapping[str, int],
        *,
        heartbeat: float,
        rescue_after: float,
        check: Callable[[float], None],
        tick: float,
    ) -> None:
        self._loop = Loop("job-heart", self._step, connect)
        self._heartbeat = heartbeat
        self._check = check
        self._tick = min(tick, heartbeat)
        self._params = {
            "worker": worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queues": json.dumps(dict(queues)),
            "rescue_after": rescue_after,
        }
        self._due = 0.0
        self._leave = False
        self.beaten = threading.Event()
        self.rescued = 0

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def stop(self, *, leave: bool) -> None:
        """End the thread. leave: also strike the worker off the list, because nothing of
        it runs.
        """
        self._leave = leave
        self._loop.stop()

    def _step(self) -> None:
        if self._loop.stopping.is_set():
            if self._leave:
                self._execute("leave")
            return
        self._check(time.monotonic())
        if time.monotonic() >= self._due:
            self._execute("beat")
            self.beaten.set()
            self._due = time.monotonic() + self._heartbeat
            self.rescued += self._execute("rescue")
            self._execute("forget")
        self._loop.rest(self._tick)

    def _execute(self, name: str) -> int:
        return self._loop.connection().execute(SQL[name], self._params).rowcount
