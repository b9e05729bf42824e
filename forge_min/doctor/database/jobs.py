"""The queue's health: workers, waiting jobs, discarded jobs and stuck jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from shlex import quote

from ... import db
from ...jobs import Kind, control
from ..finding import Finding, State, any_or_ok, join_names, new_finding, verdict
from ..site import Site
from .code import Declarations
from .queries import read_only

OLD, MANY = 300.0, 10_000  # seconds that a job may wait; jobs that may wait in a queue


def check_jobs(site: Site, declared: Declarations, conn: db.Connection) -> Iterator[Finding]:
    """Check D701 to D708."""
    s = site.settings
    kinds = declared.kinds or {}
    own = {name: kind.timeout for name, kind in kinds.items() if kind.timeout}
    with read_only(conn):
        seen = control.health(conn, own, s["jobs.timeout"], s["jobs.rescue_after"])
        served = {*s["jobs.queues"], *control.served_queues(conn)}
    unknown = [] if declared.kinds is None else [k for k in seen["unknown"] if k not in kinds]
    paused = {q["name"]: control.moment(q["paused_at"]) for q in seen["queues"] if q["paused_at"]}
    yield from any_or_ok("D701", _unknown(unknown), "every kind that waits is known")
    yield from any_or_ok("D702", _unworked(seen, unknown, kinds), "every waiting job has a worker")
    yield from any_or_ok("D703", _paused(paused), "none")
    yield from any_or_ok("D704", _backlog(seen, paused), _depth(seen))
    discarded = ", ".join(f"{row['count']} of {row['kind']}" for row in seen["discarded"])
    recent = discarded and f"within a day: {discarded}"
    yield verdict("D705", "warning", recent, "none within a day")
    dead = [job for job in seen["stuck"] if job["dead"]]
    rescue = "a living worker takes them over" if seen["alive"] else "no worker is alive"
    state: State = "warning" if seen["alive"] else "failed"
    yield verdict("D706", state, f"{_stuck_jobs(dead)}: {rescue}" if dead else "", "none")
    overdue = [job for job in seen["stuck"] if not job["dead"]]
    first = overdue[0]["id"] if overdue else ""
    yield verdict("D707", "warning", _stuck_jobs(overdue), "none", id=first)
    if declared.queues is None:
        yield new_finding("D708", "skipped", "the project's code does not load")
    else:
        yield from any_or_ok("D708", _unserved(declared.queues, served), "every queue has a worker")


def _unknown(kinds: list[str]) -> Iterator[Finding]:
    for kind in kinds:
        message = f"no worker class for waiting jobs of kind {kind}"
        yield new_finding("D701", "failed", message, kind=quote(kind))


def _unworked(
    seen: control.Row, unknown: list[str], known: Mapping[str, Kind]
) -> Iterator[Finding]:
    for kind in seen["unknown"]:
        if kind not in unknown:
            queue = known[kind].queue if kind in known else ""
            message = f"jobs of kind {kind} wait, and no living worker has it"
            yield new_finding("D702", "warning", message, queue=quote(queue) if queue else "")
    for queue in seen["unworked"]:
        message = f"jobs of the queue {queue} wait, and no living worker serves it"
        yield new_finding("D702", "warning", message, queue=quote(queue))


def _unserved(queues: Mapping[str, Sequence[str]], served: Collection[str]) -> Iterator[Finding]:
    for queue, kinds in queues.items():
        if queue not in served:
            message = f"no worker serves {queue}, so jobs of {', '.join(kinds)} will wait"
            yield new_finding("D708", "warning", message, queue=quote(queue))


def _paused(queues: Mapping[str, str]) -> Iterator[Finding]:
    for queue, since in queues.items():
        yield new_finding("D703", "warning", f"{queue}, since {since}", queue=quote(queue))


def _depth(seen: control.Row) -> str:
    waiting = sum(states.get("available", 0) for states in seen["counts"].values())
    oldest = max(seen["oldest"].values(), default=0.0)
    return f"{waiting} jobs wait, the oldest for {control.duration(oldest)}"


def _backlog(seen: control.Row, paused: Mapping[str, str]) -> Iterator[Finding]:
    for queue in sorted(seen["counts"].keys() - paused.keys()):
        waiting, oldest = seen["counts"][queue].get("available", 0), seen["oldest"].get(queue, 0.0)
        if oldest > OLD or waiting > MANY:
            message = f"{waiting} jobs of {queue} wait, the oldest for {control.duration(oldest)}"
            yield new_finding("D704", "warning", message)


def _stuck_jobs(stuck: list[control.Row]) -> str:
    times = ((job, control.duration(job["seconds"])) for job in stuck)
    return join_names(f"{job['kind']} {job['id']} ({time})" for job, time in times)
