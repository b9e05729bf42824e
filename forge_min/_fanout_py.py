"""The Python twin of the compiled core: topics, stream writer, limiter, metric cells.

Same names and same behaviour as `_fanout.pyx`; `_fanout.pyi` is the contract, and these docstrings
hold its promises. Knows neither HTTP nor events: a frame is some bytes.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import math
import os
import select
import selectors
import socket
import sys
import termios
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, final

from .errors import TooManyConnections, TooManyConnectionsForUser

T = TypeVar("T")

HEARTBEAT = b": hb\n\n"
_published = itertools.count(1)  # frames that this process has published, of any topic
BATCH = 64  # frames in one system call
MAX_RECEIVED = 65536  # bytes: a client of a stream has nothing to say
STALLED = 1.0  # seconds without progress after which a client that shall go is given up
UNREAD_HEARTBEATS, UNREAD_SECONDS = 3, 5.0  # for which a client may take nothing, both at least
LONGEST_WAIT = 1e6  # seconds


def _refresh(missed: int) -> bytes:
    """The frame that tells a client to read everything again (contract.md, HTTP)."""
    return b'event: refresh\ndata: {"reason":"overflow","missed":%d}\n\n' % missed


def _whole(name: str, value: int, least: int, most: int) -> int:
    """`value`, when it is an int in the range; TypeError or ValueError otherwise."""
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name} must lie in {least}..{most}, not {value}")
    return value


def _frame(frame: bytes) -> bytes:
    """`frame`, when it is bytes; TypeError otherwise."""
    if not isinstance(frame, bytes):
        raise TypeError(f"a frame must be bytes, not {type(frame).__name__}")
    return frame


# -- limiter ---------------------------------------------------------------------------------------


@final
class Lease:
    """One place in a Limiter. Whoever ends the stream releases it; so does leaving a `with`."""

    __slots__ = ("_limiter", "_released", "user")

    def __init__(self, limiter: Limiter, user: str) -> None:
        self._limiter = limiter
        self._released = False
        self.user = user

    def release(self) -> bool:
        """Give the place back: True the first time, False (and nothing happens) ever after."""
        return self._limiter._release(self)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


@final
class Limiter:
    """Counts live streams: at most `max_total` at once, and `max_per_user` of one user. Exact."""

    __slots__ = ("_active", "_counts", "_lock", "max_per_user", "max_total")

    def __init__(self, *, max_total: int, max_per_user: int) -> None:
        self.max_total = _whole("max_total", max_total, 0, 2**31 - 1)
        self.max_per_user = _whole("max_per_user", max_per_user, 0, 2**31 - 1)
        self._active = 0
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()  # LOCK: _active, _counts and every Lease._released

    def acquire(self, user: str) -> Lease:
        """A place for `user`. TooManyConnections (F501) at the global cap, which is looked at
        first; TooManyConnectionsForUser (F502) at the user's."""
        if type(user) is not str:
            raise TypeError(f"user must be a str, not {type(user).__name__}")
        lease = Lease(self, user)
        with self._lock:
            if self._active >= self.max_total:
                raise TooManyConnections(f"all {self.max_total} live connections are taken")
            count = self._counts.get(user, 0)
            if count >= self.max_per_user:
                raise TooManyConnectionsForUser(
                    f"all {self.max_per_user} live connections of one user are taken"
                )
            self._counts[user] = count + 1
            self._active += 1
        return lease

    def _release(self, lease: Lease) -> bool:
        with self._lock:
            if lease._released:
                return False
            lease._released = True
            self._active -= 1
            count = self._counts[lease.user] - 1
            if count:
                self._counts[lease.user] = count
            else:
                del self._counts[lease.user]
        return True

    @property
    def active(self) -> int:
        """Leases that are held now."""
        return self._active

    def active_for(self, user: str) -> int:
        """Leases that `user` holds now."""
        return self._counts.get(user, 0)

    @property
    def users(self) -> int:
        """Users that hold a lease now."""
        return len(self._counts)


# -- topics ----------------------------------------------------------------------------------------


@final
class Topic:
    """A ring of the last `size` frames (1 to 65536), numbered from 1. Publishing costs the same
    however many subscribe."""

    __slots__ = ("_head", "_lock", "_order", "_ring", "_subscribers", "_wakers", "size")

    def __init__(self, size: int = 64) -> None:
        self.size = _whole("size", size, 1, 65536)
        self._head = 0
        self._subscribers = 0
        self._ring: list[bytes] = [b""] * size
        self._order = [0] * size  # of each frame among all that this process has published
        self._wakers: list[StreamWriter] = []
        # LOCK: _head, _ring, _wakers, _subscribers, the cursors of this topic's subscriptions.
        # Re-entrant: the collector may close a lost subscription while this thread holds it.
        self._lock = threading.RLock()

    @property
    def subscribers(self) -> int:
        """Subscriptions that are open now."""
        return self._subscribers

    def publish(self, frame: bytes) -> int:
        """Append one frame, return its number. Never blocks on a reader. ValueError when empty."""
        if not _frame(frame):
            raise ValueError("a frame must not be empty")
        with self._lock:
            self._head += 1
            self._ring[self._head % self.size] = frame
            self._order[self._head % self.size] = next(_published)
            number = self._head
            for waker in self._wakers:
                waker._wake(self)
        return number

    def subscribe(self, after: int | None = None) -> Subscription:
        """A cursor on this topic: None gives what comes next; a number gives the frames after it,
        as far as the ring still has them."""
        if after is not None:
            _whole("after", after, 0, 2**63 - 1)
        with self._lock:
            if after is None:
                after = self._head
            self._subscribers += 1
            oldest = max(1, self._head - self.size + 1)
            return Subscription(self, min(max(after + 1, oldest), self._head + 1))

    def _attach(self, waker: StreamWriter) -> None:
        with self._lock:
            self._wakers.append(waker)

    def _detach(self, waker: StreamWriter) -> None:
        with self._lock:
            self._wakers.remove(waker)

    def _read(self, start: int, limit: int) -> list[bytes]:
        """Up to `limit` frames from `start`, which the ring has. The caller holds the lock."""
        stop = min(self._head + 1, start + limit)
        return [self._ring[number % self.size] for number in range(start, stop)]


@final
class Subscription:
    """One reader's place in a topic. Made by Topic.subscribe().

    `take` is for one reader at a time; once a StreamWriter has adopted the subscription it raises
    RuntimeError. Closing an adopted one stops its frames; the stream lives on.
    """

    __slots__ = ("_adopted", "_closed", "_next", "_topic")

    def __init__(self, topic: Topic, number: int) -> None:
        self._topic = topic
        self._next = number
        self._closed = False
        self._adopted = False

    def take(self, limit: int = 64) -> tuple[int, list[bytes]]:
        """(missed, frames): at most `limit` frames, in order, without waiting.

        A reader that fell off the ring gets (missed, []) once, missed > 0, and goes on at the head:
        what it shows is stale, so it reads everything again anyway.
        """
        _whole("limit", limit, 1, 2**31 - 1)
        topic = self._topic
        with topic._lock:
            if self._adopted:
                raise RuntimeError("this subscription belongs to a StreamWriter")
            if self._closed:
                return 0, []
            waiting = topic._head + 1 - self._next
            if waiting > topic.size:
                self._next = topic._head + 1
                return waiting, []
            frames = topic._read(self._next, limit)
            self._next += len(frames)
            return 0, frames

    def close(self) -> None:
        """Leave the topic. Idempotent."""
        topic = self._topic
        with topic._lock:
            if self._closed:
                return
            self._closed = True
            topic._subscribers -= 1

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    def __del__(self) -> None:
        self.close()


def _seconds(name: str, value: float) -> float:
    """`value` clipped to what a clock can wait for; ValueError when it is not a number."""
    if value != value:
        raise ValueError(f"{name} must be a number of seconds, not {value}")
    return min(max(float(value), 0.0), LONGEST_WAIT)


# -- stream writer ---------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Piece:
    """A frame on its way out, and what changes when its first byte leaves."""

    view: memoryview
    subscription: Subscription | None = None
    next: int = 0
    order: int = 0

    @property
    def refresh(self) -> bool:
        """Whether it is a refresh of a subscription that fell off."""
        return self.subscription is not None and self.order == 0


@dataclass(slots=True, eq=False)
class _Stream:
    """One client: its socket, its cursors, and the frame that is only partly out."""

    id: int
    sock: socket.socket
    subscriptions: tuple[Subscription, ...]
    lease: Lease | None
    current: memoryview | None
    current_counts: bool = False  # whether `current` is a topic's frame
    farewell: bytes = b""
    closing: bool = False
    slow: bool = False  # the socket was full, and the backlog is not yet worked off
    blocked_since: float = 0.0  # 0.0: not waiting for the socket
    sent_at: float = 0.0
    unread_since: float = 0.0  # 0.0: the client has taken all that was sent
    received: int = 0
    sent: int = 0
    taken: int = 0
    queued: bool = False


@final
class StreamWriter:
    """One thread (`stream-writer`) that writes topics' frames to every socket it was given.

    heartbeat: seconds of silence after which `: hb` is sent. write_timeout: seconds without
    progress after which a client is given up; three heartbeats, at least 5 s, if that is less.
    buffer_size: frames that a client whose socket is
    full may lag behind; one that keeps up may use the whole ring. A subscription that lags more
    gets ONE refresh frame, at a frame boundary, and goes on at the head.
    """

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
        self._frames = self._refreshes = 0
        self._last_id = 0
        self._entries: dict[int, _Stream] = {}
        self._topics: dict[Topic, tuple[dict[_Stream, None], list[int]]] = {}
        self._news: set[Topic] = set()  # each operation on it is atomic
        self._ready: deque[_Stream] = deque()
        self._incoming: list[_Stream] = []
        self._thread: threading.Thread | None = None
        self._stop: tuple[float, bytes] | None = None
        self._stopping = False
        self._pending = False
        # LOCK: _entries, _incoming, _last_id, _stop, _thread, and _Stream.closing and .farewell. No
        # other lock is taken inside it, and _wake(), which topics call inside theirs, takes none.
        self._lock = threading.Lock()

    # -- any thread --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread. Idempotent."""
        with self._lock:
            if self._thread is not None:
                return
            self._selector = selectors.DefaultSelector()
            self._wake_out, self._wake_in = socket.socketpair()
            self._wake_in.setblocking(False)
            self._wake_out.setblocking(False)
            self._selector.register(self._wake_out, selectors.EVENT_READ, None)
            self._stop = None
            self._stopping = self._pending = False
            self._thread = threading.Thread(target=self._run, name="stream-writer", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 5.0, farewell: bytes = b"") -> None:
        """Send `farewell`, at a frame boundary, to all who can read; close all; end the thread.

        Idempotent. A client that makes no progress for a second is closed without it; all others
        after `timeout` seconds at the latest.
        """
        _frame(farewell)
        wait = _seconds("timeout", timeout)
        with self._lock:
            thread = self._thread
            if thread is None:
                return
            if self._stop is None:
                self._stop = (time.monotonic() + wait, farewell)
        self._wake()
        thread.join()

    def adopt(
        self,
        fd: int,
        subscriptions: Sequence[Subscription],
        lease: Lease | None = None,
        first: bytes = b"",
    ) -> int:
        """Take over a connected stream socket; returns the stream's number, from 1.

        `first` is sent before anything else. From this call on, whatever happens, fd, subscriptions
        and lease are the writer's to give back: also when it does not run, or when fd is -1 (the
        peer was already gone); then it returns 0. Raises after giving back: OSError when fd is no
        socket, ValueError when a subscription was adopted before, TypeError.
        """
        found: list[Subscription] = []
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
            self._claim(subscriptions, found)
            if sock is not None:
                stream = self._enqueue(sock, tuple(found), lease, first)
        finally:
            if stream is None:
                _close_fd(sock, fd if isinstance(fd, int) else -1)
                _give_back(found, lease if isinstance(lease, Lease) else None)
        if stream is None:
            return 0
        self._wake()
        return stream.id

    def _claim(self, subscriptions: Iterable[Subscription], found: list[Subscription]) -> None:
        """Mark each subscription as the writer's; `found` holds those, also when it raises."""
        for subscription in subscriptions:
            if not isinstance(subscription, Subscription):
                raise TypeError("subscriptions must be Subscription objects")
            with subscription._topic._lock:
                if subscription._adopted:
                    raise ValueError("a subscription can be adopted only once")
                subscription._adopted = True
            found.append(subscription)

    def _enqueue(
        self,
        sock: socket.socket,
        subscriptions: tuple[Subscription, ...],
        lease: Lease | None,
        first: bytes,
    ) -> _Stream | None:
        with self._lock:
            if self._thread is None or self._stop is not None:
                return None
            self._last_id += 1
            current = memoryview(first) if first else None
            stream = _Stream(self._last_id, sock, subscriptions, lease, current)
            self._entries[stream.id] = stream
            self._incoming.append(stream)
            return stream

    def drop(self, stream: int, farewell: bytes = b"") -> bool:
        """End one stream at the next frame boundary, after `farewell`. True: this call ends it."""
        _frame(farewell)
        with self._lock:
            found = self._entries.get(stream)
            if found is None or found.closing or self._stop is not None:
                return False
            found.farewell = farewell
            found.closing = True
            self._incoming.append(found)
        self._wake()
        return True

    def _wake(self, topic: Topic | None = None) -> None:
        """Make the thread look around. For topics, which name themselves; never blocks."""
        if topic is not None:
            self._news.add(topic)
        if not self._pending:
            self._pending = True
            with suppress(OSError):  # full means awake; closed means stopped
                self._wake_in.send(b"\0")

    def alive(self, stream: int) -> bool:
        """Whether a stream of this number is not ended."""
        return stream in self._entries

    @property
    def connections(self) -> int:
        """Streams that are not ended; each holds its lease."""
        return len(self._entries)

    @property
    def frames_sent(self) -> int:
        """Topics' frames that left completely: no heartbeats, refreshes, `first` or farewells."""
        return self._frames

    @property
    def refreshes(self) -> int:
        """Refresh frames begun because a subscription fell off."""
        return self._refreshes

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        swept = time.monotonic()
        while True:
            for key, mask in self._selector.select(0 if self._ready else self._period()):
                self._on_event(key.data, mask)
            self._take_commands()
            self._look_at_topics()
            for _ in range(len(self._ready)):
                stream = self._ready.popleft()
                stream.queued = False
                self._service(stream)
            now = time.monotonic()
            if now - swept >= self._sweep_period() or self._stopping:
                swept = now
                self._sweep(now)
            if self._stopping and not self._entries:
                self._finish()
                return

    def _sweep_period(self) -> float:
        return min(max(min(self._heartbeat, self._write_timeout) / 4, 0.01), 1.0)

    def _period(self) -> float | None:
        if self._stopping:
            return 0.02
        return self._sweep_period() if self._entries else None

    def _on_event(self, stream: _Stream | None, mask: int) -> None:
        if stream is None:
            self._drain_wakes()
            return
        if mask & selectors.EVENT_READ and not self._listen(stream):
            self._end(stream)
            return
        if mask & selectors.EVENT_WRITE and stream.blocked_since:
            stream.blocked_since = 0.0
            self._selector.modify(stream.sock, selectors.EVENT_READ, stream)
            self._queue(stream)

    def _drain_wakes(self) -> None:
        with suppress(BlockingIOError):
            self._wake_out.recv(4096)

    def _listen(self, stream: _Stream) -> bool:
        """Read and forget what the client says. False when it is gone, or says too much."""
        try:
            data = stream.sock.recv(4096)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        stream.received += len(data)
        return bool(data) and stream.received <= MAX_RECEIVED

    def _take_commands(self) -> None:
        self._pending = False  # before looking: whoever comes later wakes us again
        with self._lock:
            incoming, self._incoming = self._incoming, []
            stop = self._stop
        for stream in incoming:
            if stream.id in self._entries:
                if not stream.sent_at:
                    self._begin(stream)
                self._hurry(stream)
        if stop is not None and not self._stopping:
            self._stopping = True
            self._say_goodbye(stop[1])

    def _begin(self, stream: _Stream) -> None:
        try:
            self._selector.register(stream.sock, selectors.EVENT_READ, stream)
        except (OSError, ValueError, KeyError):  # closed behind our back, or out of kernel memory
            self._end(stream)
            return
        stream.sent_at = time.monotonic()
        for subscription in stream.subscriptions:
            topic = subscription._topic
            if topic not in self._topics:
                self._topics[topic] = ({}, [0])
                topic._attach(self)
            self._topics[topic][0][stream] = None

    def _say_goodbye(self, farewell: bytes) -> None:
        for stream in self._all():
            with self._lock:
                if not stream.closing:
                    stream.closing = True
                    stream.farewell = farewell
            self._hurry(stream)

    def _all(self) -> tuple[_Stream, ...]:
        with self._lock:  # others adopt meanwhile
            return tuple(self._entries.values())

    def _hurry(self, stream: _Stream) -> None:
        """Serve a stream soon; end it now when it only waits for a full socket to say nothing."""
        mute = stream.closing and not stream.farewell and stream.current is None
        if mute and stream.blocked_since:
            self._end(stream)
        else:
            self._queue(stream)

    def _look_at_topics(self) -> None:
        for _ in range(len(self._news)):
            topic = self._news.pop()
            streams, seen = self._topics.get(topic, ({}, [0]))
            if seen[0] != topic._head:
                seen[0] = topic._head
                for stream in streams:
                    self._queue(stream)

    def _queue(self, stream: _Stream) -> None:
        if not stream.queued and not stream.blocked_since:
            stream.queued = True
            self._ready.append(stream)

    def _service(self, stream: _Stream) -> None:
        """One system call for one stream: everything that is due, as far as the socket takes it."""
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
        self._queue(stream)  # until there is nothing to send or the socket is full

    def _gather(self, stream: _Stream) -> list[_Piece]:
        if stream.current is None and stream.farewell:
            stream.current, stream.farewell = memoryview(stream.farewell), b""
            stream.current_counts = False
        pieces = []
        if stream.current is not None:
            pieces.append(_Piece(stream.current))
        if stream.closing:
            return pieces
        # SAFETY: in the order of publication, whatever their topics: an id that a client returns
        # with stands for all that was published before. One thread publishes what has ids, so a
        # frame before the horizon is in its ring by now, and none after it is taken.
        found: list[_Piece] = []
        horizon = next(_published)
        for subscription in stream.subscriptions:
            self._gather_from(subscription, stream.slow, horizon, found)
        found.sort(key=lambda piece: piece.order)
        return pieces + found[: BATCH - len(pieces)]

    def _gather_from(
        self, subscription: Subscription, slow: bool, horizon: int, pieces: list[_Piece]
    ) -> None:
        topic = subscription._topic
        allowed = min(topic.size, self._buffer_size) if slow else topic.size
        with topic._lock:
            start, after = subscription._next, topic._head + 1
            if subscription._closed or start == after:
                return
            if after - start > allowed:
                view = memoryview(_refresh(after - start))
                pieces.append(_Piece(view, subscription, after, 0))
                return
            for number, frame in enumerate(topic._read(start, BATCH), start):
                order = topic._order[number % topic.size]
                if order > horizon:
                    return
                pieces.append(_Piece(memoryview(frame), subscription, number + 1, order))

    def _account(self, stream: _Stream, pieces: list[_Piece], sent: int) -> None:
        """Move cursors past every frame whose first byte left; keep the rest of the last one."""
        stream.sent += sent
        stream.sent_at = time.monotonic()
        for piece in pieces:
            if not sent:
                stream.slow = True
                return
            counts = stream.current_counts
            if piece.subscription is not None:
                piece.subscription._next = piece.next
                counts = not piece.refresh
                self._refreshes += piece.refresh
            if sent < len(piece.view):
                stream.current, stream.current_counts = piece.view[sent:], counts
                stream.slow = True
                return
            sent -= len(piece.view)
            stream.current = None
            self._frames += counts
        stream.slow = False

    def _sweep(self, now: float) -> None:
        """Heartbeats and deadlines."""
        late = self._stop is not None and now >= self._stop[0]
        for stream in self._all():
            if not stream.sent_at:
                continue  # adopted this moment: still among the commands
            patience = self._write_timeout
            if stream.closing:
                patience = min(patience, STALLED)
            blocked = stream.blocked_since and now - stream.blocked_since >= patience
            if late or blocked or self._is_unread(stream, now):
                self._end(stream)
            elif not stream.blocked_since and now - stream.sent_at >= self._heartbeat:
                if stream.current is None:
                    stream.current, stream.current_counts = memoryview(HEARTBEAT), False
                self._queue(stream)

    def _is_unread(self, stream: _Stream, now: float) -> bool:
        """Whether the client has taken nothing of what the kernel holds for too long (tcp(7),
        SIOCOUTQ). Small frames would fill its buffer for hours before a send blocks."""
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
        """Close one stream and give back what it held. The one place where a stream ends."""
        if stream.sent_at:
            self._selector.unregister(stream.sock)
            for subscription in stream.subscriptions:
                self._forget(subscription._topic, stream)
        _close_gently(stream.sock)
        with self._lock:
            del self._entries[stream.id]
        _give_back(stream.subscriptions, stream.lease)

    def _forget(self, topic: Topic, stream: _Stream) -> None:
        streams, _ = self._topics.get(topic, (None, None))
        if streams is not None:
            streams.pop(stream, None)
            if not streams:
                del self._topics[topic]
                topic._detach(self)

    def _finish(self) -> None:
        self._ready.clear()
        self._selector.close()
        with self._lock:
            self._thread = None
            self._wake_in.close()
            self._wake_out.close()


def _close_gently(sock: socket.socket) -> None:
    """Read, then close: unread input turns the last frames into a reset (RFC 1122, 4.2.2.13)."""
    with suppress(OSError):
        while sock.recv(4096, socket.MSG_DONTWAIT):
            pass
    sock.close()


def _close_fd(sock: socket.socket | None, fd: int) -> None:
    """Close what adopt() was given and could not use."""
    if sock is not None:
        sock.close()
    elif fd >= 0:
        try:
            os.close(fd)
        except OSError as err:
            if err.errno != errno.EBADF:
                raise


def _give_back(subscriptions: Iterable[Subscription], lease: Lease | None) -> None:
    for subscription in subscriptions:
        subscription.close()
    if lease is not None:
        lease.release()


# -- text, sockets, fast paths that only the compiled core has -------------------------------------


def escape(value: object) -> str:
    """A value, also a Raw, as HTML text for an element or a quoted attribute; None is ""."""
    if type(value) is not str:
        if value is None:
            return ""
        value = str(value)
    # PERF: most values are one word; this saves five scans (benchmarks/http/render.py).
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
    """RFC 3339 in UTC with "Z"; a fraction only where there is one."""
    written = moment.isoformat()
    if not written.endswith("+00:00"):
        written = moment.astimezone(UTC).isoformat()
    return written[:-6] + "Z"


def uuid_text(value: object) -> str:
    """A UUID as RFC 9562 section 4 writes it; whatever else it is, str() of it."""
    return str(value)


def make_rows(kind: type[T], names: tuple[str, ...], rows: Iterable[Sequence[object]]) -> list[T]:
    """Objects of a class that only keeps what it is given, as a frozen dataclass does: of each row
    the first values, by these names. Its __init__ is not called. Raises TypeError for a row that is
    too short.

    PERF: that sets one attribute after the other by a call (benchmarks/http, list).
    """
    found = []
    for values in rows:
        if len(values) < len(names):
            raise TypeError(f"{len(values)} values for {len(names)} names")
        made = kind.__new__(kind)
        for name, value in zip(names, values, strict=False):
            object.__setattr__(made, name, value)
        found.append(made)
    return found


def receive(fd: int, size: int) -> bytes:
    """Up to `size` and 65,536 bytes of a socket that does not block, b"" at its end; OSError."""
    return os.read(fd, min(size, 65536))


def transmit(fd: int, data: bytes | memoryview) -> int:
    """How many of these bytes a socket that does not block took. Raises OSError."""
    return os.write(fd, data)


def ready(epoll: select.epoll) -> int:
    """A file descriptor with an event, without waiting, or -1. Raises OSError, ValueError."""
    found = epoll.poll(0, 1)
    return found[0][0] if found else -1


def rearm(epoll: select.epoll, fd: int, events: int) -> None:
    """epoll_ctl(2), EPOLL_CTL_MOD. Raises OSError, ValueError for an epoll that is closed."""
    epoll.modify(fd, events)


@final
class IoThread:
    """Sends answers and reads what is asked next on a thread, http-io, without the GIL. This twin
    has none, and takes no socket.

    A socket that was given is the courier's until it is fetched or recalled. Its descriptor is
    readable when somebody who rests is to fetch. most: sockets with a lower number are taken.
    """

    most = 0

    def fileno(self) -> int:
        """What to wait for, level-triggered, while one rests; whoever sees it calls `hush`."""
        return -1

    def give(self, fd: int, data: bytes, keep: dict[int, Any], owner: object) -> bool:
        """Have these bytes sent on a socket that does not block, and then what comes read, once.
        The caller keeps data meanwhile, touches the socket no more, and owner stands in keep[fd]
        before anybody can fetch it. False, with nothing done, where the thread is behind or has
        stopped. Raises ValueError for a socket that is not taken.
        """
        raise ValueError("no such socket is taken")

    def fetch(self, keep: dict[int, Any]) -> tuple[Any, bytes | int] | None:
        """Take out of keep whose socket was given and is the caller's again, and what came: bytes,
        none at the peer's end; or, where all of data was not sent, how many bytes were; -1 where
        the peer is gone. None where there is nothing.
        """
        return None

    def recall(self, fd: int, keep: dict[int, Any]) -> Any:
        """Take keep[fd] out, with the socket where that was given, its data sent, and nothing has
        come; None where there is none, or it is to be fetched, later if not now.
        """
        return keep.pop(fd, None)

    def rest(self) -> bool:
        """Say that the caller is about to wait for `fileno`; False, and unsaid, where it need not,
        as something came.
        """
        return True

    def rise(self) -> None:
        """The caller waits no more, and it is not `fileno` that woke it."""

    def hush(self) -> None:
        """Somebody saw `fileno`, and fetches."""

    def run(self) -> None:
        """The life of its thread; returns after `stop`, when all that was given is sent."""

    def stop(self) -> None:
        """End the thread, which touches no socket any more; what was not fetched is lost."""


def _unsure(*arguments: object) -> None:
    """What the compiled core's fast paths return when Python has to look closer. See the stub."""


try_parse_head = try_format_head = try_format_response = try_encode_json = (
    try_format_access_line
) = _unsure


# -- metric cells ----------------------------------------------------------------------------------


@final
class Counter:
    """A cell that adds, exact under threads."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._lock = threading.Lock()  # LOCK: _value

    def inc(self, n: float = 1.0) -> None:
        """Add `n`. ValueError below 0."""
        if not (n := 0.0 + n) >= 0.0:  # a number, not a text of one
            raise ValueError(f"a counter does not fall: {n}")
        with self._lock:
            self._value += n

    @property
    def value(self) -> float:
        """The sum so far."""
        return self._value


@final
class Histogram:
    """Counts observations by upper bound (inclusive; the last bucket is +Inf), exact under threads.

    bounds: finite and rising.
    """

    __slots__ = ("_buckets", "_lock", "_total", "bounds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(float(bound) for bound in bounds)
        if not all(map(math.isfinite, self.bounds)):
            raise ValueError("bounds must be finite; +Inf is always there")
        if any(a >= b for a, b in zip(self.bounds, self.bounds[1:], strict=False)):
            raise ValueError("bounds must rise")
        self._buckets = [0] * (len(self.bounds) + 1)
        self._total = 0.0
        self._lock = threading.Lock()  # LOCK: _buckets, _total

    def observe(self, x: float) -> None:
        """Count one observation. ValueError when it is not a number."""
        x = 0.0 + x
        if x != x:
            raise ValueError("an observation must be a number, not nan")
        with self._lock:
            self._buckets[bisect_left(self.bounds, x)] += 1
            self._total += x

    def snapshot(self) -> tuple[list[int], float, int]:
        """(count of each bucket, +Inf last, not cumulative; sum; count)."""
        with self._lock:
            buckets, total = list(self._buckets), self._total
        return buckets, total, sum(buckets)
