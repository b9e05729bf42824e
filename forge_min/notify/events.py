"""The words of this room: event, topic key, subscription, the hub's own frames and its promise.

No I/O. One conformance suite runs on everything that calls itself a hub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ..fanout import Subscription


@dataclass(frozen=True, slots=True)
class Event:
    """One change. topic: a table's name. kind: "flight.updated". version: of the row after the
    change.

    id, window and created_at are given by the log. Ids are not commit order: whoever has seen
    everything that was visible when the batch of `window` began may ask for the rest by `sse_id`.
    """

    topic: str
    kind: str
    resource_id: str | None = None
    version: int | None = None
    changed: tuple[str, ...] = ()
    payload: Mapping[str, Any] | None = None
    tenant_id: UUID | None = None
    id: int = 0
    window: int = 0
    created_at: datetime | None = None

    @property
    def sse_id(self) -> str:
        """The id of this event's frame: "<window>.<id>"."""
        return f"{self.window}.{self.id}"


class TopicKey(NamedTuple):
    """The events of one stream: those of a tenant's topic, in one wire format."""

    tenant: UUID | None
    topic: str
    format: str


class Opened(NamedTuple):
    """An open subscription. first: bytes to send before anything else, mostly empty."""

    subscription: Subscription
    first: bytes


def refresh_frame(reason: str, missed: int | None = None) -> bytes:
    """The frame that tells a page to read everything again. reason: overflow, reconnect or
    resume.
    """
    count = "null" if missed is None else str(missed)
    return f'event: refresh\ndata: {{"reason":"{reason}","missed":{count}}}\n\n'.encode("ascii")


def status_frame(state: str) -> bytes:
    """The frame that says whether events arrive: "live", or "reconnecting" to the database."""
    return f'event: status\ndata: {{"state":"{state}"}}\n\n'.encode("ascii")


# (event, format) → one whole SSE frame with its id, or b"" to send nothing.
Encode = Callable[[Event, str], bytes]
# The events of a batch → the function that encodes each of them.
BeginBatch = Callable[[Sequence[Event]], Encode]
# The events that a returning subscriber missed; None where they are not known.
Read = Callable[[], Sequence[Event] | None]
# False once the client is gone; called on any thread.
IsWanted = Callable[[], bool]


def always() -> bool:
    """A client that waits however long it takes."""
    return True
