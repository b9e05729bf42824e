"""jobs: the queue from a terminal."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .. import db
from ..config import parse_rate
from ..errors import UsageError
from ..jobs import control, kinds_with_discarded
from .console import FAILED, tell
from .project import Project

_EVERY = 2.0  # seconds between looks of --watch
_MANY = 1_000  # jobs that one statement changes


def manage_jobs(project: Project, args: argparse.Namespace) -> int:
    """Do what `args.does` says with `args.of`: ids of jobs, or a queue. Raises UsageError."""
    with db.connect(project.config.database.url, application_name="forge_min jobs") as conn:
        conn.nudger = _AtOnce(conn)
        return _DOES[args.does](conn, args, project)


def _list(conn: db.Connection, args: argparse.Namespace, project: Project) -> int:
    found = control.list_jobs(conn, limit=args.limit, before=args.before, **_filters(args))
    tell(found, _table(_ROW, found), as_json=args.json)
    return 0


def _show(conn: db.Connection, args: argparse.Namespace, project: Project) -> int:
    found = [control.show_job(conn, id) for id in _ids(args)]
    lines = (line for job in found for line in _told(job))
    tell(found[0] if len(found) == 1 else found, lines, as_json=args.json)
    return 0


def _change(conn: db.Connection, args: argparse.Namespace, project: Project) -> int:
    """By ids, or of all that the filters find. What could not be changed is a failure."""
    told = [] if args.does != "discard" else kinds_with_discarded(project.kinds())
    states: dict[int, str] = {}
    if args.of:
        ids = _ids(args)
        states = control.change_jobs(conn, args.does, ids, told)
    else:
        filters = _filters(args)
        if not any(filters.values()):
            message = f"jobs {args.does} needs ids, or --state, --queue, --kind or --tag"
            raise UsageError(message, hint=f"for example: jobs {args.does} --state discarded")
        ids, before = [], None
        while found := control.list_jobs(conn, limit=_MANY, before=before, **filters):
            before = found[-1]["id"]
            some = [job["id"] for job in found]
            states |= control.change_jobs(conn, args.does, some, told)
            ids += some
            _progress(f"{len(ids)} jobs")
    wanted = _AFTER[args.does]
    rows = [{"id": id, "state": states.get(id, "missing")} for id in ids]
    lines = (f"{row['id']}  {row['state']}" for row in rows)
    tell(rows, lines, as_json=args.json)
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
    found = [q for q in control.stats(conn)["queues"] if q["name"] in args.of]
    tell(found, _table(_QUEUE, found), as_json=args.json)
    return 0


def _stats(conn: db.Connection, args: argparse.Namespace, project: Project) -> int:
    while True:
        found = control.stats(conn)
        if args.watch and sys.stdout.isatty():
            print("\033[H\033[J", end="")
        tell(found, _overview(found), as_json=args.json)
        if not args.watch:
            return 0
        sys.stdout.flush()
        time.sleep(_EVERY)


_DOES: Mapping[str, Callable[[db.Connection, argparse.Namespace, Project], int]] = {
    "list": _list,
    "show": _show,
    **dict.fromkeys(control.ACTIONS, _change),
    **dict.fromkeys(("pause", "resume", "limit"), _queue),
    "stats": _stats,
}
_AFTER = {
    "retry": ("available",),
    "cancel": ("cancelled", "running"),
    "discard": ("discarded",),
}


class _AtOnce:
    """The nudger of a process that ends at once."""

    def __init__(self, conn: db.Connection) -> None:
        self._conn = conn

    def nudge(self, payload: str) -> None:
        self._conn.execute("select pg_notify('forge', %s)", [payload])

    def notifies_in_transaction(self, payload: str) -> bool:
        return False


def _filters(args: argparse.Namespace) -> dict[str, Any]:
    ids = _ids(args) if args.of else None
    return {
        "ids": ids, "states": args.state or None, "queue": args.queue, "kind": args.kind,
        "tag": args.tag,
    }  # fmt: skip


def _ids(args: argparse.Namespace) -> list[int]:
    wrong = [text for text in args.of if not (text.isascii() and text.isdigit())]
    if wrong or not args.of:
        said = f"{wrong[0]!r} is no job's number" if wrong else f"jobs {args.does} needs a number"
        raise UsageError(said, hint=f"jobs {args.does} 17, as jobs list shows it")
    # No job's number has twenty digits, and Python reads no 5,000.
    return [int(text.lstrip("0")[:20] or "0") for text in args.of]


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr, flush=True)


# -- for a person ----------------------------------------------------------------------------------

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


def _told(job: Mapping[str, Any]) -> Iterator[str]:
    errors = job["errors"]
    for name, value in job.items():
        if name != "errors" and value not in (None, [], {}):
            yield f"{name:14}{value}"
    for error in errors:
        yield f"attempt {error.get('attempt')} at {error.get('at')}: {error.get('error')}"
        yield from (f"    {line}" for line in str(error.get("trace", "")).splitlines())


def _overview(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _table(_QUEUE, found["queues"])
    yield ""
    for worker in found["workers"]:
        says = "leader" if worker["leader"] else "" if worker["alive"] else "silent"
        yield f"worker {worker['host']} {worker['pid']}  {worker['queues']}  {says}".rstrip()
        for run in worker["running"]:
            yield f"    {run['id']}  {run['kind']}  {control.duration(run['seconds'])}"
    if found["unknown"]:
        yield f"kinds that no living worker has: {', '.join(found['unknown'])}"
    if found["unworked"]:
        yield f"queues that no living worker works: {', '.join(found['unworked'])}"
    for each in found["periodic"]:
        yield f"periodic {each['name']}: {each['schedule']}, next {each['due_at']}"
    size = found["storage"]
    names = ", ".join(f"{n} {i['bytes'] // 1024} KiB" for n, i in size["indexes"].items())
    yield f"table {size['table_bytes'] // 1024} KiB, {size['dead_rows']} dead rows; {names}"
