"""Tools for tests of projects: a database for each test, rows, requests, jobs and events.

A database takes milliseconds. No tool needs a running server of the application.
"""

from ..lazy import lazy_exports
from .client import Client, ClientResponse, running_app
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
    "Client", "ClientResponse", "Drained", "Factory", "JobsFailed", "TestDatabase",
    "assert_enqueued", "drain_jobs", "enqueued", "event_position", "fast_server", "fresh_database",
    "read_events", "running_app", "travel",
]  # fmt: skip

__getattr__ = lazy_exports(__name__, {})  # for names of earlier releases
