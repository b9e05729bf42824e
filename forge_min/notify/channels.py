"""The channels of this process, and the thread `hub-encode` that encodes events for them.

A channel has a ring of frames and the position of each event's id in it. An event is encoded once
per format with subscribers. If an encoder raises or is slow, its own channel gets a refresh. If it
does not return, another thread takes over; after a few of those the hub is not ready. Events that
returning subscribers missed are encoded on another thread: see `Replayer`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from ..fanout import Subscription
from ..observe import span
from .encoding import Channel, EncoderThread, Replayer
from .events import BeginBatch, Encode, Event, IsWanted, Read, TopicKey, refresh_frame

STUCK = "F453: the encoder of events does not return"
BACKLOG = 10_000  # events that may wait; beyond that, all subscribers get one refresh
BATCH = 500  # events that are encoded together
REFRESH_ONLY = 60.0  # seconds in which a channel with a stuck encoder gets only refreshes
TICK = 0.5  # seconds between two calls of `idle`

_ATTRIBUTES = {
    "messaging.system": "forge",
    "messaging.operation.type": "send",
    "messaging.operation.name": "deliver",
}


class Channels(EncoderThread):
    """The thread `hub-encode` and the channels with subscribers within the resume window.

    begin: called with the events of a batch, returns the function that encodes each of them; must
        not raise.
    ring: frames kept per channel.
    window: seconds that a channel without subscribers is kept.
    idle: called on the thread every TICK; must not raise.

    `groups` has the channels by (tenant, topic) and format.
    """

    def __init__(
        self,
        begin: BeginBatch,
        ring: int,
        window: float = 600.0,
        idle: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__("hub-encode", TICK)
        self._ring = ring
        self._window = window
        self._begin = begin
        self._replayer = Replayer(begin)
        self._idle = idle
        # LOCK: _lock guards `groups` and the channels in it too.
        self.groups: dict[tuple[UUID | None, str], dict[str, Channel]] = {}
        self._idle_at = 0.0
        self.refreshes = dict.fromkeys(("overflow", "reconnect", "resume"), 0)

    def start(self, quiet: float = 0.0) -> None:
        """Start both threads: see `DatabaseThread.start`."""
        super().start(quiet)
        self._replayer.start()

    def stop(self, patience: float = 0.0) -> None:
        """Stop both threads: see `DatabaseThread.stop`."""
        self._replayer.stop()
        super().stop(patience)

    def replace_stuck(self) -> Channel | None:
        """Replace stuck threads, of both: see `EncoderThread.replace_stuck`."""
        until = time.monotonic() + REFRESH_ONLY
        if (late := self._replayer.replace_stuck()) is not None:
            late.no_replay_until = until
        if (busy := super().replace_stuck()) is not None:
            busy.refresh_only_until = busy.no_replay_until = until
            self._refresh(busy)
        return busy

    def subscribe(
        self, key: TopicKey, last_event_id: str | None = None
    ) -> tuple[Subscription, bool]:
        """Return a subscription, and whether it continues exactly after `last_event_id`."""
        with self._lock:
            group = self.groups.setdefault((key.tenant, key.topic), {})
            channel = group.setdefault(key.format, Channel(key.format, self._ring))
            channel.used = time.monotonic()
            after = None if last_event_id is None else channel.ids.get(last_event_id)
            return channel.topic.subscribe(after), after is not None

    def submit(self, events: Sequence[Event]) -> None:
        """Queue the events that have channels, in order, for encoding and publishing.

        Never blocks. Called by one thread at a time.
        """
        self.replace_stuck()
        with self._lock:
            groups = self.groups
            events = [event for event in events if (event.tenant_id, event.topic) in groups]
        if len(self._inbox) + len(events) > BACKLOG:
            self._inbox = deque()
            self.refresh_all("overflow")
        elif events:
            for start in range(0, len(events), BATCH):
                batch = events[start : start + BATCH]
                encode = self._begin(batch)
                self._inbox.extend(partial(self._deliver, encode, event) for event in batch)
            self.wake.set()

    def refresh_all(self, reason: str) -> None:
        """Send every subscriber a refresh."""
        self.refreshes[reason] += self.publish_all(refresh_frame(reason))

    def publish_all(self, frame: bytes) -> int:
        """Send a frame without an id to every subscriber; return the number of subscribers."""
        with self._lock:
            topics = [ch.topic for group in self.groups.values() for ch in group.values()]
            for topic in topics:
                topic.publish(frame)
        return sum(topic.subscribers for topic in topics)

    def replay(self, key: TopicKey, read: Read, is_wanted: IsWanted) -> bytes:
        """Return the frames that a subscriber of `key` missed, or a refresh: see `Replayer`."""
        with self._lock:
            channel = self.groups[key.tenant, key.topic][key.format]
        frames = None if self.stuck else self._replayer.replay(channel, read, is_wanted)
        if frames is None:
            self.refreshes["resume"] += 1
            return refresh_frame("resume")
        return b"".join(frames)

    def sweep(self) -> None:
        """Remove the channels that had no subscriber for a whole resume window."""
        now = time.monotonic()
        with self._lock:
            for name, group in list(self.groups.items()):
                for format, channel in list(group.items()):
                    if channel.topic.subscribers:
                        channel.used = now
                    elif now - channel.used > self._window:
                        del group[format]
                if not group:
                    del self.groups[name]

    # -- thread hub-encode ------------------------------------------------------------------------

    def _step(self) -> None:
        if time.monotonic() >= self._idle_at:
            self._idle_at = time.monotonic() + TICK
            self.sweep()
            self._idle()
        super()._step()

    def _deliver(self, encode: Encode, event: Event) -> None:
        # The tenant is part of the key, so an event never reaches another tenant's channels.
        with self._lock:
            channels = self.groups.get((event.tenant_id, event.topic), {}).values()
            # One step per channel: if one does not return, another thread does the others.
            self._inbox.extendleft([partial(self._send, encode, ch, event) for ch in channels])

    def _send(self, encode: Encode, channel: Channel, event: Event) -> None:
        names = {"messaging.destination.name": event.topic, "forge.event.kind": event.kind}
        with span(f"deliver {event.topic}", kind="producer", attributes=_ATTRIBUTES | names):
            frame = self._encode(encode, channel, event)
            if frame is None:
                self._refresh(channel)
            elif frame:
                with self._lock:
                    channel.ids[event.sse_id] = channel.topic.publish(frame)
                    if len(channel.ids) > self._ring:
                        del channel.ids[next(iter(channel.ids))]

    def _refresh(self, channel: Channel) -> None:
        channel.topic.publish(refresh_frame("overflow", 1))
        self.refreshes["overflow"] += channel.topic.subscribers
