"""A job as its handler sees it, and the exceptions by which a handler steers. No SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from .. import db
from ..db import Connection
from ..errors import ForgeError
from .session import SQL

LONGEST = 10 * 365 * 86_400.0  # seconds; what PostgreSQL's timestamps surely hold


class Outcome(Exception):
    """Raised by a handler to say how the run ends; anything else that it raises means retry."""


class Cancel(Outcome):
    """End the job as cancelled. reason: kept with it."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Discard(Outcome):
    """Give the job up, whatever attempts are left. reason: kept with it."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Snooze(Outcome):
    """Run the job again in `seconds`; this run does not count as an attempt."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"snoozed for {seconds} s")
        self.seconds = min(seconds, LONGEST) if seconds > 0 else 0.0


class StaleClaim(ForgeError):
    """The job was taken from this run: rescued, or finished by somebody else."""

    default_code = "F713"


@dataclass(eq=False)
class Job:
    """One run of a job. attempt counts from 1. claim: this run's own number, never used again.

    The times are the database's. metadata may hold "traceparent" (W3C Trace Context).
    """

    id: int
    kind: str
    queue: str
    args: dict[str, Any]
    attempt: int
    max_attempts: int
    claim: int
    metadata: dict[str, Any]
    created_at: datetime
    scheduled_at: datetime
    priority: int = 2
    connect: Callable[[], Connection] | None = field(default=None, repr=False)
    completed: bool = field(default=False, init=False)

    @property
    def conn(self) -> Connection:
        """The connection of the thread that runs the job. Raises Unavailable F401, or F712 outside
        a worker.
        """
        if self.connect is None:
            raise ForgeError("a job has a connection only while a worker runs it", code="F712")
        return self.connect()

    def complete_tx(self, conn: psycopg.Connection[Any]) -> None:
        """Complete the job in the caller's transaction: its effects happen exactly once.

        Raises StaleClaim F713 when the job is not this run's any more: let it leave the
        transaction.
        """
        with db.errors_translated():
            row = conn.execute(SQL["complete_tx"], {"id": self.id, "claim": self.claim}).fetchone()
        if row is None:
            raise StaleClaim(f"job {self.id} was taken from this run")
        self.completed = True


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to insert. delay: seconds. priority: 1 (first) to 4."""

    kind: str
    args: Mapping[str, Any]
    queue: str = "default"
    priority: int = 2
    max_attempts: int = 25
    delay: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
