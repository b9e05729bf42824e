"""The thread `job-fetch` claims as many jobs as threads are free.

Each fetch has a claim of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from json import loads
from string import Template
from time import monotonic
from typing import Any

from ... import db
from ...db import Connect, Connection, DatabaseThread
from ...notify import Listener
from ..job import SQL, Job, Result, hand_back
from ..kinds import WorkerOptions
from .pool import Pool

REMEMBER = 600.0  # seconds in which a fetch without a response is released
NOT_CONNECTED = (False, "the worker is not connected to the database")
QUICK_FETCH = 0.005  # seconds: a fetch that took less passed over few dead index entries
PRIORITIES = (1, 2, 3, 4)
Row = tuple[Any, ...]


class Fetcher(DatabaseThread):
    """Claims jobs and passes them to the pools of their queues.

    held: (job id, claim) → job, filled with each fetched job.
    listener: the event that the thread waits for; its connection LISTENs.
    ready: returns whether the worker may fetch jobs now.
    nudge: called with "j:<queue>" when jobs become due that other processes may wait for.
    give_back: called with fetched jobs that shall not run here.
    """

    def __init__(
        self,
        options: WorkerOptions,
        connect: Connect,
        pools: Mapping[str, Pool],
        held: dict[tuple[int, int], Job],
        listener: Listener,
        *,
        ready: Callable[[], bool],
        nudge: Callable[[str], object],
        give_back: Callable[[Result], object],
    ) -> None:
        super().__init__("job-fetch", self._step, connect, options.rescue_after, wake=listener)
        self._pools = pools
        self._held = held
        self._listener = listener
        self._ready = ready
        self._nudge = nudge
        self._give_back = give_back
        self._poll_interval = options.poll_interval
        self._params = {
            "worker": str(options.id),
            # PERF: literals of PostgreSQL: after an idle time psycopg takes 80 us to adapt a list.
            "kinds": db.sql_array(options.kinds),
            "queues": db.sql_array(pools),
        }
        self._due = 0.0  # when to poll next
        self._claim: int | None = None  # of the next fetch, None = select one first
        self._lost: dict[int, float] = {}  # claim of a fetch without a response → when to forget it
        self._limited = set[str]()
        # queue → parameters with the end of the last fetch in each priority
        self._marks: dict[str, dict[str, object]] = {}
        self.state = NOT_CONNECTED
        """Whether the last poll succeeded, and the reason if not."""

    def _step(self) -> None:
        if not self._ready():
            self.rest(0.05)
            return
        if monotonic() >= self._due:
            self._poll()
            interval = self._poll_interval * random.uniform(0.95, 1.05)
            self._due = monotonic() + interval
        due = self._due
        self._due = 0.0  # a failed fetch is followed by a poll
        fetched = sum([self._fetch(pool) for pool in self._pools.values()])
        self._due = due
        if not fetched and not self.stopping.is_set():
            wait = max(0.0, due - monotonic())
            self._listener.rest(self.connection(), wait)
            self._listener.clear()

    def connection(self) -> Connection:
        """Return the connection. A new one listens first and then polls for the jobs it missed."""
        is_new = self.conn is None or self.conn.closed
        conn = super().connection()
        if is_new:
            self._listener.attach(conn)
            self._due = 0.0
        return conn

    def close(self) -> None:
        """Close the connection, as `ThreadConnection.close`."""
        super().close()
        self.state = NOT_CONNECTED

    def freed(self, queues: set[str]) -> None:
        """Wake the workers of limited queues in which runs ended, here and in other processes."""
        for queue in queues & self._limited & self._pools.keys():
            self._pools[queue].more = True
            self._nudge("j:" + queue)
            self.wake.set()

    def _poll(self) -> None:
        conn = self.connection()
        now = monotonic()
        self._lost = {claim: until for claim, until in self._lost.items() if until > now}
        if self._lost:
            # The statement of a lost fetch may commit later, so this is repeated for a while.
            params = self._params | {"claims": list(self._lost)}
            db.run(conn, SQL["release"], params)
        self._marks.clear()
        self.state = (True, "")
        for queue, is_limited, is_woken in db.run(conn, SQL["poll"], self._params):
            if is_woken:
                self._nudge("j:" + queue)
            if queue in self._pools:
                self._pools[queue].more = True
                if is_limited:
                    self._limited.add(queue)
                else:
                    self._limited.discard(queue)

    def _fetch(self, pool: Pool) -> int:
        if not pool.more or not self._ready():
            return 0
        is_limited = pool.name in self._limited
        free = pool.free
        limit = pool.fetch_limit()
        if is_limited:  # jobs that wait here count as running and would block other workers
            limit = min(limit, free)
        if not limit:
            return 0
        pool.more = False  # before the statement: a wake during it means another fetch
        began = monotonic()
        rows = self._claim_jobs(pool.name, limit)
        # With limits a fetch considers only the first waiting jobs, so there may be more.
        if len(rows) == limit or (rows and is_limited):
            pool.more = True
        rows.sort(key=lambda row: (row[10], row[9], row[0]))
        quick = len(rows) < limit and monotonic() - began < QUICK_FETCH
        self._mark(pool.name, rows, quick=quick)
        jobs = [_job(row) for row in rows]
        self._held.update(((job.id, job.claim), job) for job in jobs)
        if rows:  # SAFETY: after `held` has them; until here `is_fetching` covers them
            self._claim = rows[0][12]
        pool.careful = any(job.attempt >= job.max_attempts for job in jobs)
        if pool.careful:
            jobs = self._without_waiting_last_attempts(pool, jobs, free)
        # PERF: last, because the threads start to run now.
        pool.add(jobs)
        return len(rows)

    def _without_waiting_last_attempts(
        self, pool: Pool, jobs: Sequence[Job], free: int
    ) -> list[Job]:
        """Hand back jobs that would wait here for their last attempt, and return the others.

        A job that waits here when the process dies loses an attempt, which must not be its last.
        """
        result = [*jobs[:free]]
        for job in jobs[free:]:
            if job.attempt < job.max_attempts:
                result.append(job)
            else:
                pool.more = True
                self._give_back(hand_back(job))
        return result

    def is_fetching(self, claim: int) -> bool:
        """Return whether the response to this fetch may still arrive."""
        return claim == self._claim or claim in self._lost

    def _claim_jobs(self, queue: str, limit: int) -> list[Row]:
        """Claim up to `limit` jobs. The jobs of a fetch without a response are released later."""
        conn = self.connection()
        if self._claim is None:
            ((self._claim,),) = db.run(conn, SQL["claim"])
        params = {"queue": queue, "limit": limit, "claim": self._claim, **self._params}
        marks = self._marks.get(queue)
        try:
            if queue in self._limited:
                with db.transaction(conn):
                    db.run(conn, SQL["lock_queue"], params)
                    rows = db.run(conn, _FETCH["pick_limited"], params)
            elif marks:
                rows = db.run(conn, _FETCH["pick_on"], params | marks)
            else:
                rows = db.run(conn, _FETCH["pick"], params)
        except BaseException:
            self._lost[self._claim] = monotonic() + REMEMBER
            self._claim = None
            raise
        return rows

    def _mark(self, queue: str, rows: Sequence[Row], *, quick: bool) -> None:
        """Remember the position at which the next fetch begins.

        rows: in the order of the queue.
        quick: the next fetch begins at the front again, which is the quicker statement.
        """
        if quick:
            self._marks.pop(queue, None)
        elif rows and queue not in self._limited:
            marks = self._marks.setdefault(queue, dict(_NO_MARKS))
            last_rows = {row[10]: row for row in rows}  # of each priority
            for priority, row in last_rows.items():
                marks[f"at_{priority}"] = row[9]
                marks[f"id_{priority}"] = row[0]


def _job(row: Row) -> Job:
    """Return the row as a job.

    PostgreSQL stores numbers and nested lists that Python cannot read: only the job with such a
    value fails.
    """
    id, kind, queue, args, attempt, max_attempts, claim, metadata, *times = row[:12]
    unreadable = ""
    try:
        args = loads(args)
        metadata = loads(metadata)
    except (ValueError, RecursionError) as err:
        unreadable = f"its arguments or metadata cannot be read: {err}"
        args = {}
        metadata = {}
    job = Job(id, kind, queue, args, attempt, max_attempts, claim, metadata, *times)
    job.unreadable = unreadable
    job.failures = row[13]
    return job


_SCANS = "\n  union all\n".join(Template(SQL["scan"]).substitute(n=n) for n in PRIORITIES)
_FETCH = {
    name: Template(SQL["fetch"].replace("$picked", SQL[name])).substitute(scans=_SCANS)
    for name in ("pick", "pick_on", "pick_limited")
}
_NO_MARKS: dict[str, object] = {}
for _priority in PRIORITIES:
    _NO_MARKS[f"at_{_priority}"] = "-infinity"
    _NO_MARKS[f"id_{_priority}"] = 0
