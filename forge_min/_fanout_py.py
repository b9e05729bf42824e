"""The Python twin of the compiled core: topics, stream writer, limiter, metric cells.

It has the names and the behaviour of `_fanout.pyx`. `_fanout.pyi` declares both, and these
docstrings describe both. Nothing here depends on HTTP or events: a frame is bytes.
"""

from __future__ import annotations

import fcntl
import itertools
import math
import os
import selectors
import socket
import sys
import termios
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, final

from ._fanout_io_py import IoThread  # noqa: F401
from ._fanout_task_py import Task  # noqa: F401
from .errors import TooManyConnections, TooManyConnectionsForUser

T = TypeVar("T")

HEARTBEAT = b": hb\n\n"
_published = itertools.count(1)  # frames that this process has published, of any topic
BATCH = 64  # frames in one system call
MAX_RECEIVED = 65536  # bytes: a client of a stream has no reason to send more
STALLED = 1.0  # seconds without progress after which a stream that shall end is closed
# Both must pass before a client that reads nothing is dropped.
UNREAD_HEARTBEATS = 3
UNREAD_SECONDS = 5.0
LONGEST_WAIT = 1e6  # seconds


def _refresh(missed: int) -> bytes:
    """Return the frame that asks a client to reload everything (docs/reference/http.md)."""
    return b'event: refresh\ndata: {"reason":"overflow","missed":%d}\n\n' % missed


def _whole(name: str, value: int, least: int, most: int) -> int:
    """Return `value`. Raises TypeError unless it is an int, ValueError outside the range."""
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name} must lie in {least}..{most}, not {value}")
    return value


def _frame(frame: bytes) -> bytes:
    """Return `frame`. Raises TypeError unless it is bytes."""
    if not isinstance(frame, bytes):
        raise TypeError(f"a frame must be bytes, not {type(frame).__name__}")
    return frame


# -- limiter ---------------------------------------------------------------------------------------


@final
class Lease:
    """A slot of a Limiter. The code that ends the stream, or a `with` block, releases it."""

    __slots__ = ("_limiter", "_released", "user")

    def __init__(self, limiter: Limiter, user: str) -> None:
        self._limiter = limiter
        self._released = False
        self.user = user

    def release(self) -> bool:
        """Release the slot. Returns True the first time, False (and does nothing) afterwards."""
        return self._limiter._release(self)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


@final
class Limiter:
    """Limits live streams: `max_total` at once and `max_per_user` of one user, exactly."""

    __slots__ = ("_counts", "_lock", "active", "max_per_user", "max_total")

    def __init__(self, *, max_total: int, max_per_user: int) -> None:
        self.max_total = _whole("max_total", max_total, 0, 2**31 - 1)
        self.max_per_user = _whole("max_per_user", max_per_user, 0, 2**31 - 1)
        self.active = 0  # number of leases that are held now
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()  # LOCK: active, _counts and every Lease._released

    def acquire(self, user: str) -> Lease:
        """Return a lease for `user`.

        Raises TooManyConnections at the global limit, which is checked first, and
        TooManyConnectionsForUser at the limit of the user (both F501).
        """
        if type(user) is not str:
            raise TypeError(f"user must be a str, not {type(user).__name__}")
        lease = Lease(self, user)
        with self._lock:
            if self.active >= self.max_total:
                raise TooManyConnections(f"all {self.max_total} live connections are taken")
            count = self._counts.get(user, 0)
            if count >= self.max_per_user:
                raise TooManyConnectionsForUser(
                    f"all {self.max_per_user} live connections of one user are taken"
                )
            self._counts[user] = count + 1
            self.active += 1
        return lease

    def _release(self, lease: Lease) -> bool:
        with self._lock:
            if lease._released:
                return False
            lease._released = True
            self.active -= 1
            count = self._counts[lease.user] - 1
            if count:
                self._counts[lease.user] = count
            else:
                del self._counts[lease.user]
        return True

    def active_for(self, user: str) -> int:
        """Return the number of leases that `user` holds now."""
        return self._counts.get(user, 0)

    @property
    def users(self) -> int:
        """Number of users that hold a lease now."""
        return len(self._counts)


# -- topics ----------------------------------------------------------------------------------------


@final
class Topic:
    """A ring buffer of the last `size` frames (1 to 65536), numbered from 1.

    One StreamWriter adopts its subscriptions, the first that adopts one. The cost of publishing
    does not depend on the number of subscriptions.
    """

    __slots__ = ("_head", "_lock", "_ring", "_size", "_writer", "subscribers")

    def __init__(self, size: int = 64) -> None:
        self._size = _whole("size", size, 1, 65536)
        self._head = 0
        self.subscribers = 0  # number of open subscriptions
        # Frames, each with its number among all frames of this process.
        self._ring: list[tuple[int, bytes]] = [(0, b"")] * size
        self._writer: StreamWriter | None = None  # that adopts the subscriptions
        # LOCK: _head, _ring, _writer, subscribers, the cursors of this topic's subscriptions.
        # Re-entrant: the garbage collector may close a subscription while this thread holds it.
        self._lock = threading.RLock()

    def publish(self, frame: bytes) -> int:
        """Append a frame and return its number. Never blocks on a reader.

        Raises ValueError if the frame is empty, TypeError unless it is bytes.
        """
        if not _frame(frame):
            raise ValueError("a frame must not be empty")
        with self._lock:
            self._head += 1
            self._ring[self._head % self._size] = next(_published), frame
            number = self._head
            if self._writer is not None:
                self._writer._wake(self)
        return number

    def subscribe(self, after: int | None = None) -> Subscription:
        """Return a cursor on this topic.

        after: None = only new frames; a number = the frames after it that are still in the ring.
        """
        if after is not None:
            _whole("after", after, 0, 2**63 - 1)
        with self._lock:
            if after is None:
                after = self._head
            self.subscribers += 1
            oldest = max(1, self._head - self._size + 1)
            return Subscription(self, min(max(after + 1, oldest), self._head + 1))


@final
class Subscription:
    """The cursor of one reader in a topic, created by Topic.subscribe().

    A StreamWriter that adopts it sends its frames. Closing it stops them, but not the stream.
    """

    __slots__ = ("_adopted", "_closed", "_next", "_topic")

    def __init__(self, topic: Topic, number: int) -> None:
        self._topic = topic
        self._next = number
        self._closed = False
        self._adopted = False

    def close(self) -> None:
        """Leave the topic. Idempotent."""
        topic = self._topic
        with topic._lock:
            if self._closed:
                return
            self._closed = True
            topic.subscribers -= 1

    def __del__(self) -> None:
        self.close()


def _seconds(name: str, value: float) -> float:
    """Return `value` clipped to 0 and LONGEST_WAIT. Raises ValueError for nan."""
    if value != value:
        raise ValueError(f"{name} must be a number of seconds, not {value}")
    return min(max(float(value), 0.0), LONGEST_WAIT)


# -- stream writer ---------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Piece:
    """A frame to send, and the cursor that moves when its first byte is sent."""

    view: memoryview
    subscription: Subscription | None = None
    next: int = 0
    order: int = 0  # 0: not published, as a refresh


@dataclass(slots=True, eq=False)
class _Stream:
    """One client: its socket, its cursors, and the partly sent frame."""

    id: int
    sock: socket.socket
    subscriptions: tuple[Subscription, ...]
    lease: Lease | None
    current: _Piece | None  # partly sent, or the next one
    farewell: bytes = b""
    closing: bool = False
    slow: bool = False  # the socket was full, and a backlog is left
    blocked_since: float = 0.0  # 0.0: not waiting for the socket
    sent_at: float = 0.0
    unread_since: float = 0.0  # 0.0: the client has read everything sent
    received: int = 0
    sent: int = 0
    taken: int = 0


@final
class StreamWriter:
    """One thread (`stream-writer`) that writes the frames of topics to adopted sockets.

    heartbeat: seconds without a frame after which `: hb` is sent.
    write_timeout: seconds without progress after which a client is dropped; three heartbeats, but
        at least 5 s, if that is less.
    buffer_size: frames that a client may lag behind while its socket is full. A client that keeps
        up may use the whole ring. A subscription that lags more gets ONE refresh frame, at a frame
        boundary, and continues at the head.
    """

    # Frames of topics that were sent completely, without heartbeats, `first` and farewells.
    frames_sent = 0
    refreshes = 0  # refresh frames begun because a subscription missed frames

    def __init__(
        self, *, heartbeat: float = 15.0, write_timeout: float = 30.0, buffer_size: int = 32
    ) -> None:
        for name, value in (("heartbeat", heartbeat), ("write_timeout", write_timeout)):
            if not value > 0:
                raise ValueError(f"{name} must be a positive number of seconds, not {value}")
        self._heartbeat = _seconds("heartbeat", heartbeat)
        self._write_timeout = _seconds("write_timeout", write_timeout)
        patience = max(UNREAD_HEARTBEATS * self._heartbeat, UNREAD_SECONDS)
        self._patience = min(patience, self._write_timeout)
        self._buffer_size = _whole("buffer_size", buffer_size, 1, 65536)
        self._last_id = 0
        self._entries: dict[int, _Stream] = {}
        self._topics: dict[Topic, dict[_Stream, None]] = {}
        self._news: set[Topic] = set()  # each operation on it is atomic
        self._ready: dict[_Stream, None] = {}  # in this order
        self._incoming: list[_Stream] = []
        self._thread: threading.Thread | None = None
        self._stop_at: float | None = None  # when streams are closed without their farewell
        self._pending = False
        # LOCK: _entries, _incoming, _last_id, _stop_at, _thread, and _Stream.closing and .farewell.
        # No other lock is taken inside it; _wake(), which topics call inside theirs, takes none.
        self._lock = threading.Lock()

    # -- any thread --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, once: `stop` ends it for good. Idempotent."""
        with self._lock:
            if self._thread is not None:
                return
            self._selector = selectors.DefaultSelector()
            self._wake_out, self._wake_in = socket.socketpair()
            self._wake_in.setblocking(False)
            self._wake_out.setblocking(False)
            self._selector.register(self._wake_out, selectors.EVENT_READ, None)
            self._thread = threading.Thread(target=self._run, name="stream-writer", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 5.0, farewell: bytes = b"") -> None:
        """Send `farewell` to all clients, close their streams and end the thread. Idempotent.

        A stream without progress for a second is closed without the farewell, all others after
        `timeout` seconds at the latest. The farewell is sent at a frame boundary.
        """
        _frame(farewell)
        wait = _seconds("timeout", timeout)
        with self._lock:
            thread = self._thread
            if thread is None:
                return
            if self._stop_at is None:
                self._stop_at = time.monotonic() + wait
                for stream in self._entries.values():
                    self._dismiss(stream, farewell)
        self._wake()
        thread.join()

    def adopt(
        self,
        fd: int,
        subscriptions: Sequence[Subscription],
        lease: Lease | None = None,
        first: bytes = b"",
    ) -> int:
        """Take ownership of a connected stream socket, its subscriptions and its lease.

        From this call on the writer closes and releases them in every case: also if it does not
        run, or if fd is -1 (the peer was already gone).

        first: bytes to send before any frame.

        Returns the number of the stream, from 1; 0 if no stream was started.

        Raises after the release: OSError unless fd is a socket, ValueError if a subscription was
        adopted before, or if another writer has adopted one of its topic, TypeError.
        """
        claimed: list[Subscription] = []
        sock: socket.socket | None = None
        stream = None
        try:
            _whole("fd", fd, -1, 2**31 - 1)
            _frame(first)
            if lease is not None and not isinstance(lease, Lease):
                raise TypeError("lease must be a Lease")
            if fd >= 0:
                sock = socket.socket(fileno=fd)
                sock.setblocking(False)
            self._claim(subscriptions, claimed)
            with self._lock:
                if sock is not None and self._thread is not None and self._stop_at is None:
                    self._last_id += 1
                    current = _Piece(memoryview(first)) if first else None
                    stream = _Stream(self._last_id, sock, tuple(claimed), lease, current)
                    self._entries[stream.id] = stream
                    self._incoming.append(stream)
        finally:
            if stream is None:
                if sock is not None:
                    sock.close()
                elif isinstance(fd, int):
                    with suppress(OSError, OverflowError):
                        os.close(fd)
                _release(claimed, lease if isinstance(lease, Lease) else None)
        if stream is None:
            return 0
        self._wake()
        return stream.id

    def _claim(self, subscriptions: Iterable[Subscription], claimed: list[Subscription]) -> None:
        """Mark each subscription as adopted and append it to `claimed`, also before an error."""
        for subscription in subscriptions:
            if not isinstance(subscription, Subscription):
                raise TypeError("subscriptions must be Subscription objects")
            with subscription._topic._lock:
                if subscription._adopted or subscription._topic._writer not in (None, self):
                    raise ValueError(
                        "a subscription can be adopted only once, by the topic's StreamWriter"
                    )
                subscription._topic._writer = self
                subscription._adopted = True
            claimed.append(subscription)

    def drop(self, stream: int, farewell: bytes = b"") -> bool:
        """End one stream at the next frame boundary, after `farewell`.

        Returns whether this call ends it.
        """
        _frame(farewell)
        with self._lock:
            entry = self._entries.get(stream)
            if entry is None or entry.closing or self._stop_at is not None:
                return False
            self._dismiss(entry, farewell)
        self._wake()
        return True

    def _dismiss(self, stream: _Stream, farewell: bytes) -> None:
        if not stream.closing:
            stream.closing = True
            stream.farewell = farewell
            self._incoming.append(stream)

    def _wake(self, topic: Topic | None = None) -> None:
        """Wake the thread, for a topic with new frames or for a command. Never blocks."""
        if topic is not None:
            if topic not in self._topics:  # no stream reads it
                return
            self._news.add(topic)
        if not self._pending:
            self._pending = True
            with suppress(OSError):  # a full pipe: it wakes anyway; a closed one: it has stopped
                self._wake_in.send(b"\0")

    def alive(self, stream: int) -> bool:
        """Return whether the stream with this number has not ended."""
        return stream in self._entries

    @property
    def connections(self) -> int:
        """Number of streams that have not ended. Each holds its lease."""
        return len(self._entries)

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        swept = time.monotonic()
        while True:
            for key, mask in self._selector.select(0 if self._ready else self._period()):
                self._on_event(key.data, mask)
            self._take_commands()
            self._look_at_topics()
            ready = self._ready
            self._ready = {}
            for stream in ready:
                self._service(stream)
            now = time.monotonic()
            if now - swept >= self._sweep_period() or self._stop_at is not None:
                swept = now
                self._sweep(now)
            if self._stop_at is not None and not self._entries:
                break
        self._ready.clear()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def _sweep_period(self) -> float:
        return min(max(min(self._heartbeat, self._write_timeout) / 4, 0.01), 1.0)

    def _period(self) -> float | None:
        if self._stop_at is not None:
            return 0.02
        return self._sweep_period() if self._entries else None

    def _on_event(self, stream: _Stream | None, mask: int) -> None:
        if stream is None:
            with suppress(BlockingIOError):
                self._wake_out.recv(4096)
            return
        if mask & selectors.EVENT_READ and not self._read_input(stream):
            self._end(stream)
            return
        if mask & selectors.EVENT_WRITE and stream.blocked_since:
            stream.blocked_since = 0.0
            self._selector.modify(stream.sock, selectors.EVENT_READ, stream)
            self._queue(stream)

    def _read_input(self, stream: _Stream) -> bool:
        """Read and discard input of the client. False if the client is gone or sends too much."""
        try:
            data = stream.sock.recv(4096)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        stream.received += len(data)
        return bool(data) and stream.received <= MAX_RECEIVED

    def _take_commands(self) -> None:
        self._pending = False  # before the look, so that a later command wakes us again
        with self._lock:
            incoming = self._incoming
            self._incoming = []
        for stream in incoming:
            if stream.id in self._entries:
                if not stream.sent_at:
                    self._begin(stream)
                self._hurry(stream)

    def _begin(self, stream: _Stream) -> None:
        try:
            self._selector.register(stream.sock, selectors.EVENT_READ, stream)
        except (OSError, ValueError, KeyError):  # closed by other code, or out of kernel memory
            self._end(stream)
            return
        stream.sent_at = time.monotonic()
        for subscription in stream.subscriptions:
            self._topics.setdefault(subscription._topic, {})[stream] = None

    def _hurry(self, stream: _Stream) -> None:
        """Serve a stream soon. End it now if its socket is full and nothing is left to send."""
        done = stream.closing and not stream.farewell and stream.current is None
        if done and stream.blocked_since:
            self._end(stream)
        else:
            self._queue(stream)

    def _look_at_topics(self) -> None:
        for _ in range(len(self._news)):
            for stream in self._topics.get(self._news.pop(), ()):
                self._queue(stream)

    def _queue(self, stream: _Stream) -> None:
        if not stream.blocked_since:
            self._ready[stream] = None

    def _service(self, stream: _Stream) -> None:
        """Send everything that is due for one stream, in one system call."""
        if stream.id not in self._entries or stream.blocked_since:
            return
        pieces = self._gather(stream)
        if not pieces:
            if stream.closing:
                self._end(stream)
            return
        try:
            sent = stream.sock.sendmsg([piece.view for piece in pieces])
        except (BlockingIOError, InterruptedError):
            stream.slow = True
            stream.blocked_since = time.monotonic()
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(stream.sock, both, stream)
            return
        except OSError:
            self._end(stream)
            return
        self._account(stream, pieces, sent)
        self._queue(stream)  # until nothing is left to send or the socket is full

    def _gather(self, stream: _Stream) -> list[_Piece]:
        if stream.current is None and stream.farewell:
            stream.current = _Piece(memoryview(stream.farewell))
            stream.farewell = b""
        pieces = [] if stream.current is None else [stream.current]
        if stream.closing:
            return pieces
        # SAFETY: in the order of publication across topics, because a client that reconnects with
        # an id must have received all frames published before it. One thread publishes the frames
        # with ids, so frames before the horizon are in their rings by now. Later ones are left out.
        new: list[_Piece] = []
        horizon = next(_published)
        for subscription in stream.subscriptions:
            self._gather_from(subscription, stream.slow, horizon, new)
        new.sort(key=lambda piece: piece.order)
        return pieces + new[: BATCH - len(pieces)]

    def _gather_from(
        self, subscription: Subscription, slow: bool, horizon: int, pieces: list[_Piece]
    ) -> None:
        topic = subscription._topic
        allowed = min(topic._size, self._buffer_size) if slow else topic._size
        with topic._lock:
            start = subscription._next
            after = topic._head + 1
            if subscription._closed or start == after:
                return
            if after - start > allowed:
                view = memoryview(_refresh(after - start))
                pieces.append(_Piece(view, subscription, after, 0))
                return
            for number in range(start, min(after, start + BATCH)):
                order, frame = topic._ring[number % topic._size]
                if order > horizon:
                    return
                pieces.append(_Piece(memoryview(frame), subscription, number + 1, order))

    def _account(self, stream: _Stream, pieces: list[_Piece], sent: int) -> None:
        """Move cursors past each frame with a sent byte, and keep the rest of the last one."""
        stream.sent += sent
        stream.sent_at = time.monotonic()
        for piece in pieces:
            if not sent:
                stream.slow = True
                return
            if piece.subscription is not None:
                piece.subscription._next = piece.next
                self.refreshes += piece.order == 0
            if sent < len(piece.view):
                stream.current = _Piece(piece.view[sent:], order=piece.order)
                stream.slow = True
                return
            sent -= len(piece.view)
            stream.current = None
            self.frames_sent += piece.order > 0
        stream.slow = False

    def _sweep(self, now: float) -> None:
        """Send heartbeats and enforce deadlines."""
        late = self._stop_at is not None and now >= self._stop_at
        with self._lock:  # other threads may adopt a stream
            streams = tuple(self._entries.values())
        for stream in streams:
            if not stream.sent_at:
                continue  # just adopted: its command is not processed yet
            patience = self._write_timeout
            if stream.closing:
                patience = min(patience, STALLED)
            blocked = stream.blocked_since and now - stream.blocked_since >= patience
            if late or blocked or self._is_unread(stream, now):
                self._end(stream)
            elif not stream.blocked_since and now - stream.sent_at >= self._heartbeat:
                if stream.current is None:
                    stream.current = _Piece(memoryview(HEARTBEAT))
                self._queue(stream)

    def _is_unread(self, stream: _Stream, now: float) -> bool:
        """Return whether the client has read nothing for too long (tcp(7), SIOCOUTQ).

        Small frames could fill the kernel's buffer for hours before a send blocks.
        """
        if stream.taken == stream.sent:
            return False
        held = bytes(4)
        with suppress(OSError):
            held = fcntl.ioctl(stream.sock, termios.TIOCOUTQ, held)
        taken = stream.sent - int.from_bytes(held, sys.byteorder)
        if taken > stream.taken or taken == stream.sent or not stream.unread_since:
            stream.unread_since = 0.0 if taken == stream.sent else now
        stream.taken = taken
        return bool(stream.unread_since) and now - stream.unread_since >= self._patience

    def _end(self, stream: _Stream) -> None:
        """Close one stream and release its resources. Every stream ends here."""
        if stream.sent_at:
            self._selector.unregister(stream.sock)
            for subscription in stream.subscriptions:
                streams = self._topics.get(subscription._topic, {})
                streams.pop(stream, None)
                if not streams:
                    self._topics.pop(subscription._topic, None)
        _close_gently(stream.sock)
        with self._lock:
            del self._entries[stream.id]
        _release(stream.subscriptions, stream.lease)


def _close_gently(sock: socket.socket) -> None:
    """Read, then close: unread input would reset the connection (RFC 1122, 4.2.2.13)."""
    with suppress(OSError):
        while sock.recv(4096, socket.MSG_DONTWAIT):
            pass
    sock.close()


def _release(subscriptions: Iterable[Subscription], lease: Lease | None) -> None:
    for subscription in subscriptions:
        subscription.close()
    if lease is not None:
        lease.release()


# -- text, sockets, fast paths of the compiled core only -------------------------------------------


def escape(value: object) -> str:
    """Return a value, also a Raw, as HTML text for an element or a quoted attribute; None is ""."""
    if type(value) is not str:
        if value is None:
            return ""
        value = str(value)
    # PERF: most values are one word: this saves five scans (benchmarks/http/render.py).
    if value.isalnum():
        return value
    return (
        value.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace('"', "&#34;")
        .replace("'", "&#39;")
    )


def iso_utc(moment: datetime) -> str:
    """Return RFC 3339 in UTC with "Z". There is a fraction only if it is not zero."""
    written = moment.isoformat()
    if not written.endswith("+00:00"):
        written = moment.astimezone(UTC).isoformat()
    return written[:-6] + "Z"


def uuid_text(value: object) -> str:
    """Return a UUID in the format of RFC 9562 section 4, and str() of any other value."""
    return str(value)


def make_rows(kind: type[T], names: tuple[str, ...], rows: Iterable[Sequence[object]]) -> list[T]:
    """Return one object per row, with the first values of the row as attributes.

    kind: a class, such as a frozen dataclass; its __init__ only sets attributes, and is not called.
    names: of the attributes.

    Raises TypeError for a row with too few values.

    PERF: a generated __init__ of a frozen class sets each attribute by a call (benchmarks/http,
    list).
    """
    result = []
    for values in rows:
        if len(values) < len(names):
            raise TypeError(f"{len(values)} values for {len(names)} names")
        row = kind.__new__(kind)
        for name, value in zip(names, values, strict=False):
            object.__setattr__(row, name, value)
        result.append(row)
    return result


def begin_wait() -> None:
    """Let a worker of a busy server continue only on the processor of the others, until `end_wait`.

    Called before a wait for another program, such as PostgreSQL. The compiled core limits the
    processors of the thread (sched_setaffinity(2)); in other threads, and in this twin, nothing is
    done.
    """


def end_wait() -> None:
    """Let the thread run on all its processors again."""


def _unsure(*arguments: object) -> None:
    """Return None, as the fast paths of the compiled core do when unsure. See the stub."""


try_read_request = try_format_head = try_format_response = try_encode_json = (
    try_format_access_line
) = _unsure


# -- metric cells ----------------------------------------------------------------------------------


@final
class Counter:
    """A sum of numbers, exact with several threads."""

    __slots__ = ("_lock", "value")

    def __init__(self) -> None:
        self.value = 0.0  # the sum so far
        self._lock = threading.Lock()  # LOCK: value

    def inc(self, n: float = 1.0) -> None:
        """Add `n`. Raises ValueError below 0."""
        if not (n := 0.0 + n) >= 0.0:  # raises TypeError for a text
            raise ValueError(f"a counter cannot decrease: {n}")
        with self._lock:
            self.value += n


@final
class Histogram:
    """Counts observations in buckets, exact with several threads.

    bounds: upper bounds of the buckets, inclusive, finite and rising. A last bucket is +Inf.
    """

    __slots__ = ("_buckets", "_lock", "_total", "bounds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(float(bound) for bound in bounds)
        if not all(map(math.isfinite, self.bounds)):
            raise ValueError("bounds must be finite; +Inf is added")
        if any(a >= b for a, b in zip(self.bounds, self.bounds[1:], strict=False)):
            raise ValueError("bounds must rise")
        self._buckets = [0] * (len(self.bounds) + 1)
        self._total = 0.0
        self._lock = threading.Lock()  # LOCK: _buckets, _total

    def observe(self, x: float) -> None:
        """Count one observation. Raises ValueError for nan."""
        x = 0.0 + x
        if x != x:
            raise ValueError("an observation must be a number, not nan")
        with self._lock:
            self._buckets[bisect_left(self.bounds, x)] += 1
            self._total += x

    def snapshot(self) -> tuple[list[int], float, int]:
        """Return (count of each bucket, sum of observations, count of all).

        The bucket +Inf is the last one. Counts are not cumulative.
        """
        with self._lock:
            buckets = list(self._buckets)
            total = self._total
        return buckets, total, sum(buckets)
