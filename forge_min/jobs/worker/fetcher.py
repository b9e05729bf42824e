"""The thread `job-fetch` claims as many jobs as threads are free.

Each fetch has a claim of its own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from json import loads
from string import Template
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
        self._pools, self._held, self._listener = pools, held, listener
        self._ready, self._nudge, self._give_back = ready, nudge, give_back
        self._poll_interval = options.poll_interval
        # PERF: literals of PostgreSQL: after an idle time psycopg takes 80 us to adapt a list.
        kinds, queues = db.sql_array(options.kinds), db.sql_array(pools)
        self._params = {"worker": str(options.id), "kinds": kinds, "queues": queues}
        self._due = 0.0  # when to poll next
        self._claim: int | None = None  # of the next fetch, None = select one first
        self._lost: dict[int, float] = {}  # claim of a fetch without a response → when to forget it
        self._limited: set[str] = set()
        # queue → parameters with the end of the last fetch in each priority
        self._marks: dict[str, dict[str, object]] = {}
        self.state = NOT_CONNECTED
        """Whether the last poll succeeded, and the reason if not."""

    def _step(self) -> None:
        if not self._ready():
            self.rest(0.05)
            return
        if time.monotonic() >= self._due:
            self._poll()
            self._due = time.monotonic() + self._poll_interval * random.uniform(0.95, 1.05)
        due, self._due = self._due, 0.0  # a failed fetch is followed by a poll
        fetched = sum([self._fetch(pool) for pool in self._pools.values()])
        self._due = due
        if not fetched and not self.stopping.is_set():
            self._listener.rest(self.connection(), max(0.0, due - time.monotonic()))
            self._listener.clear()

    def connection(self) -> Connection:
        """Return the connection. A new one listens first and then polls for the jobs it missed."""
        fresh = self.conn is None or self.conn.closed
        conn = super().connection()
        if fresh:
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
        conn, now = self.connection(), time.monotonic()
        self._lost = {claim: until for claim, until in self._lost.items() if until > now}
        if self._lost:
            # The statement of a lost fetch may commit later, so this is repeated for a while.
            db.run(conn, SQL["release"], self._params | {"claims": list(self._lost)})
        self._marks.clear()
        self.state = (True, "")
        for queue, limited, woken in db.run(conn, SQL["poll"], self._params):
            if woken:
                self._nudge("j:" + queue)
            if queue in self._pools:
                self._pools[queue].more = True
                (self._limited.add if limited else self._limited.discard)(queue)

    def _fetch(self, pool: Pool) -> int:
        limited, free = pool.name in self._limited, pool.free
        limit = pool.fetch_limit() if pool.more and self._ready() else 0
        if limited:  # jobs that wait here count as running and would block other workers
            limit = min(limit, free)
        if not limit:
            return 0
        pool.more = False  # before the statement: a wake during it means another fetch
        began = time.monotonic()
        rows = self._claim_jobs(pool.name, limit)
        # With limits a fetch considers only the first waiting jobs, so there may be more.
        if len(rows) == limit or (rows and limited):
            pool.more = True
        rows.sort(key=lambda row: (row[10], row[9], row[0]))
        quick = len(rows) < limit and time.monotonic() - began < QUICK_FETCH
        self._mark(pool.name, rows, quick=quick)
        jobs = [_job(row) for row in rows]
        self._held.update(((job.id, job.claim), job) for job in jobs)
        if rows:  # SAFETY: after `held` has them; until here `is_fetching` covers them
            self._claim = rows[0][12]
        # A job that waits here when the process dies loses an attempt, which must not be its last.
        last = {job.id for job in jobs if job.attempt >= job.max_attempts}
        back = [job for job in jobs[free:] if job.id in last] if last else []
        pool.careful = bool(last)
        for job in back:
            pool.more = True
            self._give_back(hand_back(job))
        # PERF: last, because the threads start to run now.
        pool.add([job for job in jobs if job not in back] if back else jobs)
        return len(rows)

    def is_fetching(self, claim: int) -> bool:
        """Return whether the response to this fetch may still arrive."""
        return claim == self._claim or claim in self._lost

    def _claim_jobs(self, queue: str, limit: int) -> list[Row]:
        """Claim up to `limit` jobs. The jobs of a fetch without a response are released later."""
        conn = self.connection()
        if self._claim is None:
            ((self._claim,),) = db.run(conn, SQL["claim"])
        params = {"queue": queue, "limit": limit, "claim": self._claim, **self._params}
        try:
            if queue in self._limited:
                with db.transaction(conn):
                    db.run(conn, SQL["lock_queue"], params)
                    rows = db.run(conn, _FETCH["pick_limited"], params)
            elif marks := self._marks.get(queue):
                rows = db.run(conn, _FETCH["pick_on"], params | marks)
            else:
                rows = db.run(conn, _FETCH["pick"], params)
        except BaseException:
            self._lost[self._claim] = time.monotonic() + REMEMBER
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
            for n, row in {row[10]: row for row in rows}.items():  # the last of each priority
                marks[f"at_{n}"], marks[f"id_{n}"] = row[9], row[0]


def _job(row: Row) -> Job:
    """Return the row as a job.

    PostgreSQL stores numbers and nested lists that Python cannot read: only the job with such a
    value fails.
    """
    id, kind, queue, args, attempt, most, claim, metadata, *rest = row[:12]
    try:
        job = Job(id, kind, queue, loads(args), attempt, most, claim, loads(metadata), *rest)
    except (ValueError, RecursionError) as err:
        job = Job(id, kind, queue, {}, attempt, most, claim, {}, *rest)
        job.unreadable = f"its arguments or metadata cannot be read: {err}"
    job.failures = row[13]
    return job


_SCANS = "\n  union all\n".join(Template(SQL["scan"]).substitute(n=n) for n in PRIORITIES)
_FETCH = {
    name: Template(SQL["fetch"].replace("$picked", SQL[name])).substitute(scans=_SCANS)
    for name in ("pick", "pick_on", "pick_limited")
}
_NO_MARKS: dict[str, object] = {
    name: value for n in PRIORITIES for name, value in ((f"at_{n}", "-infinity"), (f"id_{n}", 0))
}
