"""The thread `job-maintenance`: the leader's work for all workers. Other workers only wait.

Each action is one statement or transaction, which checks again that this worker is the leader.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from ... import db
from ...db import DatabaseThread
from ..job import Conn, log_rescue, with_notice
from ..kinds import WorkerOptions
from .periodic import SQL, Periodic, insert_due, register_periodic

BATCH = 5_000  # rows that one statement deletes
MOST_COUNTED = 10_000  # jobs of a queue and state that are counted; above it, an estimate
SWEEP = 30.0  # seconds between deletions of old jobs
COUNT = 15.0  # seconds between counts

RESCUE = {which: with_notice(SQL["rescue"], which=SQL[which]) for which in ("silent", "strays")}
SILENT = "the worker died or sent no heartbeat"
STRAY = "the worker does not know this run"


class Retention(NamedTuple):
    """Seconds until ended jobs and the figures of the plots are deleted."""

    completed: float = 86_400.0
    discarded: float = 7 * 86_400.0
    minutes: float = 2 * 86_400.0


class Maintainer(DatabaseThread):
    """Rescues, deletes and counts jobs, and inserts periodic ones, while `leading()` is true."""

    def __init__(
        self,
        options: WorkerOptions,
        periodic: Sequence[Periodic],
        retention: Retention,
        leading: Callable[[], bool],
    ) -> None:
        super().__init__("job-maintenance", self._step, options.connect_by_index)
        self._worker = options.id
        self._periodic = periodic
        self._leading = leading
        self._params = {
            "worker": options.id,
            "discarded_kinds": options.discarded_kinds,
            "batch": BATCH,
            **retention._asdict(),
        }
        self._every = {"rescue": options.heartbeat, "sweep": SWEEP, "count": COUNT}
        self._due: dict[str, float] = {}  # action → when it is due; empty while not the leader

    def _step(self) -> None:
        if not self._leading():
            self._due = {}
            self.close()
            self.rest()
            return
        if not self._due:
            register_periodic(self.connection(), self._periodic)
            self._due = dict.fromkeys([*self._every, "periodic"], 0.0)
        error = None
        for name, due in self._due.items():
            try:
                if time.monotonic() >= due:
                    self._due[name] = time.monotonic() + self._do(name)
            except Exception as err:  # a failed action must not delay the others
                error = err
        if error is not None:
            raise error
        wait = min(self._due.values()) - time.monotonic()
        self.rest(max(0.0, wait))

    def _do(self, name: str) -> float:
        """Do one action. Returns the seconds until it is due again."""
        conn = self.connection()
        if name == "periodic":
            # Another leader with other schedules may change the rows in the meantime.
            wait = insert_due(conn, self._worker, self._periodic)
            return min(wait, SWEEP)
        if name == "rescue":
            params = self._params | {"why": SILENT}
            for run in db.run(conn, RESCUE["silent"], params):
                log_rescue(run, SILENT)
        elif name == "sweep":
            ((is_full,),) = db.run(conn, SQL["sweep"], self._params)
            if is_full:
                return 0.0
        else:
            store_counts(conn, self._worker)
        return self._every[name]


def store_counts(conn: Conn, worker: UUID | None = None) -> None:
    """Count jobs and store the counts.

    worker: the leader; None = the caller, if no worker leads.
    """
    counts, oldest = count_jobs(conn)
    rows = []
    for queue, states in counts.items():
        row = {**states, "oldest": oldest.get(queue, 0.0)}
        rows.append(json.dumps(row))
    params = {"names": list(counts), "counts": rows, "worker": worker}
    db.run(conn, SQL["store_counts"], params)


def count_jobs(conn: Conn) -> tuple[dict[str, dict[str, int]], dict[str, float]]:
    """Return queue → state → number of jobs, and queue → age of its oldest job. Only reads.

    Ages are seconds, of queues with available jobs.
    """
    counts: dict[str, dict[str, int]] = {}
    oldest = {}
    for queue, state, number, age in db.run(conn, SQL["count"], {"most": MOST_COUNTED + 1}):
        if number > MOST_COUNTED:
            # The statistics of PostgreSQL know both conditions, the state and the queue.
            params = {"queue": queue, "state": state}
            ((plans,),) = conn.execute(SQL["estimate"], params).fetchall()
            estimate = int(plans[0]["Plan"]["Plan Rows"])
            number = max(number, estimate)
        counts.setdefault(queue, {})[state] = number
        if age is not None:
            oldest[queue] = age
    return counts, oldest


def refresh_counts(conn: Conn) -> None:
    """Count if no worker leads, at most every 10 seconds."""
    ((are_old,),) = db.run(conn, SQL["counts_are_old"])
    if are_old:
        store_counts(conn)
