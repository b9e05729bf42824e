"""The types of the event stream: events, topic keys, subscriptions and the hub's own frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ..db import ThreadConnection
from ..fanout import Subscription


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a row, or an event of the application.

    topic: name of a table.
    kind: such as "flight.updated".
    resource_id: the row's key as text.
    version: of the row after the change.
    changed: names of the changed fields.
    payload: more data for the frame; JSON values.
    tenant_id: of the row; None: it belongs to no tenant.
    id, window, created_at: set by the log. Ids are not in commit order: `sse_id` resumes a client
        that has seen everything visible before the batch of `window`.
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
        """The id of the event's frame: "<window>.<id>"."""
        return f"{self.window}.{self.id}"


class TopicKey(NamedTuple):
    """The key of a channel: a topic of one tenant, in one wire format."""

    tenant: UUID | None
    topic: str
    format: str


class Opened(NamedTuple):
    """An open subscription, and the bytes to send first, usually none."""

    subscription: Subscription
    first: bytes


def refresh_frame(reason: str, missed: int | None = None) -> bytes:
    """Return the frame after which a client must read everything again.

    reason: "overflow", "reconnect" or "resume".
    missed: number of missed frames, if known.
    """
    count = "null"
    if missed is not None:
        count = str(missed)
    frame = f'event: refresh\ndata: {{"reason":"{reason}","missed":{count}}}\n\n'
    return frame.encode()


def status_frame(state: str) -> bytes:
    """Return the frame with the state of the hub: "live", or "reconnecting" to the database."""
    frame = f'event: status\ndata: {{"state":"{state}"}}\n\n'
    return frame.encode()


# (event, format) → one whole SSE frame with its id, or b"" to send nothing.
Encode = Callable[[Event, str], bytes]
# The events of a batch → the function that encodes each of them.
BeginBatch = Callable[[Sequence[Event]], Encode]
# Reads the events that a returning subscriber missed; returns None if they are not known.
Read = Callable[[ThreadConnection], Sequence[Event] | None]
# Returns False when the client has disconnected; called on any thread.
IsWanted = Callable[[], bool]
