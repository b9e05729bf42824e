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


class Heart(Loop):
    """Beats every `heartbeat` seconds; silent for `rescue_after` seconds, the worker counts as
    dead.

    check: called often with time.monotonic(), for time limits. tick: seconds between its calls.
    leave: to strike the worker off the list at `stop`, because nothing of it runs.
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
        super().__init__("job-heart", self._step, connect)
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
        self.leave = False
        self.beaten = threading.Event()
        self.rescued = 0

    def _step(self) -> None:
        if self.stopping.is_set():
            if self.leave:
                self._execute("leave")
            return
        self._check(time.monotonic())
        if time.monotonic() >= self._due:
            self._execute("beat")
            self.beaten.set()
            self._due = time.monotonic() + self._heartbeat
            self.rescued += self._execute("rescue")
            self._execute("forget")
        self.rest(self._tick)

    def _execute(self, name: str) -> int:
        return self.connection().execute(SQL[name], self._params).rowcount
