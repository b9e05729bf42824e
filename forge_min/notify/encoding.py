"""The threads that encode events into frames, and the ring that the frames go to.

An encoder runs a user's code. If it raises or is slow, its frame is refused. If it does not return,
another thread takes over, a bounded number of times.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable

from ..db import DatabaseThread, Replaced
from ..fanout import Topic
from .events import BeginBatch, Encode, Event, IsWanted, Read, TopicKey

log = logging.getLogger("forge_min.notify")
SLOW_CPU = 0.05  # seconds of the thread's own time after which a frame is refused
# ... and on the clock, which holds the waiting for a database too. It is wider because a frame that
# only waited for its turn on a busy machine is a good one.
SLOW_WALL = 0.25
STUCK_AFTER = 1.0  # seconds on one frame: it may never return
MAX_LOST_THREADS = 3  # threads that may be lost to encoders that do not return
REPLAY_TIMEOUT = (
    2.0  # seconds that a returning subscriber waits for its frames before it gets a refresh
)
MAX_REPLAY_BYTES = 1 << 20  # of the frames that one returning subscriber gets
REPLAY_BATCH = 50  # missed events whose rows are read together


class Channel:
    """One key's ring. `ids` maps the ids of the last frames to their sequence numbers.

    silent_until, no_replay_until: until then subscribers get refreshes only, because an encoder of
    this key did not return.
    """

    def __init__(self, size: int) -> None:
        self.topic = Topic(size)
        self.ids: dict[str, int] = {}
        self.used = time.monotonic()
        self.refresh_only_until = self.no_replay_until = 0.0


class EncoderThread(DatabaseThread):
    """Runs the functions of `_inbox` in turn; those that encode call `_encode`."""

    def __init__(self, name: str) -> None:
        super().__init__(name, self._step, None)
        self._lock = threading.Lock()  # LOCK: guards _began, _lost and _thread, for moments only
        self._inbox: deque[Callable[[], object]] = deque()
        self._began: float | None = None  # when the frame that is being encoded was begun
        self._busy_channel: Channel | None = None  # whose frame it is
        self._lost: set[threading.Thread | None] = set()  # those whose encoder has not returned

    @property
    def stuck(self) -> bool:
        """Whether the encoder does not return."""
        began = self._began
        return began is not None and time.monotonic() - began > STUCK_AFTER

    def replace_stuck(self) -> Channel | None:
        """Replace the thread if its encoder does not return. Called now and then.

        Returns the channel of the frame that was given up, if any.
        """
        with self._lock:
            if not self.stuck or len(self._lost) == MAX_LOST_THREADS or self.stopping.is_set():
                return None
            self._lost.add(self._thread)
            self._began, busy = None, self._busy_channel
            self.replace()
        log.error("the encoder of events does not return: another thread goes on")
        return busy

    def _step(self) -> None:
        if not self._inbox:
            self.rest()
        inbox = self._inbox  # SAFETY: another one may be put in its place meanwhile
        if inbox:
            inbox.popleft()()

    def _encode(
        self, encode: Encode, key: TopicKey, channel: Channel, event: Event
    ) -> bytes | None:
        """What the encoder makes of `event`; None when it raised, gave no bytes, took too long, or
        did not return lately.
        """
        if time.monotonic() < channel.refresh_only_until:
            return None
        self._busy_channel, self._began = channel, (clock := time.monotonic())
        own = time.thread_time()
        frame: bytes | None = None
        try:
            made = encode(event, key.format)
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
        if time.thread_time() - own > SLOW_CPU or time.monotonic() - clock > SLOW_WALL:
            log.warning("the encoder took too long for topic %s", key.topic)
            return None
        return frame


class Replayer(EncoderThread):
    """The thread `hub-replay`: encodes again what a returning subscriber missed.

    It serves one subscriber at a time, apart from the live events. begin: see `Channels`.
    """

    def __init__(self, begin: BeginBatch) -> None:
        super().__init__("hub-replay")
        self._begin = begin
        self._hurry_until = 0.0  # until then none waits: the last replay came too late
        self._cpu_time = 0.0  # time.thread_time() after the last pause
        # The last frames by the ids of their events, for one key and window.
        self._known: tuple[tuple[TopicKey, int] | None, dict[int, bytes]] = (None, {})

    def replay(
        self, key: TopicKey, channel: Channel, read: Read, is_wanted: IsWanted
    ) -> list[bytes] | None:
        """The frames of some events as the subscribers of `key` see them.

        read: called on the thread. wanted: called on the thread between batches.
        Returns None if the frames could not be had in time.
        """
        end = time.monotonic() + REPLAY_TIMEOUT
        if self.stuck or time.monotonic() < max(self._hurry_until, channel.no_replay_until):
            return None

        def is_awaited() -> bool:
            return time.monotonic() < end and is_wanted()

        answer: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()

        def run() -> None:
            answer.put(self._frames(key, channel, read, is_awaited))
            self._pause()

        self._inbox.append(run)
        self.wake.set()
        try:
            return answer.get(timeout=REPLAY_TIMEOUT)
        except queue.Empty:
            self._hurry_until = time.monotonic() + REPLAY_TIMEOUT
            return None

    def _frames(
        self, key: TopicKey, channel: Channel, read: Read, is_awaited: IsWanted
    ) -> list[bytes] | None:
        events = read() if is_awaited() else None
        if events is None:
            return None
        # Clients that were cut off together miss the same: a frame is as new as its event, and a
        # later change of the row has an event of its own.
        place = key, events[0].window if events else 0
        frames = dict(self._known[1]) if self._known[0] == place else {}
        missing = [event for event in events if event.id not in frames]
        for start in range(0, len(missing), REPLAY_BATCH):
            batch = missing[start : start + REPLAY_BATCH]
            encode = self._begin(batch)
            for event in batch:
                frame = self._encode(encode, key, channel, event)
                if frame is None:
                    return None
                frames[event.id] = frame
            if not is_awaited() or sum(map(len, frames.values())) > MAX_REPLAY_BYTES:
                return None
            self._pause()
        self._known = place, {event.id: frames[event.id] for event in events}
        return list(self._known[1].values())

    def _pause(self) -> None:
        # PERF: as long as it has worked since, so that live events find the interpreter free.
        self.stopping.wait(max(0.0, time.thread_time() - self._cpu_time))
        self._cpu_time = time.thread_time()
