"""The thread `job-ack`: writes down how runs ended, many in one statement, each fenced by its
claim.

It flushes when no fetched job is waiting, and within 5 ms otherwise: fixed timers halve the speed.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import psycopg

from ..db import Connection
from ..errors import ForgeError
from ..notify import Backoff
from .result import Result
from .session import SQL, Own

log = logging.getLogger("forge_min.jobs")
LINGER = 0.005  # seconds
BATCH = 1_000


class Acknowledger:
    """Takes results from any thread. worker: this worker's id. backlog: whether fetched
    jobs wait.
    """

    def __init__(
        self, connect: Callable[[], Connection], worker: UUID, backlog: Callable[[], bool]
    ) -> None:
        self._own = Own(connect)
        self._worker = worker
        self._backlog = backlog
        self._inbox: queue.SimpleQueue[Result | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="job-ack", daemon=True)
        self._hurry = threading.Event()
        self.stale = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, result: Result) -> None:
        """Write `result` down soon. Never blocks."""
        self._inbox.put(result)

    @property
    def pending(self) -> int:
        """Results that wait."""
        return self._inbox.qsize()

    def stop(self, timeout: float) -> bool:
        """Write down what waits and end the thread; whether all of it was in `timeout` seconds."""
        self._inbox.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._hurry.set()
            self._thread.join(timeout=2.0)
        return not self._hurry.is_set()

    def _run(self) -> None:
        more = True
        while more:
            batch, more = self._collect()
            if batch:
                self._flush(batch)
        self._own.close()

    def _collect(self) -> tuple[list[Result], bool]:
        """The next batch, and whether more may come."""
        batch: list[Result] = []
        result = self._inbox.get()
        deadline = time.monotonic() + LINGER
        while result is not None:
            batch.append(result)
            if len(batch) == BATCH:
                return batch, True
            try:
                wait = deadline - time.monotonic() if self._backlog() else 0.0
                result = self._inbox.get(timeout=wait) if wait > 0 else self._inbox.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _flush(self, batch: Sequence[Result]) -> None:
        backoff = Backoff()
        while not self._hurry.is_set():
            try:
                return self._write(batch)
            except (psycopg.OperationalError, psycopg.InterfaceError, ForgeError, OSError) as err:
                log.warning("%d results of jobs wait to be written: %s", len(batch), err)
                self._own.close()
                self._hurry.wait(backoff.next())
            except psycopg.Error:
                return self._one_by_one(batch)
        return None

    def _one_by_one(self, batch: Sequence[Result]) -> None:
        """One result was refused: it must not hold up the others."""
        if len(batch) == 1:
            log.exception("job %d stays running: its result was refused", batch[0].job.id)
            return
        for result in batch:
            self._flush([result])

    def _write(self, batch: Sequence[Result]) -> None:
        good = [r for r in batch if r.state == "completed"]
        rest = [r for r in batch if r.state != "completed"]
        if good:
            self._execute("complete", good, {})
        if rest:
            columns = {
                "states": [r.state for r in rest],
                "refunds": [r.refund for r in rest],
                "delays": [r.delay for r in rest],
                "errors": [r.error for r in rest],
            }
            self._execute("settle", rest, columns)

    def _execute(self, name: str, results: Sequence[Result], columns: dict[str, Any]) -> None:
        params = {
            "worker": self._worker,
            "ids": [r.job.id for r in results],
            "claims": [r.job.claim for r in results],
            **columns,
        }
        found = {row[0] for row in self._own.connection().execute(SQL[name], params)}
        lost = [r for r in results if r.job.id not in found and not r.job.completed]
        self.stale += len(lost)
        for result in lost:
            log.warning("job %d was taken from this worker meanwhile", result.job.id)
