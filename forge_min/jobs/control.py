"""The queue in a person's hands: looking at jobs, and retrying, cancelling, pausing, limiting.

Every function takes a connection and works in the caller's transaction, if there is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg

from .. import db
from ..errors import Invalid, NotFound
from .job import LONGEST, with_notice
from .maintenance.loop import count_jobs, refresh_counts
from .new_job import ENDED, LIVE, is_valid_text

SQL = db.load_sql("forge_min.jobs", "control.sql")
SQL["discard"] = with_notice(SQL["discard"])
STATES = (*LIVE, *ENDED)
_MOST, _MANY = 2**63 - 1, 10_000  # a job's number; rows of a list
ACTIONS = ("retry", "cancel", "discard")
Conn = psycopg.Connection[Any]
Row = dict[str, Any]
"""A row as JSON says it, its columns by name."""


def list_jobs(
    conn: Conn,
    *,
    ids: Sequence[int] | None = None,
    states: Sequence[str] | None = None,
    queue: str | None = None,
    kind: str | None = None,
    tag: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Row]:
    """Jobs, the newest first, each with its last error instead of all. before: ids below it.

    Raises Invalid F721 for a state that is none, F725 for what no job can have.
    """
    _check(queue=queue, kind=kind, tags=tag)
    wrong = sorted(set(states or ()) - set(STATES))
    if wrong:
        told = f"{wrong[0]!r} is no state of a job; these are: {', '.join(STATES)}"
        raise Invalid([], told, code="F721")
    params = {
        "ids": None if ids is None else [id for id in ids if id <= _MOST],
        "states": states and list(states),
        "queue": queue, "kind": kind, "tag": tag,
        "before": None if before is None else min(before, _MOST),
        "limit": min(max(limit, 1), _MANY),
    }  # fmt: skip
    return [row[0] for row in db.run(conn, SQL["list"], params)]


def show_job(conn: Conn, id: int) -> Row:
    """One job with everything that is known of it. Raises NotFound F722."""
    rows = db.run(conn, SQL["show"], {"id": id}) if id <= _MOST else []
    if not rows:
        raise NotFound(f"there is no job {id}", code="F722")
    shown: Row = rows[0][0]
    return shown


def change_jobs(
    conn: Conn, does: str, ids: Sequence[int], told: Sequence[str] = ()
) -> dict[int, str]:
    """Retry, cancel or discard these jobs; id → the state each has now.

    One that runs is asked to end by cancel, and left alone by the others: its state stays running;
    as does one that is unique, and retried when another has taken its place. told: kinds whose
    worker is told of a discarded job. A job that is not there is left out.
    """
    assert does in ACTIONS
    given = [id for id in dict.fromkeys(ids) if id <= _MOST]
    rows = db.run(conn, SQL[does], {"ids": given, "told": list(told)})
    if does == "cancel" and any(state == "running" for _, _, state in rows):
        db.nudge(conn, "c")
    for queue in {queue for _, queue, _ in rows} if does != "cancel" else ():
        db.nudge(conn, "j:" + queue)
    return dict(db.run(conn, SQL["states"], {"ids": given}))


def pause(conn: Conn, queue: str) -> None:
    """Let no worker take jobs of the queue until `resume`. What runs, runs on."""
    _check(queue=queue)
    db.run(conn, SQL["pause"], {"queue": queue})


def resume(conn: Conn, queue: str) -> None:
    """Undo `pause`."""
    _check(queue=queue)
    db.run(conn, SQL["resume"], {"queue": queue})
    db.nudge(conn, "j:" + queue)


def limit(
    conn: Conn,
    queue: str,
    *,
    running: int | None = None,
    per_key: int | None = None,
    rate: tuple[int, float] | None = None,
) -> None:
    """Limit a queue over all workers; None = no such limit.

    running: jobs at once. per_key: jobs of the same `limit_key` at once. rate: (jobs, seconds):
    that many may start at once, and as many again in the course of the seconds. Raises Invalid
    F725.
    """
    number, seconds = rate or (None, None)
    _check(queue=queue)
    for value, least in ((running, 0), (per_key, 1), (number, 1)):
        if value is not None and not least <= value < 2**31:
            raise _no_limit(value)
    if seconds is not None and not 0 < seconds <= LONGEST:
        raise _no_limit(seconds)
    params = {
        "queue": queue, "max_running": running, "max_per_key": per_key,
        "rate_count": number, "rate_seconds": seconds,
    }  # fmt: skip
    db.run(conn, SQL["limit"], params)
    db.nudge(conn, "j:" + queue)


def stats(conn: Conn) -> Row:
    """Queues with their depth and last hour, workers and what each runs, kinds and queues that
    nobody works, schedules, and the table's size.
    """
    refresh_counts(conn)
    shown: Row = {
        name: [row[0] for row in db.run(conn, SQL[name])]
        for name in ("queues", "workers", "unknown", "unworked", "periodic")
    }
    return shown | {"storage": db.run(conn, SQL["storage"])[0][0]}


def health(conn: Conn, timeouts: Mapping[str, float], timeout: float, grace: float) -> Row:
    """The queue as it is now: counts and the oldest of each queue, kinds and queues that nobody
    works, what was discarded within a day, runs of dead workers and runs beyond their time, how
    many workers live. Only reads.

    timeouts: seconds of a kind that has its own; timeout: of all others; grace: seconds beyond it.
    """
    counts, oldest = count_jobs(conn)
    params = {"timeouts": json.dumps(dict(timeouts)), "timeout": timeout, "grace": grace}
    shown: Row = {
        name: [row[0] for row in db.run(conn, SQL[name], params if name == "stuck" else None)]
        for name in ("queues", "unknown", "unworked", "discarded", "stuck")
    }
    ((alive,),) = db.run(conn, SQL["alive"])
    return shown | {"counts": counts, "oldest": oldest, "alive": alive}


def served_queues(conn: Conn) -> set[str]:
    """The queues that living workers work."""
    return {name for (name,) in db.run(conn, SQL["served"])}


def minutes(conn: Conn) -> Mapping[str, list[tuple[int, int, int, float]]]:
    """queue → (seconds since 1970, completed, failed, seconds they took) of each minute of the last
    hour in which something ended.
    """
    found: dict[str, list[tuple[int, int, int, float]]] = {}
    for queue, *row in db.run(conn, SQL["minutes"]):
        found.setdefault(queue, []).append(tuple(row))
    return found


def job_counts(conn: Conn) -> dict[tuple[str, str], float]:
    """(queue, state) → how many, as the leader counted last; where none does, as it is now."""
    refresh_counts(conn)
    return {(queue, state): number for queue, state, number in db.run(conn, SQL["counted"])}


def _check(**texts: str | None) -> None:
    for name, text in texts.items():
        if text is not None and not is_valid_text(name, text):
            said = f"{text[:40]!a} is no {name.removesuffix('s')} that a job can have"
            raise Invalid([], said, code="F725")


def _no_limit(value: float) -> Invalid:
    return Invalid([], f"{str(value)[:40]} is no limit that a queue can have", code="F725")


def format_time(text: str | None) -> str:
    """For a person: a time of the database, to the second, in UTC."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}" if text else ""
    except (ValueError, OverflowError):  # beyond what Python has
        return text or ""


def format_limits(queue: Mapping[str, Any]) -> str:
    """For a person, of a queue as `stats` has it."""
    parts = [f"{queue['max_running']} at once"] if queue["max_running"] is not None else []
    parts += [f"{queue['max_per_key']} a key"] if queue["max_per_key"] else []
    if queue["rate_count"]:
        parts.append(f"{queue['rate_count']} in {format_duration(queue['rate_seconds'])}")
    return ", ".join(parts)


def format_duration(seconds: float) -> str:
    """For a person, roughly."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
