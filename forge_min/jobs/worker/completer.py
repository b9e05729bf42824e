"""The thread `job-complete` records how runs ended.

Two statements, for completed and for other runs, record many results, each fenced by the claim of
its run. The thread writes when no fetched job waits, and within 5 ms otherwise: fixed timers halve
the throughput.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

import psycopg

from ...db import DatabaseThread
from ..job import SQL, Conn, Job, Result, with_notice
from ..kinds import WorkerOptions

log = logging.getLogger("forge_min.jobs")
FINISH = with_notice(SQL["finish"])
LINGER = 0.005  # seconds


class Completer(DatabaseThread):
    """Records results, which any thread may add.

    inboxes: fetched jobs that wait.
    recorded: called with the results that were recorded or refused.
    """

    def __init__(
        self,
        options: WorkerOptions,
        inboxes: Sequence[queue.SimpleQueue[Job | None]],
        recorded: Callable[[Sequence[Result]], object],
    ) -> None:
        connect = options.connect_by_index
        super().__init__("job-complete", self._step, connect, last_step=self._step)
        self._options = options
        self._inboxes = inboxes
        self._recorded = recorded
        self._inbox = queue.SimpleQueue[Result]()
        self._batch: list[Result] = []
        self.stale = 0  # runs that were taken from this worker before they ended

    def put(self, result: Result) -> None:
        """Queue a result, which is recorded soon. Never blocks."""
        self._inbox.put(result)
        if not self.wake.is_set():  # PERF: reading the flag costs less than taking the lock
            self.wake.set()

    @property
    def pending(self) -> int:
        """Number of results that are not recorded yet."""
        return self._inbox.qsize() + len(self._batch)

    def _step(self) -> None:
        if not self._batch:
            self.rest()
        self._collect()
        batch = self._batch
        self._record(batch)
        self._batch = []
        self._recorded(batch)

    def _collect(self) -> None:
        """Add queued results. The batch is bounded: above MOST_PENDING no job is fetched."""
        deadline = time.monotonic() + LINGER
        with suppress(queue.Empty):
            while True:
                wait = 0.0
                if not all(inbox.empty() for inbox in self._inboxes):
                    wait = max(0.0, deadline - time.monotonic())
                result = self._inbox.get(wait > 0, wait)
                self._batch.append(result)

    def _record(self, batch: Sequence[Result]) -> None:
        kinds = self._options.discarded_kinds
        try:
            stale = record_results(self.connection(), self._options.id, kinds, batch)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except psycopg.Error:
            if len(batch) == 1:
                log.exception("job %d stays running: its result was refused", batch[0].job.id)
                return
            for result in batch:  # a refused result must not hold up the others
                self._record([result])
            return
        for result in stale:
            if not result.job.completed:
                self.stale += 1
                log.warning("job %d was taken from this worker before it ended", result.job.id)


def record_results(
    conn: Conn, worker: UUID, kinds: Sequence[str], results: Sequence[Result]
) -> list[Result]:
    """Record the results of runs.

    kinds: names of the kinds with `discarded`, to which discarded jobs are reported.

    Returns the stale results: their runs were taken from this worker.
    """
    # A job that was snoozed or rescued may have run again: only the last claim can be valid.
    by_claim = sorted(results, key=lambda result: result.job.claim)
    last = {result.job.id: result for result in by_claim}
    stale = [result for result in results if last[result.job.id] is not result]
    completed = []
    others = []
    for result in last.values():
        if result.state == "completed":
            completed.append(result)
        else:
            others.append(result)
    for sql, batch in ((SQL["complete"], completed), (FINISH, others)):
        if batch:
            params = {
                "worker": worker,
                "ids": [result.job.id for result in batch],
                "claims": [result.job.claim for result in batch],
                # Only FINISH uses these.
                "discarded_kinds": list(kinds),
                "states": [result.state for result in batch],
                "refunds": [result.refund for result in batch],
                "delays": [result.delay for result in batch],
                "errors": [result.error for result in batch],
            }
            recorded = {id for (id,) in conn.execute(sql, params)}
            stale += [result for result in batch if result.job.id not in recorded]
    return stale
