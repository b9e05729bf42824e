"""The queue's health: workers, waiting jobs, discarded jobs and stuck jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from shlex import quote

from ... import db
from ...jobs import Kind, control
from ..finding import Finding, any_or_ok, join_names, new_finding, verdict
from ..site import Site
from .code import Declarations
from .queries import read_only

OLD = 300.0  # seconds that a job may wait
MANY = 10_000  # jobs that may wait in a queue


def check_jobs(site: Site, declared: Declarations, conn: db.Connection) -> Iterator[Finding]:
    """Check D701 to D708."""
    s = site.settings
    kinds = declared.kinds or {}
    timeouts = {name: kind.timeout for name, kind in kinds.items() if kind.timeout}
    with read_only(conn):
        health = control.health(conn, timeouts, s["jobs.timeout"], s["jobs.rescue_after"])
        served = {*s["jobs.queues"], *control.served_queues(conn)}
    unknown = []
    if declared.kinds is not None:
        unknown = [kind for kind in health["unknown"] if kind not in kinds]
    paused = {}
    for queue in health["queues"]:
        if queue["paused_at"]:
            paused[queue["name"]] = control.moment(queue["paused_at"])
    yield from any_or_ok("D701", _unknown(unknown), "every kind that waits is known")
    yield from any_or_ok(
        "D702", _unworked(health, unknown, kinds), "every waiting job has a worker"
    )
    yield from any_or_ok("D703", _paused(paused), "none")
    yield from any_or_ok("D704", _backlog(health, paused), _depth(health))
    discarded = ", ".join(f"{row['count']} of {row['kind']}" for row in health["discarded"])
    discarded = discarded and f"within a day: {discarded}"
    yield verdict("D705", "warning", discarded, "none within a day")
    yield from _check_stuck(health)
    if declared.queues is None:
        yield new_finding("D708", "skipped", "the project's code does not load")
    else:
        yield from any_or_ok("D708", _unserved(declared.queues, served), "every queue has a worker")


def _check_stuck(health: control.Row) -> Iterator[Finding]:
    """Check running jobs: those of dead workers, and those beyond their time-out."""
    dead = []
    overdue = []
    for job in health["stuck"]:
        if job["dead"]:
            dead.append(job)
        else:
            overdue.append(job)
    if not dead:
        yield new_finding("D706", "ok", "none")
    elif health["alive"]:
        message = f"{_format_jobs(dead)}: a living worker takes them over"
        yield new_finding("D706", "warning", message)
    else:
        yield new_finding("D706", "failed", f"{_format_jobs(dead)}: no worker is alive")
    if overdue:
        yield new_finding("D707", "warning", _format_jobs(overdue), id=overdue[0]["id"])
    else:
        yield new_finding("D707", "ok", "none")


def _unknown(kinds: list[str]) -> Iterator[Finding]:
    for kind in kinds:
        message = f"no worker class for waiting jobs of kind {kind}"
        yield new_finding("D701", "failed", message, kind=quote(kind))


def _unworked(
    health: control.Row, unknown: list[str], known: Mapping[str, Kind]
) -> Iterator[Finding]:
    for kind in health["unknown"]:
        if kind not in unknown:
            queue = quote(known[kind].queue) if kind in known else ""
            message = f"jobs of kind {kind} wait, and no living worker has it"
            yield new_finding("D702", "warning", message, queue=queue)
    for queue in health["unworked"]:
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


def _depth(health: control.Row) -> str:
    waiting = sum(states.get("available", 0) for states in health["counts"].values())
    oldest = max(health["oldest"].values(), default=0.0)
    return f"{waiting} jobs wait, the oldest for {control.duration(oldest)}"


def _backlog(health: control.Row, paused: Mapping[str, str]) -> Iterator[Finding]:
    for queue in sorted(health["counts"].keys() - paused.keys()):
        waiting = health["counts"][queue].get("available", 0)
        oldest = health["oldest"].get(queue, 0.0)
        if oldest > OLD or waiting > MANY:
            message = f"{waiting} jobs of {queue} wait, the oldest for {control.duration(oldest)}"
            yield new_finding("D704", "warning", message)


def _format_jobs(jobs: list[control.Row]) -> str:
    return join_names(
        f"{job['kind']} {job['id']} ({control.duration(job['seconds'])})" for job in jobs
    )
