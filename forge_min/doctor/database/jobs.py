"""The queue's health: who works it, what waits, what was given up, what is stuck."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from shlex import quote

from ... import db
from ...jobs import Kind, control
from ..finding import Finding, State, found, listed, skipped, verdict
from ..site import Site
from .code import Declared
from .queries import reading

OLD, MANY = 300.0, 10_000  # seconds that a job may wait; jobs of a queue that may


def check_jobs(site: Site, declared: Declared, conn: db.Connection) -> Iterator[Finding]:
    """Everything of D7."""
    s = site.settings
    kinds = declared.kinds or {}
    own = {name: kind.timeout for name, kind in kinds.items() if kind.timeout}
    with reading(conn):
        seen = control.health(conn, own, s["jobs.timeout"], s["jobs.rescue_after"])
        served = {*s["jobs.queues"], *control.served_queues(conn)}
    known = declared.kinds
    nobodys = [kind for kind in seen["unknown"] if known is not None and kind not in known]
    paused = {q["name"]: control.moment(q["paused_at"]) for q in seen["queues"] if q["paused_at"]}
    yield from _all("D701", _nobodys(nobodys), "every kind that waits is known")
    yield from _all("D702", _unworked(seen, nobodys, known or {}), "every waiting job has a worker")
    yield from _all("D703", _paused(paused), "there are none")
    yield from _all("D704", _backlog(seen, paused), _depth(seen))
    given_up = ", ".join(f"{one['count']} of {one['kind']}" for one in seen["discarded"])
    yield verdict("D705", "warning", given_up and f"within a day: {given_up}", "none within a day")
    dead = [one for one in seen["stuck"] if one["dead"]]
    lives = "a worker that lives takes them over" if seen["alive"] else "no worker lives"
    state: State = "warning" if seen["alive"] else "failed"
    yield verdict("D706", state, f"{_listed(dead)}: {lives}" if dead else "", "there are none")
    late = [one for one in seen["stuck"] if not one["dead"]]
    first = late[0]["id"] if late else ""
    yield verdict("D707", "warning", _listed(late), "there are none", id=first)
    if declared.queues is None:
        yield skipped("D708", "the project's code does not load")
    else:
        yield from _all("D708", _unserved(declared.queues, served), "every queue has a worker")


def _all(code: str, wrong: Iterator[Finding], well: str) -> Iterator[Finding]:
    yield from list(wrong) or [found(code, "ok", well)]


def _nobodys(kinds: list[str]) -> Iterator[Finding]:
    for kind in kinds:
        yield found("D701", "failed", f"jobs of kind {kind} wait for nobody", kind=quote(kind))


def _unworked(
    seen: control.Row, nobodys: list[str], known: Mapping[str, Kind]
) -> Iterator[Finding]:
    for kind in seen["unknown"]:
        if kind not in nobodys:
            queue = known[kind].queue if kind in known else ""
            message = f"jobs of kind {kind} wait, and no worker that lives has it"
            yield found("D702", "warning", message, queue=quote(queue) if queue else "")
    for queue in seen["unworked"]:
        message = f"jobs of the queue {queue} wait, and no worker that lives works it"
        yield found("D702", "warning", message, queue=quote(queue))


def _unserved(queues: Mapping[str, Sequence[str]], served: Collection[str]) -> Iterator[Finding]:
    for queue, kinds in queues.items():
        if queue not in served:
            message = f"no worker serves {queue}, so jobs of {', '.join(kinds)} will wait"
            yield found("D708", "warning", message, queue=quote(queue))


def _paused(queues: Mapping[str, str]) -> Iterator[Finding]:
    for queue, since in queues.items():
        yield found("D703", "warning", f"{queue} is paused since {since}", queue=quote(queue))


def _depth(seen: control.Row) -> str:
    waiting = sum(states.get("available", 0) for states in seen["counts"].values())
    oldest = max(seen["oldest"].values(), default=0.0)
    return f"{waiting} jobs wait, the oldest for {control.duration(oldest)}"


def _backlog(seen: control.Row, paused: Mapping[str, str]) -> Iterator[Finding]:
    for queue in sorted(seen["counts"].keys() - paused.keys()):
        waiting, oldest = seen["counts"][queue].get("available", 0), seen["oldest"].get(queue, 0.0)
        if oldest > OLD or waiting > MANY:
            message = f"{waiting} jobs of {queue} wait, the oldest for {control.duration(oldest)}"
            yield found("D704", "warning", message)


def _listed(stuck: list[control.Row]) -> str:
    return listed(
        f"{one['kind']} {one['id']} ({control.duration(one['seconds'])})" for one in stuck
    )
