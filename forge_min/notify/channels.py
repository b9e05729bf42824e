"""The topics of this process, and the thread `hub-encode` that turns events into their frames.

One ring per key, and beside it where each event's id stands in that ring. An event is encoded once
per audience and format that listens. An encoder that raises or is slow costs its own key a refresh.
From one that does not return another thread takes over; after a few such the hub is not ready. What
returning subscribers missed is encoded on a thread of its own: see `Replayer`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from ..fanout import Subscription
from ..observe import span
from .encoding import MAX_REPLAY_BYTES, Channel, EncoderThread, Replayer
from .events import BeginBatch, Encode, Event, IsWanted, Read, TopicKey, always, refresh_frame

STUCK = "F453: the encoder of events does not return"
BACKLOG = 10_000  # events that may wait; more become one refresh to all
BATCH = 500  # events whose rows are read together
REFRESH_ONLY = 60.0  # seconds in which a key whose encoder did not return gets refreshes only
TICK = 0.5  # seconds between two calls of `idle`

_SENDS = {
    "messaging.system": "forge",
    "messaging.operation.type": "send",
    "messaging.operation.name": "deliver",
}


class Channels(EncoderThread):
    """The thread `hub-encode`, with every channel that had a subscriber within the resume window,
    by (tenant, topic).

    ring: frames kept per channel. window: seconds that one without subscribers is kept. begin:
    called with the events of a batch, returns what encodes each of them. idle: called on the thread
    now and then. May not raise, neither of them.
    """

    def __init__(
        self,
        begin: BeginBatch,
        ring: int,
        window: float = 600.0,
        idle: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__("hub-encode")
        self._ring = ring
        self._window = window
        self._begin = begin
        self._replayer = Replayer(begin)
        self._idle = idle
        # LOCK: _lock guards _groups and what is in it too.
        self.groups: dict[tuple[UUID | None, str], dict[TopicKey, Channel]] = {}
        self._idle_at = 0.0
        self.refreshes = dict.fromkeys(("overflow", "reconnect", "resume"), 0)

    def start(self, quiet: float = 0.0) -> None:
        """As `DatabaseThread.start`, of both threads."""
        super().start(quiet)
        self._replayer.start()

    def stop(self, patience: float = 0.0) -> None:
        """As `DatabaseThread.stop`, of both threads."""
        self._replayer.stop()
        super().stop(patience)

    def replace_stuck(self) -> Channel | None:
        """As `EncoderThread.relieve`, of both threads."""
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
        """A subscription, and whether it goes on exactly after `last_event_id`."""
        with self._lock:
            group = self.groups.setdefault((key.tenant, key.topic), {})
            channel = group.setdefault(key, Channel(self._ring))
            channel.used = time.monotonic()
            after = None if last_event_id is None else channel.ids.get(last_event_id)
            return channel.topic.subscribe(after), after is not None

    def submit(self, events: Sequence[Event]) -> None:
        """Encode and publish `events` in this order, those of channels. Never blocks. One thread
        at a time.
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
        """Tell every subscriber to read everything again."""
        self.refreshes[reason] += self.publish_all(refresh_frame(reason))

    def publish_all(self, frame: bytes) -> int:
        """Send a frame without an id to every subscriber. Returns how many there are."""
        with self._lock:
            topics = [one.topic for group in self.groups.values() for one in group.values()]
            for topic in topics:
                topic.publish(frame)
        return sum(topic.subscribers for topic in topics)

    def replay(self, key: TopicKey, read: Read, is_wanted: IsWanted = always) -> list[bytes] | None:
        """As `Replayer.replay`, for `key`, which has a subscriber."""
        with self._lock:
            channel = self.groups[key.tenant, key.topic][key]
        return None if self.stuck else self._replayer.replay(key, channel, read, is_wanted)

    def first_bytes(self, frames: list[bytes] | None) -> bytes:
        """What a returning subscriber gets first: its frames; a refresh when they are not known."""
        if frames is None or sum(map(len, frames)) > MAX_REPLAY_BYTES:
            self.refreshes["resume"] += 1
            return refresh_frame("resume")
        return b"".join(frames)

    def sweep(self) -> None:
        """Forget the channels that had no subscriber for a whole resume window."""
        now = time.monotonic()
        with self._lock:
            for name, group in list(self.groups.items()):
                for key, channel in list(group.items()):
                    if channel.topic.subscribers:
                        channel.used = now
                    elif now - channel.used > self._window:
                        del group[key]
                if not group:
                    del self.groups[name]

    # -- thread hub-encode ------------------------------------------------------------------------

    def _step(self) -> None:
        if not self._inbox:
            self.rest(TICK)
        if time.monotonic() >= self._idle_at:
            self._idle_at = time.monotonic() + TICK
            self.sweep()
            self._idle()
        if self._inbox:
            super()._step()

    def _deliver(self, encode: Encode, event: Event) -> None:
        # Another tenant's channels are never among these.
        with self._lock:
            channels = self.groups.get((event.tenant_id, event.topic), {}).items()
            # One step each: should one not return, another thread finds the rest here.
            self._inbox.extendleft([partial(self._send, encode, *one, event) for one in channels])

    def _send(self, encode: Encode, key: TopicKey, channel: Channel, event: Event) -> None:
        what = _SENDS | {"messaging.destination.name": key.topic, "forge.event.kind": event.kind}
        with span(f"deliver {key.topic}", kind="producer", attributes=what):
            frame = self._encode(encode, key, channel, event)
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
