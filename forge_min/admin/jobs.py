"""The page /jobs of the admin server: queues, workers and jobs, and their actions.

Every client of the admin server may use it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import urlencode

from .. import db
from ..errors import BadRequest, NotFound
from ..jobs import control
from ..wsgi import Request, Response, Router, check_csrf, csrf_field, first, html_response, redirect
from .templates import job as job_page
from .templates import jobs as jobs_page
from .templates import queues as queues_page

_LIMIT = 50  # jobs on a page
_FIELDS = ("queue", "kind", "tag")  # the filters of the list, beside the state
_MINUTES = 60  # as in queues.html, also the next two
_WIDTH = 200
_HEIGHT = 40
_LABELS = {"retry": "Run again", "cancel": "Cancel", "discard": "Discard"}


class JobsPages:
    """The handler of /jobs and the pages below it, inside the middleware CSRF.

    database: connections for the admin threads only.
    project: the project's name.
    reporting_kinds: returns the kinds with a handler for discarded jobs.
    schedules: name → inserts a job of this schedule and returns its id.
    """

    def __init__(
        self,
        database: db.Database,
        project: str,
        reporting_kinds: Callable[[], Sequence[str]],
        schedules: Mapping[str, Callable[[db.Connection], int]],
    ) -> None:
        self._database = database
        self._project = project
        self._reporting_kinds = reporting_kinds
        self._schedules = schedules
        self._router = router = Router()
        router.add("GET", "/jobs", self._overview)
        router.add("GET", "/jobs/list", self._list)
        router.add("GET", "/jobs/{id}", self._detail)
        for action in control.ACTIONS:
            router.add("POST", f"/jobs/{{id}}/{action}", partial(self._change, action))
        router.add("POST", "/jobs/queues/pause", partial(self._queue, control.pause))
        router.add("POST", "/jobs/queues/resume", partial(self._queue, control.resume))
        router.add("POST", "/jobs/schedules/run", self._run_schedule)

    def __call__(self, request: Request) -> Response:
        """Handle one request. Raises as `Router.match`, and HTTPProblem for a cross-site form."""
        route, request.params = self._router.match(request.method, request.path)
        if request.method == "POST":
            check_csrf(request)
        return route.handler(request)

    # -- pages ------------------------------------------------------------------------------------

    def _overview(self, request: Request) -> Response:
        conn = self._database.connection()
        now = time.time()
        stats = control.stats(conn)
        minutes = control.minutes(conn)
        page = queues_page.render(
            project=self._project,
            title="Queues",
            csrf=csrf_field(request),
            unknown=", ".join(stats["unknown"]),
            unworked=", ".join(stats["unworked"]),
            queues=[_queue(row, minutes.get(row["name"], ()), now) for row in stats["queues"]],
            workers=list(map(_worker, stats["workers"])),
            schedules=[self._schedule(row) for row in stats["periodic"]],
            relations=_relations(stats["storage"]),
        )
        return html_response(page)

    def _schedule(self, row: Mapping[str, Any]) -> Item:
        name = row["name"]
        return Item(
            **row,
            due=control.moment(row["due_at"]),
            last=control.moment(row["last_at"]),
            query=urlencode({"name": name}) if name in self._schedules else "",
        )

    def _list(self, request: Request) -> Response:
        query = request.query
        fields = [Item(name=n, label=n.capitalize(), value=first(query, n)) for n in _FIELDS]
        filters = {field.name: field.value or None for field in fields}
        state = first(query, "state")
        before = first(query, "before")
        rows = control.list_jobs(
            self._database.connection(),
            states=[state] if state else None,
            before=_number(before) if before else None,
            limit=_LIMIT,
            **filters,
        )
        older = ""
        if len(rows) == _LIMIT:
            parameters = {"state": state, **filters, "before": str(rows[-1]["id"])}
            older = urlencode({name: value for name, value in parameters.items() if value})
        page = jobs_page.render(
            project=self._project,
            title="Jobs",
            states=[Item(name=name, chosen=name == state) for name in control.STATES],
            fields=fields,
            jobs=[_job(row) for row in rows],
            older=older,
        )
        return html_response(page)

    def _detail(self, request: Request) -> Response:
        id = _number(request.params["id"])
        job = control.show_job(self._database.connection(), id)
        page = job_page.render(
            project=self._project,
            title=f"Job {job['id']}",
            csrf=csrf_field(request),
            job=Item(**job),
            facts=[Item(name=name, value=value) for name, value in _facts(job).items() if value],
            notice_of=job["metadata"].get("discarded"),
            actions=[
                Item(name=name, label=_LABELS[name], strong=name == "discard")
                for name in _possible(job["state"])
            ],
            args=_json(job["args"]),
            metadata=_json(job["metadata"]),
            errors=[_error(error) for error in reversed(job["errors"])],
        )
        return html_response(page)

    # -- actions ----------------------------------------------------------------------------------

    def _change(self, action: str, request: Request) -> Response:
        id = _number(request.params["id"])
        kinds: Sequence[str] = ()
        if action == "discard":
            kinds = self._reporting_kinds()
        control.change_jobs(self._database.connection(), action, [id], kinds)
        return redirect(f"/jobs/{id}")

    def _queue(self, change: Callable[..., object], request: Request) -> Response:
        change(self._database.connection(), first(request.query, "queue"))
        return redirect("/jobs")

    def _run_schedule(self, request: Request) -> Response:
        insert = self._schedules.get(first(request.query, "name"))
        if insert is None:
            raise NotFound("this process has no such schedule")
        id = insert(self._database.connection())
        return redirect(f"/jobs/{id}")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BadRequest(f"the id of a job must be a number, not {text[:40]!r}")
    return int(text)


# -- values of the templates -----------------------------------------------------------------------


def _queue(queue: Mapping[str, Any], minutes: Sequence[Any], now: float) -> Item:
    runs = queue["completed_per_hour"] + queue["failed_per_hour"]
    mean = ""
    if runs:
        mean = f"{queue['seconds_per_hour'] / runs * 1000:.1f} ms"
    ended, bars = _plot(minutes, now)
    return Item(
        name=queue["name"],
        paused_at=queue["paused_at"],
        limits=control.limits(queue),
        query=urlencode({"queue": queue["name"]}),
        counts=Item(**{**dict.fromkeys(control.STATES, 0), **queue["counts"]}),
        oldest=control.duration(queue["oldest_seconds"]),
        ended=ended,
        bars=bars,
        mean=mean,
    )


def _plot(minutes: Sequence[Any], now: float) -> tuple[str, list[Item]]:
    """Return the runs of the last hour as text, and two bars a minute: completed, failed above."""
    minute = int(now // 60)
    runs = {minute - int(at) // 60: (done, failed) for at, done, failed, _ in minutes}
    highest = max(map(sum, runs.values()), default=0) or 1
    bars = []
    for ago, (done, failed) in runs.items():
        y = float(_HEIGHT)
        for style, number in (("done", done), ("failed", failed)):
            height = number / highest * _HEIGHT
            y -= height
            if number and 0 <= ago < _MINUTES:
                x = _WIDTH - (ago + 1) * _WIDTH / _MINUTES
                bars.append(Item(style=style, x=f"{x:.1f}", y=f"{y:.1f}", height=f"{height:.1f}"))
    completed = sum(done for done, _ in runs.values())
    failures = sum(failed for _, failed in runs.values())
    summary = f"{completed} completed and {failures} failed in the last hour"
    return f"{summary}, at most {highest} in a minute", bars


def _worker(worker: Mapping[str, Any]) -> Item:
    return Item(
        **worker,
        threads=", ".join(f"{name} {size}" for name, size in worker["queues"].items()),
        started=control.moment(worker["started_at"]),
        runs=[Item(**run, time=control.duration(run["seconds"])) for run in worker["running"]],
    )


def _relations(storage: Mapping[str, Any]) -> list[Item]:
    rows = [("forge_job", storage["table_bytes"], storage["live_rows"], storage["dead_rows"], "")]
    for name, index in storage["indexes"].items():
        rows.append((name, index["bytes"], index["rows"], "", index["scans"]))
    return [
        Item(name=name, size=f"{bytes / 2**20:.1f} MiB", rows=f"{n:.0f}", dead=dead, scans=scans)
        for name, bytes, n, dead, scans in rows
    ]


def _job(row: Mapping[str, Any]) -> Item:
    error = row["error"] or ""
    due = control.moment(row["scheduled_at"])
    return Item(**row, due=due, last_error=error.split("\n")[0][:120])


def _facts(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a job by label. The page omits empty ones."""
    metadata = job["metadata"]
    worker = job.get("worker")
    traceparent = str(metadata.get("traceparent", ""))
    return {
        "Queue": job["queue"],
        "Priority": job["priority"],
        "Attempt": f"{job['attempt']} of {job['max_attempts']}",
        "Created": control.moment(job["created_at"]),
        "Due": control.moment(job["scheduled_at"]),
        "Last started": control.moment(job["attempted_at"]),
        "Ended": control.moment(job["finalized_at"]),
        "Cancel requested": control.moment(job["cancel_requested_at"]),
        "Runs on": worker and f"{worker['host']}, process {worker['pid']}",
        "Inserted by": metadata.get("user"),
        "Tenant": metadata.get("tenant"),
        "Trace": traceparent.split("-")[1] if traceparent.count("-") == 3 else "",
        "Unique by": job["unique_key"] or job.get("begun_key"),
        "Limit key": job["limit_key"],
        "Tags": ", ".join(job["tags"]),
    }


def _error(error: Mapping[str, Any]) -> Item:
    head = control.describe_attempt({**error, "at": control.moment(error.get("at"))})
    return Item(head=head, trace=error.get("trace"))


def _possible(state: str) -> list[str]:
    if state == "running":
        return ["cancel"]
    if state == "available":
        return ["cancel", "discard"]
    if state in ("scheduled", "retryable"):
        return ["retry", "cancel", "discard"]
    return ["retry"]


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
