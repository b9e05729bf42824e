# Frames, rings and wakers of the compiled core: plain C, used with and without the GIL.

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from forge_min._fanout_os cimport *


# -- frames ----------------------------------------------------------------------------------------

cdef struct Frame:
    long refs
    size_t size  # bytes that follow this header
    uint64_t order  # number among all frames of this process; 0: not published by a topic


cdef inline char* frame_data(Frame* frame) noexcept nogil:
    return <char*>frame + sizeof(Frame)


cdef inline Frame* frame_new(const char* data, size_t size) noexcept nogil:
    """Return a frame with one count, or NULL."""
    cdef Frame* frame = <Frame*>malloc(sizeof(Frame) + size)
    if frame != NULL:
        frame.refs = 1
        frame.size = size
        frame.order = 0
        memcpy(frame_data(frame), data, size)
    return frame


cdef inline void frame_drop(Frame* frame) noexcept nogil:
    if frame != NULL and forge_unref(&frame.refs):
        free(frame)


cdef inline Frame* frame_refresh(uint64_t missed) noexcept nogil:
    """Return the frame that asks a client to reload everything (docs/reference/http.md), or NULL."""
    cdef char text[128]
    cdef int size = snprintf(
        text, sizeof(text), b'event: refresh\ndata: {"reason":"overflow","missed":%llu}\n\n',
        <unsigned long long>missed,
    )
    return frame_new(text, <size_t>size)


# -- rings -----------------------------------------------------------------------------------------

cdef struct Waker:
    int fd  # an eventfd, of which each write is an event (edge-triggered)
    int pending  # 1 from the first wake until its owner reads the news
    Ring* news  # atomic: a stack of the rings with new frames


cdef struct Node:  # of a doubly linked list; the first member of its items
    Node* prev
    Node* next


cdef inline void list_add(Node** first, Node* node) noexcept nogil:
    """Add an item at the front."""
    node.prev = NULL
    node.next = first[0]
    if node.next != NULL:
        node.next.prev = node
    first[0] = node


cdef inline void list_remove(Node** first, Node* node) noexcept nogil:
    if node.prev != NULL:
        node.prev.next = node.next
    else:
        first[0] = node.next
    if node.next != NULL:
        node.next.prev = node.prev


cdef struct Ring:
    uint64_t* published  # number of frames that the process has published
    # LOCK: lock guards slots, head (which may also be read atomically without it) and waker.
    pthread_mutex_t lock
    Frame** slots
    uint64_t size
    uint64_t head
    Waker* waker  # of the writer's thread; NULL: no cursor reads the ring
    Ring* next_news
    int listed  # atomic: 1 while it is in the news of its waker
    Node* cursors  # for the writer's thread only
    long subscribers  # atomic


cdef inline void waker_wake(Waker* waker) noexcept nogil:
    """Wake the owner. PERF: one system call each time the owner reads the news, not one per frame.

    SAFETY: the owner clears `pending` BEFORE it takes the news and `listed` BEFORE it reads the
    head. Publishers set both AFTER the head is written. All are sequentially consistent. So either
    a publisher reads 0, lists and writes, or the owner still reads the new head.
    """
    if not forge_swap(&waker.pending, 1):
        eventfd_write(waker.fd, 1)  # cannot block; if it is full, the owner wakes anyway


cdef inline void ring_watch(Ring* ring, Waker* waker) noexcept nogil:
    """Set the waker. SAFETY: no publisher uses the old one afterwards: they wake inside the lock."""
    pthread_mutex_lock(&ring.lock)
    ring.waker = waker
    pthread_mutex_unlock(&ring.lock)


cdef inline uint64_t ring_publish(Ring* ring, Frame* frame) noexcept nogil:
    cdef uint64_t number
    cdef Frame** slot
    cdef Frame* old
    pthread_mutex_lock(&ring.lock)
    number = ring.head + 1
    slot = &ring.slots[number % ring.size]
    old = slot[0]
    frame.order = forge_add(ring.published, 1)
    slot[0] = frame
    forge_store(&ring.head, number)
    if ring.waker != NULL:
        if not forge_swap(&ring.listed, 1):
            forge_push(<void**>&ring.waker.news, ring, <void**>&ring.next_news)
        waker_wake(ring.waker)
    pthread_mutex_unlock(&ring.lock)
    frame_drop(old)
    return number


cdef inline size_t ring_read(
    Ring* ring, uint64_t start, uint64_t horizon, size_t limit, Frame** out
) noexcept nogil:
    """Read up to `limit` counted frames from number `start`, none published after `horizon`.

    The caller holds the lock.
    """
    cdef size_t count = 0
    while count < limit and start <= ring.head:
        out[count] = ring.slots[start % ring.size]
        if out[count].order > horizon:
            break
        forge_ref(&out[count].refs)
        count += 1
        start += 1
    return count
