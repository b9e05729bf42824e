"""The topics of this process, and the thread `hub-encode` that turns events into their frames.

One ring per key, and beside it where each event's id stands in that ring. An event is encoded once
per audience and format that listens. An encoder that raises or is slow costs its own key a refresh.
From one that does not return another thread takes over; after a few such the hub is not ready.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from ..fanout import Subscription, Topic
from ..observe import span
from .hub import Encode, Event, TopicKey, refresh_frame
from .link import Loop, Replaced

log = logging.getLogger("forge_min.notify")
SLOW = 0.05  # seconds of the thread's own time after which a frame is refused
# ... and on the clock, which holds the waiting for a database too. It is wider because a frame that
# only waited for its turn on a busy machine is a good one.
SLOW_WAITING = 0.25
LONG = 1.0  # seconds on one frame: it may never return
SILENT = 60.0  # seconds in which a key whose encoder did not return gets refreshes only
SPARE = 3  # threads that may be lost to encoders that do not return
MOST_BYTES = 1 << 20  # of the frames that one returning subscriber has read for it
STUCK = "F453: the encoder of events does not return"
BACKLOG = 10_000  # events that may wait; more become one refresh to all
BATCH = 500  # events whose rows are read together
ANSWER = 2.0  # seconds that a returning subscriber waits for its frames before it gets a refresh
TICK = 0.5  # seconds between two calls of `idle`


_SENDS = {
    "messaging.system": "forge",
    "messaging.operation.type": "send",
    "messaging.operation.name": "deliver",
}


class Channel:
    """One key's ring. `ids` maps the ids of the last frames to their sequence numbers."""

    def __init__(self, size: int) -> None:
        self.topic = Topic(size)
        self.ids: dict[str, int] = {}
        self.used = time.monotonic()
        self.silent_until = 0.0


class Channels(Loop):
    """The thread `hub-encode`, with every channel that had a subscriber within the resume window,
    by (tenant, topic).

    ring: frames kept per channel. window: seconds that one without subscribers is kept. begin:
    called on the thread with the events that are encoded next. idle: called on it now and then. May
    not raise, neither of them.
    """

    def __init__(
        self,
        encode: Encode,
        ring: int,
        window: float = 600.0,
        begin: Callable[[Sequence[Event]], object] = lambda events: None,
        idle: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__("hub-encode", self._step, None)
        self._encode = encode
        self._ring = ring
        self._window = window
        self._begin = begin
        self._idle = idle
        self._lock = threading.Lock()  # LOCK: guards _groups and what is in it, for moments only
        self._groups: dict[tuple[UUID | None, str], dict[TopicKey, Channel]] = {}
        self._inbox: deque[Callable[[], object]] = deque()
        self._began: float | None = None  # when the frame that is being encoded was begun
        self._busy: Channel | None = None  # whose frame it is
        self._lost: set[threading.Thread | None] = set()  # those whose encoder has not returned
        self._hurry_until = 0.0  # till then nobody waits for a replay: the last one came too late
        self._idle_at = 0.0
        self.refreshes = dict.fromkeys(("overflow", "reconnect", "resume"), 0)

    @property
    def stuck(self) -> bool:
        """Whether the encoder does not return."""
        began = self._began
        return began is not None and time.monotonic() - began > LONG

    @property
    def any(self) -> bool:
        """Whether there is a channel."""
        return bool(self._groups)

    def relieve(self) -> None:
        """Where the encoder does not return, go on with another thread. Called now and then."""
        with self._lock:
            if not self.stuck or len(self._lost) == SPARE or self.stopping.is_set():
                return
            self._lost.add(self._thread)
            self._began, busy = None, self._busy
            self.replace()
        log.error("the encoder of events does not return: another thread goes on")
        if busy is not None:
            busy.silent_until = time.monotonic() + SILENT
            self._refresh(busy)

    def subscribe(
        self, key: TopicKey, last_event_id: str | None = None
    ) -> tuple[Subscription, bool]:
        """A subscription, and whether it goes on exactly after `last_event_id`."""
        with self._lock:
            group = self._groups.setdefault((key.tenant, key.topic), {})
            channel = group.setdefault(key, Channel(self._ring))
            channel.used = time.monotonic()
            after = None if last_event_id is None else channel.ids.get(last_event_id)
            return channel.topic.subscribe(after), after is not None

    def submit(self, events: Sequence[Event]) -> None:
        """Encode and publish `events` in this order, those of channels. Never blocks. One thread
        at a time.
        """
        self.relieve()
        with self._lock:
            groups = self._groups
            events = [event for event in events if (event.tenant_id, event.topic) in groups]
        if len(self._inbox) + len(events) > BACKLOG:
            self._inbox = deque()  # who waits for a replay gets none, in time
            self.refresh_all("overflow")
        elif events:
            for start in range(0, len(events), BATCH):
                batch = events[start : start + BATCH]
                self._inbox.append(partial(self._begin, batch))
                self._inbox.extend(partial(self._deliver, event) for event in batch)
            self.wake.set()

    def refresh_all(self, reason: str) -> None:
        """Tell every subscriber to read everything again."""
        frame = refresh_frame(reason)
        with self._lock:
            for group in self._groups.values():
                for channel in group.values():
                    channel.topic.publish(frame)
                    self.refreshes[reason] += channel.topic.subscribers

    def replay(
        self, key: TopicKey, read: Callable[[], Sequence[Event] | None]
    ) -> list[bytes] | None:
        """Frames as `key`, which has a subscriber, sees them of what `read`, called on the thread,
        gives; None when they could not be had in time.
        """
        with self._lock:
            channel = self._groups[key.tenant, key.topic][key]
        if self.stuck or time.monotonic() < max(self._hurry_until, channel.silent_until):
            return None
        answer: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._inbox.append(lambda: answer.put(self._frames(key, channel, read())))
        self.wake.set()
        try:
            return answer.get(timeout=ANSWER)
        except queue.Empty:
            self._hurry_until = time.monotonic() + ANSWER
            return None

    def resumed(self, frames: list[bytes] | None) -> bytes:
        """What a returning subscriber gets first: its frames; a refresh when they are not known."""
        if frames is None or sum(map(len, frames)) > MOST_BYTES:
            self.refreshes["resume"] += 1
            return refresh_frame("resume")
        return b"".join(frames)

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

    # -- thread hub-encode ------------------------------------------------------------------------

    def _step(self) -> None:
        if not self._inbox:
            self.rest(TICK)
        if time.monotonic() >= self._idle_at:
            self._idle_at = time.monotonic() + TICK
            self.sweep()
            self._idle()
        inbox = self._inbox  # SAFETY: `submit` may put another in its place
        if inbox:
            inbox.popleft()()

    def _deliver(self, event: Event) -> None:
        # Another tenant's channels are never among these.
        with self._lock:
            channels = self._groups.get((event.tenant_id, event.topic), {}).items()
            # One step each: should one not return, another thread finds the rest here.
            self._inbox.extendleft([partial(self._send, *pair, event) for pair in channels])

    def _send(self, key: TopicKey, channel: Channel, event: Event) -> None:
        what = _SENDS | {"messaging.destination.name": key.topic, "forge.event.kind": event.kind}
        with span(f"deliver {key.topic}", kind="producer", attributes=what):
            frame = self._frame(key, channel, event)
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

    def _frames(
        self, key: TopicKey, channel: Channel, events: Sequence[Event] | None
    ) -> list[bytes] | None:
        """A frame for each event, or None when one of them could not be had."""
        if events is None:
            return None
        frames = [self._frame(key, channel, event) for event in events]
        return None if None in frames else [frame for frame in frames if frame]

    def _frame(self, key: TopicKey, channel: Channel, event: Event) -> bytes | None:
        """What the encoder makes of `event`; None when it raised, gave no bytes, took too long, or
        did not return lately.
        """
        if time.monotonic() < channel.silent_until:
            return None
        self._busy, self._began = channel, (clock := time.monotonic())
        own = time.thread_time()
        frame: bytes | None = None
        try:
            made = self._encode(event, key.audience, key.format)
            frame = made if isinstance(made, bytes) else None
        except BaseException:  # a SystemExit of the user's code must not end the thread
            log.exception("the encoder failed for topic %s", key.topic)
        with self._lock:
            if threading.current_thread() is not self._thread:
                self._lost.discard(threading.current_thread())
                raise Replaced
            self._began = None
        if frame is None:
            return None
        if time.thread_time() - own > SLOW or time.monotonic() - clock > SLOW_WAITING:
            log.warning("the encoder took too long for topic %s", key.topic)
            return None
        return frame
