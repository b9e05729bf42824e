"""A job that is to be inserted: what may be said of it, checked where its caller can still act."""

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
_NO_TEXT = lazy_pattern("[\0\ud800-\udfff]")  # what UTF-8, or PostgreSQL, does not take
NUL = lazy_pattern(r"(?<!\\)(?:\\\\)*\\u0000")  # the escape, not a text that shows one
NO_KINDS = Catalogue()


class Unique(NamedTuple):
    """Which jobs count as the same one: only one of them may wait.

    A job counts until a worker takes it, and again when it waits for another attempt. If its key
    is inserted while it runs, one successor is added.

    key: a text; None = the job's kind with its arguments. within: seconds; the key counts anew in
    each such window of the database's clock, which begin at multiples of it since 1970. ended:
    states of ended jobs that count too (completed, discarded, cancelled), as long as they are kept;
    a job that says so counts while it runs, too.
    """

    key: str | None = None
    within: float | None = None
    ended: Sequence[str] = ()


class NewJob(NamedTuple):  # PERF: a frozen dataclass takes 0.7 us longer, of the 4 for a job
    """A job to insert.

    kind: a worker class, or its `kind`. args: what JSON can say, or the kind's dataclass. queue,
    priority (1, first, to 4), max_attempts: None = as the worker class says, else "default", 2 and
    jobs.max_attempts. delay: seconds from now; scheduled_at: a time instead, with its zone. tags:
    for people who look for it. metadata: beside who inserts it, and in which trace. unique: a text
    alone is Unique's key. limit_key: what a queue's limit per key counts by.
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
"""What a job says, from delay on, that says no more than its kind, queue, priority and attempts."""


class CheckedJob(NamedTuple):
    """A job as the table takes it. args, metadata: JSON text; metadata None = the cause."""

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


def check_job(job: NewJob, catalogue: Catalogue | None) -> CheckedJob:
    """The job with every default filled in.

    Raises Invalid F711 for arguments that JSON cannot say, or the kind does not take, and for
    options out of range; ForgeError F716 for a kind that no worker has, where that is refused.
    """
    known = catalogue or NO_KINDS
    kind = find_kind(known, job.kind)
    queue = kind.queue if job.queue is None else job.queue
    priority = kind.priority if job.priority is None else job.priority
    attempts = job.max_attempts
    if attempts is None:
        attempts = known.max_attempts if kind.max_attempts is None else kind.max_attempts
    args = encode_args(kind, job.args)
    key, states, window = None, None, None
    if job.unique is not None:
        unique = job.unique if isinstance(job.unique, Unique) else Unique(str(job.unique))
        key = _same(kind.name, args) if unique.key is None else unique.key
        states = [*LIVE, *unique.ended] if unique.ended else None
        window = unique.within
        _check_unique(unique, key)
    _check(job, kind.name, queue, priority, attempts)
    metadata = None if job.metadata is None else to_json(job.metadata, "/metadata")
    if metadata is not None and "discarded" in job.metadata:  # type: ignore[operator]
        _raise([("metadata", "may not have `discarded`, which tells of a job that was given up")])
    return CheckedJob(
        kind.name, queue, args, priority, attempts, job.delay, job.scheduled_at,
        list(job.tags) if job.tags else [], metadata, key, states, window, job.limit_key,
    )  # fmt: skip


def find_kind(known: Catalogue, given: str | type[Any]) -> Kind:
    """The kind of a NewJob. Raises as `checked`."""
    if isinstance(given, str):
        return known.kind(given)
    if not hasattr(given, "kind"):
        _raise([("kind", "must be a worker class, or its kind")])
    kind = kind_of(given)
    known.kind(kind.name)  # it has a worker, where that is asked for
    return kind


encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def to_json(value: Mapping[str, Any], pointer: str) -> str:
    """JSON text that PostgreSQL's jsonb takes. Raises Invalid F711 naming what cannot be said."""
    try:
        text = encode(value)
        text.encode()
    except (TypeError, ValueError, RecursionError) as err:
        raise _refused(pointer, str(err)) from None
    if not text.startswith("{"):
        raise _refused(pointer, "they are no object")
    if "\\u0000" in text and NUL.search(text):
        raise _refused(pointer, "a string holds the character NUL, which PostgreSQL refuses")
    return text


def array_literal(texts: Sequence[str]) -> str:
    """A text[] as PostgreSQL reads it (its manual, section 8.15.2)."""
    quoted = (text.replace("\\", r"\\").replace('"', r"\"") for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


def encode_args(kind: Kind, given: Any) -> str:
    """The arguments as JSON text, checked against the kind's dataclass. Raises as `checked`."""
    given = {} if given is None else given
    if kind.args is None and not is_dataclass(given):
        return to_json(given, "/args")
    if kind.args is not None and is_dataclass(given) and not isinstance(given, kind.args):
        raise _refused(
            "/args", f"{kind.name} takes {kind.args.__name__}, not {type(given).__name__}"
        )
    try:
        said = pack(given)
        if kind.args is not None:
            read_args(kind.args, said, kind.name)
    except RecursionError as err:
        raise _refused("/args", str(err)) from None
    return to_json(said, "/args")


def _check(job: NewJob, kind: str, queue: object, priority: object, attempts: object) -> None:
    """The table guards changes only (db/forge/0004_cheap_writes.sql)."""
    wrong = []
    tags = job.tags if isinstance(job.tags, list | tuple) else []
    texts = [("kind", kind), ("queue", queue), *(("tags", tag) for tag in tags)]
    if job.limit_key is not None:
        texts.append(("limit_key", job.limit_key))
    for name, given in texts:
        if not is_valid_text(name, given):
            wrong.append((name, f"must be a text of 1 to {_LONGEST_TEXT[name]} characters"))
    for name, given, most in (("priority", priority, 4), ("max_attempts", attempts, 32_767)):
        if not (type(given) is int and 1 <= given <= most):
            wrong.append((name, f"must be a whole number from 1 to {most}"))
    if not (isinstance(job.delay, int | float) and abs(job.delay) <= LONGEST):
        wrong.append(("delay", f"must be seconds, at most {LONGEST:.0f}"))
    if tags is not job.tags or len(tags) > _MOST_TAGS:
        wrong.append(("tags", f"must be a list of at most {_MOST_TAGS} texts"))
    at = job.scheduled_at
    if at is not None and (not isinstance(at, datetime) or at.tzinfo is None or job.delay):
        wrong.append(("scheduled_at", "must be a time with its zone, and no delay beside it"))
    _raise(wrong)


def _check_unique(unique: Unique, key: object) -> None:
    wrong = []
    if not is_valid_text("unique", key):
        wrong.append(("unique", "must have a key of 1 to 500 characters"))
    within = LONGEST if unique.within is None else unique.within
    if not (isinstance(within, int | float) and 0 < within <= LONGEST):
        wrong.append(("unique", f"must be within seconds above 0, at most {LONGEST:.0f}"))
    if set(unique.ended) - set(ENDED):
        wrong.append(("unique", f"may count, of what has ended: {', '.join(ENDED)}"))
    _raise(wrong)


def is_valid_text(name: str, given: object) -> bool:
    """Whether it is a text that a job can have under this name."""
    good = isinstance(given, str) and not _NO_TEXT.search(given)
    return good and 1 <= len(str(given)) <= _LONGEST_TEXT[name]


def _raise(wrong: Sequence[tuple[str, str]]) -> None:
    if wrong:
        errors = [FieldError("/" + name, "out_of_range", message) for name, message in wrong]
        said = "; ".join(f"{name} {message}" for name, message in wrong)
        raise Invalid(errors, f"the job cannot be inserted: {said}", code="F711")


def _refused(pointer: str, why: str) -> Invalid:
    error = FieldError(pointer, "not_json", f"cannot be stored as JSON: {why}")
    return Invalid([error], f"a job's {pointer[1:]} cannot be stored as JSON: {why}", code="F711")


def _same(kind: str, args: str) -> str:
    """The key of what has this kind and these arguments, in whatever order they are named."""
    text = json.dumps(json.loads(args), sort_keys=True)
    if len(kind) + len(text) >= _LONGEST_TEXT["unique"]:
        text = hashlib.sha256(text.encode()).hexdigest()
    return f"{kind}:{text}"
