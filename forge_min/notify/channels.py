"""The channels of this process, and the threads that encode events for them as frames.

A channel has a ring of frames and the position of each event's id in it. The thread `hub-encode`
encodes an event once per format with subscribers. An encoder runs code of the application: if it
raises or is slow, its own channel gets a refresh. If it does not return, another thread takes over;
after a few of those the hub is not ready. Events that returning subscribers missed are encoded on
another thread: see `Replayer`.
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

from ..db import Connect, DatabaseThread, Replaced, ThreadConnection
from ..fanout import Subscription, Topic
from ..observe import span
from .events import BeginBatch, Encode, Event, IsWanted, Read, TopicKey, refresh_frame

log = logging.getLogger("forge_min.notify")
STUCK = "F453: the encoder of events does not return"
BACKLOG = 10_000  # events that may wait; beyond that, all subscribers get one refresh
BATCH = 500  # events that are encoded together
REFRESH_ONLY = 60.0  # seconds in which a channel with a stuck encoder gets only refreshes
TICK = 0.5  # seconds between two calls of `idle`
SLOW_CPU = 0.05  # seconds of CPU time after which a frame is dropped
# The same in wall-clock time, which includes waiting for a database. It is larger because a frame
# is good if the thread only had to wait for the processor.
SLOW_WALL = 0.25
STUCK_AFTER = 1.0  # seconds on one frame after which the encoder may never return
MAX_LOST_THREADS = 3  # threads that may be lost to encoders that do not return
REPLAY_TIMEOUT = 2.0  # seconds after which a returning subscriber gets a refresh
MAX_REPLAY_BYTES = 1 << 20  # size of all frames for one returning subscriber
REPLAY_BATCH = 50  # missed events that are encoded together

_ATTRIBUTES = {
    "messaging.system": "forge",
    "messaging.operation.type": "send",
    "messaging.operation.name": "deliver",
}


class Channel:
    """The ring of one topic key.

    format: of the frames, as in TopicKey.
    size: frames in the ring.

    ids: sequence numbers of the last frames, by their ids.
    used: time of the last subscriber. Times are of time.monotonic().
    refresh_only_until, no_replay_until: until then its subscribers get only refreshes, live or at a
        resume, because an encoder of this key did not return.
    """

    def __init__(self, format: str, size: int) -> None:
        self.format = format
        self.topic = Topic(size)
        self.ids: dict[str, int] = {}
        self.used = time.monotonic()
        self.refresh_only_until = self.no_replay_until = 0.0


class EncoderThread(DatabaseThread):
    """Runs the functions in `_inbox` one after the other; they encode by `_encode`.

    connect, patience: see `DatabaseThread`.
    tick: seconds after which an idle thread begins another step; None: no limit.
    """

    def __init__(
        self, name: str, connect: Connect | None, patience: float, tick: float | None = None
    ) -> None:
        super().__init__(name, self._step, connect, patience)
        self._tick = tick
        self._lock = threading.Lock()  # LOCK: guards _began, _lost and _thread; held briefly
        self._inbox: deque[Callable[[], object]] = deque()
        self._began: float | None = None  # start of the frame that is being encoded
        self._busy_channel: Channel | None = None  # channel of that frame
        self._lost: set[threading.Thread | None] = set()  # threads with a stuck encoder

    @property
    def stuck(self) -> bool:
        """Whether the current encoder has not returned for STUCK_AFTER."""
        began = self._began
        return began is not None and time.monotonic() - began > STUCK_AFTER

    def replace_stuck(self) -> Channel | None:
        """Replace the thread if its encoder is stuck; called regularly.

        Returns the channel of the abandoned frame, None if the thread was not replaced.
        """
        with self._lock:
            if not self.stuck or len(self._lost) == MAX_LOST_THREADS or self.stopping.is_set():
                return None
            self._lost.add(self._thread)
            self._began = None
            busy = self._busy_channel
            self.replace()
        log.error("the encoder of events does not return: another thread continues")
        return busy

    def _step(self) -> None:
        if not self._inbox:
            self.rest(self._tick)
        inbox = self._inbox  # SAFETY: another thread may assign a new one
        if inbox:
            inbox.popleft()()

    def _encode(self, encode: Encode, channel: Channel, event: Event) -> bytes | None:
        """Return the frame of `event`.

        Returns None if the encoder raises, returns no bytes, takes too long, or was stuck recently.
        """
        if time.monotonic() < channel.refresh_only_until:
            return None
        self._busy_channel = channel
        began = time.monotonic()
        self._began = began
        cpu_time = time.thread_time()
        frame = None
        try:
            result = encode(event, channel.format)
            if isinstance(result, bytes):
                frame = result
        except BaseException:  # a SystemExit in application code must not end the thread
            log.exception("the encoder failed for topic %s", event.topic)
        thread = threading.current_thread()
        with self._lock:
            if thread is not self._thread:
                self._lost.discard(thread)
                raise Replaced
            self._began = None
        cpu_seconds = time.thread_time() - cpu_time
        seconds = time.monotonic() - began
        is_slow = cpu_seconds > SLOW_CPU or seconds > SLOW_WALL
        if frame is not None and is_slow:
            log.warning("the encoder took too long for topic %s", event.topic)
            return None
        return frame


class Replayer(EncoderThread):
    """The thread `hub-replay`, which encodes the events that returning subscribers missed.

    It serves one subscriber at a time and does not delay live events.

    begin, connect, patience: see `Channels`.
    """

    def __init__(self, begin: BeginBatch, connect: Connect | None, patience: float) -> None:
        super().__init__("hub-replay", connect, patience)
        self._begin = begin
        self._hurry_until = 0.0  # no replay until then: the last one took too long
        self._cpu_time = 0.0  # time.thread_time() after the last pause
        # The last frames by the ids of their events, for one channel and window.
        self._cached_window: tuple[Channel, int] | None = None
        self._cache: dict[int, bytes] = {}

    def replay(self, channel: Channel, read: Read, is_wanted: IsWanted) -> list[bytes] | None:
        """Return the frames of the missed events, None if they are not ready in time.

        channel: of the subscriber.
        read: called on the thread with its connection, returns the events.
        is_wanted: called on the thread between batches.
        """
        now = time.monotonic()
        end = now + REPLAY_TIMEOUT
        if self.stuck or now < max(self._hurry_until, channel.no_replay_until):
            return None

        def is_awaited() -> bool:
            return time.monotonic() < end and is_wanted()

        result: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()

        def run() -> None:
            frames = self._frames(channel, read, is_awaited)
            result.put(frames)
            self._pause()

        self._inbox.append(run)
        self.wake.set()
        try:
            return result.get(timeout=REPLAY_TIMEOUT)
        except queue.Empty:
            self._hurry_until = time.monotonic() + REPLAY_TIMEOUT
            return None

    def _frames(self, channel: Channel, read: Read, is_awaited: IsWanted) -> list[bytes] | None:
        if not is_awaited():
            return None
        events = read(self)
        if events is None:
            return None
        if not events:
            return []
        # Clients that were disconnected together missed the same events. Frames can be reused: a
        # later change of the row has another event.
        window = (channel, events[0].window)
        frames = {}
        if self._cached_window == window:
            frames = self._cache.copy()
        missing = [event for event in events if event.id not in frames]
        for start in range(0, len(missing), REPLAY_BATCH):
            batch = missing[start : start + REPLAY_BATCH]
            encode = self._begin(batch)
            for event in batch:
                frame = self._encode(encode, channel, event)
                if frame is None:
                    return None
                frames[event.id] = frame
            size = sum(map(len, frames.values()))
            if size > MAX_REPLAY_BYTES or not is_awaited():
                return None
            self._pause()
        self._cached_window = window
        self._cache = {event.id: frames[event.id] for event in events}
        return list(self._cache.values())

    def _pause(self) -> None:
        # PERF: pauses as long as it has worked, so that live events get the interpreter lock.
        worked = time.thread_time() - self._cpu_time
        self.stopping.wait(max(0.0, worked))
        self._cpu_time = time.thread_time()


class Channels(EncoderThread):
    """The thread `hub-encode` and the channels with subscribers within the resume window.

    begin: called with the events of a batch, returns the function that encodes each of them; must
        not raise.
    ring: frames kept per channel.
    window: seconds that a channel without subscribers is kept.
    idle: called on the thread every TICK with its connection; must not raise.
    connect: opens a connection of each thread, which may lead through a pooler.
    patience: of these connections, see `Connection`.

    `groups` has the channels by (tenant, topic) and format.
    """

    def __init__(
        self,
        begin: BeginBatch,
        ring: int,
        window: float = 600.0,
        idle: Callable[[ThreadConnection], object] = lambda connection: None,
        connect: Connect | None = None,
        patience: float = 5.0,
    ) -> None:
        super().__init__("hub-encode", connect, patience, TICK)
        self._ring = ring
        self._window = window
        self._begin = begin
        self._replayer = Replayer(begin, connect, patience)
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
        replayed = self._replayer.replace_stuck()
        if replayed is not None:
            replayed.no_replay_until = until
        busy = super().replace_stuck()
        if busy is not None:
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
            after = None
            if last_event_id is not None:
                after = channel.ids.get(last_event_id)
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
                deliveries = [partial(self._deliver, encode, event) for event in batch]
                self._inbox.extend(deliveries)
            self.wake.set()

    def refresh_all(self, reason: str) -> None:
        """Send every subscriber a refresh."""
        subscribers = self.publish_all(refresh_frame(reason))
        self.refreshes[reason] += subscribers

    def publish_all(self, frame: bytes) -> int:
        """Send a frame without an id to every subscriber; return the number of subscribers."""
        subscribers = 0
        with self._lock:
            for group in self.groups.values():
                for channel in group.values():
                    channel.topic.publish(frame)
                    subscribers += channel.topic.subscribers
        return subscribers

    def replay(self, key: TopicKey, read: Read, is_wanted: IsWanted) -> bytes:
        """Return the frames that a subscriber of `key` missed, or a refresh: see `Replayer`."""
        with self._lock:
            channel = self.groups[key.tenant, key.topic][key.format]
        frames = None
        if not self.stuck:
            frames = self._replayer.replay(channel, read, is_wanted)
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
            self._idle(self)
        super()._step()

    def _deliver(self, encode: Encode, event: Event) -> None:
        # The tenant is part of the key, so an event never reaches another tenant's channels.
        with self._lock:
            channels = self.groups.get((event.tenant_id, event.topic), {}).values()
            # One step per channel: if one does not return, another thread does the others.
            for channel in channels:
                self._inbox.appendleft(partial(self._send, encode, channel, event))

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
                        oldest = next(iter(channel.ids))
                        del channel.ids[oldest]

    def _refresh(self, channel: Channel) -> None:
        channel.topic.publish(refresh_frame("overflow", 1))
        self.refreshes["overflow"] += channel.topic.subscribers
