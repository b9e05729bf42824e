"""Jobs and events in tests: run all due jobs, check the queue, move times, read events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import psycopg

from .. import db, jobs, notify
from ..actions import Registry
from ..auth import as_identity, for_job
from ..db import Connection
from ..errors import ForgeError
from ..jobs import Cancelled, Result, error_result, insert_due, pack, record_results, run_kind
from .database import SQL

POLL = 0.005  # seconds between polls of the queue


class Drained(NamedTuple):
    """A run of a job.

    outcome: completed, retried, discarded, cancelled or snoozed.
    """

    job: jobs.Job
    outcome: str


class JobsFailed(ForgeError, AssertionError):
    """Raised by `drain_jobs` for jobs that failed, took too long or have no worker."""

    default_code = "F415"


def drain_jobs(
    site: Any, queues: Sequence[str] | None = None, timeout: float = 30.0, *, failures: bool = False
) -> list[Drained]:
    """Run every due job, and the jobs that these enqueue.

    Due periodic jobs are inserted first. Jobs that are not due yet do not run. The workers of the
    application run the jobs, one at a time in each queue. If a transaction is open on this thread,
    the jobs run in it, on this thread, each in a savepoint: nothing is committed.

    site: a started application, or its registry.
    queues: None = all.
    timeout: seconds.
    failures: whether failed jobs are allowed.

    Returns the runs in the order in which they ended.

    Raises JobsFailed F415 when the time is over and, unless `failures` is true, for a job that
    raised, was discarded, or has a kind without a worker.
    """
    registry: Registry = getattr(site, "registry", site)
    kinds = registry.kinds()
    conn = registry.database.connection()
    params = {"kinds": list(kinds), "queues": queues and list(queues)}
    _insert_periodic(conn, getattr(site, "schedules", ()))
    deadline = time.monotonic() + timeout
    if db.is_idle(conn):
        done = _by_worker(registry, kinds, params, deadline)
    else:
        done = list(_in_transaction(conn, kinds, params, deadline))
    if not failures:
        ids = [run.job.id for run in done if run.outcome in ("retried", "discarded")]
        failed = db.run(conn, SQL["failures"], params | {"ids": ids})
        if failed:
            raise JobsFailed("\n".join(["jobs failed:", *(row[0] for row in failed)]))
    return done


def enqueued(
    site: Any, kind: str | type[Any], args: Any = None, **columns: Any
) -> list[dict[str, Any]]:
    """Return the jobs of a kind that have not ended, the oldest first, as in `jobs show --json`.

    They are read on the connection of this thread.

    args: only jobs with these arguments: some of them, or an instance of the kind's dataclass.
    columns: only jobs with these values, such as queue="mail", priority=1, state="scheduled".
    """
    registry: Registry = getattr(site, "registry", site)
    if not isinstance(kind, str):
        kind = jobs.kind_of(kind).name
    document = {} if args is None else pack(args)
    params = {"kind": kind, "args": json.dumps(document)}
    rows = db.run(registry.database.connection(), SQL["enqueued"], params)
    return [job for (job,) in rows if all(job[n] == value for n, value in columns.items())]


def assert_enqueued(
    site: Any, kind: str | type[Any], args: Any = None, *, times: int = 1, **columns: Any
) -> None:
    """Raise AssertionError unless `enqueued` returns `times` jobs.

    The error lists the jobs of the kind.

    times: number of jobs, 0 for none.
    args, columns: as for `enqueued`.
    """
    count = len(enqueued(site, kind, args, **columns))
    if count != times:
        expected = f"{kind} {args}"
        for name, value in columns.items():
            expected += f", {name}={value!r}"
        lines = [f"{expected}: enqueued {count} times, not {times}; jobs of this kind:"]
        for job in enqueued(site, kind):
            lines.append(f"  {job['args']} in {job['queue']}, {job['state']}")
        if len(lines) == 1:
            lines.append("  none")
        raise AssertionError("\n".join(lines))


def travel(site: Any, **delta: float) -> None:
    """Let time pass for scheduled and retryable jobs and for schedules.

    No clock is changed: their due times move.

    delta: as for timedelta, such as hours=2.
    """
    registry: Registry = getattr(site, "registry", site)
    conn = registry.database.connection()
    jobs.register_periodic(conn, getattr(site, "schedules", ()))
    db.run(conn, SQL["travel"], {"seconds": timedelta(**delta).total_seconds()})


def _by_worker(
    registry: Registry, kinds: Mapping[str, jobs.Kind], params: Mapping[str, Any], deadline: float
) -> list[Drained]:
    conn = registry.database.connection()
    done = []
    while due := [row[0] for row in db.run(conn, SQL["waiting"], params)]:
        worker = jobs.Worker(
            registry.database.connection,
            kinds,
            queues=dict.fromkeys(due, 1),
            poll_interval=POLL,
            timeout=max(deadline - time.monotonic(), POLL),
            observer=lambda job, outcome, _: done.append(Drained(job, outcome)),
        )
        worker.start()
        try:
            while db.run(conn, SQL["waiting"], {**params, "queues": due}):
                _check_deadline(deadline, due)
                time.sleep(POLL)
        finally:
            worker.stop(1.0)
    return done


def _in_transaction(
    conn: Connection, kinds: Mapping[str, jobs.Kind], params: Mapping[str, Any], deadline: float
) -> Iterator[Drained]:
    reporting = jobs.kinds_with_discarded(kinds)
    me = uuid.uuid4()
    while rows := db.run(conn, SQL["take"], {**params, "worker": me}):
        job = jobs.Job(*rows[0])
        job.connect = lambda: conn
        _check_deadline(deadline, [job.queue])
        try:
            with db.transaction(conn), as_identity(for_job(job.metadata)):
                run_kind(kinds[job.kind], job)
            result = Result(job, "completed", "completed")
        except (Exception, SystemExit, Cancelled) as err:
            result = error_result(job, err, kinds[job.kind].retry)
        if not job.completed:
            record_results(conn, me, reporting, [result])
        yield Drained(job, result.outcome)


def _insert_periodic(conn: Connection, schedules: Sequence[jobs.Periodic]) -> None:
    if schedules:
        jobs.register_periodic(conn, schedules)
        me = uuid.uuid4()
        db.run(conn, SQL["lead"], {"worker": me})
        insert_due(conn, me, schedules)
        db.run(conn, SQL["follow"], {"worker": me})


def _check_deadline(deadline: float, queues: Sequence[str]) -> None:
    if time.monotonic() > deadline:
        raise JobsFailed(f"jobs in {', '.join(queues)} took too long", code="F415")


def event_position(conn: psycopg.Connection[Any]) -> str:
    """Return the present position of the event log, for `read_events`."""
    return str(db.run(conn, SQL["position"])[0][0])


def read_events(conn: psycopg.Connection[Any], since: str | None = None) -> list[notify.Event]:
    """Return the events that were not yet committed at `since`, in order of ids; None = all."""
    rows = db.run(conn, SQL["events"], {"since": since})
    return [notify.Event(*[*row[:4], tuple(row[4]), *row[5:]]) for row in rows]
