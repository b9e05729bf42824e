"""Whole lines of a log to a stream: taken at once from any thread, written by one of its own.

Who logs never waits for a disk or a pipe. What finds no room, or cannot be written, is counted.
"""

from __future__ import annotations

import atexit
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import repeat
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
        # Lines of other processes that write to the same pipe are kept apart by pieces that it
        # takes whole (pipe(7), PIPE_BUF).
        self._piece = select.PIPE_BUF if self._is_pipe() else None
        self.waits = True
        """Whether `put` waits for the stream where no thread runs; else it counts."""
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._stuck = False
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        self._waiting: deque[str] = deque()
        # SAFETY: `put` may run in a signal handler, in the middle of itself. So it takes no lock
        # that is not reentrant, and rings by releasing one.
        self._bell = threading.Lock()  # LOCK: guards nothing; free = rung
        self._bell.acquire()
        self._counting = threading.RLock()  # LOCK: guards `dropped`
        self._writing = threading.RLock()  # LOCK: lines leave whole, and in order
        self._turn = 0.0  # until then, as time.monotonic() counts; 0 where it had its turn
        self._idle = self._busy = False
        self._hurry = threading.Event()
        self._quiet = threading.Condition()  # LOCK: guards the waiting of `flush`

    def put(self, line: str) -> None:
        """Take a line with its end. Never raises. While the thread runs it never waits for the
        stream, and at most 20 ms in all for the thread to have its turn.
        """
        if self._thread is None:
            if self._stuck or not (self.waits or self._is_ready()):
                self.drop("full")
            else:
                self._write([line])
            return
        waiting, more = self._waiting, len(line) >> _PLACE
        taken = len(waiting) + more
        if taken >= _MANY:
            if taken >= _ROOM:
                self.drop("full")
                return
            self._give_way()
        if more:
            waiting.extend([line, *repeat("", more)])
        else:
            waiting.append(line)
        if self._idle:
            self._idle = False
            self._ring()

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

    def start(self) -> bool:
        """Write on the thread `log-writer` from here on. Idempotent. Whether it did already."""
        started = self._thread is not None
        if not started:
            self._stuck, self._stop = False, threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._stop,), name="log-writer", daemon=True
            )
            self._thread.start()
        return started

    def flush(self, timeout: float = _PATIENCE) -> bool:
        """Wait until what was put is written, at most `timeout` seconds; whether it is."""
        if self._thread is None or self._thread is threading.current_thread():
            return not self._stuck
        self._hurry.set()
        self._ring()
        with self._quiet:
            return self._quiet.wait_for(lambda: not (self._waiting or self._busy), timeout)

    def stop(self, timeout: float = _PATIENCE) -> None:
        """Write what waits, at most `timeout` seconds, and end the thread. Idempotent."""
        thread = self._thread
        if thread is None:
            return
        self._stop.set()
        self._hurry.set()
        self._ring()
        thread.join(timeout)
        self._stuck = thread.is_alive()
        self._thread = None

    def _ring(self) -> None:
        with suppress(RuntimeError):  # it is rung
            self._bell.release()

    def _run(self, stop: threading.Event) -> None:
        while True:
            self._idle = True
            if not self._waiting and not stop.is_set():
                self._bell.acquire()
            self._idle = False
            self._hurry.wait(_GATHER)
            self._hurry.clear()
            self._busy = True
            self._write(self._taken())
            self._busy = False
            with self._quiet:
                self._quiet.notify_all()
            if stop.is_set() and not self._waiting:
                return

    def _taken(self) -> list[str]:
        """What waits now. PERF: this holds the interpreter as handlers do, so it does not ask for
        each line whether it is there (benchmarks/http, hello).
        """
        lines: list[str] = []
        with suppress(IndexError):  # a thread that was given up took the rest
            for _ in range(len(self._waiting)):
                lines.append(self._waiting.popleft())
        self._turn = 0.0
        return lines

    def _write(self, lines: list[str]) -> None:
        """Count what is not written; a log that cannot be written must not end anything."""
        rows = [line for line in lines if line]
        with self._writing:
            try:
                left = self._write_text(rows) if self._fd < 0 else self._write_rows(rows)
            except Exception:  # whatever a stream raises
                left = len(rows)
        if left:
            self.drop("failed", left)

    def _write_text(self, rows: list[str]) -> int:
        self._stream.write("".join(rows))
        self._stream.flush()
        return 0

    def _write_rows(self, rows: list[str]) -> int:
        """How many were not written; of a piece that was cut, all of it."""
        done = 0
        for piece in self._pieces(rows):
            if not self._send(self._encoded("".join(piece))):
                break
            done += len(piece)
        return len(rows) - done

    def _pieces(self, rows: list[str]) -> Iterator[list[str]]:
        """As many whole lines as are written at once. PERF: a file takes them all."""
        if self._piece is None:
            yield rows
            return
        piece: list[str] = []
        size = 0
        for row in rows:
            length = len(row) if row.isascii() else len(self._encoded(row))
            if piece and size + length > self._piece:
                yield piece
                piece, size = [], 0
            piece.append(row)
            size += length
        if piece:
            yield piece

    def _encoded(self, text: str) -> bytes:
        return text.encode(getattr(self._stream, "encoding", None) or "utf-8", "backslashreplace")

    def _is_pipe(self) -> bool:
        try:
            return self._fd >= 0 and stat.S_ISFIFO(os.fstat(self._fd).st_mode)
        except OSError:
            return False

    def _is_ready(self) -> bool:
        """Whether a line can be written without waiting."""
        look = select.poll()
        if self._fd >= 0:
            look.register(self._fd, select.POLLOUT)
        return self._fd < 0 or bool(look.poll(0))

    def _send(self, data: bytes) -> bool:
        """Write to the descriptor; whether it has taken all."""
        left = memoryview(data)
        # SAFETY: asked before each write: the number of a closed one may be another file's by now.
        while left and not self._stream.closed:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # somebody has made it non-blocking
                waiting = select.poll()
                waiting.register(self._fd, select.POLLOUT)
                waiting.poll(int(_LOOK * 1000))
            except OSError:
                break
        return not left

    def _after_fork(self) -> None:
        started, self._thread = self._thread is not None, None
        self._begin()
        if started:
            self.start()


_writers: WeakSet[LineWriter] = WeakSet()
_of_streams: WeakValueDictionary[int, LineWriter] = WeakValueDictionary()  # by id(stream)
_making = threading.Lock()  # LOCK: guards _of_streams


def lines_to(stream: TextIO) -> LineWriter:
    """The one writer of a stream, which all share that log to it."""
    with _making:
        found = _of_streams.get(id(stream))  # no other has it: a writer keeps its stream
        if found is None:
            found = _of_streams[id(stream)] = LineWriter(stream)
        return found


def _after_fork() -> None:
    global _making
    _making = threading.Lock()
    for writer in list(_writers):
        writer._after_fork()


def _at_exit() -> None:
    until = time.monotonic() + _PATIENCE
    for writer in list(_writers):
        writer.stop(max(0.0, until - time.monotonic()))


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
