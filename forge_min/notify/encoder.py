"""The thread `hub-encode`: events become frames, once per audience and format that listens.

It trusts the encoder with nothing: one that raises, is slow or never returns costs its own key a
refresh.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .channels import Channel, Channels
from .hub import Encode, Event, TopicKey, refresh_frame

log = logging.getLogger("forge_min.notify")
SLOW = 0.05  # seconds after which a frame is not worth waiting for
HUNG = 1.0  # seconds after which the thread is replaced
MOST_HUNG = 8  # threads given up at the same time; from then on every event is a refresh
BACKLOG = 10_000  # events that may wait; more become one refresh to all


@dataclass(eq=False)
class _Replay:
    """Frames wanted by a subscriber that comes back."""

    key: TopicKey
    events: Sequence[Event]
    done: threading.Event = field(default_factory=threading.Event)
    frames: list[bytes] | None = None


_Task = tuple[Channel, Event] | _Replay


class Encoder:
    """Encodes what is submitted, in order, and publishes it to the channels.

    idle: called on the thread at least once a `tick` (seconds), and never while an event waits
    longer for it than one call takes.
    """

    def __init__(
        self,
        channels: Channels,
        encode: Encode,
        *,
        idle: Callable[[], None],
        tick: float = 0.5,
    ) -> None:
        self._channels = channels
        self._encode = encode
        self._idle = idle
        self._tick = tick
        self._changed = threading.Condition()  # LOCK: guards everything below
        self._inbox: deque[Event | _Replay | str] = deque()
        self._tasks: deque[tuple[Channel, Event]] = deque()
        self._busy: tuple[_Task, float] | None = None
        self._hung: set[TopicKey] = set()
        self._turn = 0
        self._running = False
        self._thread: threading.Thread | None = None
        self.failures = 0

    def start(self) -> None:
        """Start the thread `hub-encode`. Idempotent."""
        with self._changed:
            if not self._running:
                self._running = True
                self._begin()

    def stop(self) -> None:
        """Publish what was submitted, unless the encoder hangs, and end the thread. Idempotent."""
        with self._changed:
            self._running = False
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(2 * HUNG)

    def submit(self, events: Sequence[Event]) -> None:
        """Encode and publish `events` in this order. Never blocks."""
        with self._changed:
            if len(self._inbox) + len(events) > BACKLOG:
                waiting = [task for task in self._inbox if isinstance(task, _Replay)]
                self._inbox = deque(["overflow", *waiting])
            else:
                self._inbox.extend(events)
            self._changed.notify()
        self.check()

    def refresh_all(self, reason: str) -> None:
        """After what was submitted before, tell everybody to read everything again."""
        with self._changed:
            self._inbox.append(reason)
            self._changed.notify()

    def replay(self, key: TopicKey, events: Sequence[Event], timeout: float) -> list[bytes] | None:
        """Frames of `events` as `key` sees them, or None when they could not be had in time."""
        task = _Replay(key, events)
        with self._changed:
            self._inbox.append(task)
            self._changed.notify()
        return task.frames if task.done.wait(timeout) else None

    @property
    def busy(self) -> bool:
        """Whether something is being encoded now."""
        return self._busy is not None

    def check(self) -> None:
        """Replace the thread when the encoder does not return; its key gets a refresh. Called
        often.
        """
        with self._changed:
            if self._busy is None or time.monotonic() - self._busy[1] < HUNG:
                return
            task, self._busy = self._busy[0], None
            self._hung.add(task.key if isinstance(task, _Replay) else task[0].key)
            if self._running:
                self._begin()
        log.error("the encoder does not return; its topic is refreshed instead")
        self._fail(task)

    def _begin(self) -> None:
        self._turn += 1
        self._thread = threading.Thread(
            target=self._run, args=(self._turn,), name="hub-encode", daemon=True
        )
        self._thread.start()

    def _run(self, turn: int) -> None:
        rested = time.monotonic()
        while True:
            if time.monotonic() - rested > self._tick:
                rested = time.monotonic()
                self._rest()
            with self._changed:
                task = self._next(turn)
                if task is None and (not self._running or self._turn != turn):
                    return
            if task is None:
                rested = time.monotonic()
                self._rest()
            elif not self._work(turn, task):
                return

    def _rest(self) -> None:
        try:
            self._idle()
        except Exception:
            log.exception("housekeeping of the hub failed")

    def _next(self, turn: int) -> _Task | None:
        """The next thing to encode; None after a tick without any, or when this thread
        shall end.
        """
        if not self._tasks and not self._inbox and self._running and self._turn == turn:
            self._changed.wait(self._tick)
        while self._turn == turn and (self._tasks or self._inbox):
            task = self._tasks.popleft() if self._tasks else self._unpack(self._inbox.popleft())
            if task is not None:
                self._busy = (task, time.monotonic())
                return task
        return None

    def _unpack(self, item: Event | _Replay | str) -> _Task | None:
        if isinstance(item, _Replay):
            return item
        if isinstance(item, str):
            self._channels.refresh_all(item)
        else:
            self._tasks.extend((channel, item) for channel in self._channels.of(item))
        return self._tasks.popleft() if self._tasks else None

    def _work(self, turn: int, task: _Task) -> bool:
        """Do one task. False when this thread was given up meanwhile: its result is not wanted."""
        key = task.key if isinstance(task, _Replay) else task[0].key
        events = task.events if isinstance(task, _Replay) else [task[1]]
        frames = self._frames(key, events)
        with self._changed:
            if self._turn != turn:
                self._hung.discard(key)
                return False
            self._busy = None
        if frames is None:
            self._fail(task)
        elif isinstance(task, _Replay):
            task.frames = frames
            task.done.set()
        elif frames[0]:
            self._channels.publish(task[0], frames[0], task[1].sse_id)
        return True

    def _frames(self, key: TopicKey, events: Sequence[Event]) -> list[bytes] | None:
        """What the encoder made of `events`; None when it raised, took too long or hangs
        elsewhere.
        """
        if key in self._hung or len(self._hung) >= MOST_HUNG:
            return None
        started = time.monotonic()
        try:
            frames = [bytes(self._encode(event, key.audience, key.format)) for event in events]
        except Exception:
            log.exception("the encoder failed for topic %s", key.topic)
            return None
        if time.monotonic() - started > SLOW * max(1, len(events)):
            log.warning("the encoder took too long for topic %s", key.topic)
            return None
        return frames

    def _fail(self, task: _Task) -> None:
        self.failures += 1
        if isinstance(task, _Replay):
            task.done.set()
        else:
            self._channels.publish(task[0], refresh_frame("overflow", 1))
