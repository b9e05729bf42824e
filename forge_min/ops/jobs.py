"""jobs: inspect and change the queue from a terminal."""

from __future__ import annotations

import argparse
import json
import sys
import time
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


def manage_jobs(project: Project, args: argparse.Namespace) -> int:
    """Run the subcommand `args.does` on `args.of`: job ids or queues. Raises UsageError."""
    with db.connect(project.config.database.url, application_name="forge_min jobs") as conn:
        conn.nudger = _DirectNudger(conn)
        return _COMMANDS[args.does](conn, args, project)


def _list(conn: db.Connection, args: argparse.Namespace, project: Project) -> int:
    rows = control.list_jobs(conn, limit=args.limit, before=args.before, **_filters(args))
    print_result(rows, _table(_ROW, rows), as_json=args.json)
    return 0


def _show(conn: db.Connection, args: argparse.Namespace, project: Project) -> int:
    shown = [control.show_job(conn, id) for id in _ids(args)]
    lines = (line for job in shown for line in _details(job))
    print_result(shown[0] if len(shown) == 1 else shown, lines, as_json=args.json)
    return 0


def _run(conn: db.Connection, args: argparse.Namespace, project: Project) -> int:
    """Insert one job, to run now. Its worker class determines queue and options."""
    if len(args.of) != 1:
        raise UsageError("jobs run needs one kind", hint="jobs run SendReport")
    try:
        arguments = json.loads(args.args) if args.args else None
    except ValueError:
        hint = """for example --args '{"month": 3}'"""
        raise UsageError(f"--args {args.args} is not JSON", hint=hint) from None
    conn.jobs = Catalogue(
        kinds=project.code().kinds(), max_attempts=project.config.jobs.max_attempts, strict=True
    )
    id = insert_tx(conn, args.of[0], arguments)
    print_result({"id": id}, [f"{id}  {args.of[0]}"], as_json=args.json)
    return 0


def _change(conn: db.Connection, args: argparse.Namespace, project: Project) -> int:
    """Change jobs by id, or all that match the filters; fail if any could not be changed."""
    notified = [] if args.does != "discard" else kinds_with_discarded(project.code().kinds())
    states: dict[int, str] = {}
    if args.of:
        ids = _ids(args)
        states = control.change_jobs(conn, args.does, ids, notified)
    else:
        filters = _filters(args)
        if not any(filters.values()):
            message = f"jobs {args.does} needs ids, or --state, --queue, --kind or --tag"
            raise UsageError(message, hint=f"for example: jobs {args.does} --state discarded")
        ids, before = [], None
        while jobs := control.list_jobs(conn, limit=_BATCH, before=before, **filters):
            before = jobs[-1]["id"]
            batch = [job["id"] for job in jobs]
            states |= control.change_jobs(conn, args.does, batch, notified)
            ids += batch
            if sys.stderr.isatty():
                print(f"\r{len(ids)} jobs", end="", file=sys.stderr, flush=True)
    wanted = _AFTER[args.does]
    rows = [{"id": id, "state": states.get(id, "missing")} for id in ids]
    lines = (f"{row['id']}  {row['state']}" for row in rows)
    print_result(rows, lines, as_json=args.json)
    return 0 if all(row["state"] in wanted for row in rows) else FAILED


def _queue(conn: db.Connection, args: argparse.Namespace, project: Project) -> int:
    if not args.of:
        raise UsageError(f"jobs {args.does} needs a queue", hint=f"jobs {args.does} default")
    for name in args.of:
        if args.does == "limit":
            rate = None if args.rate is None else parse_rate(args.rate)
            if args.rate is not None and rate is None:
                message = f"--rate {args.rate} is not jobs/time"
                raise UsageError(message, hint="for example 100/1m")
            control.limit(conn, name, running=args.running, per_key=args.per_key, rate=rate)
        else:
            {"pause": control.pause, "resume": control.resume}[args.does](conn, name)
    queues = [queue for queue in control.stats(conn)["queues"] if queue["name"] in args.of]
    print_result(queues, _table(_QUEUE, queues), as_json=args.json)
    return 0


def _stats(conn: db.Connection, args: argparse.Namespace, project: Project) -> int:
    while True:
        stats = control.stats(conn)
        if args.watch and sys.stdout.isatty():
            print("\033[H\033[J", end="")
        print_result(stats, _overview(stats), as_json=args.json)
        if not args.watch:
            return 0
        sys.stdout.flush()
        time.sleep(_INTERVAL)


_COMMANDS: Mapping[str, Callable[[db.Connection, argparse.Namespace, Project], int]] = {
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


def _filters(args: argparse.Namespace) -> dict[str, Any]:
    filters = {name: getattr(args, name) for name in ("queue", "kind", "tag")}
    return {**filters, "ids": _ids(args) if args.of else None, "states": args.state or None}


def _ids(args: argparse.Namespace) -> list[int]:
    wrong = [text for text in args.of if not (text.isascii() and text.isdigit())]
    if wrong or not args.of:
        message = f"{wrong[0]!r} is not a job id" if wrong else f"jobs {args.does} needs a job id"
        raise UsageError(message, hint=f"jobs {args.does} 17; `jobs list` shows the ids")
    # A job id has fewer than twenty digits; Python refuses to parse 5,000.
    return [int(text.lstrip("0")[:20] or "0") for text in args.of]


# -- text output -----------------------------------------------------------------------------------

_ROW = ("id", "state", "kind", "queue", "priority", "attempt", "scheduled_at", "error")
_QUEUE = ("name", "available", "running", "scheduled", "retryable", "discarded", "oldest",
          "completed/h", "failed/h", "limits")  # fmt: skip


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    shown = [[_cell(row, name) for name in columns] for row in rows]
    widths = [max(map(len, each)) for each in zip(columns, *shown)]
    for row in [list(columns), *shown] if shown else ():
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()


def _cell(row: Mapping[str, Any], name: str) -> str:
    if name == "attempt":
        return f"{row['attempt']}/{row['max_attempts']}"
    if name == "oldest":
        return control.duration(row["oldest_seconds"])
    if name == "limits":
        return ", ".join(filter(None, ["paused" * bool(row["paused_at"]), control.limits(row)]))
    if name.endswith("/h"):
        return str(row[name.removesuffix("/h") + "_per_hour"])
    value = row["counts"].get(name, 0) if "counts" in row and name != "name" else row[name]
    text = "" if value is None else str(value)
    if name.endswith("_at") and text:
        text = control.moment(text)
    return text.splitlines()[0][:80] if text else ""


def _details(job: Mapping[str, Any]) -> Iterator[str]:
    errors = job["errors"]
    for name, value in job.items():
        if name != "errors" and value not in (None, [], {}):
            yield f"{name:14}{value}"
    for error in errors:
        yield control.describe_attempt(error)
        yield from (f"    {line}" for line in str(error.get("trace", "")).splitlines())


def _overview(stats: Mapping[str, Any]) -> Iterator[str]:
    yield from _table(_QUEUE, stats["queues"])
    yield ""
    for worker in stats["workers"]:
        state = "leader" if worker["leader"] else "" if worker["alive"] else "silent"
        yield f"worker {worker['host']} {worker['pid']}  {worker['queues']}  {state}".rstrip()
        for run in worker["running"]:
            yield f"    {run['id']}  {run['kind']}  {control.duration(run['seconds'])}"
    if stats["unknown"]:
        yield f"kinds without a living worker: {', '.join(stats['unknown'])}"
    if stats["unworked"]:
        yield f"queues without a living worker: {', '.join(stats['unworked'])}"
    for each in stats["periodic"]:
        yield f"periodic {each['name']}: {each['schedule']}, next {each['due_at']}"
    size = stats["storage"]
    names = ", ".join(f"{n} {i['bytes'] // 1024} KiB" for n, i in size["indexes"].items())
    yield f"table {size['table_bytes'] // 1024} KiB, {size['dead_rows']} dead rows; {names}"
