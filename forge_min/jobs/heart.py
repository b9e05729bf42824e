"""The thread `job-heart`: says that this worker lives, rescues the jobs of those that do not,
watches time.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from uuid import UUID

import psycopg

from ..db import Connection
from ..errors import ForgeError
from .session import SQL, Own

log = logging.getLogger("forge_min.jobs")


class Heart:
    """Beats every `heartbeat` seconds; silent for `rescue_after` seconds, the worker counts as
    dead.

    check: called often with time.monotonic(), for time limits. tick: seconds between its calls.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        worker: UUID,
        queues: Mapping[str, int],
        *,
        heartbeat: float,
        rescue_after: float,
        check: Callable[[float], None],
        tick: float,
    ) -> None:
        self._own = Own(connect)
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
        self._stopping = threading.Event()
        self._leave = False
        self._thread = threading.Thread(target=self._run, name="job-heart", daemon=True)
        self.beaten = threading.Event()
        self.rescued = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, *, leave: bool) -> None:
        """End the thread. leave: also strike the worker off the list, because nothing of
        it runs.
        """
        self._leave = leave
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        due = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            if now >= due:
                due = now + (self._heartbeat if self._beat() else min(1.0, self._heartbeat))
            self._check(now)
            self._stopping.wait(min(self._tick, max(0.0, due - time.monotonic())))
        if self._leave:
            self._try("leave")
        self._own.close()

    def _beat(self) -> bool:
        if self._try("beat") is None:
            return False
        self.beaten.set()
        self.rescued += self._try("rescue") or 0
        return self._try("forget") is not None

    def _try(self, name: str) -> int | None:
        """Execute a statement: the number of rows, or None when the database is away."""
        try:
            return self._own.connection().execute(SQL[name], self._params).rowcount
        except (psycopg.Error, ForgeError, OSError) as err:
            log.warning("the worker's %s failed: %s", name, err)
            self._own.close()
            return None
