"""Inserting a job in the caller's transaction. Nothing here commits.

By a statement of its own, or as a part of the one that writes a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from string import Template
from typing import Any, NamedTuple

import psycopg

from .. import db
from ..auth import current_identity, to_metadata
from ..db import Database
from ..notify import check_names
from ..observe import current_trace, recording, span
from .job import SQL
from .kinds import Catalogue
from .new_job import CheckedJob, NewJob, check_job, encode

_SENDS = {
    "messaging.system": "forge",
    "messaging.operation.type": "send",
    "messaging.operation.name": "insert",
}
# Of a CheckedJob, from delay on.
_PLAIN: tuple[Any, ...] = (0.0, None, [], None, None, None, None, None)  # fmt: skip


def insert_tx(
    conn: psycopg.Connection[Any], kind: str | type[Any], args: Any = None, **options: Any
) -> int:
    """Insert a job that exists if and when the caller's transaction commits; its id.

    kind, args, options: as of `NewJob`. If it is `unique` and such a job waits already, none is
    inserted, and the id is that job's, which no worker takes before the caller's transaction ends.
    Raises as `new_job.check_job`, else the errors of `db.translate`.
    """
    catalogue = catalogue_of(conn)
    job = check_job(NewJob(kind, args, **options), catalogue)
    quiet = job.delay > 0 or job.scheduled_at is not None
    notifies_in_transaction = (
        not quiet and job.unique_key is None and db.notifies_in_transaction(conn, "j:" + job.queue)
    )
    with producer_span(job.kind, job.queue):
        metadata = metadata_of(job, current_cause())
        rows: list[tuple[Any, ...]] = []
        while not rows:  # none: the job that was in the way ended while we looked
            rows = db.run(conn, *_statement(job, metadata, catalogue, notifies_in_transaction))
    ((id, new),) = rows
    if new:
        notify_workers(conn, {(job.kind, job.queue): 1}, quiet=quiet or notifies_in_transaction)
    elif not quiet:  # a worker may have passed over it because it was locked
        db.nudge(conn, "j:" + job.queue)
    return int(id)


def _statement(
    job: CheckedJob, metadata: str, catalogue: Catalogue | None, notifies_in_transaction: bool
) -> tuple[str, Mapping[str, Any]]:
    """The one that inserts the job, and its values. notifies_in_transaction: a NOTIFY with it."""
    kind = catalogue.kinds.get(job.kind) if catalogue else None
    if kind is not None and job[5:] == _PLAIN and job.queue == kind.queue:
        usual = _insert(
            "insert_usual",
            notifies_in_transaction,
            kind.name,
            kind.queue,
            job.priority,
            job.max_attempts,
        )
        return usual, {"args": job.args, "metadata": metadata}
    name = "insert" if job.unique_key is None else "insert_unique"
    return _insert(name, notifies_in_transaction), job._asdict() | {"metadata": metadata}


@lru_cache(1000)
def _insert(
    name: str,
    notifies_in_transaction: bool,
    kind: str = "",
    queue: str = "",
    priority: int = 0,
    attempts: int = 0,
) -> str:
    return Template(SQL[name]).safe_substitute(
        is_new=SQL["riding"] if notifies_in_transaction else "true",
        kind=db.literal(kind),
        queue=db.literal(queue),
        priority=priority,
        max_attempts=attempts,
    )


def current_cause() -> dict[str, str]:
    """What a job keeps of its cause: {"traceparent", "tracestate", "user", "tenant"} of this
    context, without what is unknown.
    """
    return current_trace() | to_metadata(current_identity())


def metadata_of(job: CheckedJob, cause: Mapping[str, str]) -> str:
    """As JSON text: what the job says itself, beside its cause."""
    return encode(cause if job.metadata is None else {**cause, **json.loads(job.metadata)})


def producer_span(kind: str, queue: str = "") -> AbstractContextManager[object]:
    """The producer span around an insert, which `current_cause` names as the job's cause
    (OpenTelemetry's conventions for messaging). queue: "" where it may be several.
    """
    if not recording():  # then the trace that the job belongs to goes on through it
        return nullcontext()
    where = {"messaging.destination.name": queue} if queue else {}
    return span(f"insert {kind}", kind="producer", attributes=_SENDS | where)


def notify_workers(
    conn: psycopg.Connection[Any], count: Mapping[tuple[str, str], int], *, quiet: bool = False
) -> None:
    """After the commit, wake the workers of these jobs, (kind, queue) → how many, and count them.

    quiet: wake nobody, as for those that are not due yet. Of use to whoever inserts jobs by a
    statement of its own (`job_fragment`).
    """

    def report() -> None:
        nudger = conn.nudger if isinstance(conn, db.Connection) and not quiet else None
        inserted = catalogue.inserted if (catalogue := catalogue_of(conn)) else None
        for (kind, queue), number in count.items():
            if nudger is not None:
                nudger.nudge("j:" + queue)  # twice the same one is one
            if inserted is not None:
                inserted(kind, queue, number)

    db.after_commit(conn, report)


class Client:
    """Inserts jobs outside any transaction of the caller's, on the thread's own connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, kind: str | type[Any], args: Any = None, **options: Any) -> int:
        """As `insert_tx`, committed at once unless the thread's connection is in a transaction."""
        return insert_tx(self._database.connection(), kind, args, **options)


def catalogue_of(conn: psycopg.Connection[Any]) -> Catalogue | None:
    """The kinds that an application put with its connections."""
    return conn.jobs if isinstance(conn, db.Connection) else None


class JobHook(NamedTuple):
    """A job that a write enqueues in its own statement.

    delay: seconds. max_attempts: None = the default. unique: none is added while one for the
    same row waits.
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

    `source` has version and the column `key`. The job's args are {resource, id, operation,
    version} and, with `before` (an SQL expression
    over `source`, written by our own code, that gives jsonb), also before. operation: create,
    update, delete or restore. The key of a unique job is its limit_key, too. metadata_param: the
    placeholder with the JSON of `current_cause`; tenant_param: the one with the tenant of a row
    whose key another tenant's row may have too.
    Raises ValueError for a name that is none.
    """
    check_names(source, metadata_param, key, tenant_param or "none")
    id, owner = f'{source}."{key}"', f"%({tenant_param})s::text, " if tenant_param else ""
    names = f"{db.literal(hook.kind)}, {db.literal(resource)}, {owner}{id}"
    unique_key, unless_waiting = "null", ""
    if hook.unique:
        unique_key = f"concat_ws(':', {names})"
        unless_waiting = Template(SQL["unless_waiting"]).substitute(unique_key=unique_key)
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
        state="'scheduled'" if hook.delay > 0 else "'available'",
        delay=f" + interval '{float(hook.delay)} seconds'" if hook.delay > 0 else "",
        unique_key=unique_key,
        unless_waiting=unless_waiting,
    )
