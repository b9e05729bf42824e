"""Whole lines of a log to a stream: taken at once from any thread, written by one of its own.

Who logs never waits for a disk or a pipe. What finds no room, or cannot be written, is counted.
"""

from __future__ import annotations

import atexit
import os
import select
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Literal, TextIO
from weakref import WeakSet, WeakValueDictionary

Reason = Literal["full", "failed", "repeated"]

_GATHER = 0.05  # seconds that a line may wait for others
# Places for lines that wait, and as many more for those that are being written; a line takes one
# for each KiB.
_ROOM = 16_384
_MANY = _ROOM // 4  # places taken that are more than a writer leaves that gets its turn
_TURN = 0.02, 0.001  # seconds in which threads make room for it, and that each pauses
_PLACE = 10  # a place holds 2**10 characters
_PATIENCE = 2.0  # seconds that the end of the process waits for the stream
_LOOK = 0.1  # seconds between looks at a stream that takes nothing


class LineWriter:
    """Writes the lines of one stream in the order in which they were given.

    stream: a text stream; where it has a descriptor, that is written to and its buffers are left
    alone. Between `start` and `stop` the thread `log-writer` writes what 50 ms have brought, so a
    kill -9 loses that much; before and after, `put` writes. dropped: lines by reason: "full" is a
    stream that takes less than it is given, "failed" one that refuses (a full disk, a closed pipe),
    "repeated" what a handler left out. After a fork the child goes on with a thread of its own, and
    what waited is the parent's to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        try:
            self._fd = stream.fileno()
        except (AttributeError, OSError, ValueError):
            self._fd = -1
        self.dropped: dict[Reason, int] = {"full": 0, "failed": 0, "repeated": 0}
        self.blocks = True
        """Whether `put` waits for the stream where no thread runs; else it counts."""
        self._users = 0
        self._thread: threading.Thread | None = None
        self._stuck = False
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        # Lines, events to be set once all lines before them are written, and None: the end.
        # SAFETY: `put` may run in a signal handler, in the middle of itself: this queue is
        # reentrant, and so is each lock that `put` takes.
        self._queue: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        self._counting = threading.RLock()  # LOCK: guards `dropped`
        self._writing = threading.RLock()  # LOCK: lines leave whole, and in order
        self._turn = 0.0  # until then, as time.monotonic() counts; 0 where it had its turn
        self._hurry = threading.Event()

    def put(self, line: str) -> None:
        """Take a line with its end. Never raises. While the thread runs it never waits for the
        stream, and at most 20 ms in all for the thread to have its turn.
        """
        if self._thread is None:
            if self._stuck or not (self.blocks or self._is_ready()):
                self.drop("full")
            else:
                self._write([line])
            return
        queue, more = self._queue, len(line) >> _PLACE
        taken = queue.qsize() + more
        if taken >= _MANY:
            if taken >= _ROOM:
                self.drop("full")
                return
            self._give_way()
        queue.put(line)
        for _ in range(more):
            queue.put("")

    def _give_way(self) -> None:
        """Pause, unless the stream is what takes long: threads that go from one system call to the
        next hand the interpreter lock to each other, and the writer, which sleeps, may wait for it
        until there is no room (benchmarks/http, endurance).
        """
        now = time.monotonic()
        if not self._turn:
            self._turn = now + _TURN[0]
        if now < self._turn:
            time.sleep(_TURN[1])

    def drop(self, reason: Reason, count: int = 1) -> None:
        """Count lines that are not written."""
        with self._counting:
            self.dropped[reason] += count

    def start(self) -> None:
        """Write on the thread `log-writer`, until `stop` was called as often as this."""
        self._users += 1
        if self._thread is None:
            self._stuck, self._queue = False, SimpleQueue()
            self._thread = threading.Thread(
                target=self._run, args=(self._queue,), name="log-writer", daemon=True
            )
            self._thread.start()

    def flush(self, timeout: float = _PATIENCE) -> bool:
        """Wait until what was put is written, at most `timeout` seconds; whether it is."""
        if self._thread is None or self._thread is threading.current_thread():
            return not self._stuck
        written = threading.Event()
        self._queue.put(written)
        self._hurry.set()
        return written.wait(timeout)

    def stop(self, timeout: float = _PATIENCE) -> None:
        """Write what waits, at most `timeout` seconds. The last user's ends the thread."""
        self._users = max(self._users - 1, 0)
        if self._users:
            self.flush(timeout)
        elif (thread := self._thread) is not None:
            self._queue.put(None)
            self._hurry.set()
            thread.join(timeout)
            self._stuck = thread.is_alive()
            self._thread = None

    def _run(self, queue: SimpleQueue[str | threading.Event | None]) -> None:
        ending = False
        while not (ending and queue.empty()):
            items = [queue.get()]
            self._hurry.wait(_GATHER)
            self._hurry.clear()
            self._turn = 0.0
            items += [queue.get() for _ in range(queue.qsize())]
            lines = [item for item in items if item.__class__ is str and item]
            self._write(lines)
            # PERF: hardly ever is there anything but lines (benchmarks/http, hello).
            for item in items if len(lines) < len(items) else ():
                if isinstance(item, threading.Event):
                    item.set()
                ending = ending or item is None

    def _write(self, lines: Sequence[str]) -> None:
        """Count what is not written; a log that cannot be written must not end anything."""
        left = len(lines)
        with self._writing, suppress(Exception):  # whatever a stream raises
            if self._fd < 0:
                self._stream.write("".join(lines))
                self._stream.flush()
                left = 0
            else:
                encoding = getattr(self._stream, "encoding", None) or "utf-8"
                encoded = [line.encode(encoding, "backslashreplace") for line in lines]
                for piece in _pieces(encoded):
                    self._send(b"".join(piece))
                    left -= len(piece)
        if left:
            self.drop("failed", left)

    def _send(self, data: bytes) -> None:
        """Write to the descriptor. Raises ValueError if the stream is closed, OSError."""
        left = memoryview(data)
        while left:
            # SAFETY: before each write: the number of a closed one may be another file's by now.
            if self._stream.closed:
                raise ValueError("the stream is closed")
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # other code has made it non-blocking
                self._is_ready(_LOOK)

    def _is_ready(self, timeout: float = 0) -> bool:
        """Whether a line can be written without waiting, now or within so many seconds."""
        look = select.poll()
        if self._fd >= 0:
            look.register(self._fd, select.POLLOUT)
        return self._fd < 0 or bool(look.poll(int(timeout * 1000)))

    def _after_fork(self) -> None:
        started, self._thread = self._thread is not None, None
        self._begin()
        if started:
            self._users -= 1
            self.start()


def _pieces(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    """As many whole lines as are written at once: a pipe takes so much whole (pipe(7), PIPE_BUF),
    which keeps the lines of several processes apart.
    """
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > select.PIPE_BUF:
            yield piece
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield piece


_writers: WeakSet[LineWriter] = WeakSet()
_of_streams: WeakValueDictionary[int, LineWriter] = WeakValueDictionary()  # by id(stream)
# LOCK: guards _of_streams. SAFETY: held during a fork, so that a child finds it free.
_making = threading.RLock()
os.register_at_fork(
    before=_making.acquire, after_in_parent=_making.release, after_in_child=_making.release
)


def line_writer(stream: TextIO) -> LineWriter:
    """The one writer of a stream, which all share that log to it."""
    with _making:
        found = _of_streams.get(id(stream))  # no other has it: a writer keeps its stream
        if found is None:
            found = _of_streams[id(stream)] = LineWriter(stream)
        return found


def _after_fork() -> None:
    for writer in list(_writers):
        writer._after_fork()


def _at_exit() -> None:
    until = time.monotonic() + _PATIENCE
    for writer in list(_writers):
        writer._users = 0
        writer.stop(max(0.0, until - time.monotonic()))


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
