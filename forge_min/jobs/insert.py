"""Inserting jobs: in the caller's transaction, one by one or in bulk. Nothing here commits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import lru_cache
from string import Template
from typing import Any, Literal, overload

import psycopg

from .. import db
from ..auth import current_identity, to_metadata
from ..db import Database
from ..observe.tracing import current_traceparent, recording, span
from .job import SQL
from .kinds import Catalogue, Inserted
from .new import Checked, NewJob, array, checked

_SYSTEM, _DESTINATION = {"messaging.system": "forge"}, "messaging.destination.name"
_NULL = r"\N"
_PLAIN: list[Any] = [0.0, None, [], None, None, None, None, None]  # of a Checked, from delay on
_INSERT = {
    (name, rides): Template(SQL[name]).safe_substitute(is_new=SQL["riding"] if rides else "true")
    for name in ("insert_plain", "insert", "insert_unique")
    for rides in (False, True)
}
CHUNK = 200  # jobs that a COPY sends at once: the server works while the next are made
# What COPY's text format gives another meaning (PostgreSQL manual, COPY).
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def insert_tx(
    conn: psycopg.Connection[Any], kind: str | type[Any], args: Any = None, **options: Any
) -> int:
    """Insert a job that exists if and when the caller's transaction commits; its id.

    kind, args, options: as of `NewJob`. Where it is `unique` and such a job is there already, none
    is inserted, and the id is that job's. Raises as `new.checked`, else the errors of
    `db.translate`.
    """
    catalogue = _catalogue(conn)
    job = checked(NewJob(kind, args, **options), catalogue)
    quiet = job.delay > 0 or job.scheduled_at is not None
    rides = not quiet and job.unique_key is None and db.rides(conn, "j:" + job.queue)
    with produced(job.kind, job.queue):
        metadata = job.metadata or json.dumps(caused_by())
        rows: list[tuple[Any, ...]] = []
        while not rows:  # none: the job that was in the way ended while we looked
            rows = db.run(conn, *_statement(job, metadata, rides))
    ((id, new),) = rows
    if new:
        told(conn, {(job.kind, job.queue): 1}, quiet=quiet or rides)
    return int(id)


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
    were there already. Raises as `insert_tx`.
    """
    catalogue = _catalogue(conn)
    due: Counter[tuple[str, str]] = Counter()
    waiting: Counter[tuple[str, str]] = Counter()
    unique: list[tuple[int, NewJob]] = []

    def plain() -> Iterator[Checked]:
        for place, job in enumerate(jobs):
            if job.unique is not None:
                unique.append((place, job))
                continue
            good = checked(job, catalogue)
            of = waiting if good.delay > 0 or good.scheduled_at is not None else due
            of[good.kind, good.queue] += 1
            yield good

    alone = db.transaction(conn) if db.is_idle(conn) else nullcontext()
    with db.errors_translated(), alone, produced("jobs", "many"):
        found: list[int] = []
        if ids:
            jobs = list(jobs)
            wanted = sum(job.unique is None for job in jobs)
            found = [row[0] for row in db.run(conn, SQL["ids"], {"count": wanted})]
        _copy(conn, plain(), found)
        for place, job in unique:
            found.insert(place, insert_tx(conn, **{n: getattr(job, n) for n in NewJob.__slots__}))
        told(conn, due)
        told(conn, waiting, quiet=True)
    return found if ids else due.total() + waiting.total() + len(unique)


def _statement(job: Checked, metadata: str, rides: bool) -> tuple[str, Mapping[str, Any]]:
    """The one that inserts the job, and its values. rides: a NOTIFY with it."""
    kind, queue, args, priority, attempts, *rest = job
    rest[3] = None  # the metadata
    if rest == _PLAIN:
        return _INSERT["insert_plain", rides], {
            "kind": kind, "queue": queue, "args": args, "priority": priority,
            "max_attempts": attempts, "metadata": metadata,
        }  # fmt: skip
    name = "insert" if job.unique_key is None else "insert_unique"
    return _INSERT[name, rides], job._asdict() | {"metadata": metadata}


def caused_by() -> dict[str, str]:
    """What a job keeps of its cause: {"traceparent", "user", "tenant"} of this context, without
    what is unknown.
    """
    traceparent = current_traceparent()
    trace = {"traceparent": traceparent} if traceparent else {}
    return trace | to_metadata(current_identity())


def produced(kind: str, queue: str) -> AbstractContextManager[object]:
    """The producer span around an insert, which `caused_by` names as the job's cause
    (OpenTelemetry's conventions for messaging).
    """
    if not recording():  # then the trace that the job belongs to goes on through it
        return nullcontext()
    return span(f"insert {kind}", kind="producer", attributes=_SYSTEM | {_DESTINATION: queue})


def told(
    conn: psycopg.Connection[Any], count: Mapping[tuple[str, str], int], *, quiet: bool = False
) -> None:
    """After the commit, wake the workers of these jobs, (kind, queue) → how many, and count them.

    quiet: wake nobody, as for those that are not due yet. Of use to whoever inserts jobs by a
    statement of its own (`job_fragment`).
    """
    for queue in () if quiet else {queue for _, queue in count}:
        db.nudge(conn, "j:" + queue)
    catalogue = _catalogue(conn)
    inserted = catalogue.inserted if catalogue else None
    if inserted is not None:
        db.after_commit(conn, lambda: _count(inserted, count))


def _count(inserted: Inserted, count: Mapping[tuple[str, str], int]) -> None:
    for (kind, queue), number in count.items():
        inserted(kind, queue, number)


class Client:
    """Inserts jobs outside any transaction of the caller's, on the thread's own connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, kind: str | type[Any], args: Any = None, **options: Any) -> int:
        """As `insert_tx`, committed at once unless the thread's connection is in a transaction."""
        return insert_tx(self._database.connection(), kind, args, **options)


def _catalogue(conn: psycopg.Connection[Any]) -> Catalogue | None:
    return conn.jobs if isinstance(conn, db.Connection) else None


def _copy(conn: psycopg.Connection[Any], jobs: Iterable[Checked], ids: Sequence[int]) -> None:
    """PERF: lines of COPY's text format, made by hand: psycopg's `write_row` takes twice as long as
    the server (benchmarks/jobs).
    """
    ((now,),) = db.run(conn, "select now()")
    cause, at = _escaped(json.dumps(caused_by())), now.isoformat()
    numbers = iter(ids)
    lines: list[str] = []
    sql = SQL["copy_with_ids"] if ids else SQL["copy"]
    with conn.cursor() as cursor, cursor.copy(sql) as copy:
        for job in jobs:
            state, due = "available", at
            if job.delay or job.scheduled_at is not None:
                time = job.scheduled_at or now + timedelta(seconds=job.delay)
                state, due = ("scheduled", time.isoformat()) if time > now else (state, due)
            metadata = cause if job.metadata is None else _escaped(job.metadata)
            tags = _escaped(array(job.tags)) if job.tags else "{}"
            key = _NULL if job.limit_key is None else _escaped(job.limit_key)
            line = (
                f"{_word(job.kind)}\t{_word(job.queue)}\t{_escaped(job.args)}\t{job.priority}\t"
                f"{job.max_attempts}\t{metadata}\t{state}\t{due}\t{tags}\t{key}"
            )
            lines.append(f"{line}\t{next(numbers)}\n" if ids else line + "\n")
            if len(lines) == CHUNK:
                copy.write("".join(lines))
                lines.clear()
        copy.write("".join(lines))


def _escaped(text: str) -> str:
    return text.translate(_ESCAPED) if "\\" in text or not text.isprintable() else text


@lru_cache(1000)
def _word(text: str) -> str:
    return _escaped(text)
