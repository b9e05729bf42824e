"""The thread `job-heartbeat`: says that this worker lives and what it has done, asks to be the
leader, hears whose runs shall end, watches time.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from ... import db
from ...db import DatabaseThread
from ..job import SQL, Result, log_rescue
from ..kinds import WorkerOptions
from ..maintenance.loop import RESCUE, STRAY

Run = tuple[int, int, bool]  # job, claim, whether it shall be cancelled
LEASE = 3  # heartbeats that a leader stays one without another


class Heartbeat(DatabaseThread):
    """Beats every `heartbeat` seconds; silent for `rescue_after` seconds, the worker counts as
    dead. A run that is said to be this worker's, and that it does not hold at two beats, ends as if
    it had died.

    cancel: called with (id, claim) of each run that an operator cancelled. holds: whether the
    worker knows the run (id, claim). changed: called at the first heartbeat, and when this worker
    becomes the leader. leave: to strike the worker off the list at `stop`, because nothing of it
    runs.
    """

    def __init__(
        self,
        options: WorkerOptions,
        cancel: Callable[[int, int], None],
        holds: Callable[[int, int], bool],
        changed: Callable[[], object],
    ) -> None:
        # A statement that waits for a lock must not keep it from saying that it lives.
        patience = options.rescue_after / 3
        super().__init__("job-heartbeat", self._step, options.connect_by_index, patience)
        self._heartbeat = options.heartbeat
        lease = min(options.rescue_after, LEASE * options.heartbeat)
        self._cancel, self._holds, self._changed = cancel, holds, changed
        self._strays: set[tuple[int, int]] = set()  # runs that were not held at the last beat
        self._params = {
            "worker": options.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queues": json.dumps(dict(options.queues)),
            "kinds": sorted(options.kinds),
            "told": options.discarded_kinds,
            "rescue_after": options.rescue_after,
            "lease": lease,
            # From the end of a lease until a worker that beat with its holder can have expired.
            "gap": max(0.0, options.rescue_after - lease - options.heartbeat),
        }
        self._due = 0.0
        self._look = False
        self._lock = threading.Lock()  # LOCK: guards _done
        self._done: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0])
        self.leave = False
        self.leading = False
        self.registered = threading.Event()

    def ended(self, result: Result, seconds: float) -> None:
        """Count a run for the plots; written with the next beat."""
        if result.outcome == "handed_back":
            return
        failed = result.outcome in ("retried", "discarded")
        with self._lock:
            row = self._done[result.job.queue]
            row[failed] += 1
            row[2] += seconds

    def look(self) -> None:
        """Ask soon whether a run shall end. Never blocks."""
        self._look = True
        self.wake.set()

    def _step(self) -> None:
        if self.stopping.is_set():
            self._count()
            self._execute("leave" if self.leave else "step_down")
            return
        look, self._look = self._look, False
        if look or time.monotonic() >= self._due:
            runs = self._beat()
            self._due = time.monotonic() + self._heartbeat
            self._count()
            for id, claim, cancelled in runs:
                if cancelled:
                    self._cancel(id, claim)
            self._end_strays(runs)
        self.rest(max(0.0, self._due - time.monotonic()))

    def _beat(self) -> list[Run]:
        self._execute("beat")
        if not self.registered.is_set():
            self.registered.set()
            self._changed()
        before, found = self.leading, self._execute("lead")
        self.leading = found[0][0]
        if self.leading > before:
            self._changed()
        return [(id, claim, cancelled) for _, id, claim, cancelled in found if id is not None]

    def _end_strays(self, runs: Sequence[Run]) -> None:
        """Compare what is said to run here with what does."""
        strays = {(id, claim) for id, claim, _ in runs if not self._holds(id, claim)}
        again, self._strays = strays & self._strays, strays
        if again:
            ids, claims = map(list, zip(*again))
            params = self._params | {"ids": ids, "claims": claims, "why": STRAY}
            for run in db.run(self.connection(), RESCUE["strays"], params):
                log_rescue(run, STRAY)

    def _count(self) -> None:
        with self._lock:
            done, self._done = self._done, defaultdict(lambda: [0, 0, 0.0])
        if done:
            names = ("completed", "failed", "seconds")
            columns = dict(zip(names, map(list, zip(*done.values()))))
            # A failure loses these figures, no job.
            self.connection().execute(SQL["count_minute"], {"names": list(done), **columns})

    def _execute(self, name: str) -> list[tuple[Any, ...]]:
        cursor = self.connection().execute(SQL[name], self._params)
        return cursor.fetchall() if cursor.description else []
