"""Inserting jobs: in the caller's transaction, one by one, in bulk, or as a part of another
statement. Nothing here commits.

Arguments are checked here, where the caller can still do something about them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from string import Template
from typing import Any, Protocol

import psycopg

from .. import db
from ..auth import current_identity, to_metadata
from ..db import Database
from ..errors import FieldError, Invalid
from ..notify.eventlog import check_names
from ..observe.tracing import current_traceparent
from .job import LONGEST, SQL, NewJob

_LONGEST_TEXT = {"kind": 200, "queue": 100, "unique_key": 500}
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what UTF-8, or PostgreSQL, does not take
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # the escape, not a text that shows one


def insert_tx(
    conn: psycopg.Connection[Any],
    kind: str,
    args: Mapping[str, Any],
    *,
    queue: str = "default",
    priority: int = 2,
    max_attempts: int = 25,
    delay: float = 0.0,
    metadata: Mapping[str, Any] | None = None,
    unique_key: str | None = None,
) -> int:
    """Insert a job that exists if and when the caller's transaction commits; its id.

    args, metadata: what JSON can say; metadata None = `caused_by`. delay: seconds. unique_key: when
    a job of this key has not ended, none is inserted, and the id is that job's. Raises Invalid F711
    for arguments that JSON cannot say and options out of range, else the errors of `db.translate`.
    """
    key = {} if unique_key is None else {"unique_key": unique_key}
    _check(priority, max_attempts, delay, kind=kind, queue=queue, **key)
    params = {
        "kind": kind,
        "queue": queue,
        "args": to_json(args, "/args"),
        "priority": priority,
        "max_attempts": max_attempts,
        "metadata": to_json(caused_by() if metadata is None else metadata, "/metadata"),
        "delay": delay,
        "unique_key": unique_key,
    }
    rows: list[tuple[Any, ...]] = []
    while not rows:  # none: the job that was in the way ended while we looked
        with db.errors_translated():
            rows = conn.execute(SQL["insert"], params).fetchall()  # waits, in a pipeline too
    if delay <= 0:
        db.nudge(conn, "j:" + queue)
    return int(rows[0][0])


def insert_many_tx(conn: psycopg.Connection[Any], jobs: Iterable[NewJob]) -> int:
    """Insert many jobs by COPY; how many. All or none of them. Raises as `insert_tx`."""
    count, queues, cause = 0, set(), caused_by()
    with db.errors_translated():
        ((now,),) = conn.execute("select now()")
        with conn.cursor() as cursor, cursor.copy(SQL["copy"]) as copy:
            for job in jobs:
                copy.write_row(_row(job, now, cause))
                queues.add(job.queue)
                count += 1
    for queue in queues:
        db.nudge(conn, "j:" + queue)
    return count


def caused_by() -> dict[str, str]:
    """What a job keeps of its cause: {"traceparent", "user", "tenant"} of this context, without
    what is unknown.
    """
    traceparent = current_traceparent()
    trace = {"traceparent": traceparent} if traceparent else {}
    return trace | to_metadata(current_identity())


class Client:
    """Inserts jobs outside any transaction of the caller's, on the thread's own connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, kind: str, args: Mapping[str, Any], **options: Any) -> int:
        """As `insert_tx`, committed at once unless the thread's connection is in a transaction."""
        return insert_tx(self._database.connection(), kind, args, **options)


class JobRef(Protocol):
    """What a hook says about its job. delay: seconds. max_attempts None = 25.

    Whether it is unique is said to `job_fragment`.
    """

    @property
    def kind(self) -> str:
        """The worker's kind."""

    @property
    def queue(self) -> str:
        """The queue's name."""

    @property
    def priority(self) -> int:
        """1 (first) to 4."""

    @property
    def max_attempts(self) -> int | None:
        """How often the job may be tried."""

    @property
    def delay(self) -> int:
        """Seconds until the job is due."""


def job_fragment(
    source: str,
    ref: JobRef,
    resource: str,
    operation: str,
    *,
    metadata_param: str,
    before: str | None = None,
    key: str = "id",
    unique: bool = False,
    tenant_param: str | None = None,
    without: Sequence[str] = (),
) -> str:
    """The body of a CTE that inserts one job per row of the CTE `source`, which has version and the
    column `key`.

    The job's args are {resource, id, operation, version} and, with `before` (an SQL expression
    over `source`, written by our own code, that gives jsonb), also before, less the names in
    `without`. operation: create, update, delete or restore. unique: none is added while one of the
    same kind and row has not ended. metadata_param: the placeholder with the JSON of `caused_by`;
    tenant_param: the one with the tenant of a row whose key another tenant's row may have too.
    Raises ValueError for a name that is none.
    """
    check_names(source, metadata_param, key, tenant_param or "none", *without)
    less = f" - '{{{','.join(without)}}}'::text[]" if without else ""
    id, owner = f'{source}."{key}"', f"%({tenant_param})s::text, " if tenant_param else ""
    names = f"{db.literal(ref.kind)}, {db.literal(resource)}, {owner}{id}"
    return Template(SQL["fragment"]).substitute(
        source=source,
        kind=db.literal(ref.kind),
        queue=db.literal(ref.queue),
        priority=int(ref.priority),
        max_attempts=int(ref.max_attempts or 25),
        metadata=metadata_param,
        resource=db.literal(resource),
        operation=db.literal(operation),
        id=id,
        before=f", 'before', ({before}){less}" if before else "",
        state="'scheduled'" if ref.delay > 0 else "'available'",
        delay=f" + interval '{float(ref.delay)} seconds'" if ref.delay > 0 else "",
        unique_key=f"concat_ws(':', {names})" if unique else "null",
        unless_taken=SQL["unless_taken"] if unique else "",
    )


def _check(priority: object, max_attempts: object, delay: object, **texts: object) -> None:
    """The table guards changes only (db/forge/0004_cheap_writes.sql)."""
    wrong = []
    for name, given in texts.items():
        good = isinstance(given, str) and not _NO_TEXT.search(given)
        if not (good and 1 <= len(str(given)) <= _LONGEST_TEXT[name]):
            wrong.append((name, f"must be a text of 1 to {_LONGEST_TEXT[name]} characters"))
    for name, given, most in (("priority", priority, 4), ("max_attempts", max_attempts, 32_767)):
        if not (isinstance(given, int) and 1 <= given <= most):
            wrong.append((name, f"must be a whole number from 1 to {most}"))
    if not (isinstance(delay, int | float) and abs(delay) <= LONGEST):
        wrong.append(("delay", f"must be seconds, at most {LONGEST:.0f}"))
    if wrong:
        errors = [FieldError("/" + name, "out_of_range", message) for name, message in wrong]
        said = "; ".join(f"{name} {message}" for name, message in wrong)
        raise Invalid(errors, f"the job cannot be inserted: {said}", code="F711")


def to_json(value: Mapping[str, Any], pointer: str) -> str:
    """JSON text that PostgreSQL's jsonb takes. Raises Invalid F711 naming what cannot be said."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as err:
        raise _refused(pointer, str(err)) from None
    if not text.startswith("{"):
        raise _refused(pointer, "they are no object")
    if NUL.search(text):
        raise _refused(pointer, "a string holds the character NUL, which PostgreSQL refuses")
    return text


def _refused(pointer: str, why: str) -> Invalid:
    error = FieldError(pointer, "not_json", f"cannot be stored as JSON: {why}")
    return Invalid([error], f"a job's {pointer[1:]} cannot be stored as JSON: {why}", code="F711")


def _row(job: NewJob, now: Any, cause: Mapping[str, Any]) -> tuple[Any, ...]:
    _check(job.priority, job.max_attempts, job.delay, kind=job.kind, queue=job.queue)
    later = job.delay > 0
    return (
        job.kind,
        job.queue,
        to_json(job.args, "/args"),
        job.priority,
        job.max_attempts,
        to_json(cause if job.metadata is None else job.metadata, "/metadata"),
        "scheduled" if later else "available",
        now + timedelta(seconds=job.delay) if later else now,
    )
