"""Jobs and events as tests want them: worked to the end at once, read as a list, due by now."""

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
from ..jobs import Cancelled, Result, insert_due, pack, record_results, result_of_error, run_kind
from .database import SQL

LOOK = 0.005  # seconds between looks at the queue


class Drained(NamedTuple):
    """A run of a job. outcome: completed, retried, discarded, cancelled or snoozed."""

    job: jobs.Job
    outcome: str


class JobsFailed(ForgeError, AssertionError):
    """Jobs that were to be drained raised, were not done in time, or could not be worked."""

    default_code = "F415"


def drain_jobs(
    site: Any,
    queues: Sequence[str] | None = None,
    timeout: float = 30.0,
    *,
    failures: bool = False,
) -> list[Drained]:
    """Work every job that is due, and those that these enqueue; the runs in the order they ended.

    site: a started application, or its registry. queues: None = all. timeout: seconds. A job that
    is to be tried later is left alone; what is periodic and due is inserted first. One at a time
    per queue, by the workers of the application. Inside a transaction that is open on this thread
    the jobs are worked in it, on this thread, each in a savepoint: nothing of it is committed.
    Raises JobsFailed F414 when the time is over; F415, unless `failures` is true, for a job that
    raised, was discarded, or is of a kind that no worker has.
    """
    registry: Registry = getattr(site, "registry", site)
    kinds = registry.kinds()
    conn = registry.database.connection()
    asked = {"kinds": list(kinds), "queues": queues and list(queues)}
    _insert_periodic(conn, getattr(site, "schedules", ()))
    deadline = time.monotonic() + timeout
    if db.is_idle(conn):
        done = _by_worker(registry, kinds, asked, deadline)
    else:
        done = list(_in_transaction(conn, kinds, asked, deadline))
    bad = [one.job.id for one in done if one.outcome in ("retried", "discarded")]
    told = [] if failures else db.run(conn, SQL["failures"], asked | {"ids": bad})
    if told:
        raise JobsFailed("\n".join(["jobs failed:", *(row[0] for row in told)]))
    return done


def enqueued(
    site: Any, kind: str | type[Any], args: Any = None, **columns: Any
) -> list[dict[str, Any]]:
    """The jobs of a kind that this thread's connection sees and that have not ended, the oldest
    first, as `jobs show --json` has them.

    args: those whose arguments hold these, a part of them or the kind's dataclass. columns: others
    that must be equal, such as queue="mail", priority=1, state="scheduled".
    """
    registry: Registry = getattr(site, "registry", site)
    name = kind if isinstance(kind, str) else jobs.kind_of(kind).name
    wanted = json.dumps({} if args is None else pack(args))
    rows = db.run(registry.database.connection(), SQL["enqueued"], {"kind": name, "args": wanted})
    return [row[0] for row in rows if all(row[0][n] == value for n, value in columns.items())]


def assert_enqueued(
    site: Any, kind: str | type[Any], args: Any = None, *, times: int = 1, **columns: Any
) -> None:
    """Raise AssertionError unless `enqueued` finds as many; times=0: none was. It tells what of the
    kind there is.
    """
    found = enqueued(site, kind, args, **columns)
    if len(found) != times:
        there = [
            f"  {job['args']} in {job['queue']}, {job['state']}" for job in enqueued(site, kind)
        ]
        asked = ", ".join([f"{kind} {args}", *(f"{n}={v!r}" for n, v in columns.items())])
        told = [f"{asked}: enqueued {len(found)} times, not {times}; of the kind there are:"]
        raise AssertionError("\n".join(told + (there or ["  none"])))


def travel(site: Any, **delta: float) -> None:
    """Let this much time pass for whatever waits for a time: scheduled and retryable jobs, and
    schedules. delta: as of timedelta: hours=2. No clock is touched: what is due is moved.
    """
    registry: Registry = getattr(site, "registry", site)
    conn = registry.database.connection()
    jobs.register_periodic(conn, getattr(site, "schedules", ()))
    db.run(conn, SQL["travel"], {"seconds": timedelta(**delta).total_seconds()})


def _by_worker(
    registry: Registry, kinds: Mapping[str, jobs.Kind], asked: Mapping[str, Any], deadline: float
) -> list[Drained]:
    conn = registry.database.connection()
    done: list[Drained] = []
    while due := [row[0] for row in db.run(conn, SQL["waiting"], asked)]:
        worker = jobs.Worker(
            registry.database.connection,
            kinds,
            queues=dict.fromkeys(due, 1),
            poll_interval=LOOK,
            timeout=max(deadline - time.monotonic(), LOOK),
            observer=lambda job, outcome, _: done.append(Drained(job, outcome)),
        )
        worker.start()
        try:
            while db.run(conn, SQL["waiting"], {**asked, "queues": due}):
                _in_time(deadline, due)
                time.sleep(LOOK)
        finally:
            worker.stop(1.0)
    return done


def _in_transaction(
    conn: Connection, kinds: Mapping[str, jobs.Kind], asked: Mapping[str, Any], deadline: float
) -> Iterator[Drained]:
    told = jobs.kinds_with_discarded(kinds)
    me = uuid.uuid4()
    while rows := db.run(conn, SQL["take"], {**asked, "worker": me}):
        job = jobs.Job(*rows[0])
        job.connect = lambda: conn
        _in_time(deadline, [job.queue])
        try:
            with db.transaction(conn), as_identity(for_job(job.metadata)):
                run_kind(kinds[job.kind], job)
            result = Result(job, "completed", "completed")
        except (Exception, SystemExit, Cancelled) as err:
            result = result_of_error(job, err, kinds[job.kind].retry)
        if not job.completed:
            record_results(conn, me, told, [result])
        yield Drained(job, result.outcome)


def _insert_periodic(conn: Connection, schedules: Sequence[jobs.Periodic]) -> None:
    if schedules:
        jobs.register_periodic(conn, schedules)
        me = uuid.uuid4()
        db.run(conn, SQL["lead"], {"worker": me})
        insert_due(conn, me, schedules)
        db.run(conn, SQL["follow"], {"worker": me})


def _in_time(deadline: float, queues: Sequence[str]) -> None:
    if time.monotonic() > deadline:
        raise JobsFailed(f"jobs in {', '.join(queues)} are not done in time", code="F414")


def event_position(conn: psycopg.Connection[Any]) -> str:
    """Where the event log stands now, for `read_events`."""
    return str(db.run(conn, SQL["position"])[0][0])


def read_events(conn: psycopg.Connection[Any], since: str | None = None) -> list[notify.Event]:
    """Every event in the log that was not committed yet at `since`, in order of ids; None = all."""
    rows = db.run(conn, SQL["events"], {"since": since})
    return [notify.Event(*[*row[:4], tuple(row[4]), *row[5:]]) for row in rows]
