"""Periodic jobs: what is due by a schedule becomes a job, once, whichever process leads.

The time is the database's; what was missed while no leader was there is dealt with as each says.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from ... import db
from ...db import Connection
from ...errors import ForgeError
from ..insert import insert_tx
from ..kinds import Catalogue
from ..new_job import ENDED, NewJob, Unique, check_job
from .cron import Cron, Interval

log = logging.getLogger("forge_min.jobs")
SQL = db.load_sql("forge_min.jobs.maintenance", "maintenance.sql")
_DAY = timedelta(days=1)
LATE = 60.0  # seconds: a run later than this was missed
MOST_MISSED = 1_000


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job that is inserted when its schedule says so.

    name: unique in the application. missed: of the runs that were due while no leader was there,
    "once" inserts the last one, "all" each (at most 1,000), "skip" none. options: as of `NewJob`.
    Its metadata has "periodic", the name, and "due_at", the time in UTC (RFC 3339).
    """

    name: str
    schedule: Cron | Interval
    kind: str | type[Any]
    args: Any = None
    missed: Literal["skip", "once", "all"] = "once"
    options: Mapping[str, Any] = field(default_factory=dict)

    def runs(self, due: datetime, now: datetime) -> tuple[list[datetime], datetime]:
        """The runs to insert at `now`, when `due` was the next; and the one that comes then."""
        if self.missed != "all" and now - due > _DAY:
            # The last of them counts: none of the others is worked out, unless it is that rare.
            near = self.schedule.after(now - _DAY)
            due = near if near <= now else due
        found: list[datetime] = []
        while due <= now:
            if len(found) == MOST_MISSED:
                log.warning("%s: more than %d runs were missed", self.name, MOST_MISSED)
                due = self.schedule.after(now)
                break
            found = [*found, due] if self.missed == "all" else [due]
            due = self.schedule.after(due)
        if self.missed == "skip":
            found = [run for run in found if now - run <= timedelta(seconds=LATE)]
        return found, due


def check_periodic(periodic: Sequence[Periodic], catalogue: Catalogue) -> None:
    """Raise ForgeError F720 for a name that comes twice, F716 for a kind that no worker has, and
    Invalid F711 for arguments that it does not take.
    """
    strict = Catalogue(catalogue.kinds.values(), strict=True)
    names: set[str] = set()
    for each in periodic:
        if each.name in names:
            raise ForgeError(f"two periodic jobs are called {each.name!r}", code="F720")
        names.add(each.name)
        check_job(NewJob(each.kind, each.args, **each.options), strict)


def register(conn: Connection, periodic: Sequence[Periodic]) -> None:
    """Make the rows of these schedules, each due next as it says; one whose schedule has changed
    begins anew.
    """
    ((now,),) = db.run(conn, "select now()")
    for each in periodic:
        due = each.schedule.after(now)
        params = {"name": each.name, "schedule": str(each.schedule), "due_at": due}
        db.run(conn, SQL["register"], params)


def insert_due(conn: Connection, worker: UUID, periodic: Sequence[Periodic]) -> float:
    """Insert what is due, if `worker` leads; seconds until the next is."""
    known = {each.name: each for each in periodic}
    wait = 3600.0
    if not known:
        return wait
    for name, due, now in db.run(conn, SQL["schedules"], {"names": list(known)}):
        try:
            if due <= now:
                due = _insert(conn, worker, known[name], due, now)
        except ForgeError as err:
            log.error("the periodic job %s was not inserted: %s", name, err)
            due = now + timedelta(seconds=LATE / 4)
        wait = min(wait, (due - now).total_seconds())
    return max(wait, 0.0)


def _insert(
    conn: Connection, worker: UUID, each: Periodic, due: datetime, now: datetime
) -> datetime:
    chosen, after = each.runs(due, now)
    with db.transaction(conn):
        params = {"name": each.name, "expected": due, "next": after, "worker": worker}
        if not db.run(conn, SQL["advance"], params):
            return after  # another leads now, or has done it
        job = None
        for run in chosen:
            told = {"periodic": each.name, "due_at": run.isoformat()}
            options = {
                "unique": Unique(f"periodic:{each.name}:{run.isoformat()}", ended=ENDED),
                **each.options,
                "metadata": dict(each.options.get("metadata") or {}) | told,
            }
            job = insert_tx(conn, each.kind, each.args, **options)
        if job is not None:
            params = {"name": each.name, "run": chosen[-1], "job": job}
            db.run(conn, SQL["inserted"], params)
    return after
