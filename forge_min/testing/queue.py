"""Jobs and events as tests want them: worked to the end at once, read as a list."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from .. import db, jobs, notify
from ..actions import Registry
from ..errors import ForgeError

SQL = db.load_sql("forge_min.testing", "testing.sql")
LOOK = 0.02  # seconds between looks at the queue when no job ends


class Drained(NamedTuple):
    """A run of a job. outcome: completed, retried, discarded, cancelled or snoozed."""

    job: jobs.Job
    outcome: str


class JobsFailed(ForgeError, AssertionError):
    """Jobs that were drained raised, or were not done in time."""

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
    Raises JobsFailed F414 when the time is over, and F415 for a job that raised or was discarded,
    unless `failures` is true.
    """
    registry: Registry = getattr(site, "registry", site)
    handlers = registry.handlers()
    asked = {"kinds": list(handlers), "queues": None if queues is None else list(queues)}
    done: list[Drained] = []
    ended = threading.Event()

    def observe(job: jobs.Job, outcome: str, seconds: float) -> None:
        done.append(Drained(job, outcome))
        ended.set()

    deadline = time.monotonic() + timeout
    with registry.database.open() as conn:
        while due := [row[0] for row in db.run(conn, SQL["waiting"], asked)]:
            if time.monotonic() > deadline:
                waits = f"jobs in {', '.join(due)} are not done after {timeout:g} s"
                raise JobsFailed(waits, code="F414")
            worker = jobs.Worker(
                registry.database.open,
                handlers,
                queues=dict.fromkeys(due, 1),
                poll_interval=LOOK,
                timeout=timeout,
                observer=observe,
            )
            worker.start()
            try:
                mine = asked | {"queues": due}
                while time.monotonic() <= deadline and db.run(conn, SQL["waiting"], mine):
                    ended.wait(LOOK)
                    ended.clear()
            finally:
                worker.stop(1.0)
        bad = [one.job.id for one in done if one.outcome in ("retried", "discarded")]
        if bad and not failures:
            told = [row[0] for row in db.run(conn, SQL["failures"], {"ids": bad})]
            raise JobsFailed("\n".join(["jobs failed:", *told]))
    return done


def event_position(conn: psycopg.Connection[Any]) -> str:
    """Where the event log stands now, for `read_events`."""
    position: str = db.run(conn, SQL["position"])[0][0]
    return position


def read_events(conn: psycopg.Connection[Any], since: str | None = None) -> list[notify.Event]:
    """Every event in the log that was not committed yet at `since`, in order of ids; None = all."""
    rows = db.run(conn, SQL["events"], {"since": since})
    return [notify.Event(*[*row[:4], tuple(row[4]), *row[5:]]) for row in rows]
