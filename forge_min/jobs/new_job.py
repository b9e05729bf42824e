"""The options of a job to insert, checked before the statement runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ..errors import FieldError, Invalid
from ..lazy import lazy_pattern
from .args import pack, read_args
from .job import LONGEST
from .kinds import Catalogue, Kind, kind_of

LIVE = ("available", "scheduled", "running", "retryable")
ENDED = ("completed", "discarded", "cancelled")
_LONGEST_TEXT = {"kind": 200, "queue": 100, "unique": 500, "limit_key": 200, "tags": 100}
_MOST_TAGS = 20
_INVALID = lazy_pattern("[\0\ud800-\udfff]")  # not valid in UTF-8, or rejected by PostgreSQL
# The escape of NUL, but not an escaped backslash before u0000.
NUL = lazy_pattern(r"(?<!\\)(?:\\\\)*\\u0000")


class Unique(NamedTuple):
    """Defines which jobs count as the same one, of which only one may wait.

    A job counts until a worker fetches it, and again when it waits for another attempt. If a job
    with its key is inserted while it runs, one successor is added.

    key: a text; None = the job's kind with its arguments.
    within: seconds; the key is valid in one such window of the database's clock. Windows begin at
        multiples of it since 1970.
    ended: states of ended jobs that count too (completed, discarded, cancelled), until retention
        deletes them. A job with this option also counts while it runs.
    """

    key: str | None = None
    within: float | None = None
    ended: Sequence[str] = ()


class NewJob(NamedTuple):  # PERF: a frozen dataclass takes 0.7 us longer, of the 4 for a job
    """A job to insert.

    kind: a worker class, or its `kind`.
    args: a JSON object, or an instance of the kind's dataclass.
    queue: None = the queue of the worker class, else "default".
    priority: 1 (first) to 4; None = the priority of the worker class, else 2.
    max_attempts: None = the number of the worker class, else jobs.max_attempts.
    delay: seconds from now.
    scheduled_at: a time with its zone, instead of a delay.
    tags: texts to find the job by.
    metadata: stored with the cause of the job: its user, tenant and trace.
    unique: a Unique, or the text of its key.
    limit_key: the key that a queue's limit per key counts.
    """

    kind: str | type[Any]
    args: Any = None
    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None
    delay: float = 0.0
    scheduled_at: datetime | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] | None = None
    unique: Unique | str | None = None
    limit_key: str | None = None


NO_EXTRAS = NewJob("")[5:]
"""The fields from delay on of a job without further options."""


class CheckedJob(NamedTuple):
    """A job with the values of its row.

    args, metadata: JSON text; metadata None = only the cause.
    """

    kind: str
    queue: str
    args: str
    priority: int
    max_attempts: int
    delay: float
    scheduled_at: datetime | None
    tags: list[str]
    metadata: str | None
    unique_key: str | None
    unique_states: list[str] | None
    window: float | None
    limit_key: str | None


def check_job(job: NewJob, catalogue: Catalogue) -> CheckedJob:
    """Return the job with its defaults.

    Raises Invalid F711 for arguments without a JSON form or not valid for the kind, and for options
    out of range. Raises ForgeError F716 for a kind without a worker, if the catalogue is strict.
    """
    kind = find_kind(catalogue, job.kind)
    queue = job.queue
    if queue is None:
        queue = kind.queue
    priority = job.priority
    if priority is None:
        priority = kind.priority
    attempts = job.max_attempts
    if attempts is None:
        attempts = kind.max_attempts
    if attempts is None:
        attempts = catalogue.max_attempts
    args = encode_args(kind, job.args)
    unique = _check_unique(job.unique, kind.name, args)
    _check(job, kind.name, queue, priority, attempts)
    metadata = None
    if job.metadata is not None:
        metadata = to_json(job.metadata, "/metadata")
        if "discarded" in job.metadata:
            _raise([("metadata", "may not have `discarded`, which reports a discarded job")])
    return CheckedJob(
        kind.name,
        queue,
        args,
        priority,
        attempts,
        job.delay,
        job.scheduled_at,
        list(job.tags),
        metadata,
        *unique,
        job.limit_key,
    )


def find_kind(catalogue: Catalogue, kind: str | type[Any]) -> Kind:
    """Return the kind of a NewJob. Raises the errors of `check_job`."""
    if isinstance(kind, str):
        return catalogue.kind(kind)
    if not hasattr(kind, "kind"):
        _raise([("kind", "must be a worker class, or its kind")])
    result = kind_of(kind)
    catalogue.kind(result.name)  # raises F716 if it needs a worker and has none
    return result


encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def to_json(value: Mapping[str, Any], pointer: str) -> str:
    """Return an object as JSON text that jsonb accepts. Raises Invalid F711 with the reason."""
    try:
        text = encode(value)
        text.encode()
    except (TypeError, ValueError, RecursionError) as err:
        raise _not_json(pointer, str(err)) from None
    if not text.startswith("{"):
        raise _not_json(pointer, "it is not an object")
    if "\\u0000" in text and NUL.search(text):
        raise _not_json(pointer, "a string holds the character NUL, which PostgreSQL rejects")
    return text


def encode_args(kind: Kind, args: Any) -> str:
    """Return the arguments as JSON text, checked against the kind's dataclass.

    Raises the errors of `check_job`.
    """
    if args is None:
        args = {}
    if kind.args is None and not is_dataclass(args):
        return to_json(args, "/args")
    if kind.args is not None and is_dataclass(args) and not isinstance(args, kind.args):
        why = f"{kind.name} takes {kind.args.__name__}, not {type(args).__name__}"
        raise _not_json("/args", why)
    try:
        packed = pack(args)
        if kind.args is not None:
            read_args(kind.args, packed, kind.name)
    except RecursionError as err:
        raise _not_json("/args", str(err)) from None
    return to_json(packed, "/args")


def _check(job: NewJob, kind: str, queue: object, priority: object, attempts: object) -> None:
    """Check the options of an insert. The table checks updates only (0004_cheap_writes.sql)."""
    wrong = []
    texts = [("kind", kind), ("queue", queue)]
    has_list = isinstance(job.tags, list | tuple)
    if has_list:
        texts += [("tags", tag) for tag in job.tags]
    if job.limit_key is not None:
        texts.append(("limit_key", job.limit_key))
    for name, text in texts:
        if not is_valid_text(name, text):
            wrong.append((name, f"must be a text of 1 to {_LONGEST_TEXT[name]} characters"))
    for name, number, highest in (("priority", priority, 4), ("max_attempts", attempts, 32_767)):
        if not (type(number) is int and 1 <= number <= highest):
            wrong.append((name, f"must be a whole number from 1 to {highest}"))
    if not (isinstance(job.delay, int | float) and abs(job.delay) <= LONGEST):
        wrong.append(("delay", f"must be seconds, at most {LONGEST:.0f}"))
    if not has_list or len(job.tags) > _MOST_TAGS:
        wrong.append(("tags", f"must be a list of at most {_MOST_TAGS} texts"))
    at = job.scheduled_at
    if at is not None and (not isinstance(at, datetime) or at.tzinfo is None or job.delay):
        wrong.append(("scheduled_at", "must be a time with its zone, without a delay"))
    _raise(wrong)


def _check_unique(
    option: Unique | str | None, kind: str, args: str
) -> tuple[str | None, list[str] | None, float | None]:
    """Return unique_key, unique_states and window of a CheckedJob."""
    if option is None:
        return None, None, None
    unique = option if isinstance(option, Unique) else Unique(str(option))
    key = unique.key
    if key is None:
        key = _default_key(kind, args)
    wrong = []
    if not is_valid_text("unique", key):
        wrong.append(("unique", "must have a key of 1 to 500 characters"))
    window = unique.within
    if window is not None and not (isinstance(window, int | float) and 0 < window <= LONGEST):
        wrong.append(("unique", f"must be within seconds above 0, at most {LONGEST:.0f}"))
    if set(unique.ended) - set(ENDED):
        wrong.append(("unique", f"may only count ended jobs that are {', '.join(ENDED)}"))
    _raise(wrong)
    states = None
    if unique.ended:
        states = [*LIVE, *unique.ended]
    return key, states, window


def is_valid_text(name: str, value: object) -> bool:
    """Return whether the value is a text that a job can have under this name."""
    valid = isinstance(value, str) and not _INVALID.search(value)
    return valid and 1 <= len(str(value)) <= _LONGEST_TEXT[name]


def _raise(wrong: Sequence[tuple[str, str]]) -> None:
    if wrong:
        errors = [FieldError("/" + name, "out_of_range", message) for name, message in wrong]
        reasons = "; ".join(f"{name} {message}" for name, message in wrong)
        raise Invalid(errors, f"the job cannot be inserted: {reasons}", code="F711")


def _not_json(pointer: str, why: str) -> Invalid:
    error = FieldError(pointer, "not_json", f"cannot be stored as JSON: {why}")
    return Invalid([error], f"a job's {pointer[1:]} cannot be stored as JSON: {why}", code="F711")


def _default_key(kind: str, args: str) -> str:
    """Return the key of a kind with its arguments. Their order does not matter."""
    text = json.dumps(json.loads(args), sort_keys=True)
    if len(kind) + len(text) >= _LONGEST_TEXT["unique"]:
        text = hashlib.sha256(text.encode()).hexdigest()
    return f"{kind}:{text}"
