"""What ours.py and peers.py share: their verbs' arguments, timing, and waiting for the end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg

JOBS = 10_000
SECONDS = 3.0  # of inserting one by one
PICKED_UP = 300  # jobs whose way from commit to handler is timed
PAUSE = 0.03  # seconds between them


class Seen:
    """What handlers saw: how many, and when each numbered one began (seconds, monotonic)."""

    def __init__(self) -> None:
        self.count = 0
        self.at: dict[int, float] = {}

    def hit(self, number: int) -> None:
        """Called by a handler. 0 and above: keep the time."""
        self.count += 1
        if number >= 0:
            self.at[number] = time.monotonic()


def tell(**figures: Any) -> None:
    """The one line of JSON that bench.py reads."""
    print(json.dumps(figures), flush=True)


def rate_of(insert: Callable[[], object]) -> dict[str, float]:
    """One insert after the other, each committed."""
    insert()
    count, began = 0, time.monotonic()
    while time.monotonic() - began < SECONDS:
        insert()
        count += 1
    return {"one_per_second": count / (time.monotonic() - began)}


def left(url: str, query: str) -> int:
    """What `query` counts."""
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(query).fetchone()  # type: ignore[arg-type]
        return int(row[0]) if row else 0


def ready() -> None:
    """Tell bench.py that the worker runs, and wait until it says that all is inserted."""
    tell(ready=True)
    sys.stdin.readline()
