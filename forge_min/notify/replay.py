"""The thread `hub-replay`: what returning subscribers missed, apart from the live events."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence

from .encoding import Channel, EncoderThread
from .hub import Batch, Event, TopicKey

ANSWER = 2.0  # seconds that a returning subscriber waits for its frames before it gets a refresh
MOST_BYTES = 1 << 20  # of the frames that one returning subscriber gets
BATCH = 100  # events whose rows are read together: a few ms in which the thread may hold the GIL


class Replayer(EncoderThread):
    """Encodes again for one subscriber at a time. begin: as of `Channels`."""

    def __init__(self, begin: Batch) -> None:
        super().__init__("hub-replay")
        self._begin = begin
        self._hurry_until = 0.0  # until then none waits: the last replay came too late

    def replay(
        self,
        key: TopicKey,
        channel: Channel,
        read: Callable[[], Sequence[Event] | None],
        wanted: Callable[[], bool],
    ) -> list[bytes] | None:
        """The frames of some events as the subscribers of `key` see them.

        read: called on the thread, returns the events, or None if they are not known.
        wanted: called on the thread between batches; False if the client is gone.
        Returns None if the frames could not be had in time.
        """
        end = time.monotonic() + ANSWER
        if self.stuck or time.monotonic() < max(self._hurry_until, channel.no_replay_until):
            return None

        def is_awaited() -> bool:
            return time.monotonic() < end and wanted()

        answer: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._inbox.append(lambda: answer.put(self._frames(key, channel, read, is_awaited)))
        self.wake.set()
        try:
            return answer.get(timeout=ANSWER)
        except queue.Empty:
            self._hurry_until = time.monotonic() + ANSWER
            return None

    def _frames(
        self,
        key: TopicKey,
        channel: Channel,
        read: Callable[[], Sequence[Event] | None],
        is_awaited: Callable[[], bool],
    ) -> list[bytes] | None:
        events = read() if is_awaited() else None
        if events is None:
            return None
        frames: list[bytes] = []
        for start in range(0, len(events), BATCH):
            batch = events[start : start + BATCH]
            encode = self._begin(batch)
            for event in batch:
                frame = self._frame(encode, key, channel, event)
                if frame is None:
                    return None
                frames.append(frame)
            if not is_awaited() or sum(map(len, frames)) > MOST_BYTES:
                return None
        return frames
