"""What the log says of a run that did not succeed: a warning where it is tried again, an error
where the job is given up.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..auth import Identity, for_job
from ..observe.logs.handler import span_fields
from .job import Cancel, Discard, Job, Result

log = logging.getLogger("forge_min.jobs")
# What ends a job without success → the level and text of its line.
_ENDS = {
    "discarded": (logging.ERROR, "is given up after attempt {attempt}"),
    "cancelled": (logging.INFO, "was cancelled"),
}


def tell(result: Result, why: BaseException) -> None:
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


def tell_rescued(run: Sequence[Any], why: str) -> None:
    """A line for a run that ended without a word. run: a row of `keeping`'s RESCUE. why: as the
    job's row says.
    """
    id, kind, attempt, state = run
    fields = {"job_id": id, "job_kind": kind, "attempt": attempt}
    level, what = _ENDS.get(state, (logging.WARNING, "was rescued"))
    what = what.format(attempt=attempt)
    log.log(level, "job %d (%s) %s: %s", id, kind, what, why, extra=fields)


def ids_of(job: Job, who: Identity) -> dict[str, object]:
    """What names the job, and who caused it, in the log. who: as of `for_job`."""
    ids: dict[str, object] = {"job_id": job.id, "job_kind": job.kind, "user_id": who.user}
    if who.tenant is not None:
        ids["tenant_id"] = str(who.tenant)
    return ids


def _fields(job: Job) -> dict[str, object]:
    fields: dict[str, object] = {"job_id": job.id, "job_kind": job.kind}
    with suppress(ValueError):  # a tenant that is none, which is why it failed
        fields = ids_of(job, for_job(job.metadata))
    return fields | {"attempt": job.attempt} | span_fields(job.span)
