"""The topics of this process: one ring per key, and beside it where each event's id stands in that
ring.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from uuid import UUID

from ..fanout import Subscription, Topic
from .hub import Event, TopicKey, refresh_frame


class Channel:
    """One key's ring. `ids` maps the ids of the last frames to their sequence numbers."""

    def __init__(self, key: TopicKey, size: int) -> None:
        self.key = key
        self.topic = Topic(size)
        self.ids: OrderedDict[str, int] = OrderedDict()
        self.used = time.monotonic()


class Channels:
    """Every channel that had a subscriber within the resume window, by (tenant, topic).

    ring: frames kept per channel. resume_window: seconds that a channel without subscribers is
    kept on.
    """

    def __init__(self, ring: int, resume_window: float) -> None:
        self._ring = ring
        self._window = resume_window
        self._lock = threading.Lock()  # LOCK: guards everything below, held for moments only
        self._groups: dict[tuple[UUID | None, str], dict[TopicKey, Channel]] = {}

    def subscribe(
        self, key: TopicKey, last_event_id: str | None = None
    ) -> tuple[Subscription, bool]:
        """A subscription, and whether it goes on exactly after `last_event_id`."""
        with self._lock:
            group = self._groups.setdefault((key.tenant, key.topic), {})
            channel = group.get(key)
            if channel is None:
                channel = group[key] = Channel(key, self._ring)
            channel.used = time.monotonic()
            after = None if last_event_id is None else channel.ids.get(last_event_id)
            return channel.topic.subscribe(after), after is not None

    def of(self, event: Event) -> list[Channel]:
        """The channels that hear `event`. Another tenant's are never among them."""
        with self._lock:
            return list(self._groups.get((event.tenant_id, event.topic), {}).values())

    def publish(self, channel: Channel, frame: bytes, event_id: str | None = None) -> None:
        """Append a frame to the channel's ring. O(1), never waits for a subscriber."""
        with self._lock:
            seq = channel.topic.publish(frame)
            if event_id is not None:
                channel.ids[event_id] = seq
                if len(channel.ids) > self._ring:
                    channel.ids.popitem(last=False)

    def refresh_all(self, reason: str) -> None:
        """Tell every subscriber to read everything again."""
        frame = refresh_frame(reason)
        with self._lock:
            for group in self._groups.values():
                for channel in group.values():
                    channel.topic.publish(frame)

    def sweep(self) -> None:
        """Forget the channels that had no subscriber for a whole resume window."""
        now = time.monotonic()
        with self._lock:
            for name, group in list(self._groups.items()):
                for key, channel in list(group.items()):
                    if channel.topic.subscribers:
                        channel.used = now
                    elif now - channel.used > self._window:
                        del group[key]
                if not group:
                    del self._groups[name]

    def __len__(self) -> int:
        with self._lock:
            return sum(len(group) for group in self._groups.values())
