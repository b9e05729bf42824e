"""The worker: its threads, and the order in which they start and stop."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from time import monotonic
from typing import Any

from ...db import Connect, Connection, DatabaseThread, is_pooled
from ...notify import Listener, Nudger
from ..job import Job, Result
from ..kinds import Handler, Kind, WorkerOptions, kinds_with_discarded
from ..maintenance.loop import Maintainer, Retention
from ..maintenance.periodic import Periodic
from .completer import Completer
from .fetcher import Fetcher
from .heartbeat import Heartbeat
from .pool import Observer, Pool

log = logging.getLogger("forge_min.jobs")
MOST_PENDING = 2_000  # results that are not recorded yet; above it no job is fetched
MOST_STUCK = 3  # threads that do not return from their jobs; then the process should end


class Worker:
    """Runs the jobs of `queues` that have a kind in `kinds`. All other jobs wait.

    A function that returns completes its job. If it raises, the job is retried, unless it raises
    Cancel, Discard or Snooze.

    connect: opens a connection; each thread has its own.
    kinds: name → Kind, or a function that runs the jobs of this kind.
    queues: name → number of threads.
    periodic: jobs with a schedule, which the leader inserts.
    retention: how long the leader keeps ended jobs.
    observer: called with (job, outcome, seconds) after each run. outcome: completed, retried,
        discarded, cancelled, snoozed or handed_back.
    listen: opens the connection that fetches jobs and LISTENs, past any pooler; None = use
        `connect`, and poll.
    nudger: of this process; wakes other workers, and this one after commits of this process.
    on_stuck: called once, when MOST_STUCK threads do not return from jobs past their time limit.
    options: `around`, `prefetch` and the times of WorkerOptions.
    """

    def __init__(
        self,
        connect: Connect,
        kinds: Mapping[str, Kind | Handler],
        *,
        queues: Mapping[str, int],
        periodic: Sequence[Periodic] = (),
        retention: Retention = Retention(),  # noqa: B008  # frozen
        observer: Observer = lambda job, outcome, seconds: None,
        listen: Connect | None = None,
        nudger: Nudger | None = None,
        on_stuck: Callable[[], object] | None = None,
        **options: Any,
    ) -> None:
        by_name = {}
        for name, kind in kinds.items():
            by_name[name] = kind if isinstance(kind, Kind) else Kind(name, kind)
        shared = WorkerOptions(
            id=uuid.uuid4(),
            connect=connect,
            connect_by_index=_by_index(connect),
            kinds=by_name,
            discarded_kinds=kinds_with_discarded(by_name),
            queues=queues,
            **options,
        )
        self.id = shared.id
        """New for each worker, never a host name, so that old claims stay invalid."""
        self._observer = observer
        self._on_stuck = on_stuck
        self._running = False
        # By id and claim, from the fetch until its result is recorded.
        self._held: dict[tuple[int, int], Job] = {}
        payloads = ["c", *("j:" + queue for queue in queues)]
        self._listener = Listener(
            payloads, on_payload=self._notified, listen=listen is not None, nudger=nudger
        )
        numbers = count(1)
        wake = self._listener.set
        self._pools = {}
        for queue in queues:
            self._pools[queue] = Pool(queue, shared, numbers, done=self._done, wants_jobs=wake)
        inboxes = [pool.inbox for pool in self._pools.values()]
        self._completer = Completer(shared, inboxes, self._recorded)
        self._heartbeat = Heartbeat(shared, self._cancel, self._holds, self._wake_all)
        self._maintainer = Maintainer(shared, periodic, retention, lambda: self._heartbeat.leading)
        self._timeouts = DatabaseThread("job-timeouts", self._enforce_timeouts, None)
        timeouts = [kind.timeout for kind in by_name.values() if kind.timeout]
        shortest = min([shared.timeout, *timeouts])
        self._tick = min(0.5, shared.heartbeat, shortest / 4)
        self._fetcher = Fetcher(
            shared,
            _by_index(listen) if listen else shared.connect_by_index,
            self._pools,
            self._held,
            self._listener,
            ready=self._ready,
            nudge=nudger.nudge if nudger is not None else lambda payload: None,
            give_back=self._completer.put,
        )

    @property
    def ready(self) -> tuple[bool, str]:
        """Whether its last poll for jobs succeeded, and the reason if not."""
        return self._fetcher.state

    def start(self) -> None:
        """Start the threads. Idempotent.

        Their names are `job-fetch`, `job-N`, `job-complete`, `job-heartbeat`, `job-timeouts` and
        `job-maintenance`. Raises RuntimeError after `stop`: create a new worker.
        """
        if self._running:
            return
        for pool in self._pools.values():  # first: a thread cannot be started twice
            pool.start()
        self._running = True
        for part in (self._completer, self._heartbeat, self._timeouts, self._maintainer):
            part.start()
        self._listener.open()
        self._fetcher.start()

    def stop(self, timeout: float = 20.0) -> None:
        """Stop fetching, hand back jobs that have not started, wait for the others. Idempotent.

        A job that still runs after `timeout` seconds counts as a failed attempt, and its thread is
        abandoned.
        """
        if not self._running:
            return
        deadline = monotonic() + timeout
        self._fetcher.stop()
        self._listener.close()
        for pool in self._pools.values():
            for result in pool.take_back():
                self._completer.put(result)
            pool.close()
        for pool in self._pools.values():
            self._end(pool, deadline)
        self._completer.stop(patience=max(1.0, deadline - monotonic()))
        self._timeouts.stop()
        self._maintainer.stop()
        self._heartbeat.leave = not self._completer.pending
        self._heartbeat.stop()
        self._running = False

    # -- parts ------------------------------------------------------------------------------------

    def _notified(self, payload: str) -> None:
        if payload == "c":
            self._heartbeat.wake.set()
        else:
            self._pools[payload[2:]].more = True

    def _wake_all(self) -> None:
        self._fetcher.wake.set()
        self._maintainer.wake.set()

    def _ready(self) -> bool:
        return self._heartbeat.registered.is_set() and self._completer.pending < MOST_PENDING

    def _done(self, result: Result, seconds: float) -> None:
        if result.state == "completed" and result.job.committed:
            # SAFETY: if a crash undoes that commit, a result recorded later would complete the job
            # without its effect. Without one no worker holds the job, so it is rescued.
            self._recorded([result])
        else:
            self._completer.put(result)
        self._heartbeat.ended(result, seconds)
        try:
            self._observer(result.job, result.outcome, seconds)
        except Exception:
            log.exception("the observer of jobs failed")

    def _recorded(self, results: Sequence[Result]) -> None:
        for result in results:
            self._held.pop((result.job.id, result.job.claim), None)
        self._fetcher.freed({result.job.queue for result in results})

    def _enforce_timeouts(self) -> None:
        """Enforce time limits, and hand back jobs that were fetched too far ahead.

        On its own thread, because no wait for the database may delay it.
        """
        now = monotonic()
        for pool in self._pools.values():
            pool.check(now)
            for result in pool.surplus(now):
                self._completer.put(result)
        stuck = sum(pool.stuck for pool in self._pools.values())
        if self._on_stuck is not None and stuck >= MOST_STUCK:
            on_stuck = self._on_stuck
            self._on_stuck = None
            on_stuck()
        self._timeouts.rest(self._tick)

    def _holds(self, id: int, claim: int) -> bool:
        return (id, claim) in self._held or self._fetcher.is_fetching(claim)

    def _cancel(self, id: int, claim: int) -> None:
        job = self._held.get((id, claim))
        if job is not None:
            job.cancelled = True

    def _end(self, pool: Pool, deadline: float) -> None:
        for job_thread in pool.threads:
            thread = job_thread.thread
            thread.join(max(0.0, deadline - monotonic()))
            if thread.is_alive():
                seconds = job_thread.busy_for(monotonic())
                result = job_thread.abandon("the worker stopped before the job was done")
                if result is not None:
                    self._done(result, seconds)
                else:
                    thread.join(1.0)  # it was about to end


def _by_index(connect: Connect) -> Connect:
    """Return a function that opens connections; each plans its statements once, with indexes.

    PERF: a plan made while the table is empty reads the whole table, and stays until the table is
    analyzed: a tenth of the speed for a minute (tests/jobs/test_worker.py). Not through a pooler,
    which would pass the settings on to other clients.
    """

    def connect_by_index() -> Connection:
        conn = connect()
        try:
            if not is_pooled(conn):
                conn.prepared.prepare_immediately()
                # A plan that needs a disabled scan costs 10^10 before PostgreSQL 18, so JIT would
                # compile it: 0.3 to 2 s for a statement of 1 ms.
                conn.execute("set enable_seqscan = off; set jit = off")
                conn.execute("set plan_cache_mode = force_generic_plan")
        except BaseException:
            conn.close()
            raise
        return conn

    return connect_by_index
