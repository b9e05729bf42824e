"""The queue's health: who works it, what waits, what was given up, what is stuck."""

from __future__ import annotations

from collections.abc import Iterator

from ... import db
from ...jobs import control
from ..finding import Finding, found
from ..site import Site
from .code import Declared
from .reading import reading

OLD, MANY = 300.0, 10_000  # seconds that a job may wait; jobs of a queue that may


def check_jobs(site: Site, conn: db.Connection, declared: Declared) -> Iterator[Finding]:
    """Everything of D7."""
    s = site.settings
    kinds = declared.kinds or {}
    own = {name: kind.timeout for name, kind in kinds.items() if kind.timeout}
    with reading(conn):
        seen = control.health(conn, own, s["jobs.timeout"], s["jobs.rescue_after"])
    yield from _or_ok("D701", "every kind that waits is known", _nobodys(seen, declared))
    yield from _or_ok("D702", "every job that waits has a worker", _unworked(seen, declared))
    yield from _or_ok("D703", "there are none", _paused(seen))
    yield from _or_ok("D704", _depth(seen), _backlog(seen))
    yield from _or_ok("D705", "none within a day", _discarded(seen))
    yield from _or_ok("D706", "there are none", _dead(seen))
    yield from _or_ok("D707", "there are none", _overlong(seen))


def _or_ok(code: str, well: str, wrong: Iterator[Finding]) -> Iterator[Finding]:
    results = list(wrong)
    yield from results or [found(code, "ok", well)]


def _nobodys(seen: control.Shown, declared: Declared) -> Iterator[Finding]:
    for kind in seen["unknown"]:
        if declared.kinds is not None and kind not in declared.kinds:
            yield found("D701", "failed", f"jobs of kind {kind} wait for nobody", kind=kind)


def _unworked(seen: control.Shown, declared: Declared) -> Iterator[Finding]:
    for kind in seen["unknown"]:
        if declared.kinds is None or kind in declared.kinds:
            queue = declared.kinds[kind].queue if declared.kinds else ""
            message = f"jobs of kind {kind} wait, and no worker that lives has it"
            yield found("D702", "warning", message, queue=queue)
    for queue in seen["unworked"]:
        message = f"jobs of the queue {queue} wait, and no worker that lives works it"
        yield found("D702", "warning", message, queue=queue)


def _paused(seen: control.Shown) -> Iterator[Finding]:
    for queue in seen["queues"]:
        if queue["paused_at"]:
            message = f"{queue['name']} is paused since {control.moment(queue['paused_at'])}"
            yield found("D703", "warning", message, queue=queue["name"])


def _depth(seen: control.Shown) -> str:
    waiting = sum(states.get("available", 0) for states in seen["counts"].values())
    oldest = max(seen["oldest"].values(), default=0.0)
    return f"{waiting} jobs wait, the oldest for {control.duration(oldest)}"


def _backlog(seen: control.Shown) -> Iterator[Finding]:
    paused = {queue["name"] for queue in seen["queues"] if queue["paused_at"]}
    for queue in sorted(seen["counts"].keys() - paused):
        waiting, oldest = seen["counts"][queue].get("available", 0), seen["oldest"].get(queue, 0.0)
        if oldest > OLD or waiting > MANY:
            message = f"{waiting} jobs of {queue} wait, the oldest for {control.duration(oldest)}"
            yield found("D704", "warning", message)


def _discarded(seen: control.Shown) -> Iterator[Finding]:
    if seen["discarded"]:
        listed = ", ".join(f"{one['count']} of {one['kind']}" for one in seen["discarded"])
        yield found("D705", "warning", f"within a day: {listed}")


def _dead(seen: control.Shown) -> Iterator[Finding]:
    dead = [one for one in seen["stuck"] if one["dead"]]
    if dead and seen["alive"]:
        yield found("D706", "warning", f"{_listed(dead)}: a worker that lives takes them over")
    elif dead:
        yield found("D706", "failed", f"{_listed(dead)}, and no worker lives")


def _overlong(seen: control.Shown) -> Iterator[Finding]:
    late = [one for one in seen["stuck"] if not one["dead"]]
    if late:
        yield found("D707", "warning", _listed(late), id=late[0]["id"])


def _listed(stuck: list[control.Shown]) -> str:
    shown = [f"{one['kind']} {one['id']} ({control.duration(one['seconds'])})" for one in stuck[:4]]
    more = len(stuck) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
