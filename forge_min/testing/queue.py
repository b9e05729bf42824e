"""Jobs and events as tests want them: worked to the end at once, read as a list."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from .. import db, jobs, notify
from ..actions import Registry
from ..errors import ForgeError
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
    is to be tried later is left alone. One at a time per queue, by the workers of the application.
    Raises JobsFailed F414 when the time is over; F415 inside a transaction, whose jobs no worker
    would see, and, unless `failures` is true, for a job that raised, was discarded, or is of a kind
    that no worker has.
    """
    registry: Registry = getattr(site, "registry", site)
    kinds = registry.kinds()
    conn = registry.database.connection()
    if not db.is_idle(conn):
        raise JobsFailed("a transaction is open on this thread: its jobs are not there yet")
    asked = {"kinds": list(kinds), "queues": queues and list(queues)}
    done: list[Drained] = []
    deadline = time.monotonic() + timeout
    while due := [row[0] for row in db.run(conn, SQL["waiting"], asked)]:
        worker = jobs.Worker(
            registry.database.connection,
            kinds,
            queues=dict.fromkeys(due, 1),
            poll_interval=LOOK,
            timeout=timeout,
            observer=lambda job, outcome, _: done.append(Drained(job, outcome)),
        )
        worker.start()
        try:
            while db.run(conn, SQL["waiting"], asked | {"queues": due}):
                if time.monotonic() > deadline:
                    waits = f"jobs in {', '.join(due)} are not done after {timeout:g} s"
                    raise JobsFailed(waits, code="F414")
                time.sleep(LOOK)
        finally:
            worker.stop(1.0)
    bad = [one.job.id for one in done if one.outcome in ("retried", "discarded")]
    told = [] if failures else db.run(conn, SQL["failures"], asked | {"ids": bad})
    if told:
        raise JobsFailed("\n".join(["jobs failed:", *(row[0] for row in told)]))
    return done


def event_position(conn: psycopg.Connection[Any]) -> str:
    """Where the event log stands now, for `read_events`."""
    return str(db.run(conn, SQL["position"])[0][0])


def read_events(conn: psycopg.Connection[Any], since: str | None = None) -> list[notify.Event]:
    """Every event in the log that was not committed yet at `since`, in order of ids; None = all."""
    rows = db.run(conn, SQL["events"], {"since": since})
    return [notify.Event(*[*row[:4], tuple(row[4]), *row[5:]]) for row in rows]
