"""Periodic jobs: each run that is due by a schedule becomes one job, on whichever worker leads.

The clock is the database's. `missed` decides about runs that were due while no worker was leader.
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
    """A job that is inserted by a schedule.

    Its metadata has "periodic", the name, and "due_at", the time in UTC (RFC 3339).

    name: unique in the application.
    missed: of the runs that were due while no worker was leader, "once" inserts the last one,
        "all" each (at most 1,000), "skip" none.
    options: as for `NewJob`.
    """

    name: str
    schedule: Cron | Interval
    kind: str | type[Any]
    args: Any = None
    missed: Literal["skip", "once", "all"] = "once"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind_name(self) -> str:
        """The name of the kind of its jobs."""
        if isinstance(self.kind, str):
            return self.kind
        return str(self.kind.kind)

    def runs(self, due: datetime, now: datetime) -> tuple[list[datetime], datetime]:
        """Return the runs to insert at `now`, from `due` on, and the time of the next run."""
        if self.missed != "all" and now - due > _DAY:
            # Only the last run counts, so earlier ones are not computed.
            recent = self.schedule.after(now - _DAY)
            if recent <= now:
                due = recent
        runs: list[datetime] = []
        while due <= now:
            if len(runs) == MOST_MISSED:
                log.warning("%s: more than %d runs were missed", self.name, MOST_MISSED)
                due = self.schedule.after(now)
                break
            if self.missed != "all":
                runs = []
            runs.append(due)
            due = self.schedule.after(due)
        if self.missed == "skip":
            # `now` may have another zone. Its difference to a time in UTC is exact, unlike the
            # difference of two times in a zone with changes of its clocks.
            runs = [run for run in runs if now - run <= timedelta(seconds=LATE)]
        return runs, due


def check_periodic(periodic: Sequence[Periodic], catalogue: Catalogue) -> None:
    """Check periodic jobs.

    Raises ForgeError F718 for a repeated name, F716 for a kind without a worker, and Invalid F711
    for arguments that are not valid for the kind.
    """
    strict = Catalogue(catalogue.kinds, strict=True)
    names = set[str]()
    for entry in periodic:
        if entry.name in names:
            raise ForgeError(f"two periodic jobs have the name {entry.name!r}", code="F718")
        names.add(entry.name)
        job = NewJob(entry.kind, entry.args, **entry.options)
        check_job(job, strict)


def register_periodic(conn: Connection, periodic: Sequence[Periodic]) -> None:
    """Insert the rows of schedules, each with its next run. A changed schedule starts anew."""
    ((now,),) = db.run(conn, "select now()")
    for entry in periodic:
        due = entry.schedule.after(now)
        params = {"name": entry.name, "schedule": str(entry.schedule), "due_at": due}
        db.run(conn, SQL["register"], params)


def insert_due(conn: Connection, worker: UUID, periodic: Sequence[Periodic]) -> float:
    """Insert due jobs, if `worker` is the leader. Returns the seconds until the next one is due."""
    by_name = {entry.name: entry for entry in periodic}
    wait = 3600.0
    for name, due, now in db.run(conn, SQL["schedules"], {"names": list(by_name)}):
        try:
            if due <= now:
                due = _insert(conn, worker, by_name[name], due, now)
        except ForgeError as err:
            log.error("the periodic job %s was not inserted: %s", name, err)
            due = now + timedelta(seconds=LATE / 4)
        wait = min(wait, (due - now).total_seconds())
    return max(wait, 0.0)


def insert_now(conn: Connection, each: Periodic, due_at: datetime | None = None) -> int:
    """Insert one job of a schedule, and return its id. The next run of the schedule stays.

    due_at: of a run of the schedule, which gets one job.
    """
    options = dict(each.options)
    metadata = {**(options.get("metadata") or {}), "periodic": each.name}
    if due_at is not None:
        run = due_at.isoformat()
        metadata["due_at"] = run
        options.setdefault("unique", Unique(f"periodic:{each.name}:{run}", ended=ENDED))
    options["metadata"] = metadata
    return insert_tx(conn, each.kind, each.args, **options)


def _insert(
    conn: Connection, worker: UUID, entry: Periodic, due: datetime, now: datetime
) -> datetime:
    runs, next = entry.runs(due, now)
    with db.transaction(conn):
        params = {"name": entry.name, "expected": due, "next": next, "worker": worker}
        if not db.run(conn, SQL["advance"], params):
            return next  # another worker leads now, or has inserted them
        inserted = [insert_now(conn, entry, run) for run in runs]
        if inserted:
            params = {"name": entry.name, "run": runs[-1], "job": inserted[-1]}
            db.run(conn, SQL["inserted"], params)
    return next
