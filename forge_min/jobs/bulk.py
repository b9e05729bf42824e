"""Inserting many jobs by COPY, in the caller's transaction. Nothing here commits.

PERF: lines of COPY's text format, made by hand: psycopg's `write_row` takes twice as long as the
server, and to check each job anew as long as the server's COPY (benchmarks/jobs).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import chain, islice
from string import Template
from typing import Any, Literal, overload

import psycopg

from .. import db
from ..errors import ForgeError
from .insert import (
    catalogue_of,
    current_cause,
    insert_tx,
    metadata_of,
    notify_workers,
    producer_span,
)
from .job import SQL
from .kinds import Catalogue, Kind
from .new_job import (
    NO_EXTRAS,
    NO_KINDS,
    CheckedJob,
    NewJob,
    array_literal,
    check_job,
    encode_args,
    find_kind,
)

CHUNK = 200  # jobs that a COPY sends at once: the server works while the next are made
# What COPY's text format gives another meaning (PostgreSQL manual, COPY).
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_MORE = ", state, scheduled_at, tags, limit_key"


@overload
def insert_many_tx(conn: psycopg.Connection[Any], jobs: Iterable[NewJob]) -> int: ...
@overload
def insert_many_tx(
    conn: psycopg.Connection[Any], jobs: Iterable[NewJob], *, ids: Literal[True]
) -> list[int]: ...
def insert_many_tx(
    conn: psycopg.Connection[Any], jobs: Iterable[NewJob], *, ids: bool = False
) -> int | list[int]:
    """Insert many jobs by COPY; how many, or their ids in the order of `jobs`. All or none of them.

    Those that are unique go by a statement each, at their places, and count as inserted when they
    were there already. Raises as `insert_tx`; ForgeError F724 where what makes `jobs` uses `conn`.
    """
    with db.errors_translated(), db.transaction(conn), producer_span("jobs"):
        found: list[int] = []
        if ids:
            jobs = list(jobs)
            wanted = sum(job.unique is None for job in jobs)
            found = [row[0] for row in db.run(conn, SQL["ids"], {"count": wanted})]
        bulk = _Bulk(jobs, catalogue_of(conn))
        numbers = iter(found) if ids else None
        _copy(conn, "", bulk.plain(), numbers)
        if bulk.left:
            ((now,),) = db.run(conn, "select now()")
            _copy(conn, _MORE, bulk.full(now), numbers)
        for place, job in bulk.unique:
            found.insert(place, insert_tx(conn, **job._asdict()))
        notify_workers(conn, bulk.due)
        notify_workers(conn, bulk.waiting, quiet=True)
    return found if ids else bulk.due.total() + bulk.waiting.total() + len(bulk.unique)


# Of jobs that differ only in their arguments: kind, (kind, queue), a line's text around these.
_Same = tuple[Kind, tuple[str, str], str, str]


class _Bulk:
    """The jobs as lines of COPY: `plain` up to the first that says more than its columns hold,
    `full` from that one on. unique: those that no COPY can take, with their places. due, waiting:
    (kind, queue) → how many.
    """

    def __init__(self, jobs: Iterable[NewJob], catalogue: Catalogue | None) -> None:
        self.left: list[tuple[int, NewJob]] = []
        self.unique: list[tuple[int, NewJob]] = []
        self.due: Counter[tuple[str, str]] = Counter()
        self.waiting: Counter[tuple[str, str]] = Counter()
        self._jobs = enumerate(jobs)
        self._catalogue = catalogue
        self._cause = current_cause()

    def plain(self) -> Iterator[str]:
        """kind, queue, args, priority, max_attempts, metadata."""
        known: dict[tuple[Any, ...], _Same] = {}
        for numbered in self._jobs:
            job = numbered[1]
            if job[5:] != NO_EXTRAS:
                if job.unique is None:
                    self.left.append(numbered)
                    break
                self.unique.append(numbered)
                continue
            says = (job[0], job[2], job[3], job[4])
            try:
                kind, place, head, tail = known[says]
            except (KeyError, TypeError):  # what has no hash is refused
                kind, place, head, tail = known[says] = self._same(job)
            args = encode_args(kind, job.args)
            self.due[place] += 1
            yield head + _escaped(args) + tail

    def full(self, now: datetime) -> Iterator[str]:
        """state, scheduled_at, tags and limit_key too."""
        for numbered in chain(self.left, self._jobs):
            job = numbered[1]
            if job.unique is not None:
                self.unique.append(numbered)
                continue
            good = check_job(job, self._catalogue)
            at = max(now, good.scheduled_at or now + timedelta(seconds=good.delay))
            of, state = (self.waiting, "scheduled") if at > now else (self.due, "available")
            of[good.kind, good.queue] += 1
            tags = _escaped(array_literal(good.tags)) if good.tags else "{}"
            key = r"\N" if good.limit_key is None else _escaped(good.limit_key)
            line = self._head(good) + _escaped(good.args) + self._tail(good)
            yield f"{line}\t{state}\t{at.isoformat()}\t{tags}\t{key}"

    def _same(self, job: NewJob) -> _Same:
        good = check_job(job, self._catalogue)
        kind = find_kind(self._catalogue or NO_KINDS, job.kind)
        return kind, (kind.name, good.queue), self._head(good), self._tail(good)

    def _head(self, job: CheckedJob) -> str:
        return f"{_escaped(job.kind)}\t{_escaped(job.queue)}\t"

    def _tail(self, job: CheckedJob) -> str:
        metadata = _escaped(metadata_of(job, self._cause))
        return f"\t{job.priority}\t{job.max_attempts}\t{metadata}"


def _copy(
    conn: psycopg.Connection[Any], more: str, lines: Iterator[str], ids: Iterator[int] | None
) -> None:
    """more: columns behind the usual. ids: of the lines; None = the server's."""
    first = next(lines, None)
    if first is None:
        return
    lines = chain([first], lines)
    sql = Template(SQL["copy"]).substitute(more=more + ("" if ids is None else ", id"))
    if ids is not None:
        lines = (f"{line}\t{id}" for line, id in zip(lines, ids))
    with conn.cursor() as cursor, cursor.copy(sql) as copy, _in_use(conn):
        while chunk := list(islice(lines, CHUNK)):
            copy.write("\n".join(chunk) + "\n")


@contextmanager
def _in_use(conn: psycopg.Connection[Any]) -> Iterator[None]:
    """Have this thread's statements on `conn` raise: they would wait for the COPY to end."""
    lock, me = conn.lock, threading.get_ident()

    class Taken:
        def __enter__(self) -> None:
            if threading.get_ident() == me:
                raise ForgeError(
                    "insert_many_tx is in the middle of its COPY on this connection",
                    code="F724",
                    hint="what makes the jobs needs another connection, or comes first: list(...)",
                )
            lock.acquire()

        def __exit__(self, *error: object) -> None:
            lock.release()

    conn.lock = Taken()  # type: ignore[assignment]
    try:
        yield
    finally:
        conn.lock = lock


def _escaped(text: str) -> str:
    return text.translate(_ESCAPED) if "\\" in text or not text.isprintable() else text
