"""The thread `job-heartbeat`: sends heartbeats, and requests or renews the leader's lease.

It also records the figures of the plots, cancels runs on request and ends abandoned runs.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from ... import db
from ...db import DatabaseThread
from ..job import SQL, Result, log_rescue
from ..kinds import WorkerOptions
from ..maintenance.loop import RESCUE, STRAY

Run = tuple[int, int, bool]  # job, claim, whether an operator asked to cancel it
LEASE = 3  # heartbeats that a lease lasts without renewal


class Heartbeat(DatabaseThread):
    """Sends a heartbeat every `heartbeat` seconds, with a request for the leader's lease.

    A worker without a heartbeat for `rescue_after` seconds counts as dead. A run recorded as ours
    but unknown to us at two heartbeats is treated as abandoned.

    cancel: called with (id, claim) of each run that an operator asked to cancel.
    holds: returns whether the worker knows the run (id, claim).
    changed: called at the first heartbeat, and when this worker becomes the leader.

    Set `wake` to send one now, which finds runs to cancel. Set `leave` before `stop` to delete the
    worker's row, when none of its runs is left.
    """

    def __init__(
        self,
        options: WorkerOptions,
        cancel: Callable[[int, int], None],
        holds: Callable[[int, int], bool],
        changed: Callable[[], object],
    ) -> None:
        # A statement that waits for a lock must not delay the heartbeats.
        patience = options.rescue_after / 3
        connect = options.connect_by_index
        super().__init__("job-heartbeat", self._step, connect, patience, last_step=self._resign)
        self._interval = options.heartbeat
        lease = min(options.rescue_after, LEASE * options.heartbeat)
        self._cancel = cancel
        self._holds = holds
        self._changed = changed
        self._strays = set[tuple[int, int]]()  # runs unknown to us at the last heartbeat
        self._params = {
            "worker": options.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queues": json.dumps(dict(options.queues)),
            "kinds": sorted(options.kinds),
            "discarded_kinds": options.discarded_kinds,
            "rescue_after": options.rescue_after,
            "lease": lease,
            # From the end of a lease until a worker with a heartbeat as old can have expired.
            "gap": max(0.0, options.rescue_after - lease - options.heartbeat),
        }
        self._lock = threading.Lock()  # LOCK: guards _ended
        # queue → [completed, failed, seconds] since the last heartbeat
        self._ended: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0])
        self.leave = False
        self.leading = False
        self.registered = threading.Event()

    def ended(self, result: Result, seconds: float) -> None:
        """Count a run for the plots. The next heartbeat records it."""
        if result.outcome == "handed_back":
            return
        column = 0
        if result.outcome in ("retried", "discarded"):
            column = 1
        with self._lock:
            row = self._ended[result.job.queue]
            row[column] += 1
            row[2] += seconds

    def _step(self) -> None:
        due = time.monotonic() + self._interval
        runs = self._beat()
        self._record_counts()
        for id, claim, cancelled in runs:
            if cancelled:
                self._cancel(id, claim)
        self._end_strays(runs)
        self.rest(max(0.0, due - time.monotonic()))

    def _resign(self) -> None:
        self._record_counts()
        name = "leave" if self.leave else "step_down"
        db.run(self.connection(), SQL[name], self._params)

    def _beat(self) -> list[Run]:
        conn = self.connection()
        db.run(conn, SQL["heartbeat"], self._params)
        if not self.registered.is_set():
            self.registered.set()
            self._changed()
        rows = db.run(conn, SQL["lead"], self._params)
        was_leading = self.leading
        self.leading = rows[0][0]
        if self.leading and not was_leading:
            self._changed()
        return [(id, claim, cancelled) for _, id, claim, cancelled in rows if id is not None]

    def _end_strays(self, runs: Sequence[Run]) -> None:
        """End the runs that are recorded as ours and were unknown to us twice."""
        strays = {(id, claim) for id, claim, _ in runs if not self._holds(id, claim)}
        abandoned = strays & self._strays
        self._strays = strays
        if abandoned:
            ids, claims = map(list, zip(*abandoned))
            params = self._params | {"ids": ids, "claims": claims, "why": STRAY}
            for run in db.run(self.connection(), RESCUE["strays"], params):
                log_rescue(run, STRAY)

    def _record_counts(self) -> None:
        with self._lock:
            ended = dict(self._ended)
            self._ended.clear()
        if ended:
            completed, failed, seconds = map(list, zip(*ended.values()))
            params = {
                "names": list(ended),
                "completed": completed,
                "failed": failed,
                "seconds": seconds,
            }
            # An error here loses these figures, but no job.
            db.run(self.connection(), SQL["count_minute"], params)
