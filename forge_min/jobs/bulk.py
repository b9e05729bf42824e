"""Inserts many jobs by COPY, in the caller's transaction. Nothing here commits.

PERF: this module writes the lines of COPY's text format itself: `write_row` of psycopg takes twice
as long as the server. Jobs that differ only in their arguments are checked once, because a check of
each job takes as long as the server's COPY (benchmarks/jobs).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain, islice
from string import Template
from typing import Literal, overload

from .. import db
from ..errors import ForgeError
from .insert import catalogue_of, insert_span, insert_tx, job_cause, metadata_of, notify_workers
from .job import SQL, Conn
from .kinds import Catalogue, Kind
from .new_job import NO_EXTRAS, CheckedJob, NewJob, check_job, encode_args, find_kind

Label = tuple[str, str]  # the kind and the queue of a job
CHUNK = 200  # jobs sent at once: the server stores them while the next lines are formatted
# Characters with a meaning in COPY's text format (PostgreSQL manual, COPY).
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


@overload
def insert_many_tx(conn: Conn, jobs: Iterable[NewJob]) -> int: ...
@overload
def insert_many_tx(conn: Conn, jobs: Iterable[NewJob], *, ids: Literal[True]) -> list[int]: ...
def insert_many_tx(conn: Conn, jobs: Iterable[NewJob], *, ids: bool = False) -> int | list[int]:
    """Insert many jobs by COPY, all of them or none.

    Each unique job has a statement of its own, and counts as inserted if it existed already.

    ids: whether to return ids.

    Returns the number of jobs, or their ids in the order of `jobs`.

    Raises the errors of `insert_tx`, and ForgeError F724 if the iterator of `jobs` uses `conn`.
    """
    with db.errors_translated(), db.transaction(conn), insert_span("jobs"):
        result = []
        numbers = None
        if ids:
            jobs = list(jobs)
            count = sum(job.unique is None for job in jobs)
            result = [id for (id,) in db.run(conn, SQL["ids"], {"count": count})]
            numbers = iter(result)
        bulk = _Bulk(jobs, catalogue_of(conn))
        _copy(conn, "", bulk.plain(), numbers)
        if bulk.left:
            ((now,),) = db.run(conn, "select now()")
            _copy(conn, ", state, scheduled_at, tags, limit_key", bulk.full(now), numbers)
        for index, job in bulk.unique:
            result.insert(index, insert_tx(conn, **job._asdict()))
        notify_workers(conn, bulk.due)
        notify_workers(conn, bulk.waiting, quiet=True)
    if ids:
        return result
    return bulk.due.total() + bulk.waiting.total() + len(bulk.unique)


class _Bulk:
    """Formats jobs as lines of COPY.

    `plain` yields lines up to the first job with an option that needs more columns, `full` the
    lines from this job on.

    unique: (index, job) of the unique jobs, which COPY cannot insert.
    due, waiting: (kind, queue) → number of jobs.
    """

    def __init__(self, jobs: Iterable[NewJob], catalogue: Catalogue) -> None:
        self.left: list[tuple[int, NewJob]] = []
        self.unique: list[tuple[int, NewJob]] = []
        self.due = Counter[Label]()
        self.waiting = Counter[Label]()
        self._jobs = enumerate(jobs)
        self._catalogue = catalogue
        self._cause = job_cause()

    def plain(self) -> Iterator[str]:
        """Yield kind, queue, args, priority, max_attempts, metadata."""
        # For jobs that differ only in arguments: kind, (kind, queue), the line's text around them.
        lines: dict[object, tuple[Kind, Label, str, str]] = {}
        for numbered in self._jobs:
            job = numbered[1]
            if job[5:] != NO_EXTRAS:
                if job.unique is None:
                    self.left.append(numbered)
                    break
                self.unique.append(numbered)
                continue
            options = (job[0], job[2], job[3], job[4])
            try:
                kind, label, head, tail = lines[options]
            except (KeyError, TypeError):  # the check rejects an unhashable option
                checked = check_job(job, self._catalogue)
                kind = find_kind(self._catalogue, job.kind)
                label = (checked.kind, checked.queue)
                head, tail = self._around(checked)
                lines[options] = (kind, label, head, tail)
            args = encode_args(kind, job.args)
            self.due[label] += 1
            yield head + _escaped(args) + tail

    def full(self, now: datetime) -> Iterator[str]:
        """Yield the columns of `plain`, state, scheduled_at, tags and limit_key."""
        for numbered in chain(self.left, self._jobs):
            job = numbered[1]
            if job.unique is not None:
                self.unique.append(numbered)
                continue
            checked = check_job(job, self._catalogue)
            label = (checked.kind, checked.queue)
            at = checked.scheduled_at or now + timedelta(seconds=checked.delay)
            if at > now:
                state = "scheduled"
                self.waiting[label] += 1
            else:
                at = now
                state = "available"
                self.due[label] += 1
            tags = "{}"
            if checked.tags:
                tags = _escaped(db.sql_array(checked.tags))
            key = r"\N"
            if checked.limit_key is not None:
                key = _escaped(checked.limit_key)
            head, tail = self._around(checked)
            line = head + _escaped(checked.args) + tail
            yield f"{line}\t{state}\t{at.isoformat()}\t{tags}\t{key}"

    def _around(self, job: CheckedJob) -> tuple[str, str]:
        """Return the text of the line before and after the arguments."""
        metadata = _escaped(metadata_of(job, self._cause))
        head = f"{_escaped(job.kind)}\t{_escaped(job.queue)}\t"
        return head, f"\t{job.priority}\t{job.max_attempts}\t{metadata}"


def _copy(conn: Conn, more: str, lines: Iterator[str], ids: Iterator[int] | None) -> None:
    """Send the lines.

    more: columns after the usual ones.
    ids: of the lines; None = the server assigns them.
    """
    if ids is not None:
        more += ", id"
        lines = (f"{line}\t{id}" for line, id in zip(lines, ids))
    sql = Template(SQL["copy"]).substitute(more=more)
    with conn.cursor() as cursor, cursor.copy(sql) as copy:
        lock = conn.lock
        conn.lock = _RefusingLock()  # type: ignore[assignment]
        try:
            while chunk := list(islice(lines, CHUNK)):
                copy.write("\n".join(chunk) + "\n")
        finally:
            conn.lock = lock


class _RefusingLock:
    """Lets statements on a connection raise: those of this thread would wait for themselves."""

    def __enter__(self) -> None:
        raise ForgeError(
            "insert_many_tx is in the middle of its COPY on this connection",
            code="F724",
            hint="create the jobs on another connection, or before the call: list(...)",
        )

    def __exit__(self, *error: object) -> None: ...


def _escaped(text: str) -> str:
    if "\\" in text or not text.isprintable():
        return text.translate(_ESCAPED)
    return text
