"""How a run ended, as the acknowledger writes it down; and the judgement of what a handler
raised.
"""

from __future__ import annotations

import json
import random
import traceback
from dataclasses import dataclass

from .job import Cancel, Discard, Job, Snooze

MESSAGE = 1_000  # characters kept of an error's own text
TRACE = 4_000  # characters kept of its traceback, the end of it


@dataclass(frozen=True, slots=True)
class Result:
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


def completed(job: Job) -> Result:
    """The handler returned."""
    return Result(job, "completed", "completed")


def handed_back(job: Job) -> Result:
    """The job was fetched and never started."""
    return Result(job, "handed_back", "available", refund=1)


def failed(job: Job, message: str, trace: str = "") -> Result:
    """Try again after attempt⁴ seconds ± 10 %, or give up after the last attempt."""
    text = error_json(message, trace)
    if job.attempt >= job.max_attempts:
        return Result(job, "discarded", "discarded", error=text)
    delay = job.attempt**4 * random.uniform(0.9, 1.1)
    return Result(job, "retried", "retryable", delay=delay, error=text)


def judge(job: Job, err: BaseException) -> Result:
    """What a run means whose handler raised `err`."""
    match err:
        case Snooze():
            return Result(job, "snoozed", "scheduled", refund=1, delay=err.seconds)
        case Cancel():
            return Result(
                job, "cancelled", "cancelled", error=error_json(err.reason or "cancelled")
            )
        case Discard():
            return Result(
                job, "discarded", "discarded", error=error_json(err.reason or "discarded")
            )
    lines = traceback.format_exception(err, limit=-20)
    return failed(job, _describe(err), "".join(lines)[-TRACE:])


def error_json(message: str, trace: str = "") -> str:
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
