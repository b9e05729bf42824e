"""What every hub promises, whatever carries its events. One conformance suite runs on each of
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import psycopg

from .event import Event, Opened, TopicKey

# (event, audience, format) → one whole SSE frame, with its id, or b"" for nothing at all.
Encode = Callable[[Event, str, str], bytes]


class Hub(Protocol):
    """Carries committed events to the subscribers of this process.

    Every event that is committed reaches each subscriber of its key, or that subscriber gets a
    refresh; none arrives before its commit.
    """

    @property
    def ready(self) -> tuple[bool, str]:
        """(True, ""), or (False, why): "F451: ..."."""

    def start(self) -> None:
        """Start the threads. Idempotent."""

    def stop(self) -> None:
        """End the threads. Idempotent. Subscriptions stay open and silent."""

    def subscribe(self, key: TopicKey, last_event_id: str | None = None) -> Opened:
        """Hear of what comes next, and first of what came after `last_event_id`, or get a
        refresh.
        """

    def publish(self, event: Event) -> None:
        """Publish at once, in a transaction of its own. Raises errors.Unavailable."""

    def publish_tx(self, conn: psycopg.Connection[Any], event: Event) -> None:
        """Publish when the caller's transaction commits; never when it is rolled back."""
