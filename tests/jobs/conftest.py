"""What the tests of jobs share: workers over a fresh database, and the queue as they see it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from forge_min import db, jobs
from forge_min.testing import TestDatabase

DEADLINE = 20.0


def wait_for(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Until `condition` holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


@dataclass
class Shop:
    """A queue in a fresh database, as the app's role."""

    database: TestDatabase
    workers: list[jobs.Worker] = field(default_factory=list)
    conns: list[db.Connection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.conn = self.open()

    def open(self) -> db.Connection:
        """A connection as the app's role."""
        return db.connect(self.database.app_url)

    def mine(self) -> db.Connection:
        """A connection that is closed at the end of the test."""
        self.conns.append(self.open())
        return self.conns[-1]

    def worker(
        self, handlers: Mapping[str, Callable[[jobs.Job], object]], **options: Any
    ) -> jobs.Worker:
        """A started worker, quick to look and to beat."""
        options = {"queues": {"default": 4}, "poll_interval": 0.05, "heartbeat": 0.2} | options
        worker = jobs.Worker(self.open, handlers, **options)
        self.workers.append(worker)
        worker.start()
        return worker

    def insert(self, kind: str = "a", args: Mapping[str, Any] | None = None, **options: Any) -> int:
        """A committed job."""
        return jobs.insert_tx(self.conn, kind, args or {}, **options)

    def row(self, job: int, *columns: str) -> tuple[Any, ...]:
        """Columns of one job."""
        found = self.conn.execute(
            f"select {', '.join(columns)} from forge_job where id = %s", [job]
        ).fetchone()
        assert found is not None
        return found

    def states(self) -> dict[str, int]:
        """How many jobs are in each state."""
        return dict(self.conn.execute("select state, count(*) from forge_job group by state"))  # type: ignore[arg-type]

    def settle(self, seconds: float = DEADLINE) -> None:
        """Until every job is over."""
        wait_for(lambda: set(self.states()) <= {"completed", "discarded", "cancelled"}, seconds)

    def until(self, job: int, state: str, seconds: float = DEADLINE) -> None:
        """Until one job is in `state`."""
        wait_for(lambda: self.row(job, "state") == (state,), seconds)

    wait_for = staticmethod(wait_for)


@pytest.fixture
def shop(fresh_database: TestDatabase) -> Iterator[Shop]:
    """A queue with workers that are stopped at the end."""
    shop = Shop(fresh_database)
    try:
        yield shop
    finally:
        for worker in shop.workers:
            worker.stop(5.0)
        for conn in (shop.conn, *shop.conns):
            conn.close()
