"""The worker: its threads and their order of starting and stopping, and the thread `job-fetch`."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from ..notify.link import Connect, Loop
from .acks import Acknowledger
from .heart import Heart
from .job import SQL, Job, Result
from .lane import Around, Handler, Terms
from .pool import Observer, Pool

log = logging.getLogger("forge_min.jobs")
REMEMBER = 600.0  # seconds that a fetch without an answer is looked for
MOST_PENDING = 2_000  # results not written yet; above it nothing is fetched


class Worker:
    """Works jobs of `queues` (name → threads) whose kind is in `handlers`; others wait.

    A handler that returns completes its job; one that raises has it tried again, unless it raises
    Cancel, Discard or Snooze. connect: opens a connection; each thread has its own. poll_interval:
    seconds between looks when nothing wakes the worker. prefetch: jobs waiting per thread while
    they are short. timeout: seconds per job. heartbeat, rescue_after: seconds; a worker silent for
    longer than the second loses its jobs. observer: told (job, outcome, seconds) after each run,
    with outcome completed, retried, discarded, cancelled or snoozed. around: a context manager
    around each run.
    """

    def __init__(
        self,
        connect: Connect,
        handlers: Mapping[str, Handler],
        *,
        queues: Mapping[str, int],
        poll_interval: float = 1.0,
        prefetch: int = 1,
        timeout: float = 60.0,
        heartbeat: float = 5.0,
        rescue_after: float = 30.0,
        observer: Observer | None = None,
        around: Around | None = None,
    ) -> None:
        around = around or (lambda job: nullcontext())
        self._terms = Terms(connect, dict(handlers), around, prefetch, timeout)
        self._queues = dict(queues)
        self._poll_interval = poll_interval
        self._heartbeat = heartbeat
        self._rescue_after = rescue_after
        self._observer = observer
        self._running = False
        self.fetched = 0
        self._build()

    @property
    def stale(self) -> int:
        """Results that were refused because the job had been taken from this worker."""
        return self._acks.stale

    @property
    def rescued(self) -> int:
        """Jobs of dead workers that this one rescued."""
        return self._heart.rescued

    def start(self) -> None:
        """Start the threads `job-fetch`, `job-N`, `job-ack` and `job-heart`. Idempotent."""
        if self._running:
            return
        self._build()
        self._running = True
        self._acks.start()
        self._heart.start()
        for pool in self._pools.values():
            pool.start()
        self._loop.start()

    def stop(self, timeout: float = 20.0) -> None:
        """Fetch no more, hand back what has not started, wait for what has. Idempotent.

        What still runs after `timeout` seconds counts as a failed attempt; its thread is left
        behind.
        """
        if not self._running:
            return
        deadline = time.monotonic() + timeout
        self._loop.stop()
        for pool in self._pools.values():
            for result in pool.take_back():
                self._acks.put(result)
            pool.close()
        for pool in self._pools.values():
            self._end(pool, deadline)
        self._acks.stop(patience=max(1.0, deadline - time.monotonic()))
        self._heart.leave = not self._acks.pending
        self._heart.stop()
        self._running = False

    def wake(self, queue: str) -> None:
        """Look into `queue` now, "" = into all. Never blocks; called by the hub."""
        for pool in list(self._pools.values()):
            if queue in ("", pool.name):
                pool.more = True
        self._loop.wake.set()

    # -- parts ------------------------------------------------------------------------------------

    def _build(self) -> None:
        """New parts, for one life: a fresh id, never a host name, so that old claims stay old."""
        self._id = uuid.uuid4()
        connect = self._terms.connect
        self._loop = Loop("job-fetch", self._step, connect)
        self._pools: dict[str, Pool] = {}
        first, hungry = 1, self._loop.wake.set
        for name, size in self._queues.items():
            pool = Pool(name, size, self._terms, first, done=self._done, hungry=hungry)
            self._pools[name] = pool
            first += size
        self._acks = Acknowledger(connect, self._id, self._backlog)
        self._heart = Heart(
            connect,
            self._id,
            self._queues,
            heartbeat=self._heartbeat,
            rescue_after=self._rescue_after,
            check=self._check,
            tick=min(0.5, self._terms.timeout / 4),
        )
        self._due = 0.0  # when to look next
        self._claim: int | None = None  # of the next fetch, None = ask for one
        self._lost: dict[int, float] = {}  # claim of a fetch without an answer → when to forget it

    def _done(self, result: Result, seconds: float) -> None:
        self._acks.put(result)
        if self._observer is not None:
            try:
                self._observer(result.job, result.outcome, seconds)
            except Exception:
                log.exception("the observer of jobs failed")

    def _backlog(self) -> bool:
        return any(not pool.inbox.empty() for pool in self._pools.values())

    def _check(self, now: float) -> None:
        for pool in self._pools.values():
            pool.check(now)

    def _end(self, pool: Pool, deadline: float) -> None:
        for lane in pool.lanes:
            lane.thread.join(max(0.0, deadline - time.monotonic()))
            if lane.thread.is_alive():
                result = lane.abandon("the worker stopped before the job was done")
                if result is not None:
                    self._acks.put(result)
                else:
                    lane.thread.join(1.0)  # it was about to end

    # -- thread job-fetch -------------------------------------------------------------------------

    def _step(self) -> None:
        if self._loop.stopping.is_set() or not self._heart.beaten.wait(0.05):
            return
        if time.monotonic() >= self._due:
            self._look()
            self._due = time.monotonic() + self._poll_interval * random.uniform(0.95, 1.05)
        due, self._due = self._due, 0.0  # a fetch that fails is followed by a look
        fetched = sum([self._fetch(pool) for pool in self._pools.values()])
        self._due = due
        if not fetched:
            self._loop.rest(max(0.0, due - time.monotonic()))

    def _look(self) -> None:
        conn, now = self._loop.connection(), time.monotonic()
        self._lost = {claim: until for claim, until in self._lost.items() if until > now}
        if self._lost:
            # Its statement may commit after we asked, so ask for a while.
            conn.execute(SQL["release"], {"worker": self._id, "claims": list(self._lost)})
        params = {"queues": list(self._pools), "kinds": list(self._terms.handlers)}
        for (name,) in conn.execute(SQL["look"], params):
            self._pools[name].more = True

    def _fetch(self, pool: Pool) -> int:
        limit = pool.room() if pool.more and self._acks.pending < MOST_PENDING else 0
        if not limit:
            return 0
        pool.more = False  # before the statement: a wake during it means another look
        rows = self._take(pool.name, limit)
        if len(rows) == limit:
            pool.more = True
        rows.sort(key=lambda row: (row[10], row[9], row[0]))
        pool.add([Job(*row[:11]) for row in rows])
        self.fetched += len(rows)
        return len(rows)

    def _take(self, queue: str, limit: int) -> list[tuple[Any, ...]]:
        """Claim up to `limit` jobs. A fetch whose answer is lost is remembered and taken back."""
        conn = self._loop.connection()
        if self._claim is None:
            ((self._claim,),) = conn.execute(SQL["claim"])
        params = {
            "queue": queue,
            "kinds": list(self._terms.handlers),
            "limit": limit,
            "worker": self._id,
            "claim": self._claim,
        }
        try:
            rows = conn.execute(SQL["fetch"], params).fetchall()
        except BaseException:
            self._lost[self._claim] = time.monotonic() + REMEMBER
            self._claim = None
            raise
        if rows:
            self._claim = rows[0][11]
        return rows
