"""A job as its handler sees it, how its run ends, and its line in the log.

A run that fails is a warning if it is tried again, an error if the job is discarded.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from string import Template
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import psycopg

from .. import db
from ..auth import Identity, for_job
from ..db import Connection
from ..errors import ForgeError
from ..observe import SpanContext, span_fields, tidied, trace_of

if TYPE_CHECKING:  # with a default, so that a plain Job is a Job[Any]
    from typing_extensions import TypeVar

    A = TypeVar("A", default=Any)
else:
    from typing import TypeVar

    A = TypeVar("A")

SQL = db.load_sql("forge_min.jobs", "jobs.sql")


def with_notice(sql: str, **parts: str) -> str:
    """A statement whose CTE `ended` has jobs that ended, with the notices of those given up, and
    its other parts.
    """
    return Template(sql).substitute(notice=SQL["notice"], **parts)


CHANGE = ("resource", "id", "operation", "version")  # the args of every hook's job
LONGEST = 10 * 365 * 86_400.0  # seconds; what PostgreSQL's timestamps surely hold
Retry = Callable[["Job", BaseException], float]
log = logging.getLogger("forge_min.jobs")
MOST_REFUNDS = 5  # of a job whose connection was lost; it may be the job that breaks it
MESSAGE = 1_000  # characters kept of an error's own text
TRACE = 4_000  # characters kept of its traceback, the end of it


class Outcome(Exception):
    """Raised by a handler to say how the run ends; anything else that it raises means retry."""

    reason = ""  # where a subclass has an __init__ of its own

    def __init__(self, reason: object = "") -> None:
        super().__init__(reason)
        self.reason = str(reason)


class Cancel(Outcome):
    """End the job as cancelled. reason: kept with it."""


class Discard(Outcome):
    """Give the job up, whatever attempts are left. reason: kept with it."""


class Snooze(Outcome):
    """Run the job again in `seconds`; this run does not count as an attempt."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"snoozed for {seconds} s")
        self.seconds = min(float(seconds), LONGEST) if seconds > 0 else 0.0


class Cancelled(BaseException):
    """Raised at a checkpoint of a job that somebody has asked to cancel. No Exception: `except
    Exception` must not hide it.
    """


class StaleClaim(ForgeError):
    """The job was taken from this run: rescued, or finished by somebody else."""

    default_code = "F713"


class Change(NamedTuple):
    """What a hook's job tells about the write that enqueued it.

    resource: its name ("Flight"). id: the row's key as JSON says it: a uuid is text. operation:
    create, update, delete or restore. version: of the row after it. before: the row's columns
    before an update or a delete, as JSON.
    """

    resource: str
    id: Any
    operation: str
    version: int
    before: Mapping[str, Any] | None = None


@dataclass(eq=False)
class Job(Generic[A]):
    """One run of a job. args: of the kind's dataclass, or what JSON says where it has none. attempt
    counts from 1. claim: the number of the fetch that gave it, never used again.

    The times are the database's. metadata may hold "traceparent" and "tracestate" (W3C Trace
    Context), and "user" and "tenant" of who caused the job. given: the arguments as JSON says them.
    waited: seconds from when it was due until it was taken.
    """

    id: int
    kind: str
    queue: str
    given: dict[str, Any]
    attempt: int
    max_attempts: int
    claim: int
    metadata: dict[str, Any]
    created_at: datetime
    scheduled_at: datetime
    priority: int = 2
    waited: float = 0.0
    connect: Callable[[], Connection] | None = field(default=None, repr=False)
    unreadable: str = field(default="", init=False)  # why `given` is not what was inserted
    failures: int = field(default=0, init=False)  # errors recorded before this run
    completed: bool = field(default=False, init=False)  # by itself, in a transaction
    committed: bool = field(default=False, init=False)  # that transaction, as far as is known
    cancelled: bool = field(default=False, init=False)
    span: SpanContext | None = field(default=None, init=False, repr=False)  # around its run
    args: A = field(init=False)

    def __post_init__(self) -> None:
        self.args = self.given  # type: ignore[assignment]  # until a worker knows the dataclass

    @property
    def change(self) -> Change:
        """The write that enqueued the job. Raises ForgeError F715 when no hook did."""
        try:
            known = {name: self.given[name] for name in CHANGE}
        except KeyError:
            raise ForgeError(
                f"job {self.id} ({self.kind}) tells of no change: no hook enqueued it",
                code="F715",
                hint="read job.args, which holds what was inserted",
            ) from None
        return Change(**known, before=self.given.get("before"))

    def checkpoint(self) -> None:
        """A place where the job can end. Raises Cancelled once somebody has asked for it: then
        `cancelled` is true.
        """
        if self.cancelled:
            raise Cancelled

    @property
    def conn(self) -> Connection:
        """The connection of the thread that runs the job; asking for it is a checkpoint. Raises
        Unavailable F401, or F712 outside a worker.
        """
        self.checkpoint()
        if self.connect is None:
            raise ForgeError("a job has a connection only while a worker runs it", code="F712")
        return self.connect()

    def complete_tx(self, conn: psycopg.Connection[Any]) -> None:
        """Complete the job in the caller's transaction: its effects happen exactly once.

        Raises StaleClaim F713 when the job is not this run's any more: let it leave the
        transaction.
        """
        with db.errors_translated():
            row = conn.execute(SQL["complete_tx"], {"id": self.id, "claim": self.claim}).fetchone()
        if row is None:
            raise StaleClaim(f"job {self.id} was taken from this run")
        self.completed = True
        if isinstance(conn, Connection) and (conn.hooks is not None or db.is_idle(conn)):
            db.after_commit(conn, self._commit)
        else:  # where no hook runs
            self._commit()

    def _commit(self) -> None:
        self.committed = True


class Result(NamedTuple):
    """state: the job's next one. refund: attempts given back. delay: seconds from now, None = as
    it was.

    error: JSON text of {"error", "trace"?}, or None. outcome: the word for metrics.
    """

    job: Job
    outcome: str
    state: str
    refund: int = 0
    delay: float | None = None
    error: str | None = None


def hand_back(job: Job) -> Result:
    """Return the result of a job that this worker does not begin: another one may."""
    return Result(job, "handed_back", "available", refund=1)


def failed(
    job: Job, message: str, trace: str = "", delay: float | None = None, *, lost: bool = False
) -> Result:
    """Try again, or give up after the last attempt. delay: seconds; None = attempt⁴ ± 10 %. lost:
    our connection to the database was lost, which does not count as an attempt up to MOST_REFUNDS
    times.
    """
    text = _error(message, trace)
    if job.cancelled:
        return Result(job, "cancelled", "cancelled", error=text)
    # Every attempt that counts has left an error.
    refund = int(lost and job.failures - (job.attempt - 1) < MOST_REFUNDS)
    if job.attempt - refund >= job.max_attempts:
        return Result(job, "discarded", "discarded", error=text)
    if delay is None:
        delay = min(job.attempt**4 * random.uniform(0.9, 1.1), LONGEST)
    return Result(job, "retried", "retryable", refund, delay, text)


def result_of_error(
    job: Job, err: BaseException, retry: Retry | None = None, *, lost: bool = False
) -> Result:
    """What a run means whose handler raised `err`. retry: the kind's own curve, in seconds. lost:
    as of `failed`.

    Told without secrets, and without the rows that a database's error repeats: people read it.
    """
    match err:
        case Cancelled():
            return Result(job, "cancelled", "cancelled", error=_error("cancelled while it ran"))
        case Snooze():
            return Result(job, "snoozed", "scheduled", refund=1, delay=err.seconds)
        case Cancel() | Discard():
            state = "cancelled" if isinstance(err, Cancel) else "discarded"
            return Result(job, state, state, error=_error(tidied(str(err.reason or state), err)))
    trace = trace_of(err, limit=-20)
    delay = retry_delay(retry, job, err)
    return failed(job, tidied(_describe(err), err), trace[-TRACE:], delay, lost=lost)


def retry_delay(retry: Retry | None, job: Job, err: BaseException) -> float | None:
    """Seconds until the next attempt by the kind's own curve; None = it has none that works."""
    if retry is None:
        return None
    try:
        delay = float(retry(job, err))
        return min(max(delay, 0.0), LONGEST) if delay == delay else None
    except (Exception, SystemExit):
        log.exception("retry of %s failed; the usual delay is taken", job.kind)
        return None


def _error(message: str, trace: str = "") -> str:
    """JSON text that PostgreSQL always takes, whatever an exception says."""
    kept = {"error": _printable(message[:MESSAGE])}
    if trace:
        kept["trace"] = _printable(trace)
    return json.dumps(kept)


def _describe(err: BaseException) -> str:
    try:
        return f"{type(err).__name__}: {err}"
    except Exception:
        return type(err).__name__


def _printable(text: str) -> str:
    """Without NUL and lone surrogates, which jsonb refuses."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


# What ends a job without success → the level and text of its line.
_ENDS = {
    "discarded": (logging.ERROR, "is given up after attempt {attempt}"),
    "cancelled": (logging.INFO, "was cancelled"),
}


def log_failure(result: Result, why: BaseException) -> None:
    """A line for a run that ended so, with the ids of its job and of its span. why: what it raised.

    Nothing of a snooze; a job that somebody has cancelled is a line of level info. Never raises.
    """
    with suppress(Exception, SystemExit):  # a filter of somebody's
        _tell(result, why, result.job)


def _tell(result: Result, why: BaseException, job: Job) -> None:
    fields = _fields(job)
    # What a job decided itself needs no traceback: its reason says all, as its row has it.
    own = isinstance(why, Cancel | Discard) and result.outcome != "retried"
    error = None if own else why
    said = json.loads(result.error)["error"] if own and result.error else result.state
    reason = f": {said}" if said != result.state else ""
    beside = ", unless what completed it is committed" if job.completed else ""
    if result.outcome == "retried":
        level, again = logging.WARNING, f"runs again in {result.delay:.0f} s"
        what = f"failed at attempt {{attempt}} of {job.max_attempts}, and {again}"
    elif result.outcome in _ENDS:
        level, what = _ENDS[result.outcome]
    else:
        return
    what = what.format(attempt=job.attempt) + beside + reason
    trace = None if result.outcome == "cancelled" else error
    log.log(level, "job %d (%s) %s", job.id, job.kind, what, exc_info=trace, extra=fields)


def log_rescue(run: Sequence[Any], why: str) -> None:
    """Log a run that ended without a word.

    run: a row of `keeping`'s RESCUE. why: as the job's row says.
    """
    id, kind, attempt, state = run
    fields = {"job_id": id, "job_kind": kind, "attempt": attempt}
    level, what = _ENDS.get(state, (logging.WARNING, "was rescued"))
    what = what.format(attempt=attempt)
    log.log(level, "job %d (%s) %s: %s", id, kind, what, why, extra=fields)


def log_ids(job: Job, who: Identity) -> dict[str, object]:
    """What names the job, and who caused it, in the log. who: as of `for_job`."""
    ids: dict[str, object] = {"job_id": job.id, "job_kind": job.kind, "user_id": who.user}
    if who.tenant is not None:
        ids["tenant_id"] = str(who.tenant)
    return ids


def _fields(job: Job) -> dict[str, object]:
    fields: dict[str, object] = {"job_id": job.id, "job_kind": job.kind}
    with suppress(ValueError):  # a tenant that is none, which is why it failed
        fields = log_ids(job, for_job(job.metadata))
    return fields | {"attempt": job.attempt} | span_fields(job.span)
