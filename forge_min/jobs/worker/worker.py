"""The worker: its threads, and their order of starting and stopping."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

from ...db import Connect, Connection, DatabaseThread, is_pooled
from ...notify import Listener, Nudger
from ..job import Job, Result
from ..kinds import Around, Handler, Kind, WorkerOptions, kinds_with_discarded
from ..maintenance import Maintainer, Periodic, Retention
from .completer import Completer
from .fetcher import Fetcher
from .heartbeat import Heartbeat
from .pool import Observer, Pool

log = logging.getLogger("forge_min.jobs")
MOST_PENDING = 2_000  # results not written yet; above it nothing is fetched
MOST_STUCK = 3  # threads that do not return from their jobs; then the process is better ended


class Worker:
    """Works jobs of `queues` (name → threads) whose kind is in `kinds`; others wait.

    kinds: what each kind is, or a function that works it. One that returns completes its job; one
    that raises has it tried again, unless it raises Cancel, Discard or Snooze. connect: opens a
    connection; each thread has its own. poll_interval: seconds between looks when nothing wakes the
    worker. prefetch: jobs waiting per thread; more while they take a few milliseconds, none while
    they take 0.1 s. timeout: seconds per job. heartbeat, rescue_after: seconds; a worker silent for
    longer than the second loses its jobs. periodic, retention: what it does for all while it is the
    leader. observer: told (job, outcome, seconds) after each run, with outcome completed, retried,
    discarded, cancelled, snoozed or handed_back. around: a context manager around each run. listen:
    opens the connection on which it fetches, past any pooler, to hear there of new jobs; None = on
    one of `connect`, by polling. nudger: of this process, to wake other workers and hear of its own
    commits. on_stuck: called once when MOST_STUCK threads do not return from jobs whose time is
    over.
    """

    def __init__(
        self,
        connect: Connect,
        kinds: Mapping[str, Kind | Handler],
        *,
        queues: Mapping[str, int],
        poll_interval: float = 1.0,
        prefetch: int = 1,
        timeout: float = 60.0,
        heartbeat: float = 5.0,
        rescue_after: float = 30.0,
        periodic: Sequence[Periodic] = (),
        retention: Retention = Retention(),  # noqa: B008  # frozen
        observer: Observer | None = None,
        around: Around | None = None,
        listen: Connect | None = None,
        nudger: Nudger | None = None,
        on_stuck: Callable[[], object] | None = None,
    ) -> None:
        made = {n: kind if isinstance(kind, Kind) else Kind(n, kind) for n, kind in kinds.items()}
        options = WorkerOptions(
            id=uuid.uuid4(),
            connect=connect,
            connect_by_index=_by_index(connect),
            kinds=made,
            discarded_kinds=kinds_with_discarded(made),
            queues=queues,
            around=around or nullcontext,
            prefetch=prefetch,
            timeout=timeout,
            poll_interval=poll_interval,
            heartbeat=heartbeat,
            rescue_after=rescue_after,
        )
        self.id = options.id
        """Fresh for each worker, never a host name, so that old claims stay old."""
        self._observer, self._on_stuck = observer, on_stuck
        self._running = False
        self._held: dict[int, Job] = {}  # from the fetch until its end is written down, by id
        self._pools: dict[str, Pool] = {}
        first = 1
        for name, size in queues.items():
            self._pools[name] = Pool(
                name, options, first, done=self._done, wants_jobs=self._wants_jobs
            )
            first += size
        self._completer = Completer(options, self._backlog, self._written)
        self._heartbeat = Heartbeat(options, self._cancel, self._holds, self._wake_all)
        self._maintainer = Maintainer(options, periodic, retention, lambda: self._heartbeat.leading)
        self._timeouts = DatabaseThread("job-timeouts", self._look_after, None)
        limits = [options.timeout, *(kind.timeout for kind in made.values() if kind.timeout)]
        self._tick = min(0.5, heartbeat, min(limits) / 4)
        self._listener = Listener(
            ["c", *("j:" + name for name in queues)],
            heard=self._heard,
            listen=listen is not None,
            nudger=nudger,
        )
        self._fetcher = Fetcher(
            options,
            _by_index(listen) if listen else options.connect_by_index,
            self._pools,
            self._held,
            self._listener,
            ready=self._ready,
            nudge=nudger.nudge if nudger is not None else lambda payload: None,
            give_back=self._completer.put,
        )

    @property
    def ready(self) -> tuple[bool, str]:
        """Whether its last look for jobs succeeded; else why not."""
        return self._fetcher.state

    @property
    def leading(self) -> bool:
        """Whether it does what one worker does for all."""
        return self._heartbeat.leading

    @property
    def stuck(self) -> int:
        """Threads that were replaced because their jobs do not end."""
        return sum(pool.stuck for pool in self._pools.values())

    def start(self) -> None:
        """Start the threads `job-fetch`, `job-N`, `job-complete`, `job-heartbeat`, `job-timeouts`
        and `job-maintenance`. Idempotent. Raises RuntimeError after `stop`: make another worker.
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
        """Fetch no more, hand back what has not started, wait for what has. Idempotent.

        What still runs after `timeout` seconds counts as a failed attempt; its thread is left
        behind.
        """
        if not self._running:
            return
        deadline = time.monotonic() + timeout
        self._fetcher.stop()
        self._listener.close()
        for pool in self._pools.values():
            for result in pool.take_back():
                self._completer.put(result)
            pool.close()
        for pool in self._pools.values():
            self._end(pool, deadline)
        self._completer.stop(patience=max(1.0, deadline - time.monotonic()))
        self._timeouts.stop()
        self._maintainer.stop()
        self._heartbeat.leave = not self._completer.pending
        self._heartbeat.stop()
        self._running = False

    def wake(self, queue: str = "") -> None:
        """Look into `queue` now, "" = into all. Never blocks."""
        for pool in list(self._pools.values()):
            if queue in ("", pool.name):
                pool.more = True
        self._fetcher.wake.set()

    # -- parts ------------------------------------------------------------------------------------

    def _heard(self, payload: str) -> None:
        if payload == "c":
            self._heartbeat.look()
        else:
            self._pools[payload[2:]].more = True

    def _wake_all(self) -> None:
        self._fetcher.wake.set()
        self._maintainer.wake.set()

    def _ready(self) -> bool:
        return self._heartbeat.registered.is_set() and self._completer.pending < MOST_PENDING

    def _wants_jobs(self) -> None:
        if not self._fetcher.wake.is_set():  # PERF: a look costs less than the lock
            self._fetcher.wake.set()

    def _done(self, result: Result, seconds: float) -> None:
        if result.state == "completed" and result.job.committed:
            # SAFETY: if a crash undoes that commit, a late acknowledgement would complete the job
            # without its effect. Then nobody holds it, so it is rescued.
            self._written([result])
        else:
            self._completer.put(result)
        self._heartbeat.ended(result, seconds)
        if self._observer is not None:
            try:
                self._observer(result.job, result.outcome, seconds)
            except Exception:
                log.exception("the observer of jobs failed")

    def _backlog(self) -> bool:
        return any(not pool.inbox.empty() for pool in self._pools.values())

    def _written(self, results: Sequence[Result]) -> None:
        for result in results:
            if self._held.get(result.job.id) is result.job:  # it may have been fetched again
                del self._held[result.job.id]
        self._fetcher.freed({result.job.queue for result in results})

    def _look_after(self) -> None:
        """Time limits, which no wait for the database may delay; and what was fetched too far
        ahead.
        """
        if self._timeouts.stopping.is_set():
            return
        now = time.monotonic()
        for pool in self._pools.values():
            pool.check(now)
            for result in pool.surplus(now):
                self._completer.put(result)
        if self._on_stuck is not None and self.stuck >= MOST_STUCK:
            on_stuck, self._on_stuck = self._on_stuck, None
            on_stuck()
        self._timeouts.rest(self._tick)

    def _holds(self, id: int, claim: int) -> bool:
        job = self._held.get(id)
        return (job is not None and job.claim == claim) or self._fetcher.asks_for(claim)

    def _cancel(self, id: int, claim: int) -> None:
        job = self._held.get(id)
        if job is not None and job.claim == claim:
            job.cancelled = True

    def _end(self, pool: Pool, deadline: float) -> None:
        for lane in pool.threads:
            lane.thread.join(max(0.0, deadline - time.monotonic()))
            if lane.thread.is_alive():
                ran = lane.busy_for(time.monotonic())
                result = lane.abandon("the worker stopped before the job was done")
                if result is not None:
                    self._done(result, ran)
                else:
                    lane.thread.join(1.0)  # it was about to end


def _by_index(connect: Connect) -> Connect:
    """What opens connections on which statements are prepared and planned once, by indexes alone.

    PERF: a plan that is made while the table is empty reads all of it, and stays until the table is
    analyzed: a tenth of the speed for a minute (tests/jobs/test_worker.py). A pooler would hand the
    settings on to others.
    """

    def opened() -> Connection:
        conn = connect()
        if not is_pooled(conn):
            conn.prepared.at_once()
            conn.execute("set enable_seqscan = off")
            conn.execute("set plan_cache_mode = force_generic_plan")
        return conn

    return opened
