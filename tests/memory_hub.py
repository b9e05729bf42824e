"""A hub in the memory of one process, for tests and benchmarks without a database."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from forge_min import db
from forge_min.notify import BeginBatch, Event, Opened, TopicKey
from forge_min.notify.channels import STUCK, Channels
from forge_min.notify.events import IsWanted

NOT_STARTED = (False, "F452: the hub is not started")


class MemoryHub:
    """Keeps the promises of `PostgresHub`; a client that missed more than the ring gets a refresh.

    begin: called with the events of a batch, returns the function that encodes each of them.
    ring: frames kept per topic key.
    resume_window: seconds that a key without subscribers is kept.
    """

    def __init__(self, begin: BeginBatch, *, ring: int = 64, resume_window: float = 600.0) -> None:
        self._channels = Channels(begin, ring, resume_window)
        self.refreshes: Mapping[str, int] = self._channels.refreshes
        self._ids = itertools.count(1)
        self._window = secrets.randbits(63)  # ids of other processes differ
        self._lock = threading.Lock()  # LOCK: events are submitted in the order of their ids
        self._state = NOT_STARTED

    @property
    def ready(self) -> tuple[bool, str]:
        """As `PostgresHub.ready`."""
        self._channels.replace_stuck()
        return (False, STUCK) if self._channels.stuck else self._state

    def start(self) -> None:
        """As `PostgresHub.start`."""
        self._state = (True, "")
        self._channels.start()

    def stop(self) -> None:
        """As `PostgresHub.stop`."""
        self._state = NOT_STARTED
        self._channels.stop()

    def subscribe(
        self, key: TopicKey, last_event_id: str | None = None, is_wanted: IsWanted = lambda: True
    ) -> Opened:
        """As `PostgresHub.subscribe`."""
        subscription, exact = self._channels.subscribe(key, last_event_id)
        if last_event_id is None or exact:
            return Opened(subscription, b"")
        return Opened(subscription, self._channels.replay(key, lambda _: None, is_wanted))

    def publish(self, event: Event) -> None:
        """Publish an event at once."""
        with self._lock:
            numbered = replace(
                event, id=next(self._ids), window=self._window, created_at=datetime.now(UTC)
            )
            self._channels.submit([numbered])

    def publish_tx(self, conn: psycopg.Connection[Any], event: Event) -> None:
        """Publish when the caller's `db.transaction()` commits; in others the event is lost."""
        db.after_commit(conn, lambda: self.publish(event))
