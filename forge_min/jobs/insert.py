"""Inserting jobs: in the caller's transaction, one by one or in bulk. Nothing here commits."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import lru_cache, partial
from itertools import chain
from string import Template
from typing import Any, Literal, overload

import psycopg

from .. import db
from ..auth import current_identity, to_metadata
from ..db import Database
from ..errors import ForgeError
from ..observe.tracing import current_traceparent, recording, span
from .job import SQL
from .kinds import Catalogue
from .new import Checked, NewJob, array, checked, encode

_SYSTEM, _DESTINATION = {"messaging.system": "forge"}, "messaging.destination.name"
# Of a Checked, from delay on.
_PLAIN: tuple[Any, ...] = (0.0, None, [], None, None, None, None, None)  # fmt: skip
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
        metadata = _metadata(job, caused_by())
        rows: list[tuple[Any, ...]] = []
        while not rows:  # none: the job that was in the way ended while we looked
            rows = db.run(conn, *_statement(job, metadata, catalogue, rides))
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
            found.insert(place, insert_tx(conn, **job._asdict()))
        told(conn, due)
        told(conn, waiting, quiet=True)
    return found if ids else due.total() + waiting.total() + len(unique)


def _statement(
    job: Checked, metadata: str, catalogue: Catalogue | None, rides: bool
) -> tuple[str, Mapping[str, Any]]:
    """The one that inserts the job, and its values. rides: a NOTIFY with it."""
    kind = catalogue.kinds.get(job.kind) if catalogue else None
    if kind is not None and job[5:] == _PLAIN and job.queue == kind.queue:
        usual = _insert(
            "insert_usual", rides, kind.name, kind.queue, job.priority, job.max_attempts
        )
        return usual, {"args": job.args, "metadata": metadata}
    name = "insert" if job.unique_key is None else "insert_unique"
    return _insert(name, rides), job._asdict() | {"metadata": metadata}


@lru_cache(1000)
def _insert(
    name: str, rides: bool, kind: str = "", queue: str = "", priority: int = 0, attempts: int = 0
) -> str:
    return Template(SQL[name]).safe_substitute(
        is_new=SQL["riding"] if rides else "true",
        kind=db.literal(kind),
        queue=db.literal(queue),
        priority=priority,
        max_attempts=attempts,
    )


def caused_by() -> dict[str, str]:
    """What a job keeps of its cause: {"traceparent", "user", "tenant"} of this context, without
    what is unknown.
    """
    traceparent = current_traceparent()
    trace = {"traceparent": traceparent} if traceparent else {}
    return trace | to_metadata(current_identity())


def _metadata(job: Checked, cause: Mapping[str, str]) -> str:
    return encode(cause if job.metadata is None else {**cause, **json.loads(job.metadata)})


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
    db.after_commit(conn, lambda: _tell(conn, count, quiet))


def _tell(conn: psycopg.Connection[Any], count: Mapping[tuple[str, str], int], quiet: bool) -> None:
    nudger = conn.nudger if isinstance(conn, db.Connection) and not quiet else None
    inserted = catalogue.inserted if (catalogue := _catalogue(conn)) else None
    for (kind, queue), number in count.items():
        if nudger is not None:
            nudger.nudge("j:" + queue)  # twice the same one is one
        if inserted is not None:
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


def _copy(conn: psycopg.Connection[Any], jobs: Iterator[Checked], ids: Sequence[int]) -> None:
    """PERF: lines of COPY's text format, made by hand: psycopg's `write_row` takes twice as long as
    the server (benchmarks/jobs).
    """
    ((now,),) = db.run(conn, "select now()")
    cause, numbers = caused_by(), iter(ids)
    usual = _escaped(encode(cause))
    waiting = next(jobs, None)
    full = ", state, scheduled_at, tags, limit_key"
    for more, rest in (("", _nothing), (full, partial(_rest, now))):
        if waiting is None or rest(waiting) is None:
            continue
        sql = Template(SQL["copy"]).substitute(more=more + ", id" * bool(ids))
        lines: list[str] = []
        with conn.cursor() as cursor, cursor.copy(sql) as copy, _in_use(conn):
            for job in chain([waiting], jobs):
                said = rest(job)
                if said is None:
                    waiting = job
                    break
                metadata = usual if job.metadata is None else _escaped(_metadata(job, cause))
                line = (
                    f"{_word(job.kind)}\t{_word(job.queue)}\t{_escaped(job.args)}\t{job.priority}\t"
                    f"{job.max_attempts}\t{metadata}{said}"
                )
                lines.append(f"{line}\t{next(numbers)}\n" if ids else line + "\n")
                if len(lines) == CHUNK:
                    copy.write("".join(lines))
                    lines.clear()
            else:
                waiting = None
            copy.write("".join(lines))


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


def _nothing(job: Checked) -> str | None:
    """The end of the line of a job that says no more; None for another."""
    plain = job.scheduled_at is None and not job.delay and not job.tags and job.limit_key is None
    return "" if plain else None


def _rest(now: datetime, job: Checked) -> str:
    at = max(now, job.scheduled_at or now + timedelta(seconds=job.delay))
    state = "scheduled" if at > now else "available"
    tags = _escaped(array(job.tags)) if job.tags else "{}"
    key = r"\N" if job.limit_key is None else _escaped(job.limit_key)
    return f"\t{state}\t{at.isoformat()}\t{tags}\t{key}"


def _escaped(text: str) -> str:
    return text.translate(_ESCAPED) if "\\" in text or not text.isprintable() else text


@lru_cache(1000)
def _word(text: str) -> str:
    return _escaped(text)
