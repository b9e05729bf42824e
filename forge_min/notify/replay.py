"""The thread `hub-replay`: what returning subscribers missed, apart from the live events."""

from __future__ import annotations

import queue
import time

from .encoding import Channel, EncoderThread
from .hub import Batch, Read, TopicKey, Wanted

ANSWER = 2.0  # seconds that a returning subscriber waits for its frames before it gets a refresh
MOST_BYTES = 1 << 20  # of the frames that one returning subscriber gets
BATCH = 50


class Replayer(EncoderThread):
    """Encodes again for one subscriber at a time. begin: as of `Channels`."""

    def __init__(self, begin: Batch) -> None:
        super().__init__("hub-replay")
        self._begin = begin
        self._hurry_until = 0.0  # until then none waits: the last replay came too late
        self._worked = 0.0  # time.thread_time() after the last pause
        # The last frames by the ids of their events, for one key and window.
        self._known: tuple[tuple[TopicKey, int] | None, dict[int, bytes]] = (None, {})

    def replay(
        self, key: TopicKey, channel: Channel, read: Read, wanted: Wanted
    ) -> list[bytes] | None:
        """The frames of some events as the subscribers of `key` see them.

        read: called on the thread. wanted: called on the thread between batches.
        Returns None if the frames could not be had in time.
        """
        end = time.monotonic() + ANSWER
        if self.stuck or time.monotonic() < max(self._hurry_until, channel.no_replay_until):
            return None

        def is_awaited() -> bool:
            return time.monotonic() < end and wanted()

        answer: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()

        def run() -> None:
            answer.put(self._frames(key, channel, read, is_awaited))
            self._pause()

        self._inbox.append(run)
        self.wake.set()
        try:
            return answer.get(timeout=ANSWER)
        except queue.Empty:
            self._hurry_until = time.monotonic() + ANSWER
            return None

    def _frames(
        self, key: TopicKey, channel: Channel, read: Read, is_awaited: Wanted
    ) -> list[bytes] | None:
        events = read() if is_awaited() else None
        if events is None:
            return None
        # Clients that were cut off together miss the same: a frame is as new as its event, and a
        # later change of the row has an event of its own.
        place = key, events[0].window if events else 0
        frames = dict(self._known[1]) if self._known[0] == place else {}
        missing = [event for event in events if event.id not in frames]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            encode = self._begin(batch)
            for event in batch:
                frame = self._frame(encode, key, channel, event)
                if frame is None:
                    return None
                frames[event.id] = frame
            if not is_awaited() or sum(map(len, frames.values())) > MOST_BYTES:
                return None
            self._pause()
        self._known = place, {event.id: frames[event.id] for event in events}
        return list(self._known[1].values())

    def _pause(self) -> None:
        # PERF: as long as it has worked since, so that live events find the interpreter free.
        self.stopping.wait(max(0.0, time.thread_time() - self._worked))
        self._worked = time.thread_time()
