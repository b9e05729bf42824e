"""The threads that encode events as frames, and the channels that receive the frames.

An encoder runs code of the application. If it raises or is slow, its frame is dropped. If it does
not return, another thread takes over, a limited number of times.
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
from .events import BeginBatch, Encode, Event, IsWanted, Read

log = logging.getLogger("forge_min.notify")
SLOW_CPU = 0.05  # seconds of CPU time after which a frame is dropped
# The same in wall-clock time, which includes waiting for a database. It is larger because a frame
# is good if the thread only had to wait for the processor.
SLOW_WALL = 0.25
STUCK_AFTER = 1.0  # seconds on one frame after which the encoder may never return
MAX_LOST_THREADS = 3  # threads that may be lost to encoders that do not return
REPLAY_TIMEOUT = 2.0  # seconds after which a returning subscriber gets a refresh
MAX_REPLAY_BYTES = 1 << 20  # size of all frames for one returning subscriber
REPLAY_BATCH = 50  # missed events that are encoded together


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

    tick: seconds after which an idle thread begins another step; None: no limit.
    """

    def __init__(self, name: str, tick: float | None = None) -> None:
        super().__init__(name, self._step, None)
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
            self._began, busy = None, self._busy_channel
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
        self._busy_channel, self._began = channel, (clock := time.monotonic())
        cpu_time = time.thread_time()
        frame: bytes | None = None
        try:
            result = encode(event, channel.format)
            frame = result if isinstance(result, bytes) else None
        except BaseException:  # a SystemExit in application code must not end the thread
            log.exception("the encoder failed for topic %s", event.topic)
        with self._lock:
            if threading.current_thread() is not self._thread:
                self._lost.discard(threading.current_thread())
                raise Replaced
            self._began = None
        slow = time.thread_time() - cpu_time > SLOW_CPU or time.monotonic() - clock > SLOW_WALL
        if frame is not None and slow:
            log.warning("the encoder took too long for topic %s", event.topic)
            return None
        return frame


class Replayer(EncoderThread):
    """The thread `hub-replay`, which encodes the events that returning subscribers missed.

    It serves one subscriber at a time and does not delay live events.

    begin: see `Channels`.
    """

    def __init__(self, begin: BeginBatch) -> None:
        super().__init__("hub-replay")
        self._begin = begin
        self._hurry_until = 0.0  # no replay until then: the last one took too long
        self._cpu_time = 0.0  # time.thread_time() after the last pause
        # The last frames by the ids of their events, for one channel and window.
        self._known: tuple[tuple[Channel, int] | None, dict[int, bytes]] = (None, {})

    def replay(self, channel: Channel, read: Read, is_wanted: IsWanted) -> list[bytes] | None:
        """Return the frames of the missed events, None if they are not ready in time.

        channel: of the subscriber.
        read: called on the thread, returns the events.
        is_wanted: called on the thread between batches.
        """
        end = time.monotonic() + REPLAY_TIMEOUT
        if self.stuck or time.monotonic() < max(self._hurry_until, channel.no_replay_until):
            return None

        def is_awaited() -> bool:
            return time.monotonic() < end and is_wanted()

        result: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()

        def run() -> None:
            result.put(self._frames(channel, read, is_awaited))
            self._pause()

        self._inbox.append(run)
        self.wake.set()
        try:
            return result.get(timeout=REPLAY_TIMEOUT)
        except queue.Empty:
            self._hurry_until = time.monotonic() + REPLAY_TIMEOUT
            return None

    def _frames(self, channel: Channel, read: Read, is_awaited: IsWanted) -> list[bytes] | None:
        events = read() if is_awaited() else None
        if events is None:
            return None
        # Clients that were disconnected together missed the same events. Frames can be reused: a
        # later change of the row has another event.
        window = channel, events[0].window if events else 0
        frames = dict(self._known[1]) if self._known[0] == window else {}
        missing = [event for event in events if event.id not in frames]
        for start in range(0, len(missing), REPLAY_BATCH):
            batch = missing[start : start + REPLAY_BATCH]
            encode = self._begin(batch)
            for event in batch:
                frame = self._encode(encode, channel, event)
                if frame is None:
                    return None
                frames[event.id] = frame
            if not is_awaited() or sum(map(len, frames.values())) > MAX_REPLAY_BYTES:
                return None
            self._pause()
        self._known = window, {event.id: frames[event.id] for event in events}
        return list(self._known[1].values())

    def _pause(self) -> None:
        # PERF: pauses as long as it has worked, so that live events get the interpreter lock.
        self.stopping.wait(max(0.0, time.thread_time() - self._cpu_time))
        self._cpu_time = time.thread_time()
