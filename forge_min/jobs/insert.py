"""Inserts a job in the caller's transaction. Nothing here commits.

The job has a statement of its own, or is a part of the statement that writes a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from string import Template
from typing import Any, NamedTuple

from .. import db
from ..auth import current_identity, to_metadata
from ..db import Database
from ..notify import check_names
from ..observe import is_recording, span, trace_headers
from .job import SQL, Conn
from .kinds import Catalogue
from .new_job import CheckedJob, NewJob, check_job, encode

_ATTRIBUTES = {
    "messaging.system": "forge",
    "messaging.operation.type": "send",
    "messaging.operation.name": "insert",
}
# Fields of a CheckedJob from delay on, of a job with only the options of "insert_usual".
_USUAL: tuple[Any, ...] = (0.0, None, [], None, None, None, None, None)  # fmt: skip


def insert_tx(conn: Conn, kind: str | type[Any], args: Any = None, **options: Any) -> int:
    """Insert a job that exists if and when the caller's transaction commits.

    If the job is `unique` and such a job waits already, none is inserted. No worker fetches that
    job before the caller's transaction ends.

    kind, args, options: as for `NewJob`.

    Returns the id of the new job, or of the one that waits.

    Raises the errors of `new_job.check_job` and of `db.translate`.
    """
    catalogue = catalogue_of(conn)
    job = check_job(NewJob(kind, args, **options), catalogue)
    topic = "j:" + job.queue
    is_due = job.delay <= 0 and job.scheduled_at is None
    # Whether the statement has a NOTIFY, instead of a wake-up after the commit.
    notify = is_due and job.unique_key is None and db.notifies_in_transaction(conn, topic)
    with insert_span(job.kind, job.queue):
        metadata = metadata_of(job, job_cause())
        sql, params = _statement(job, metadata, catalogue, notify)
        rows: list[tuple[Any, ...]] = []
        while not rows:  # no row if the job that counts as the same ended during the statement
            rows = db.run(conn, sql, params)
    ((id, is_new),) = rows
    if is_new:
        notify_workers(conn, {(job.kind, job.queue): 1}, quiet=notify or not is_due)
    elif is_due:  # a worker may have passed over the job while it was locked
        db.nudge(conn, topic)
    return int(id)


def _statement(
    job: CheckedJob, metadata: str, catalogue: Catalogue, notify: bool
) -> tuple[str, Mapping[str, Any]]:
    """Return the statement that inserts the job, and its values."""
    kind = catalogue.kinds.get(job.kind)
    if kind is not None and job[5:] == _USUAL and job.queue == kind.queue:
        sql = _insert("insert_usual", notify, kind.name, kind.queue, job.priority, job.max_attempts)
        return sql, {"args": job.args, "metadata": metadata}
    name = "insert" if job.unique_key is None else "insert_unique"
    return _insert(name, notify), job._asdict() | {"metadata": metadata}


@lru_cache(1000)
def _insert(
    name: str, notify: bool, kind: str = "", queue: str = "", priority: int = 0, attempts: int = 0
) -> str:
    return Template(SQL[name]).safe_substitute(
        is_new=SQL["notify"] if notify else "true",
        kind=db.literal(kind),
        queue=db.literal(queue),
        priority=priority,
        max_attempts=attempts,
    )


def job_cause() -> dict[str, str]:
    """Return the cause that a job inserted in this context records in its metadata.

    Its keys are "traceparent", "tracestate", "user" and "tenant", without the unknown ones.
    """
    return trace_headers() | to_metadata(current_identity())


def metadata_of(job: CheckedJob, cause: Mapping[str, str]) -> str:
    """Return the cause and the job's own metadata as JSON text."""
    if job.metadata is not None:
        cause = {**cause, **json.loads(job.metadata)}
    return encode(cause)


def insert_span(kind: str, queue: str = "") -> AbstractContextManager[object]:
    """Return the producer span around an insert, which `job_cause` then names.

    Follows OpenTelemetry's conventions for messaging.

    queue: "" if the jobs may be in several queues.
    """
    if not is_recording():  # the job then belongs to the trace of the caller
        return nullcontext()
    attributes = _ATTRIBUTES
    if queue:
        attributes = {**attributes, "messaging.destination.name": queue}
    return span(f"insert {kind}", kind="producer", attributes=attributes)


def notify_workers(
    conn: Conn, counts: Mapping[tuple[str, str], int], *, quiet: bool = False
) -> None:
    """After the commit, wake the workers of inserted jobs, and count the jobs for metrics.

    Code that inserts jobs in its own statement (`job_fragment`) calls this.

    counts: (kind, queue) → number of jobs.
    quiet: whether to wake no worker, for jobs that are not due yet.
    """
    inserted = catalogue_of(conn).inserted

    def report() -> None:
        for (kind, queue), number in counts.items():
            inserted(kind, queue, number)

    db.after_commit(conn, report)
    if not quiet:
        for _, queue in counts:
            db.nudge(conn, "j:" + queue)


class JobClient:
    """Inserts jobs on the connection of the current thread, without a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, kind: str | type[Any], args: Any = None, **options: Any) -> int:
        """Insert a job as `insert_tx`, and commit it unless the connection is in a transaction."""
        return insert_tx(self._database.connection(), kind, args, **options)


def catalogue_of(conn: Conn) -> Catalogue:
    """Return the catalogue of the application that opened the connection, or one of no kinds."""
    return getattr(conn, "jobs", None) or Catalogue()


class JobHook(NamedTuple):
    """A job that a write enqueues in its own statement.

    max_attempts: None = 25.
    delay: seconds.
    unique: whether no job is added while one for the same row waits.
    """

    kind: str
    queue: str = "default"
    priority: int = 2
    max_attempts: int | None = None
    delay: int = 0
    unique: bool = False


def job_fragment(
    source: str,
    hook: JobHook,
    resource: str,
    operation: str,
    *,
    metadata_param: str,
    before: str | None = None,
    key: str = "id",
    tenant_param: str | None = None,
) -> str:
    """Return the body of a CTE that inserts one job per row of the CTE `source`.

    The args of the job are {resource, id, operation, version}, and also before if it is set. The
    key of a unique job is its limit_key, too.

    source: name of the CTE, which has the columns `version` and `key`.
    operation: create, update, delete or restore.
    metadata_param: the placeholder with the JSON of `job_cause`.
    before: an SQL expression over `source` that returns jsonb, written by our own code.
    tenant_param: the placeholder with the tenant, if keys of rows are unique only per tenant.

    Raises ValueError for an invalid name.
    """
    check_names(source, metadata_param, key, tenant_param or "none")
    id = f'{source}."{key}"'
    tenant = ""
    if tenant_param:
        tenant = f"%({tenant_param})s::text, "
    unique_key = "null"
    unless_waiting = ""
    if hook.unique:
        names = f"{db.literal(hook.kind)}, {db.literal(resource)}, {tenant}{id}"
        unique_key = f"concat_ws(':', {names})"
        unless_waiting = Template(SQL["unless_waiting"]).substitute(unique_key=unique_key)
    state = "'available'"
    delay = ""
    if hook.delay > 0:
        state = "'scheduled'"
        delay = f" + interval '{float(hook.delay)} seconds'"
    return Template(SQL["fragment"]).substitute(
        source=source,
        kind=db.literal(hook.kind),
        queue=db.literal(hook.queue),
        priority=int(hook.priority),
        max_attempts=int(hook.max_attempts or 25),
        metadata=metadata_param,
        resource=db.literal(resource),
        operation=db.literal(operation),
        id=id,
        before=f", 'before', ({before})" if before else "",
        state=state,
        delay=delay,
        unique_key=unique_key,
        unless_waiting=unless_waiting,
    )
