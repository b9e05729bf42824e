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
        log.warning(
            "job %d (%s) failed at attempt %d of %d, and runs again in %.0f s%s",
            job.id,
            job.kind,
            job.attempt,
            job.max_attempts,
            result.delay,
            beside,
            exc_info=error,
            extra=fields,
        )
    elif result.outcome == "discarded":
        line = "job %d (%s) is given up after attempt %d%s%s"
        log.error(line, job.id, job.kind, job.attempt, beside, reason, exc_info=error, extra=fields)
    elif result.outcome == "cancelled":
        log.info("job %d (%s) was cancelled%s%s", job.id, job.kind, beside, reason, extra=fields)


def tell_rescued(run: Sequence[Any], why: str) -> None:
    """A line for a run that ended without a word. run: a row of `keeping`'s RESCUE. why: as the
    job's row says.
    """
    id, kind, attempt, state = run
    fields = {"job_id": id, "job_kind": kind, "attempt": attempt}
    if state == "discarded":
        said = "job %d (%s) is given up after attempt %d: %s"
        log.error(said, id, kind, attempt, why, extra=fields)
    elif state == "cancelled":
        log.info("job %d (%s) was cancelled: %s", id, kind, why, extra=fields)
    else:
        log.warning("job %d (%s) was rescued: %s", id, kind, why, extra=fields)


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
