# One client of the compiled core's stream writer, as its thread sees it: plain C.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free

from forge_min._fanout_os cimport *
from forge_min._fanout_ring cimport *

cdef enum:
    BATCH = 64  # frames in one system call


cdef struct Cursor:  # one subscription of one stream; for the writer's thread only
    Node node  # in the cursors of the ring
    Ring* ring
    int* shut  # of the Subscription, which the entry keeps alive
    uint64_t number  # of the next frame to begin
    Stream* stream


cdef struct Piece:  # a frame to send, and the cursor that moves when its first byte is sent
    Frame* frame
    size_t offset  # bytes of it that were sent
    Cursor* cursor  # NULL: the frame is the stream's current one
    uint64_t next


cdef struct Stream:
    Node node  # in all streams; for the writer's thread only
    long refs
    uint64_t id
    int fd
    Frame* drop_farewell  # LOCK: StreamWriter.lock, until the thread takes the command
    Stream* next_incoming
    Stream* next_dropping
    # The rest is for the writer's thread only.
    Stream* next_ready
    Stream* next_ended
    Piece current  # partly sent, or the next one; without a frame: none
    Frame* farewell
    double blocked_since  # 0.0: not waiting for the socket
    double sent_at
    double unread_since  # 0.0: the client has read everything sent
    int64_t sent  # bytes
    int64_t taken  # of them, when the thread last looked
    uint32_t received
    uint32_t count
    bint closing
    bint slow  # the socket was full, and a backlog is left
    bint queued
    bint begun  # epoll has it, and its cursors are in their rings
    bint ended
    Cursor* cursors  # `count` of them, in the same block


cdef inline void stream_drop(Stream* stream) noexcept nogil:
    if forge_unref(&stream.refs):
        frame_drop(stream.current.frame)
        frame_drop(stream.farewell)
        frame_drop(stream.drop_farewell)
        free(stream)


cdef inline int cursor_gather(
    Cursor* cursor, uint64_t allowed, uint64_t horizon, Piece* pieces, int count
) noexcept nogil:
    """Append the frames of a cursor: up to BATCH published until `horizon`, or one refresh if more
    than `allowed` wait. Returns the new count; -1 if out of memory, and then `pieces` is empty.
    """
    cdef Frame* blocks[BATCH]
    cdef Ring* ring = cursor.ring
    cdef uint64_t after, waiting
    cdef int new = 0, index
    if forge_flag(cursor.shut) or forge_load(&ring.head) < cursor.number:
        return count
    pthread_mutex_lock(&ring.lock)
    after = ring.head + 1
    waiting = after - cursor.number
    if waiting <= allowed:
        new = <int>ring_read(ring, cursor.number, horizon, BATCH, blocks)
    pthread_mutex_unlock(&ring.lock)
    if waiting > allowed:
        blocks[0] = frame_refresh(waiting)
        if blocks[0] == NULL:
            for index in range(count):
                frame_drop(pieces[index].frame)
            return -1
        new = 1
    for index in range(new):
        pieces[count].frame = blocks[index]
        pieces[count].offset = 0
        pieces[count].cursor = cursor
        pieces[count].next = after if waiting > allowed else cursor.number + <uint64_t>index + 1
        count += 1
    return count


cdef inline int pieces_order(Piece* pieces, int start, int count) noexcept nogil:
    """Sort the pieces from `start` on by publication, refreshes first, and drop those beyond BATCH.
    Returns the new count.
    """
    cdef int index, place
    cdef Piece piece
    for index in range(start + 1, count):
        piece = pieces[index]
        place = index
        while place > start and pieces[place - 1].frame.order > piece.frame.order:
            pieces[place] = pieces[place - 1]
            place -= 1
        pieces[place] = piece
    while count > BATCH:
        count -= 1
        frame_drop(pieces[count].frame)
    return count


cdef inline void stream_keep(Stream* stream, Piece* piece, size_t sent) noexcept nogil:
    """Keep a frame after `sent` more bytes of it; the rest is sent first next time."""
    if piece.cursor != NULL:
        forge_ref(&piece.frame.refs)
    stream.current = piece[0]
    stream.current.cursor = NULL
    stream.current.offset += sent


cdef inline void close_gently(int fd) noexcept nogil:
    """Read, then close: unread input would reset the connection (RFC 1122, 4.2.2.13)."""
    cdef char scratch[4096]
    cdef int rounds = 16
    while rounds > 0 and recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT) > 0:
        rounds -= 1
    close(fd)
