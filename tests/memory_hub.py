"""A hub inside one process: for tests, and for sites of one process that need no log."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from .. import db
from .channels import STUCK, Channels
from .hub import Encode, Event, IsWanted, Opened, TopicKey, always

NOT_STARTED = (False, "F452: the hub is not started")


class MemoryHub:
    """Keeps the promises of `Hub` without a database; what is not in the ring any more is a
    refresh.

    encode: (event, audience, format) → one whole SSE frame. ring: frames kept per topic key.
    resume_window: seconds that a key without subscribers is kept.
    """

    def __init__(self, encode: Encode, *, ring: int = 64, resume_window: float = 600.0) -> None:
        self._channels = Channels(encode, ring, resume_window)
        self._ids = itertools.count(1)
        self._window = secrets.randbits(63)  # no id of another process is ever ours
        self._lock = threading.Lock()  # LOCK: an event gets its id and its place together
        self._state = NOT_STARTED

    @property
    def refreshes(self) -> Mapping[str, int]:
        """As `Hub.refreshes`."""
        return self._channels.refreshes

    @property
    def ready(self) -> tuple[bool, str]:
        """As `Hub.ready`."""
        self._channels.replace_stuck()
        return (False, STUCK) if self._channels.stuck else self._state

    def start(self) -> None:
        """As `Hub.start`."""
        self._state = (True, "")
        self._channels.start()

    def stop(self) -> None:
        """As `Hub.stop`."""
        self._state = NOT_STARTED
        self._channels.stop()

    def subscribe(
        self, key: TopicKey, last_event_id: str | None = None, is_wanted: IsWanted = always
    ) -> Opened:
        """As `Hub.subscribe`."""
        subscription, exact = self._channels.subscribe(key, last_event_id)
        missed = last_event_id is not None and not exact
        return Opened(subscription, self._channels.first_bytes(None if missed else []))

    def publish(self, event: Event) -> None:
        """As `Hub.publish`."""
        with self._lock:
            numbered = replace(
                event, id=next(self._ids), window=self._window, created_at=datetime.now(UTC)
            )
            self._channels.submit([numbered])

    def publish_tx(self, conn: psycopg.Connection[Any], event: Event) -> None:
        """As `Hub.publish_tx`; on a transaction that is not `db.transaction()` the event
        is lost.
        """
        db.after_commit(conn, lambda: self.publish(event))
