"""What tests of forge_min and of projects stand on: databases of their own, made in milliseconds;
rows, requests, jobs and events without a server.
"""

from __future__ import annotations

from .client import Answer, Client, running_app
from .database import TestDatabase, fast_server, fresh_database
from .factory import Factory
from .queue import (
    Drained,
    JobsFailed,
    assert_enqueued,
    drain_jobs,
    enqueued,
    event_position,
    read_events,
    travel,
)

__all__ = [
    "Answer", "Client", "Drained", "Factory", "JobsFailed", "TestDatabase", "assert_enqueued",
    "drain_jobs", "enqueued", "event_position", "fast_server", "fresh_database", "read_events",
    "running_app", "travel",
]  # fmt: skip
