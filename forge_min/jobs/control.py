"""Operations on jobs and queues: list, retry, cancel and discard jobs, pause and limit queues.

Every function takes a connection and joins the caller's transaction, if one is open.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .. import db
from ..errors import Invalid, NotFound
from .job import LONGEST, Conn, with_notice
from .maintenance.loop import count_jobs, refresh_counts
from .new_job import ENDED, LIVE, is_valid_text

SQL = db.load_sql("forge_min.jobs", "control.sql")
SQL["discard"] = with_notice(SQL["discard"])
STATES = (*LIVE, *ENDED)
_MOST_ID = 2**63 - 1
_MOST_ROWS = 10_000
ACTIONS = ("retry", "cancel", "discard")
Row = dict[str, Any]
"""The JSON form of a row: its columns by name."""


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
    """Return jobs, the newest first, each with its last error instead of all errors.

    before: only ids below this one.
    limit: 1 to 10,000 jobs.

    Raises Invalid F010 for an unknown state, F711 for a text that no job can have.
    """
    _check(queue=queue, kind=kind, tags=tag)
    unknown = sorted(set(states or ()) - set(STATES))
    if unknown:
        message = f"{unknown[0]!r} is not a state of a job; states are {', '.join(STATES)}"
        raise Invalid([], message, code="F010")
    if ids is not None:
        ids = [id for id in ids if id <= _MOST_ID]
    if before is not None:
        before = min(before, _MOST_ID)
    params = {
        "ids": ids,
        "states": states and list(states),
        "queue": queue, "kind": kind, "tag": tag,
        "before": before,
        "limit": min(max(limit, 1), _MOST_ROWS),
    }  # fmt: skip
    return [row[0] for row in db.run(conn, SQL["list"], params)]


def show_job(conn: Conn, id: int) -> Row:
    """Return one job with all its columns and its worker. Raises NotFound F722."""
    rows = []
    if id <= _MOST_ID:
        rows = db.run(conn, SQL["show"], {"id": id})
    if not rows:
        raise NotFound(f"job {id} was not found", code="F722")
    row: Row = rows[0][0]
    return row


def change_jobs(
    conn: Conn, action: str, ids: Sequence[int], discarded_kinds: Sequence[str] = ()
) -> dict[int, str]:
    """Retry, cancel or discard jobs.

    A running job is asked to end by cancel, and not changed by the other actions: its state stays
    running. A unique job is not retried if another job with its key waits or runs.

    action: one of ACTIONS.
    discarded_kinds: kinds of jobs that are reported to `discarded(job)` when they are discarded.

    Returns id → state after the change, without ids that were not found.
    """
    assert action in ACTIONS
    ids = [id for id in dict.fromkeys(ids) if id <= _MOST_ID]
    params = {"ids": ids, "discarded_kinds": list(discarded_kinds)}
    rows = db.run(conn, SQL[action], params)
    if action != "cancel":
        for queue in {queue for _, queue, _ in rows}:
            db.nudge(conn, "j:" + queue)
    elif any(state == "running" for _, _, state in rows):
        db.nudge(conn, "c")
    return dict(db.run(conn, SQL["states"], {"ids": ids}))


def pause(conn: Conn, queue: str) -> None:
    """Pause a queue until `resume`. Its running jobs continue."""
    _check(queue=queue)
    db.run(conn, SQL["pause"], {"queue": queue})


def resume(conn: Conn, queue: str) -> None:
    """Let workers fetch jobs of a paused queue again."""
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
    """Set the limits of a queue over all workers; None = no such limit.

    running: jobs at once.
    per_key: jobs with the same `limit_key` at once.
    rate: (jobs, seconds): so many jobs may start at once, and as many again during the seconds.

    Raises Invalid F711.
    """
    number, seconds = rate or (None, None)
    _check(queue=queue)
    for value, lowest in ((running, 0), (per_key, 1), (number, 1)):
        if value is not None and not lowest <= value < 2**31:
            raise _invalid_limit(value)
    if seconds is not None and not 0 < seconds <= LONGEST:
        raise _invalid_limit(seconds)
    params = {
        "queue": queue, "max_running": running, "max_per_key": per_key,
        "rate_count": number, "rate_seconds": seconds,
    }  # fmt: skip
    db.run(conn, SQL["limit"], params)
    db.nudge(conn, "j:" + queue)


def stats(conn: Conn) -> Row:
    """Return the figures of the jobs page and of `jobs stats`.

    queues: with their depth and last hour. workers: with their running jobs. unknown, unworked:
    kinds and queues that wait without a worker. periodic: schedules. storage: size of the table.
    """
    refresh_counts(conn)
    names = ("queues", "workers", "unknown", "unworked", "periodic")
    ((storage,),) = db.run(conn, SQL["storage"])
    return _first_columns(conn, names) | {"storage": storage}


def health(conn: Conn, timeouts: Mapping[str, float], timeout: float, grace: float) -> Row:
    """Return the present state of all queues. Only reads.

    timeouts: kind → seconds, for kinds with a limit of their own.
    timeout: seconds, for all other kinds.
    grace: seconds that a run may exceed its limit.

    Returns queues, unknown, unworked (as `stats`), discarded (within a day, by kind), stuck (runs
    of dead workers and runs beyond their limit), counts and oldest (as `count_jobs`), and alive
    (number of living workers).
    """
    counts, oldest = count_jobs(conn)
    state = _first_columns(conn, ("queues", "unknown", "unworked", "discarded"))
    params = {"timeouts": json.dumps(dict(timeouts)), "timeout": timeout, "grace": grace}
    stuck = [row[0] for row in db.run(conn, SQL["stuck"], params)]
    ((alive,),) = db.run(conn, SQL["alive"])
    return state | {"stuck": stuck, "counts": counts, "oldest": oldest, "alive": alive}


def _first_columns(conn: Conn, names: Sequence[str]) -> Row:
    return {name: [row[0] for row in db.run(conn, SQL[name])] for name in names}


def served_queues(conn: Conn) -> set[str]:
    """Return the queues of living workers."""
    return {name for (name,) in db.run(conn, SQL["served"])}


def minutes(conn: Conn) -> Mapping[str, list[tuple[int, int, int, float]]]:
    """Return the minutes of the last hour in which jobs ended, by queue.

    Each is (seconds since 1970, completed jobs, failed jobs, seconds that they ran).
    """
    result: dict[str, list[tuple[int, int, int, float]]] = {}
    for queue, *row in db.run(conn, SQL["minutes"]):
        result.setdefault(queue, []).append(tuple(row))
    return result


def job_counts(conn: Conn) -> dict[tuple[str, str], float]:
    """Return (queue, state) → number of jobs, from the last count of the leader.

    Counts now if no worker leads.
    """
    refresh_counts(conn)
    return {(queue, state): number for queue, state, number in db.run(conn, SQL["counted"])}


def _check(**texts: str | None) -> None:
    for name, text in texts.items():
        if text is not None and not is_valid_text(name, text):
            message = f"{text[:40]!a} is not a valid {name.removesuffix('s')} of a job"
            raise Invalid([], message, code="F711")


def _invalid_limit(value: float) -> Invalid:
    return Invalid([], f"{str(value)[:40]} is not a valid limit of a queue", code="F711")


def moment(text: str | None) -> str:
    """Return a time of the database for display: in UTC, to the second."""
    if not text:
        return ""
    try:
        time = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # outside the range of Python
        return text
    return f"{time:%Y-%m-%d %H:%M:%S}"


def describe_attempt(error: Mapping[str, Any]) -> str:
    """Return an entry of a job's `errors` for display.

    Its time is that of the entry: the end of the run, or the rescue.
    """
    title = f"Attempt {error.get('attempt')}"
    if error.get("refunded"):
        title += " (its connection was lost; not counted)"
    return f"{title}, recorded at {error.get('at')}: {error.get('error')}"


def limits(queue: Mapping[str, Any]) -> str:
    """Return the limits of a queue of `stats` for display."""
    parts = []
    if queue["max_running"] is not None:
        parts.append(f"{queue['max_running']} at once")
    if queue["max_per_key"]:
        parts.append(f"{queue['max_per_key']} a key")
    if queue["rate_count"]:
        parts.append(f"{queue['rate_count']} in {duration(queue['rate_seconds'])}")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a rounded duration for display."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
