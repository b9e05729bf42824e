# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: embedsignature=True, auto_pickle=False
"""The compiled core: topics, stream writer, limiter, metric cells. Linux only.

It has the names and the behaviour of `_fanout_py.py`. `_fanout.pyi` declares both, and the
docstrings of the Python twin describe both: here they have one line. The writer's thread runs
without the GIL, so that a busy Python thread never delays a frame. Plain C is in
`_fanout_ring.pxd` and `_fanout_stream.pxd`, the interface to Linux in `_fanout_os.pxd`, the
limiter in `_fanout_limiter.pxi`, metric cells in `_fanout_cells.pxi`.

Ownership
* A Frame is a counted block of bytes. The ring owns one count, each stream that still has to send
  it another. Counts are atomic, so the last owner frees it, on any thread and without the GIL.
* A Ring belongs to its Topic, and has one StreamWriter. Every Subscription holds its Topic, every
  _Entry its Subscriptions. An entry is deleted only after the writer's thread has released the
  stream and read its news, so the thread may use plain Ring pointers.
* A Stream is counted: one for the entry, one for the thread, and one more while it is ready or
  waits for its drop.

LOCK: order and rules. Ring.lock guards one ring; StreamWriter.lock guards the commands to one
writer. Neither is taken inside the other. While one is held, no Python object is created, dropped
or called, and no thread waits for the GIL. So a thread that waits for one while it holds the GIL
waits for a few copied pointers only, and no cycle is possible.

LOCK: the GIL guards Limiter (a lock would double its cost), Topic.writer, Subscription.adopted,
StreamWriter.entries, last_id and thread. So the module does not declare itself free-threaded, and
a free-threaded Python turns the GIL on when it imports the module (PEP 703). The twin relies on
locks and on single operations of dict, set and deque, and runs without the GIL.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_XDECREF, Py_XINCREF
from libc.errno cimport (
    EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
)
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from forge_min._fanout_abi cimport *
from forge_min._fanout_client cimport *
from forge_min._fanout_os cimport *
from forge_min._fanout_ring cimport *
from forge_min._fanout_stream cimport *

import math
import os
import threading

from .errors import TooManyConnections, TooManyConnectionsForUser

cdef enum:
    EVENTS = 128
    MAX_RECEIVED = 65536  # bytes: a client of a stream has no reason to send more

cdef uint64_t published = 0  # atomic: number of frames that this process has published
cdef double UNREAD_HEARTBEATS = 3, UNREAD_SECONDS = 5  # as in _fanout_py
cdef double STALLED = 1.0  # seconds without progress after which a closing stream is dropped
cdef double LONGEST_WAIT = 1e6  # seconds


# -- frames ----------------------------------------------------------------------------------------

cdef Frame* frame_of(bytes data) except? NULL:
    """Return a new frame; NULL without an error for empty bytes, which mean "no frame"."""
    cdef Frame* frame
    if PyBytes_GET_SIZE(data) == 0:
        return NULL
    frame = frame_new(PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data))
    if frame == NULL:
        raise MemoryError
    return frame


cdef bytes _frame(frame):
    """Return `frame`. Raises TypeError unless it is bytes."""
    if not isinstance(frame, bytes):
        raise TypeError(f"a frame must be bytes, not {type(frame).__name__}")
    return bytes(frame)  # the same object, unless it is a subclass


cdef object _whole(str name, value, least, most):
    """Return `value`. Raises TypeError unless it is an int, ValueError outside the range."""
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name} must lie in {least}..{most}, not {value}")
    return value


cdef double _seconds(str name, double value) except -1:
    """Return `value` clipped to 0 and LONGEST_WAIT. Raises ValueError for nan."""
    if value != value:
        raise ValueError(f"{name} must be a number of seconds, not {value}")
    return min(max(value, 0.0), LONGEST_WAIT)


# -- topics ----------------------------------------------------------------------------------------

@cython.final
@cython.no_gc  # a cycle with its writer ends with the writer's streams
cdef class Topic:
    """A ring buffer of the last `size` frames (1 to 65536), numbered from 1."""

    cdef Ring ring
    cdef object writer  # the StreamWriter that adopts the subscriptions, once there is one

    def __cinit__(self, size=64):
        cdef uint64_t count = _whole("size", size, 1, 65536)
        pthread_mutex_init(&self.ring.lock, NULL)
        self.ring.slots = <Frame**>calloc(count, sizeof(Frame*))
        if self.ring.slots == NULL:
            raise MemoryError
        self.ring.size = count
        self.ring.published = &published

    def __dealloc__(self):
        # SAFETY: no subscription is left, so no writer watches the ring.
        cdef uint64_t index
        if self.ring.slots != NULL:
            for index in range(self.ring.size):
                frame_drop(self.ring.slots[index])
            free(self.ring.slots)
            pthread_mutex_destroy(&self.ring.lock)

    @property
    def subscribers(self):
        """Number of open subscriptions."""
        return self.ring.subscribers

    def publish(self, frame):
        """Append a frame and return its number. Never blocks on a reader."""
        cdef Frame* block = frame_of(_frame(frame))
        if block == NULL:
            raise ValueError("a frame must not be empty")
        return ring_publish(&self.ring, block)

    def subscribe(self, after=None):
        """Return a cursor: for new frames only, or for the frames after a number."""
        return Subscription.__new__(Subscription, self, after)


@cython.final
@cython.no_gc  # it cannot form a cycle, and __dealloc__ needs the topic
cdef class Subscription:
    """The cursor of one reader in a topic, created by Topic.subscribe()."""

    cdef Topic topic
    cdef uint64_t number  # of the next frame to send
    cdef int shut  # atomic: the writer's thread reads it
    cdef bint adopted

    def __cinit__(self, Topic topic not None, after):
        cdef uint64_t head, oldest
        cdef uint64_t wanted = 0
        if after is not None:
            wanted = _whole("after", after, 0, 2**63 - 1)
        head = forge_load(&topic.ring.head)
        oldest = head - topic.ring.size + 1 if head > topic.ring.size else 1
        self.number = head + 1 if after is None else min(max(wanted + 1, oldest), head + 1)
        self.topic = topic
        forge_ref(&topic.ring.subscribers)

    def __dealloc__(self):
        # SAFETY: the topic still exists: Cython drops object fields after __dealloc__.
        if self.topic is not None and not self.shut:
            forge_unref(&self.topic.ring.subscribers)

    def close(self):
        """Leave the topic. Idempotent."""
        if not forge_swap(&self.shut, 1):
            forge_unref(&self.topic.ring.subscribers)


# -- stream writer ---------------------------------------------------------------------------------

cdef Stream* stream_new(int fd, tuple subscriptions) except NULL:
    cdef size_t count = <size_t>len(subscriptions)
    cdef Stream* stream = <Stream*>calloc(1, sizeof(Stream) + count * sizeof(Cursor))
    cdef Cursor* cursor
    cdef Subscription subscription
    if stream == NULL:
        raise MemoryError
    stream.refs = 1
    stream.fd = fd
    stream.count = <uint32_t>count
    stream.cursors = cursor = <Cursor*>(<char*>stream + sizeof(Stream))
    for subscription in subscriptions:
        cursor.ring = &subscription.topic.ring
        cursor.shut = &subscription.shut
        cursor.number = subscription.number
        cursor.stream = stream
        cursor += 1
    return stream


@cython.final
cdef class _Entry:
    """The Python objects of one stream, until the thread has released it."""

    cdef tuple subscriptions
    cdef Lease lease
    cdef Stream* stream
    cdef bint dropped

    def __dealloc__(self):
        if self.stream != NULL:
            stream_drop(self.stream)


@cython.final
cdef class StreamWriter:
    """One thread (`stream-writer`) that writes the frames of topics to adopted sockets."""

    cdef double heartbeat, write_timeout, patience
    cdef uint64_t buffer_size
    cdef Frame* heartbeat_frame
    # The GIL guards these.
    cdef dict entries
    cdef object thread, starting
    cdef uint64_t last_id
    # LOCK: lock guards the commands: everything down to stop_farewell. stop_deadline is 0.0 until a
    # stop is requested. Then it and stop_farewell no longer change, and the thread reads them
    # without the lock.
    cdef pthread_mutex_t lock
    cdef Stream* incoming
    cdef Stream* dropping
    cdef bint live  # it accepts commands
    cdef double stop_deadline
    cdef Frame* stop_farewell
    # For the writer's thread only. Other threads read the counters, atomically.
    cdef int epoll
    cdef Waker waker
    cdef Node* streams
    cdef Stream* ready  # streams that may have something to send, each counted
    cdef Stream* ended
    cdef bint stopping
    cdef double swept, now
    cdef uint64_t frames, refresh_count

    def __cinit__(self, *, heartbeat=15.0, write_timeout=30.0, buffer_size=32):
        pthread_mutex_init(&self.lock, NULL)
        self.epoll = self.waker.fd = -1
        for name, value in (("heartbeat", heartbeat), ("write_timeout", write_timeout)):
            if not value > 0:
                raise ValueError(f"{name} must be a positive number of seconds, not {value}")
        self.heartbeat = _seconds("heartbeat", heartbeat)
        self.write_timeout = _seconds("write_timeout", write_timeout)
        self.patience = max(UNREAD_HEARTBEATS * self.heartbeat, UNREAD_SECONDS)
        self.patience = min(self.patience, self.write_timeout)
        self.buffer_size = _whole("buffer_size", buffer_size, 1, 65536)
        self.heartbeat_frame = frame_of(b": hb\n\n")
        self.entries = {}
        self.starting = threading.Lock()
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.waker.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self.epoll < 0 or self.waker.fd < 0 or not epoll_set(
            self.epoll, EPOLL_CTL_ADD, self.waker.fd, EPOLLIN | EPOLLET, NULL
        ):
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        # SAFETY: a running thread holds this object, so no thread and no stream is left.
        close(self.epoll)  # or -1, which does nothing
        close(self.waker.fd)
        frame_drop(self.heartbeat_frame)
        frame_drop(self.stop_farewell)
        pthread_mutex_destroy(&self.lock)

    # -- any thread --------------------------------------------------------------------------------

    def start(self):
        """Start the thread. Idempotent."""
        with self.starting:
            if self.thread is None:
                thread = threading.Thread(target=self._run, name="stream-writer", daemon=True)
                thread.start()
                self.thread = thread
                self.live = True

    def stop(self, timeout=5.0, farewell=b""):
        """Send `farewell` to all clients, close their streams and end the thread. Idempotent."""
        cdef bytes last = _frame(farewell)
        cdef double wait = _seconds("timeout", timeout)
        cdef Frame* frame = frame_of(last)
        thread = self.thread
        pthread_mutex_lock(&self.lock)
        if self.live:
            self.live = False
            self.stop_deadline = forge_now() + wait
            self.stop_farewell = frame
            frame = NULL
            waker_wake(&self.waker)
        pthread_mutex_unlock(&self.lock)
        frame_drop(frame)
        if thread is not None:
            thread.join()

    def adopt(self, fd, subscriptions, lease=None, first=b""):
        """Take ownership of a socket, its subscriptions and its lease. Returns the number, or 0."""
        cdef list claimed = []
        cdef int number = -1
        cdef uint64_t stream = 0
        try:
            number = _whole("fd", fd, -1, 2**31 - 1)
            _frame(first)
            if lease is not None and not isinstance(lease, Lease):
                raise TypeError("lease must be a Lease")
            if number >= 0:
                check_socket(number)
            claim(self, subscriptions, claimed)
            if number >= 0:
                stream = self.enqueue(number, tuple(claimed), lease, _frame(first))
        finally:
            if stream == 0:
                if number >= 0:
                    close(number)
                release(claimed, lease if isinstance(lease, Lease) else None)
        return stream

    cdef uint64_t enqueue(self, int fd, tuple subscriptions, Lease lease, bytes first) except? 0:
        """Return the number of the stream; 0 if the writer does not run, or with an error."""
        cdef _Entry entry = _Entry.__new__(_Entry)
        cdef Stream* stream = stream_new(fd, subscriptions)
        cdef bint accepted
        entry.stream = stream
        stream.current.frame = frame_of(first)
        self.last_id += 1
        stream.id = self.last_id
        entry.subscriptions = subscriptions
        entry.lease = lease
        # SAFETY: before the thread can see the stream, because its end needs the entry.
        self.entries[stream.id] = entry
        pthread_mutex_lock(&self.lock)
        accepted = self.live
        if accepted:
            forge_ref(&stream.refs)
            stream.next_incoming = self.incoming
            self.incoming = stream
            waker_wake(&self.waker)
        pthread_mutex_unlock(&self.lock)
        if not accepted:
            del self.entries[stream.id]
            return 0
        return stream.id

    def drop(self, stream, farewell=b""):
        """End one stream at the next frame boundary. Returns whether this call ends it."""
        # SAFETY: these come first, because they may run any code of the caller.
        cdef Frame* frame = frame_of(_frame(farewell))
        cdef _Entry entry = self.entries.get(stream)
        cdef bint accepted = False
        if entry is not None and not entry.dropped:
            pthread_mutex_lock(&self.lock)
            if self.live:
                accepted = True
                forge_ref(&entry.stream.refs)
                entry.stream.drop_farewell = frame
                entry.stream.next_dropping = self.dropping
                self.dropping = entry.stream
                waker_wake(&self.waker)
            pthread_mutex_unlock(&self.lock)
            entry.dropped = accepted
        if not accepted:
            frame_drop(frame)
        return accepted

    def alive(self, stream):
        """Return whether the stream with this number has not ended."""
        return stream in self.entries

    @property
    def connections(self):
        """Number of streams that have not ended. Each holds its lease."""
        return len(self.entries)

    @property
    def frames_sent(self):
        """Number of frames of topics that were sent completely."""
        return forge_load(&self.frames)

    @property
    def refreshes(self):
        """Number of refresh frames begun because a subscription missed frames."""
        return forge_load(&self.refresh_count)

    # -- the thread --------------------------------------------------------------------------------

    def _run(self):
        """Run the thread, which holds the GIL only to release the objects of ended streams.

        SAFETY: at the end of the process it is a daemon thread inside `nogil`. It uses no Python
        object, and the interpreter stops it when it requests the GIL again. This call, which then
        never returns, keeps this object and all objects of its streams alive.
        """
        cdef bint done = False
        with nogil:
            forge_enter_thread(b"stream-writer")
        while not done:
            with nogil:
                done = self.loop()
                self.look_at_rings()  # SAFETY: a ring that is released next is not in the news
            self.release_ended()

    cdef void release_ended(self) noexcept:
        cdef Stream* stream
        cdef _Entry entry
        while self.ended != NULL:
            stream = self.ended
            self.ended = stream.next_ended
            entry = self.entries.pop(stream.id)
            stream_drop(stream)  # the thread's count; the entry has another
            release(entry.subscriptions, entry.lease)

    cdef bint loop(self) noexcept nogil:
        """Work until a stream ended (False) or the writer has stopped (True)."""
        cdef epoll_event events[EVENTS]
        cdef int count, index
        while True:
            count = epoll_wait(self.epoll, events, EVENTS, self.pause())
            self.now = forge_now()  # PERF: read the clock once per round, not per frame
            for index in range(count):
                self.on_event(<Stream*>events[index].data.ptr, events[index].events)
            self.take_commands()
            self.look_at_rings()
            self.serve_ready()
            if self.stopping or self.now - self.swept >= self.sweep_period():
                self.swept = self.now
                self.sweep(self.now)
            if self.stopping and self.streams == NULL:
                self.serve_ready()  # all have ended
                return True
            if self.ended != NULL:
                return False

    cdef double sweep_period(self) noexcept nogil:
        return min(max(min(self.heartbeat, self.write_timeout) / 4, 0.01), 1.0)

    cdef int pause(self) noexcept nogil:
        """Return the milliseconds to wait for events; -1 = without limit."""
        if self.ready != NULL:
            return 0
        if self.stopping:
            return 20
        return <int>(self.sweep_period() * 1000) if self.streams != NULL else -1

    cdef void on_event(self, Stream* stream, uint32_t mask) noexcept nogil:
        if stream == NULL:
            forge_swap(&self.waker.pending, 0)
            return
        if stream.ended:
            return
        if mask & EPOLLIN and not self.read_input(stream):
            mask |= EPOLLHUP
        if mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            self.end(stream)
            return
        if mask & EPOLLOUT and stream.blocked_since != 0.0:
            stream.blocked_since = 0.0
            self.queue(stream)

    cdef bint read_input(self, Stream* stream) noexcept nogil:
        """Read and discard input of the client. False if the client is gone or sends too much."""
        cdef char scratch[4096]
        cdef ssize_t count
        while True:  # edge-triggered: until nothing is left; MAX_RECEIVED limits it
            count = recv(stream.fd, scratch, sizeof(scratch), MSG_DONTWAIT)
            if count < 0:
                return errno == EAGAIN or errno == EINTR
            stream.received += <uint32_t>count
            if count == 0 or stream.received > MAX_RECEIVED:
                return False

    cdef void take_commands(self) noexcept nogil:
        cdef Stream* incoming
        cdef Stream* dropping
        cdef Stream* stream
        cdef bint stop
        pthread_mutex_lock(&self.lock)
        incoming = self.incoming
        dropping = self.dropping
        self.incoming = self.dropping = NULL
        stop = self.stop_deadline != 0.0 and not self.stopping
        pthread_mutex_unlock(&self.lock)
        while incoming != NULL:
            self.begin(incoming)
            incoming = incoming.next_incoming
        while dropping != NULL:
            stream = dropping
            dropping = stream.next_dropping
            self.dismiss(stream, stream.drop_farewell)
            stream_drop(stream)
        if stop:
            self.stopping = True
            stream = <Stream*>self.streams
            while stream != NULL:
                self.dismiss(stream, self.stop_farewell)
                stream = <Stream*>stream.node.next

    cdef void begin(self, Stream* stream) noexcept nogil:
        cdef Cursor* cursor
        cdef uint32_t index
        list_add(&self.streams, &stream.node)
        stream.sent_at = self.now
        if not epoll_set(
            self.epoll, EPOLL_CTL_ADD, stream.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, stream
        ):
            self.end(stream)
            return
        stream.begun = True
        for index in range(stream.count):
            cursor = &stream.cursors[index]
            if cursor.ring.cursors == NULL:
                ring_watch(cursor.ring, &self.waker)
            list_add(&cursor.ring.cursors, &cursor.node)
        self.queue(stream)

    cdef void dismiss(self, Stream* stream, Frame* farewell) noexcept nogil:
        """End a stream at the next frame boundary, or at once if it is blocked without a frame."""
        if stream.ended or stream.closing:
            return
        stream.closing = True
        if farewell != NULL:
            forge_ref(&farewell.refs)
            stream.farewell = farewell
        if stream.blocked_since != 0.0 and farewell == NULL and stream.current.frame == NULL:
            self.end(stream)
        else:
            self.queue(stream)

    cdef void look_at_rings(self) noexcept nogil:
        """Queue the readers of every ring with new frames. Ends none, so the lists are stable."""
        cdef Ring* ring = <Ring*>forge_take(<void**>&self.waker.news)
        cdef Ring* following
        cdef Cursor* cursor
        while ring != NULL:
            following = ring.next_news  # read before a publisher lists the ring again
            forge_swap(&ring.listed, 0)
            cursor = <Cursor*>ring.cursors
            while cursor != NULL:
                self.queue(cursor.stream)
                cursor = <Cursor*>cursor.node.next
            ring = following

    cdef inline void queue(self, Stream* stream) noexcept nogil:
        if not stream.queued and stream.blocked_since == 0.0 and not stream.ended:
            forge_ref(&stream.refs)
            stream.queued = True
            stream.next_ready = self.ready
            self.ready = stream

    cdef void serve_ready(self) noexcept nogil:
        """Do one system call for each ready stream. Streams with more to send queue again."""
        cdef Stream* stream = self.ready
        cdef Stream* following
        self.ready = NULL
        while stream != NULL:
            following = stream.next_ready  # read before the stream queues again
            stream.queued = False
            if not stream.ended:
                self.service(stream)
            stream_drop(stream)  # this count; the thread still has its own
            stream = following

    cdef void service(self, Stream* stream) noexcept nogil:
        """Send everything that is due for one stream, in one system call."""
        cdef Piece pieces[2 * BATCH]
        cdef iovec vectors[BATCH]
        cdef msghdr message
        cdef ssize_t sent
        cdef int index
        cdef int count = self.gather(stream, pieces)
        if count <= 0:
            if count < 0 or stream.closing:
                self.end(stream)
            return
        for index in range(count):
            vectors[index].iov_base = frame_data(pieces[index].frame) + pieces[index].offset
            vectors[index].iov_len = pieces[index].frame.size - pieces[index].offset
        if count == 1:  # PERF: sendmsg copies a message and its vector first
            sent = send(
                stream.fd, vectors[0].iov_base, vectors[0].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL
            )
        else:
            memset(&message, 0, sizeof(message))
            message.msg_iov = vectors
            message.msg_iovlen = <size_t>count
            sent = sendmsg(stream.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent >= 0:
            self.account(stream, pieces, count, <size_t>sent)
            # Until nothing is left to send or the socket is full. PERF: a stream that has sent all
            # its frames waits for the next frames of its rings.
            if stream.slow or stream.closing or count == BATCH:
                self.queue(stream)
        elif errno == EAGAIN:
            stream.slow = True
            stream.blocked_since = self.now
        elif errno == EINTR:
            self.queue(stream)
        else:
            self.end(stream)
        for index in range(count):
            frame_drop(pieces[index].frame)

    cdef int gather(self, Stream* stream, Piece* pieces) noexcept nogil:
        """Fill `pieces` with up to BATCH frames, each with a count; -1 if out of memory.

        SAFETY: in the order of publication across topics, because a client that reconnects with an
        id must have received all frames published before it. One thread publishes the frames with
        ids, so frames before the horizon are in their rings by now. Later ones are left out.
        """
        cdef Cursor* cursor
        cdef uint64_t allowed
        cdef uint64_t horizon = forge_load(&published)
        cdef int count = 0
        cdef int start
        cdef uint32_t index
        if stream.current.frame == NULL and stream.farewell != NULL:
            stream.current.frame = stream.farewell
            stream.farewell = NULL
        if stream.current.frame != NULL:
            forge_ref(&stream.current.frame.refs)
            pieces[0] = stream.current
            count = 1
        if stream.closing:
            return count
        start = count
        for index in range(stream.count):
            cursor = &stream.cursors[index]
            allowed = cursor.ring.size
            if stream.slow:
                allowed = min(allowed, self.buffer_size)
            count = cursor_gather(cursor, allowed, horizon, pieces, count)
            if count < 0:
                return -1
            count = pieces_order(pieces, start, count)
        return count

    cdef void account(self, Stream* stream, Piece* pieces, int count, size_t sent) noexcept nogil:
        """Move cursors past each frame with a sent byte, and keep the rest of the last one."""
        cdef int index
        cdef size_t left
        cdef Piece* piece
        stream.sent += <int64_t>sent
        stream.sent_at = self.now
        stream.slow = False
        for index in range(count):
            if sent == 0:
                stream.slow = True
                return
            piece = &pieces[index]
            left = piece.frame.size - piece.offset
            if piece.cursor != NULL:
                piece.cursor.number = piece.next
                forge_add(&self.refresh_count, <uint64_t>(piece.frame.order == 0))
            if sent < left:
                stream_keep(stream, piece, sent)
                stream.slow = True
                return
            sent -= left
            if piece.cursor == NULL:
                frame_drop(stream.current.frame)
                memset(&stream.current, 0, sizeof(Piece))
            forge_add(&self.frames, <uint64_t>(piece.frame.order != 0))

    cdef void sweep(self, double now) noexcept nogil:
        """Send heartbeats and enforce deadlines."""
        cdef Stream* stream = <Stream*>self.streams
        cdef bint over = self.stopping and now >= self.stop_deadline
        cdef double patience
        while stream != NULL:
            patience = min(self.write_timeout, STALLED) if stream.closing else self.write_timeout
            if over or self.is_unread(stream, now) or (
                stream.blocked_since != 0.0 and now - stream.blocked_since >= patience
            ):
                self.end(stream)
            elif stream.blocked_since == 0.0 and now - stream.sent_at >= self.heartbeat:
                if stream.current.frame == NULL:
                    forge_ref(&self.heartbeat_frame.refs)
                    stream.current.frame = self.heartbeat_frame
                self.queue(stream)
            stream = <Stream*>stream.node.next

    cdef bint is_unread(self, Stream* stream, double now) noexcept nogil:
        """Return the same as _fanout_py.StreamWriter._is_unread."""
        cdef int held = 0
        cdef int64_t taken
        if stream.taken == stream.sent:
            return False
        ioctl(stream.fd, TIOCOUTQ, &held)
        taken = stream.sent - held
        if taken > stream.taken or taken == stream.sent or stream.unread_since == 0.0:
            stream.unread_since = 0.0 if taken == stream.sent else now
        stream.taken = taken
        return stream.unread_since != 0.0 and now - stream.unread_since >= self.patience

    cdef void end(self, Stream* stream) noexcept nogil:
        """Close one stream. Every stream ends here, and release_ended() releases its objects.

        SAFETY: until then it keeps its links, so that loops over the streams may end them.
        """
        cdef uint32_t index
        cdef Cursor* cursor
        if stream.begun:
            # SAFETY: close() does not suffice: a child process that is being started may hold a
            # copy of the socket, and epoll would still report a stream that is freed.
            epoll_ctl(self.epoll, EPOLL_CTL_DEL, stream.fd, NULL)
            for index in range(stream.count):
                cursor = &stream.cursors[index]
                list_remove(&cursor.ring.cursors, &cursor.node)
                if cursor.ring.cursors == NULL:
                    ring_watch(cursor.ring, NULL)
        close_gently(stream.fd)
        list_remove(&self.streams, &stream.node)
        stream.ended = True
        stream.next_ended = self.ended
        self.ended = stream


cdef int check_socket(int fd) except -1:
    """Raise OSError unless `fd` is an open socket."""
    cdef int kind
    cdef unsigned int size = sizeof(kind)
    if getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) < 0:
        PyErr_SetFromErrno(OSError)
    return 0


cdef int claim(StreamWriter writer, subscriptions, list claimed) except -1:
    """Mark each subscription as adopted and append it to `claimed`, also before an error."""
    cdef Subscription one
    for subscription in subscriptions:
        if not isinstance(subscription, Subscription):
            raise TypeError("subscriptions must be Subscription objects")
        one = subscription
        if one.adopted or one.topic.writer not in (None, writer):
            raise ValueError("a subscription can be adopted only once, by the topic's StreamWriter")
        one.topic.writer = writer
        one.adopted = True
        claimed.append(one)
    return 0


cdef void release(subscriptions, Lease lease) noexcept:
    cdef Subscription subscription
    for subscription in subscriptions:
        subscription.close()
    if lease is not None:
        lease.release()


include "_fanout_limiter.pxi"
include "_fanout_cells.pxi"
include "_fanout_text.pxi"
include "_fanout_http.pxi"
include "_fanout_body.pxi"
include "_fanout_queue.pxi"
include "_fanout_processor.pxi"
include "_fanout_io.pxi"
include "_fanout_task.pxi"
include "_fanout_json.pxi"
