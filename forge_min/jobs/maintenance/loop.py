"""The thread `job-maintenance`: the leader's work for all workers. Other workers only wait.

Each action is one statement, or one transaction, that asks again whether this worker leads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from ... import db
from ...db import DatabaseThread
from ..job import log_rescue, with_notice
from ..kinds import WorkerOptions
from .periodic import SQL, Periodic, insert_due, register

BATCH = 5_000  # rows that one statement deletes
MOST_COUNTED = 10_000  # jobs of a queue and state that are counted; of more the planner's guess
SWEEP = 30.0  # seconds between looks for what is old
COUNT = 15.0  # seconds between counts

RESCUE = {which: with_notice(SQL["rescue"], which=SQL[which]) for which in ("silent", "strays")}
SILENT, STRAY = "the worker died or fell silent", "the worker knows nothing of this run"


class Retention(NamedTuple):
    """Seconds that ended jobs are kept, and the figures of the plots."""

    completed: float = 86_400.0
    discarded: float = 7 * 86_400.0
    minutes: float = 2 * 86_400.0


class Maintainer(DatabaseThread):
    """Rescues, deletes, counts and inserts what is periodic, while `leading()`."""

    def __init__(
        self,
        options: WorkerOptions,
        periodic: Sequence[Periodic],
        retention: Retention,
        leading: Callable[[], bool],
    ) -> None:
        super().__init__("job-maintenance", self._step, options.connect_by_index)
        self._worker, self._periodic, self._leading = options.id, periodic, leading
        told = {"worker": options.id, "told": options.discarded_kinds, "batch": BATCH}
        self._params = told | retention._asdict()
        self._every = {"rescue": options.heartbeat, "sweep": SWEEP, "count": COUNT}
        self._due: dict[str, float] = {}
        self._registered = False
        self.rescued = 0

    def _step(self) -> None:
        if self.stopping.is_set():
            return
        if not self._leading():
            self._registered = False
            self.close()
            self.rest()
            return
        if not self._registered:
            register(self.connection(), self._periodic)
            self._registered = True
            self._due = dict.fromkeys([*self._every, "periodic"], 0.0)
        failed: Exception | None = None
        for name, due in self._due.items():
            try:
                if time.monotonic() >= due:
                    self._due[name] = time.monotonic() + self._do(name)
            except Exception as err:  # one must not keep the others from being done
                failed = err
        if failed is not None:
            raise failed
        self.rest(max(0.0, min(self._due.values()) - time.monotonic()))

    def _do(self, name: str) -> float:
        """One action; seconds until it is due again."""
        conn = self.connection()
        if name == "periodic":
            # Others may lead meanwhile, with schedules of theirs: look now and then.
            return min(insert_due(conn, self._worker, self._periodic), SWEEP)
        if name == "rescue":
            for run in db.run(conn, RESCUE["silent"], self._params | {"why": SILENT}):
                self.rescued += 1
                log_rescue(run, SILENT)
        elif name == "sweep":
            ((full,),) = db.run(conn, SQL["sweep"], self._params)
            if full:
                return 0.0
        else:
            store_counts(conn, self._worker)
        return self._every[name]


def store_counts(conn: psycopg.Connection[Any], worker: UUID | None = None) -> None:
    """Count anew.

    worker: the leader; None = the caller, if no worker leads.
    """
    found, oldest = count_jobs(conn)
    params = {
        "names": list(found),
        "counts": [
            json.dumps(found[queue] | {"oldest": oldest.get(queue, 0.0)}) for queue in found
        ],
        "worker": worker,
    }
    db.run(conn, SQL["counted"], params)


def count_jobs(conn: psycopg.Connection[Any]) -> tuple[dict[str, dict[str, int]], dict[str, float]]:
    """queue → state → how many, and queue → seconds that its oldest job waits. Only reads."""
    found: dict[str, dict[str, int]] = {}
    oldest: dict[str, float] = {}
    for queue, state, number, age in db.run(conn, SQL["count"], {"most": MOST_COUNTED + 1}):
        if number > MOST_COUNTED:
            # The state and the queue are two conditions that the statistics know.
            params = {"queue": queue, "state": state}
            ((plan,),) = conn.execute(SQL["estimate"], params).fetchall()
            number = max(number, int(plan[0]["Plan"]["Plan Rows"]))
        found.setdefault(queue, {})[state] = number
        if age is not None:
            oldest[queue] = age
    return found, oldest


def refresh_counts(conn: psycopg.Connection[Any]) -> None:
    """Count where no leader does, at most every few seconds."""
    ((old,),) = db.run(conn, SQL["old"])
    if old:
        store_counts(conn)
