"""The thread `job-complete`: writes down how runs ended, many in one statement, each fenced by its
claim.

It flushes when no fetched job is waiting, and within 5 ms otherwise: fixed timers halve the speed.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg

from ...db import DatabaseThread
from ..job import SQL, Result, with_notice
from ..kinds import WorkerOptions

log = logging.getLogger("forge_min.jobs")
SETTLE = with_notice(SQL["settle"])
LINGER = 0.005  # seconds


class Completer(DatabaseThread):
    """Takes results from any thread. backlog: whether fetched jobs wait. written: called with the
    results that are dealt with.
    """

    def __init__(
        self,
        options: WorkerOptions,
        backlog: Callable[[], bool],
        written: Callable[[Sequence[Result]], object],
    ) -> None:
        super().__init__("job-complete", self._step, options.connect_by_index)
        self._options = options
        self._backlog, self._written = backlog, written
        self._inbox: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._batch: list[Result] = []
        self.stale = 0

    def put(self, result: Result) -> None:
        """Write `result` down soon. Never blocks."""
        self._inbox.put(result)
        if not self.wake.is_set():  # PERF: a look costs less than the lock
            self.wake.set()

    @property
    def pending(self) -> int:
        """Results that are not written yet."""
        return self._inbox.qsize() + len(self._batch)

    def _step(self) -> None:
        if not self._batch:
            self.rest()
        self._collect()
        self._write(self._batch)
        batch, self._batch = self._batch, []
        self._written(batch)

    def _collect(self) -> None:
        """Add what has come, which is bounded: above MOST_PENDING the worker fetches nothing."""
        deadline = time.monotonic() + LINGER
        with suppress(queue.Empty):
            while True:
                wait = deadline - time.monotonic() if self._backlog() else 0.0
                self._batch.append(self._inbox.get(wait > 0, max(wait, 0.0)))

    def _write(self, batch: Sequence[Result]) -> None:
        try:
            told = self._options.discarded_kinds
            stale = record_results(self.connection(), self._options.id, told, batch)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except psycopg.Error:
            if len(batch) == 1:
                log.exception("job %d stays running: its result was refused", batch[0].job.id)
                return
            for result in batch:  # the one that was refused must not hold up the others
                self._write([result])
            return
        for result in stale:
            if not result.job.completed:
                self.stale += 1
                log.warning("job %d was taken from this worker meanwhile", result.job.id)


def record_results(
    conn: psycopg.Connection[Any], worker: UUID, told: Sequence[str], results: Sequence[Result]
) -> list[Result]:
    """Write the results of runs. Returns those whose runs were taken from this worker."""
    # A run that was snoozed or rescued may have run again: only the last claim can be valid.
    last = {result.job.id: result for result in sorted(results, key=lambda r: r.job.claim)}
    stale = [result for result in results if last[result.job.id] is not result]
    done = [result for result in last.values() if result.state == "completed"]
    others = [result for result in last.values() if result.state != "completed"]
    for sql, part in ((SQL["complete"], done), (SETTLE, others)):
        if part:
            params = {
                "worker": worker,
                "ids": [r.job.id for r in part],
                "claims": [r.job.claim for r in part],
                # Only SETTLE uses these.
                "told": list(told),
                "states": [r.state for r in part],
                "refunds": [r.refund for r in part],
                "delays": [r.delay for r in part],
                "errors": [r.error for r in part],
            }
            written = {row[0] for row in conn.execute(sql, params)}
            stale += [r for r in part if r.job.id not in written]
    return stale
