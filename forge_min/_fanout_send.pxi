# Sends responses and receives requests while the interpreter runs. Part of _fanout.pyx.
#
# PERF: send(2) runs up to the peer's socket and wakes the reader there; with recv(2) it takes 5 to
# 12 us. On a thread without the GIL the server handles a third to two thirds more requests for a
# hello, an eighth more for a row (benchmarks/http).

cdef enum:
    DESCRIPTORS = 65536
    BEHIND = 8  # waiting responses, from which on the thread seems to have no processor
    AT_ONCE = 64  # sockets that are read before the next writes
    PEER_GONE = -1
    NEXT = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT
    # The owner of a socket. Only the caller and this thread use the rest of its parcel, each while
    # it owns the socket.
    CALLER = 0
    WAITING = 1  # epoll; the caller may take it back
    THREAD = 2  # this thread, until `completed` returns it

cdef double NAP = 10e-6  # seconds that the thread polls for more before it sleeps

cdef struct Parcel:
    void* next  # in the stack of new or finished parcels, or in a queue
    const char* data
    char* received  # `count` bytes, allocated; NULL: count is the number of bytes sent
    ssize_t size, count
    int fd
    int owner  # atomic


cdef inline Parcel* in_order(void** stack) noexcept nogil:
    """Take all items of a stack, in the order of their pushes; NULL for none."""
    cdef Parcel* parcel = <Parcel*>forge_take(stack)
    cdef Parcel* queue = NULL
    cdef Parcel* next
    while parcel != NULL:
        next = <Parcel*>parcel.next
        parcel.next = queue
        queue, parcel = parcel, next
    return queue


cdef inline int is_temporary() noexcept nogil:
    """Return whether the last call may succeed later."""
    return errno == EAGAIN or errno == EINTR or errno == ENOBUFS


@cython.final
cdef class IoThread:
    """See _fanout_py.IoThread."""

    cdef int epoll, wake, bell  # wake: for the thread; bell: for waiting callers
    cdef Parcel* parcels  # by descriptor
    cdef void* news  # atomic: a stack of new parcels
    cdef void* back  # atomic: a stack of finished parcels
    cdef Parcel* queue  # LOCK: the GIL; finished parcels, in order
    cdef uint64_t given, finished  # atomic
    cdef int asleep, stopped, active, resting  # atomic
    cdef char* buffer

    most = DESCRIPTORS

    def __cinit__(self):
        self.wake = self.bell = -1
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        self.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)
        if self.epoll < 0 or self.wake < 0 or self.bell < 0 or not self.watch(self.wake, EPOLLIN):
            PyErr_SetFromErrno(OSError)
        self.parcels = <Parcel*>calloc(DESCRIPTORS, sizeof(Parcel))
        self.buffer = <char*>malloc(RECEIVED)
        if self.parcels == NULL or self.buffer == NULL:
            raise MemoryError

    def __dealloc__(self):
        while self.parcels != NULL and (self.queue != NULL or self.gather()):
            free(self.queue.received)
            self.queue = <Parcel*>self.queue.next
        free(self.parcels)
        free(self.buffer)
        for fd in (self.epoll, self.wake, self.bell):
            if fd >= 0:
                close(fd)

    def fileno(self):
        """See _fanout_py.IoThread.fileno."""
        return self.bell

    def submit(self, int fd, bytes data not None, dict keep not None, owner):
        """See _fanout_py.IoThread.submit."""
        if not 0 <= fd < DESCRIPTORS:
            raise ValueError("no such socket is taken")
        if forge_flag(&self.stopped) or self.given - forge_load(&self.finished) >= BEHIND:
            return False
        cdef Parcel* parcel = &self.parcels[fd]
        # SAFETY: both in one step: this function holds the GIL from here to its end.
        keep[fd] = owner
        parcel.fd, parcel.received = fd, NULL
        parcel.data, parcel.size = PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        forge_swap(&parcel.owner, THREAD)
        forge_next(&self.given)
        forge_push(&self.news, parcel, &parcel.next)
        if forge_swap(&self.asleep, 0):
            eventfd_write(self.wake, 1)
        return True

    def completed(self, dict keep not None):
        """See _fanout_py.IoThread.completed."""
        if self.queue == NULL and not self.gather():
            return None
        cdef char* data
        cdef Parcel* parcel = self.queue
        self.queue = <Parcel*>parcel.next
        data, parcel.received = parcel.received, NULL
        cdef int fd = parcel.fd
        cdef ssize_t count = parcel.count
        # SAFETY: in one step, as in `submit`: from here on `reclaim` treats it as a parked socket.
        forge_swap(&parcel.owner, CALLER)
        owner = keep.pop(fd)
        if data == NULL:
            return owner, count
        try:
            return owner, data[:count]
        finally:
            free(data)

    def reclaim(self, int fd, dict keep not None):
        """See _fanout_py.IoThread.reclaim."""
        cdef int* holder = &self.parcels[fd].owner
        if 0 <= fd < DESCRIPTORS and not forge_change(holder, WAITING, CALLER):
            if forge_flag(holder) != CALLER:
                return None
        return keep.pop(fd, None)  # SAFETY: in one step, as in `submit`

    def arm(self):
        """See _fanout_py.IoThread.arm."""
        forge_step(&self.resting, 1)
        # SAFETY: checked again: a parcel finished before the registration rang no bell.
        if self.queue != NULL or self.gather():
            self.called()
            return False
        return True

    def disarm(self):
        """See _fanout_py.IoThread.disarm."""
        self.called()

    def acknowledge(self):
        """See _fanout_py.IoThread.acknowledge."""
        cdef uint64_t count
        eventfd_read(self.bell, &count)

    def run(self):
        """See _fanout_py.IoThread.run.

        SAFETY: at the end of the process, as for the thread of StreamWriter: this call keeps this
        object and the bytes of every connection alive.
        """
        forge_swap(&self.active, 1)
        with nogil:
            forge_enter_thread(b"http-io")
            self.loop()
        forge_swap(&self.active, 0)

    def stop(self):
        """See _fanout_py.IoThread.stop."""
        forge_swap(&self.stopped, 1)
        eventfd_write(self.wake, 1)
        cdef uint64_t given = forge_load(&self.given)
        with nogil:
            while forge_flag(&self.active) == 1 or forge_load(&self.finished) < given:
                sched_yield()

    # -- the caller's side, with the GIL -----------------------------------------------------------

    cdef bint gather(self) noexcept:
        """Move finished parcels to the queue, which is empty. Returns False for none."""
        self.queue = in_order(&self.back)
        return self.queue != NULL

    cdef bint called(self) noexcept nogil:
        """Count one waiting caller less. Returns False if none waits."""
        cdef int resting = forge_flag(&self.resting)
        while resting > 0 and not forge_change(&self.resting, resting, resting - 1):
            resting = forge_flag(&self.resting)
        return resting > 0

    # -- the thread --------------------------------------------------------------------------------

    cdef void loop(self) noexcept nogil:
        cdef double since = 0
        while True:
            if self.send_all() | self.receive_all(0):
                since = 0
            elif forge_flag(&self.stopped):
                self.send_all()  # parcels accepted before the stop
                return
            elif since == 0:
                since = forge_now()
            elif forge_now() - since < NAP:
                sched_yield()
            else:
                forge_swap(&self.asleep, 1)
                # SAFETY: checked again: a push before `asleep` was set did not wake this thread.
                if not self.send_all() and not forge_flag(&self.stopped):
                    self.receive_all(-1)
                forge_swap(&self.asleep, 0)
                since = 0

    cdef bint send_all(self) noexcept nogil:
        """Send all new parcels, in their order. Returns False for none."""
        cdef Parcel* parcel = in_order(&self.news)
        cdef bint is_any = parcel != NULL
        cdef Parcel* next
        cdef int rings = 0
        while parcel != NULL:
            next = <Parcel*>parcel.next  # read before the caller owns it again
            rings += self.send_one(parcel)
            forge_next(&self.finished)
            parcel = next
        self.ring(rings)
        return is_any

    cdef bint send_one(self, Parcel* parcel) noexcept nogil:
        """Send one parcel. Returns whether it is finished, for `completed`."""
        cdef ssize_t count = send(parcel.fd, parcel.data, parcel.size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if count < 0:
            count = 0 if is_temporary() else PEER_GONE
        # SAFETY: this thread owns it until epoll has it: a caller that takes it back may close it
        # at once, and its descriptor may then be of another socket.
        if count == parcel.size and self.watch(parcel.fd, NEXT):
            forge_swap(&parcel.owner, WAITING)
            return False
        parcel.count = count
        forge_push(&self.back, parcel, &parcel.next)
        return True

    cdef bint watch(self, int fd, uint32_t events) noexcept nogil:
        cdef epoll_event event
        event.data.u64 = 0
        event.data.fd = fd
        event.events = events
        if epoll_ctl(self.epoll, EPOLL_CTL_MOD, fd, &event) == 0:
            return True
        return errno == ENOENT and epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event) == 0

    cdef bint receive_all(self, int milliseconds) noexcept nogil:
        """Read from all readable sockets, and wait for them. Returns False for none."""
        cdef epoll_event events[AT_ONCE]
        cdef int ready = epoll_wait(self.epoll, events, AT_ONCE, milliseconds)
        cdef int i, rings = 0
        cdef uint64_t count
        for i in range(ready):
            if events[i].data.fd == self.wake:
                eventfd_read(self.wake, &count)
            else:
                rings += self.receive_one(&self.parcels[events[i].data.fd])
        self.ring(rings)
        return ready > 0

    cdef bint receive_one(self, Parcel* parcel) noexcept nogil:
        """Receive for one parcel. Returns whether it is finished, for `completed`."""
        if not forge_change(&parcel.owner, WAITING, THREAD):
            return False  # the caller took it back
        cdef ssize_t count = recv(parcel.fd, self.buffer, RECEIVED, MSG_DONTWAIT)
        if count < 0 and is_temporary() and self.watch(parcel.fd, NEXT):
            forge_swap(&parcel.owner, WAITING)
            return False
        if count >= 0:
            parcel.received = <char*>malloc(count + 1)
            memcpy(parcel.received, self.buffer, count if parcel.received != NULL else 0)
        parcel.count = count if parcel.received != NULL else PEER_GONE
        forge_push(&self.back, parcel, &parcel.next)
        return True

    cdef void ring(self, int rings) noexcept nogil:
        """Wake as many waiting callers as there are finished parcels."""
        cdef uint64_t called = 0
        while called < <uint64_t>rings and self.called():
            called += 1
        if called:
            eventfd_write(self.bell, called)
