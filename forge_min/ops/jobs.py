"""jobs: inspect and change the queue from a terminal."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .. import db
from ..config import parse_rate
from ..errors import UsageError
from ..jobs import Catalogue, control, insert_tx, kinds_with_discarded
from .console import FAILED, print_result
from .project import Project

_INTERVAL = 2.0  # seconds between two outputs of --watch
_BATCH = 1_000  # jobs that one statement changes


def manage_jobs(project: Project, args: Namespace) -> int:
    """Run the subcommand `args.does` on `args.of`: job ids or queues. Raises UsageError."""
    with db.connect(project.config.database.url, application_name="forge_min jobs") as conn:
        conn.nudger = _DirectNudger(conn)
        return _COMMANDS[args.does](conn, args, project)


def _list(conn: db.Connection, args: Namespace, project: Project) -> int:
    jobs = control.list_jobs(conn, limit=args.limit, before=args.before, **_filters(args))
    lines = _table(_JOB_COLUMNS, [_job_row(job) for job in jobs])
    print_result(jobs, lines, as_json=args.json)
    return 0


def _show(conn: db.Connection, args: Namespace, project: Project) -> int:
    jobs = [control.show_job(conn, id) for id in _ids(args)]
    lines = (line for job in jobs for line in _details(job))
    print_result(jobs[0] if len(jobs) == 1 else jobs, lines, as_json=args.json)
    return 0


def _run(conn: db.Connection, args: Namespace, project: Project) -> int:
    """Insert one job, to run now. Its worker class determines queue and options."""
    if len(args.of) != 1:
        raise UsageError("jobs run needs one kind", hint="jobs run SendReport")
    arguments = None
    if args.args:
        try:
            arguments = json.loads(args.args)
        except ValueError:
            hint = """for example --args '{"month": 3}'"""
            raise UsageError(f"--args {args.args} is not JSON", hint=hint) from None
    kinds = project.code().kinds()
    max_attempts = project.config.jobs.max_attempts
    conn.jobs = Catalogue(kinds, max_attempts=max_attempts, strict=True)
    kind = args.of[0]
    id = insert_tx(conn, kind, arguments)
    print_result({"id": id}, [f"{id}  {kind}"], as_json=args.json)
    return 0


def _change(conn: db.Connection, args: Namespace, project: Project) -> int:
    """Change jobs by id, or all that match the filters; fail if any could not be changed."""
    kinds: Sequence[str] = ()
    if args.does == "discard":
        kinds = kinds_with_discarded(project.code().kinds())
    batches = [_ids(args)] if args.of else _matching_ids(conn, args)
    rows: list[dict[str, Any]] = []
    for ids in batches:
        states = control.change_jobs(conn, args.does, ids, kinds)
        rows += ({"id": id, "state": states.get(id, "missing")} for id in ids)
    lines = (f"{row['id']}  {row['state']}" for row in rows)
    print_result(rows, lines, as_json=args.json)
    if all(row["state"] in _AFTER[args.does] for row in rows):
        return 0
    return FAILED


def _matching_ids(conn: db.Connection, args: Namespace) -> Iterator[list[int]]:
    """Yield the jobs that match the filters in batches, each of which the caller changes first."""
    filters = _filters(args)
    if not any(filters.values()):
        message = f"jobs {args.does} needs ids, or --state, --queue, --kind or --tag"
        raise UsageError(message, hint=f"for example: jobs {args.does} --state discarded")
    count = 0
    jobs = control.list_jobs(conn, limit=_BATCH, **filters)
    while jobs:
        yield [job["id"] for job in jobs]
        count += len(jobs)
        if sys.stderr.isatty():
            print(f"\r{count} jobs", end="", file=sys.stderr, flush=True)
        jobs = control.list_jobs(conn, limit=_BATCH, before=jobs[-1]["id"], **filters)


def _queue(conn: db.Connection, args: Namespace, project: Project) -> int:
    if not args.of:
        raise UsageError(f"jobs {args.does} needs a queue", hint=f"jobs {args.does} default")
    for name in args.of:
        if args.does == "pause":
            control.pause(conn, name)
        elif args.does == "resume":
            control.resume(conn, name)
        else:
            _limit(conn, name, args)
    queues = [queue for queue in control.stats(conn)["queues"] if queue["name"] in args.of]
    print_result(queues, _queue_table(queues), as_json=args.json)
    return 0


def _limit(conn: db.Connection, name: str, args: Namespace) -> None:
    rate = None
    if args.rate is not None:
        rate = parse_rate(args.rate)
        if rate is None:
            message = f"--rate {args.rate} is not jobs/time"
            raise UsageError(message, hint="for example 100/1m")
    control.limit(conn, name, running=args.running, per_key=args.per_key, rate=rate)


def _stats(conn: db.Connection, args: Namespace, project: Project) -> int:
    while True:
        stats = control.stats(conn)
        if args.watch and sys.stdout.isatty():
            print("\033[H\033[J", end="")
        print_result(stats, _overview(stats), as_json=args.json)
        if not args.watch:
            return 0
        sys.stdout.flush()
        time.sleep(_INTERVAL)


_COMMANDS: Mapping[str, Callable[[db.Connection, Namespace, Project], int]] = {
    "list": _list,
    "show": _show,
    "run": _run,
    **dict.fromkeys(control.ACTIONS, _change),
    **dict.fromkeys(("pause", "resume", "limit"), _queue),
    "stats": _stats,
}
_AFTER = {"retry": ("available",), "cancel": ("cancelled", "running"), "discard": ("discarded",)}


class _DirectNudger:
    """Sends each notification at once: the process may end before a nudger thread would run."""

    def __init__(self, conn: db.Connection) -> None:
        self._conn = conn

    def nudge(self, payload: str) -> None:
        self._conn.execute("select pg_notify('forge', %s)", [payload])

    def notifies_in_transaction(self, payload: str) -> bool:
        return False


def _filters(args: Namespace) -> dict[str, Any]:
    return {
        "queue": args.queue,
        "kind": args.kind,
        "tag": args.tag,
        "ids": _ids(args) if args.of else None,
        "states": args.state or None,
    }


def _ids(args: Namespace) -> list[int]:
    hint = f"jobs {args.does} 17; `jobs list` shows the ids"
    if not args.of:
        raise UsageError(f"jobs {args.does} needs a job id", hint=hint)
    for text in args.of:
        if not (text.isascii() and text.isdigit()):
            raise UsageError(f"{text!r} is not a job id", hint=hint)
    # A job id has fewer than twenty digits; Python refuses to parse 5,000.
    return [int(text.lstrip("0")[:20] or "0") for text in args.of]


# -- text output -----------------------------------------------------------------------------------

_JOB_COLUMNS = ("id", "state", "kind", "queue", "priority", "attempt", "scheduled_at", "error")
_QUEUE_COLUMNS = ("name", "available", "running", "scheduled", "retryable", "discarded", "oldest",
                  "completed/h", "failed/h", "limits")  # fmt: skip


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    table = [columns]
    for row in rows:
        table.append([_first_line(row[column]) for column in columns])
    widths = [max(map(len, column)) for column in zip(*table)]
    for line in table:
        cells = [cell.ljust(width) for cell, width in zip(line, widths)]
        yield "  ".join(cells).rstrip()


def _job_row(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        **job,
        "attempt": f"{job['attempt']}/{job['max_attempts']}",
        "scheduled_at": control.moment(job["scheduled_at"]),
        "error": job["error"] or "",
    }


def _queue_table(queues: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    return _table(_QUEUE_COLUMNS, [_queue_row(queue) for queue in queues])


def _queue_row(queue: Mapping[str, Any]) -> Mapping[str, Any]:
    limits = [control.limits(queue)]
    if queue["paused_at"]:
        limits.insert(0, "paused")
    return {
        **dict.fromkeys(control.STATES, 0),
        **queue["counts"],
        "name": queue["name"],
        "oldest": control.duration(queue["oldest_seconds"]),
        "completed/h": queue["completed_per_hour"],
        "failed/h": queue["failed_per_hour"],
        "limits": ", ".join(filter(None, limits)),
    }


def _first_line(value: object) -> str:
    """Return the first line of a cell, at most 80 characters."""
    lines = str(value).splitlines()
    return lines[0][:80] if lines else ""


def _details(job: Mapping[str, Any]) -> Iterator[str]:
    for name, value in job.items():
        if name != "errors" and value not in (None, [], {}):
            yield f"{name:14}{value}"
    for error in job["errors"]:
        yield control.describe_attempt(error)
        for line in str(error.get("trace", "")).splitlines():
            yield f"    {line}"


def _overview(stats: Mapping[str, Any]) -> Iterator[str]:
    yield from _queue_table(stats["queues"])
    yield ""
    for worker in stats["workers"]:
        if worker["leader"]:
            state = "leader"
        else:
            state = "" if worker["alive"] else "silent"
        yield f"worker {worker['host']} {worker['pid']}  {worker['queues']}  {state}".rstrip()
        for run in worker["running"]:
            yield f"    {run['id']}  {run['kind']}  {control.duration(run['seconds'])}"
    if stats["unknown"]:
        yield f"kinds without a living worker: {', '.join(stats['unknown'])}"
    if stats["unworked"]:
        yield f"queues without a living worker: {', '.join(stats['unworked'])}"
    for schedule in stats["periodic"]:
        yield f"periodic {schedule['name']}: {schedule['schedule']}, next {schedule['due_at']}"
    storage = stats["storage"]
    indexes = [f"{name} {i['bytes'] // 1024} KiB" for name, i in storage["indexes"].items()]
    table = f"table {storage['table_bytes'] // 1024} KiB, {storage['dead_rows']} dead rows"
    yield f"{table}; {', '.join(indexes)}"
