"""A job as its handler gets it, the result of its run, and its log record.

A failed run is logged as a warning if the job is retried, as an error if it is discarded.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from math import isnan
from string import Template
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import psycopg

from .. import db
from .._compat import renamed
from ..auth import Identity, for_job
from ..db import Connect, Connection
from ..errors import ForgeError
from ..observe import SpanContext, span_fields
from ..redaction import error_message, format_traceback, redact_error

if TYPE_CHECKING:  # with a default, so that a plain Job is a Job[Any]
    from typing_extensions import TypeVar

    A = TypeVar("A", default=Any)
else:
    from typing import TypeVar

    A = TypeVar("A")

Conn = psycopg.Connection[Any]
"""A connection of the caller, in a transaction or in autocommit mode."""

SQL = db.load_sql("forge_min.jobs", "jobs.sql")


def with_notice(sql: str, **parts: str) -> str:
    """Complete a statement that ends jobs: its CTE `notice` reports those that are discarded.

    sql: its CTE `ended` returns the jobs that ended.
    parts: values of its other placeholders.
    """
    return Template(sql).substitute(notice=SQL["notice"], **parts)


LONGEST = 10 * 365 * 86_400.0  # seconds, well inside the range of PostgreSQL's timestamps
Retry = Callable[["Job", BaseException], float]
log = logging.getLogger("forge_min.jobs")
MOST_REFUNDS = 5  # of a job that lost its connection: the job itself may break it
MESSAGE = 1_000  # characters of an error's message that are stored
TRACE = 4_000  # characters of its traceback that are stored, from its end


class Outcome(Exception):
    """Raised by a handler to end its run in this way. Other exceptions lead to a retry."""

    reason = ""  # for a subclass with an __init__ of its own

    def __init__(self, reason: object = "") -> None:
        super().__init__(reason)
        self.reason = str(reason)


class Cancel(Outcome):
    """End the job as cancelled. reason: stored with the job."""


class Discard(Outcome):
    """Discard the job, even if attempts are left. reason: stored with the job."""


class Snooze(Outcome):
    """Run the job again in `seconds`. This run does not count as an attempt."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"snoozed for {seconds} s")
        self.seconds = 0.0
        if seconds > 0:
            self.seconds = min(float(seconds), LONGEST)


class Cancelled(BaseException):
    """Raised at a checkpoint of a job that an operator asked to cancel.

    Not an Exception, because `except Exception` must not hide it.
    """


class StaleClaim(ForgeError):
    """The job was taken from this run: it was rescued, or another run finished it."""

    default_code = "F713"


class Change(NamedTuple):
    """The write that enqueued a job through its hook.

    resource: its name, such as "Flight".
    id: the key of the row in its JSON form; a uuid is text.
    operation: create, update, delete or restore.
    version: of the row after the write.
    before: the columns of the row before an update or a delete, in their JSON form, without
        personal fields.
    """

    resource: str
    id: Any
    operation: str
    version: int
    before: Mapping[str, Any] | None = None


@dataclass(eq=False)
class Job(Generic[A]):
    """One run of a job. Its times are from the clock of the database.

    args: an instance of the kind's dataclass, or the JSON object if the kind has none.
    raw_args: the arguments as a JSON object.
    attempt: counts from 1.
    claim: the number of the fetch that claimed the job, never used again.
    metadata: may hold "traceparent" and "tracestate" (W3C Trace Context), and "user" and "tenant"
        of the user that caused the job.
    waited: seconds from its due time until the fetch.
    """

    id: int
    kind: str
    queue: str
    raw_args: dict[str, Any]
    attempt: int
    max_attempts: int
    claim: int
    metadata: dict[str, Any]
    created_at: datetime
    scheduled_at: datetime
    priority: int = 2
    waited: float = 0.0
    connect: Connect | None = field(default=None, repr=False)
    unreadable: str = field(default="", init=False)  # why the row could not be read
    failures: int = field(default=0, init=False)  # errors recorded before this run
    completed: bool = field(default=False, init=False)  # by the job itself, in a transaction
    committed: bool = field(default=False, init=False)  # that transaction is known to be committed
    cancelled: bool = field(default=False, init=False)
    span: SpanContext | None = field(default=None, init=False, repr=False)  # around its run
    args: A = field(init=False)

    if not TYPE_CHECKING:  # a typed __getattr__ would hide misspelled names

        def __getattr__(self, name):
            return getattr(self, renamed("forge_min.jobs.Job", name))

    def __post_init__(self) -> None:
        self.args = self.raw_args  # type: ignore[assignment]  # until run_kind reads them

    @property
    def change(self) -> Change:
        """The write that enqueued the job. Raises ForgeError F712 when no hook did."""
        try:
            values = {name: self.raw_args[name] for name in Change._fields[:-1]}  # without before
        except KeyError:
            raise ForgeError(
                f"job {self.id} ({self.kind}) has no change: no hook enqueued it",
                code="F712",
                hint="read job.args, which holds the inserted arguments",
            ) from None
        return Change(**values, before=self.raw_args.get("before"))

    def checkpoint(self) -> None:
        """Let the job end here if an operator asked to cancel it.

        Raises Cancelled if `cancelled` is true.
        """
        if self.cancelled:
            raise Cancelled

    @property
    def conn(self) -> Connection:
        """The connection of the thread that runs the job. Reading it is a checkpoint.

        Raises Unavailable F401, or ForgeError F712 outside a worker.
        """
        self.checkpoint()
        if self.connect is None:
            raise ForgeError("a job has a connection only while a worker runs it", code="F712")
        return self.connect()

    def save_tx(self, conn: Conn, output: Any) -> None:
        """Save the progress of the job in the caller's transaction, so no run repeats its effects.

        output: a JSON value. The next run of the job finds it in its metadata as "output".

        Raises StaleClaim F713 as `complete_tx`.
        """
        self._record(conn, "save_tx", output)

    def complete_tx(self, conn: Conn, output: Any = None) -> None:
        """Complete the job in the caller's transaction, so its effects happen exactly once.

        output: a JSON value, kept in the metadata of the job as "output".

        Raises StaleClaim F713 if the job was taken from this run: do not catch it inside the
        transaction, which must roll back.
        """
        self._record(conn, "complete_tx", output)
        self.completed = True
        if isinstance(conn, Connection) and (conn.hooks is not None or db.is_idle(conn)):
            db.after_commit(conn, self._commit)
        else:  # no hook runs on this connection
            self._commit()

    def _record(self, conn: Conn, statement: str, output: Any) -> None:
        metadata = {}
        if output is not None:
            metadata["output"] = output
        params = {"id": self.id, "claim": self.claim, "output": json.dumps(metadata)}
        if not db.run(conn, SQL[statement], params):
            raise StaleClaim(f"job {self.id} was taken from this run")

    def _commit(self) -> None:
        self.committed = True


class Result(NamedTuple):
    """The result of a run.

    outcome: the label of metrics.
    state: the next state of the job.
    refund: attempts to give back.
    delay: seconds until the next attempt; None = the job's time stays.
    error: JSON text of {"error", "trace"?}, or None.
    """

    job: Job
    outcome: str
    state: str
    refund: int = 0
    delay: float | None = None
    error: str | None = None


def hand_back(job: Job) -> Result:
    """Return the result of a job that this worker does not start, so another one may run it."""
    return Result(job, "handed_back", "available", refund=1)


def failed(
    job: Job, message: str, trace: str = "", delay: float | None = None, *, lost: bool = False
) -> Result:
    """Return the result of a failed run: a retry, or a discarded job after the last attempt.

    delay: seconds until the next attempt; None = attempt⁴ ± 10 %.
    lost: whether the connection to the database was lost, which does not count as an attempt up to
        MOST_REFUNDS times.
    """
    text = _error(message, trace)
    if job.cancelled:
        return Result(job, "cancelled", "cancelled", error=text)
    # Every attempt that counts has recorded an error.
    refund = int(lost and job.failures - (job.attempt - 1) < MOST_REFUNDS)
    if job.attempt - refund >= job.max_attempts:
        return Result(job, "discarded", "discarded", error=text)
    if delay is None:
        delay = min(job.attempt**4 * random.uniform(0.9, 1.1), LONGEST)
    return Result(job, "retried", "retryable", refund, delay, text)


def error_result(
    job: Job, err: BaseException, retry: Retry | None = None, *, lost: bool = False
) -> Result:
    """Return the result of a run that raised `err`.

    Its text has no secrets and none of the rows that an error of the database repeats, because
    operators read it.

    retry: the `retry` of the kind.
    lost: as for `failed`.
    """
    match err:
        case Cancelled():
            return Result(job, "cancelled", "cancelled", error=_error("cancelled while it ran"))
        case Snooze():
            return Result(job, "snoozed", "scheduled", refund=1, delay=err.seconds)
        case Cancel() | Discard():
            state = "cancelled" if isinstance(err, Cancel) else "discarded"
            reason = redact_error(str(err.reason or state), err)
            return Result(job, state, state, error=_error(reason))
    trace = format_traceback(err, limit=-20)
    delay = retry_delay(retry, job, err)
    text = f"{type(err).__name__}: {error_message(err)}"
    return failed(job, redact_error(text, err), trace[-TRACE:], delay, lost=lost)


def retry_delay(retry: Retry | None, job: Job, err: BaseException) -> float | None:
    """Return the seconds until the next attempt by the kind's `retry`; None without a valid one."""
    if retry is None:
        return None
    try:
        delay = float(retry(job, err))
    except (Exception, SystemExit):
        log.exception("retry of %s failed; the default delay is used", job.kind)
        return None
    if isnan(delay):
        return None
    return min(max(delay, 0.0), LONGEST)


def _error(message: str, trace: str = "") -> str:
    """Return JSON text that PostgreSQL accepts for any message of an exception."""
    error = {"error": _printable(message[:MESSAGE])}
    if trace:
        error["trace"] = _printable(trace)
    return json.dumps(error)


def _printable(text: str) -> str:
    """Replace NUL and lone surrogates, which jsonb rejects."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


# State of a job that ended without success → the level and text of its log record.
_ENDS = {
    "discarded": (logging.ERROR, "was discarded after attempt {attempt}"),
    "cancelled": (logging.INFO, "was cancelled"),
}


def log_failure(result: Result, error: BaseException) -> None:
    """Log a run that failed, with the ids of its job and of its span. Never raises.

    A snoozed job is not logged. A job that an operator cancelled is logged at level info.

    error: raised by the run.
    """
    with suppress(Exception, SystemExit):  # a filter of the project may raise
        job = result.job
        if result.outcome == "retried":
            level = logging.WARNING
            text = f"failed at attempt {job.attempt} of {job.max_attempts}"
            text += f", and runs again in {result.delay:.0f} s"
            if result.refund:
                text += " (its connection was lost; the attempt is not counted)"
        elif result.outcome in _ENDS:
            level, text = _ENDS[result.outcome]
            text = text.format(attempt=job.attempt)
        else:
            return
        if job.completed:
            text += ", unless the transaction that completed it is committed"
        trace: BaseException | None = error
        if result.outcome == "cancelled":
            trace = None
        # An error that the job raised to end itself needs no traceback: its reason is enough.
        if isinstance(error, Cancel | Discard) and result.outcome != "retried":
            trace = None
            reason = json.loads(result.error or "{}").get("error", result.state)
            if reason != result.state:
                text += f": {reason}"
        fields: dict[str, object] = {"job_id": job.id, "job_kind": job.kind}
        with suppress(ValueError):  # an invalid tenant, which is why the job failed
            fields = log_ids(job, for_job(job.metadata))
        fields = {**fields, "attempt": job.attempt, **span_fields(job.span)}
        log.log(level, "job %d (%s) %s", job.id, job.kind, text, exc_info=trace, extra=fields)


def log_rescue(run: Sequence[Any], why: str) -> None:
    """Log a run that was rescued.

    run: a row of RESCUE in maintenance/loop.py.
    why: the error that the job's row has.
    """
    id, kind, attempt, state = run
    fields = {"job_id": id, "job_kind": kind, "attempt": attempt}
    level, text = _ENDS.get(state, (logging.WARNING, "was rescued"))
    text = text.format(attempt=attempt)
    log.log(level, "job %d (%s) %s: %s", id, kind, text, why, extra=fields)


def log_ids(job: Job, identity: Identity) -> dict[str, object]:
    """Return the log fields that name the job, and the user that caused it."""
    ids = {"job_id": job.id, "job_kind": job.kind, "user_id": identity.user}
    if identity.tenant is not None:
        ids["tenant_id"] = str(identity.tenant)
    return ids
