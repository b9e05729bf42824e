"""The log writer: it queues whole lines from any thread, and writes them on a thread of its own.

A logging thread never waits for a disk or a pipe. Lines that are lost, because the queue is full or
the write fails, are counted.
"""

from __future__ import annotations

import atexit
import os
import select
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Literal, TextIO
from weakref import WeakValueDictionary

Reason = Literal["full", "failed", "repeated"]

_GATHER = 0.02  # seconds that a line may wait for others
# Slots for queued lines, and as many more for lines that are being written. A line takes one slot
# per KiB.
_CAPACITY = 16_384
_CONGESTED = _CAPACITY // 4  # slots in use: more than a writer that is scheduled leaves
_YIELD = 0.02  # seconds in which threads pause for the writer
_PAUSE = 0.001  # seconds of each pause
_SLOT = 10  # a slot holds 2**10 characters
_TIMEOUT = 2.0  # seconds that the end of the process waits for the stream
_POLL = 0.1  # seconds between checks of a stream that accepts no data


class LineWriter:
    """Writes lines to one stream, in their order.

    Between `start` and `stop` the thread `log-writer` writes the lines of 20 ms at a time, so a
    kill -9 loses at most those. Otherwise `put` writes. After a fork the child continues with a
    thread of its own; the parent writes the queued lines.

    stream: a text stream. If it has a descriptor, lines are written to that, past its buffers.

    The attribute `dropped` counts lost lines by reason: "full": the stream is too slow. "failed":
    the write failed (a full disk, a closed pipe). "repeated": a handler omitted the line.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        try:
            self._fd = stream.fileno()
        except (AttributeError, OSError, ValueError):
            self._fd = -1
        self.dropped: dict[Reason, int] = {"full": 0, "failed": 0, "repeated": 0}
        self.blocks = True
        """Whether `put` waits for the stream if no thread runs; if false, it drops the line."""
        self._users = 0
        self._thread: threading.Thread | None = None
        self._stuck = False
        self._begin()
        _writers[id(stream)] = self

    def _begin(self) -> None:
        # Lines; events to set once all lines before them are written; None for the end.
        # SAFETY: a signal handler may call `put` during a call of `put`: this queue is reentrant,
        # and so is each lock that `put` acquires.
        self._queue: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        self._counting = threading.RLock()  # LOCK: guards `dropped`
        self._writing = threading.RLock()  # LOCK: lines are written whole and in order
        self._yield_until = 0.0  # time.monotonic(); 0 once the writer has run
        self._wake = threading.Event()

    def put(self, line: str) -> None:
        """Queue a line, which includes its line end. Never raises.

        While the thread runs, it never waits for the stream, and at most 20 ms in total for the
        thread to run.
        """
        if self._thread is None:
            if self._stuck or not (self.blocks or self._is_ready()):
                self.drop("full")
            else:
                self._write([line])
            return
        queue = self._queue
        extra_slots = len(line) >> _SLOT
        used = queue.qsize() + extra_slots
        if used >= _CONGESTED:
            if used >= _CAPACITY:
                self.drop("full")
                return
            self._yield_to_writer()
        queue.put(line)
        for _ in range(extra_slots):
            queue.put("")

    def _yield_to_writer(self) -> None:
        """Wake the writer and pause this thread, unless the stream itself is slow.

        Threads that make system calls in a row pass the interpreter lock to each other. The writer,
        which sleeps, may wait for it until the queue is full (benchmarks/http, endurance).
        """
        now = time.monotonic()
        self._yield_until = self._yield_until or now + _YIELD
        if now < self._yield_until:
            self._wake.set()
            time.sleep(_PAUSE)

    def drop(self, reason: Reason, count: int = 1) -> None:
        """Count lost lines."""
        with self._counting:
            self.dropped[reason] += count

    def start(self) -> None:
        """Write on the thread `log-writer`, until `stop` has been called as often as `start`."""
        self._users += 1
        if self._thread is None:
            self._stuck = False
            self._queue = SimpleQueue()
            args = (self._queue,)
            thread = threading.Thread(target=self._run, args=args, name="log-writer", daemon=True)
            self._thread = thread
            thread.start()

    def flush(self, timeout: float = _TIMEOUT) -> bool:
        """Wait at most `timeout` seconds until all lines are written; return whether they are."""
        if self._thread is None or self._thread is threading.current_thread():
            return not self._stuck
        written = threading.Event()
        self._queue.put(written)
        self._wake.set()
        return written.wait(timeout)

    def stop(self, timeout: float = _TIMEOUT) -> None:
        """Write queued lines, for at most `timeout` seconds. The last `stop` ends the thread."""
        self._users = max(self._users - 1, 0)
        thread = self._thread
        if self._users:
            self.flush(timeout)
        elif thread is not None:
            self._queue.put(None)
            self._wake.set()
            thread.join(timeout)
            self._stuck = thread.is_alive()
            self._thread = None

    def _run(self, queue: SimpleQueue[str | threading.Event | None]) -> None:
        ending = False
        while not (ending and queue.empty()):
            items = [queue.get()]
            self._wake.wait(_GATHER)
            self._wake.clear()
            self._yield_until = 0.0
            items += [queue.get() for _ in range(queue.qsize())]
            lines = [item for item in items if item.__class__ is str and item]
            self._write(lines)
            # PERF: the queue seldom contains anything but lines (benchmarks/http, hello).
            if len(lines) < len(items):
                ending = ending or None in items
                for item in items:
                    if isinstance(item, threading.Event):
                        item.set()

    def _write(self, lines: Sequence[str]) -> None:
        """Write lines, and count those that fail. Never raises: a log must not end its caller."""
        unwritten = len(lines)
        with self._writing, suppress(Exception):  # a stream may raise any exception
            if self._fd < 0:
                self._stream.write("".join(lines))
                self._stream.flush()
                unwritten = 0
            else:
                encoding = getattr(self._stream, "encoding", None) or "utf-8"
                encoded = [line.encode(encoding, "backslashreplace") for line in lines]
                # PERF: each write waits for the interpreter lock (benchmarks/http, hello).
                chunks: Iterable[list[bytes]] = [encoded]
                if stat.S_ISFIFO(os.fstat(self._fd).st_mode):
                    chunks = _chunks(encoded)
                for chunk in chunks:
                    self._send(b"".join(chunk))
                    unwritten -= len(chunk)
        if unwritten:
            self.drop("failed", unwritten)

    def _send(self, data: bytes) -> None:
        """Write to the descriptor. Raises ValueError if the stream is closed, OSError."""
        view = memoryview(data)
        while view:
            # SAFETY: checked before each write: another file may reuse a closed descriptor.
            if self._stream.closed:
                raise ValueError("the stream is closed")
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:  # other code has made it non-blocking
                self._is_ready(_POLL)

    def _is_ready(self, timeout: float = 0) -> bool:
        """Return whether a line can be written at once, now or within `timeout` seconds."""
        if self._fd < 0:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(int(timeout * 1000)))

    def _after_fork(self) -> None:
        started = self._thread is not None
        self._thread = None
        self._begin()
        if started:
            self._users -= 1
            self.start()


def _chunks(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield groups of whole lines of at most PIPE_BUF bytes, unless a line is longer.

    A pipe writes that many bytes atomically (pipe(7)), so lines of several processes do not mix.
    """
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > select.PIPE_BUF:
            yield chunk
            chunk = []
            size = 0
        chunk.append(line)
        size += len(line)
    if chunk:
        yield chunk


# By id(stream), which is unique: a writer keeps its stream.
_writers: WeakValueDictionary[int, LineWriter] = WeakValueDictionary()
# LOCK: one writer per stream. SAFETY: held during a fork, so that a child finds it free.
_lock = threading.RLock()


def line_writer(stream: TextIO) -> LineWriter:
    """Return the writer of a stream, which all its users share."""
    with _lock:
        return _writers.get(id(stream)) or LineWriter(stream)


def _after_fork() -> None:
    _lock.release()
    for writer in list(_writers.values()):
        writer._after_fork()


def _at_exit() -> None:
    until = time.monotonic() + _TIMEOUT
    for writer in list(_writers.values()):
        writer._users = 0
        writer.stop(max(0.0, until - time.monotonic()))


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork)
atexit.register(_at_exit)
