# Answers that leave, and requests that come, while the interpreter goes on. Part of _fanout.pyx.
#
# PERF: send(2) goes the whole way to the peer's socket and wakes who waits there; with recv(2) that is 5
# to 12 us. On a thread that needs no GIL a hello answers a third to two thirds more, a row an eighth
# (benchmarks/http).

cdef enum:
    DESCRIPTORS = 65536
    BEHIND = 8  # answers that wait when the thread has no processor, to all appearance
    AT_ONCE = 64  # sockets that are read before others are written to
    PEER_GONE = -1
    NEXT = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT
    # Whose a socket is. Only its owner and this thread look at the rest of its parcel, each when it
    # is theirs.
    OWNERS = 0
    SENDING = 1  # this thread's, which sends
    WAITING = 2  # epoll's; the owner may take it back
    READING = 3  # this thread's, which reads
    CAME = 4  # in the queue for the owner

cdef double NAP = 10e-6  # seconds that the thread looks for more before it sleeps

cdef struct Parcel:
    void* next  # in the stack of what was given, or of what came, or in the thread's own queue
    const char* data
    char* came  # of `count` bytes, allocated; NULL: count says how much of the data was taken
    ssize_t size, count
    int fd
    int whose  # atomic


cdef inline Parcel* in_order(void** stack) noexcept nogil:
    """All of a stack, in the order in which it was pushed; NULL for nothing."""
    cdef Parcel* parcel = <Parcel*>forge_take(stack)
    cdef Parcel* queue = NULL
    cdef Parcel* next
    while parcel != NULL:
        next = <Parcel*>parcel.next
        parcel.next = queue
        queue, parcel = parcel, next
    return queue


cdef inline int behind_errno() noexcept nogil:
    """Whether the last call failed for this moment only."""
    return errno == EAGAIN or errno == EINTR or errno == ENOBUFS


@cython.final
cdef class IoThread:
    """As _fanout_py.IoThread."""

    cdef int epoll, wake, bell
    cdef Parcel* parcels  # by descriptor
    cdef void* news  # atomic: a stack of what was given
    cdef void* back  # atomic: a stack of what came
    cdef Parcel* queue  # LOCK: the GIL; what came before, in order
    cdef uint64_t given, finished  # atomic
    cdef int asleep, stopped, active, resting  # atomic
    cdef char* room

    most = DESCRIPTORS

    def __cinit__(self):
        self.wake = self.bell = -1
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        self.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)
        if self.epoll < 0 or self.wake < 0 or self.bell < 0 or not self.watch(self.wake, EPOLLIN):
            PyErr_SetFromErrno(OSError)
        self.parcels = <Parcel*>calloc(DESCRIPTORS, sizeof(Parcel))
        self.room = <char*>malloc(RECEIVED)
        if self.parcels == NULL or self.room == NULL:
            raise MemoryError

    def __dealloc__(self):
        while self.parcels != NULL and (self.queue != NULL or self.gather()):
            free(self.queue.came)
            self.queue = <Parcel*>self.queue.next
        free(self.parcels)
        free(self.room)
        for fd in (self.epoll, self.wake, self.bell):
            if fd >= 0:
                close(fd)

    def fileno(self):
        """As _fanout_py.IoThread.fileno."""
        return self.bell

    def submit(self, int fd, bytes data not None, dict keep not None, owner):
        """As _fanout_py.IoThread.submit."""
        if not 0 <= fd < DESCRIPTORS:
            raise ValueError("no such socket is taken")
        if forge_flag(&self.stopped) or self.given - forge_load(&self.finished) >= BEHIND:
            return False
        cdef Parcel* parcel = &self.parcels[fd]
        # SAFETY: kept and given in one step: the GIL is held from here to the end.
        keep[fd] = owner
        parcel.fd, parcel.came = fd, NULL
        parcel.data, parcel.size = PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        forge_swap(&parcel.whose, SENDING)
        forge_next(&self.given)
        forge_push(&self.news, parcel, &parcel.next)
        if forge_swap(&self.asleep, 0):
            self.rouse()
        return True

    def completed(self, dict keep not None):
        """As _fanout_py.IoThread.completed."""
        if self.queue == NULL and not self.gather():
            return None
        cdef char* came
        cdef Parcel* parcel = self.queue
        self.queue = <Parcel*>parcel.next
        came, parcel.came = parcel.came, NULL
        cdef int fd = parcel.fd
        cdef ssize_t count = parcel.count
        # SAFETY: in one step, as in `submit`: from here on `reclaim` takes it for a parked one.
        forge_swap(&parcel.whose, OWNERS)
        owner = keep.pop(fd)
        if came == NULL:
            return owner, count
        try:
            return owner, came[:count]
        finally:
            free(came)

    def reclaim(self, int fd, dict keep not None):
        """As _fanout_py.IoThread.reclaim."""
        cdef int* whose = &self.parcels[fd].whose
        if 0 <= fd < DESCRIPTORS and not forge_change(whose, WAITING, OWNERS):
            if forge_flag(whose) != OWNERS:
                return None
        return keep.pop(fd, None)  # SAFETY: in one step, as in `submit`

    def arm(self):
        """As _fanout_py.IoThread.arm."""
        forge_step(&self.resting, 1)
        # SAFETY: looked at once more: what came in between rang for nobody.
        if self.queue != NULL or self.gather():
            self.called()
            return False
        return True

    def disarm(self):
        """As _fanout_py.IoThread.disarm."""
        self.called()

    def acknowledge(self):
        """As _fanout_py.IoThread.acknowledge."""
        cdef uint64_t count
        read(self.bell, &count, sizeof(count))

    def run(self):
        """As _fanout_py.IoThread.run.

        SAFETY: as StreamWriter's thread at the end of the process: this object stays alive through
        this very call, and so do the bytes of every connection.
        """
        forge_swap(&self.active, 1)
        with nogil:
            forge_enter_thread(b"http-io")
            self.loop()
        forge_swap(&self.active, 0)

    def stop(self):
        """As _fanout_py.IoThread.stop."""
        forge_swap(&self.stopped, 1)
        self.rouse()
        cdef uint64_t given = forge_load(&self.given)
        with nogil:
            while forge_flag(&self.active) == 1 or forge_load(&self.finished) < given:
                sched_yield()

    # -- the owner's side, with the GIL ------------------------------------------------------------

    cdef bint gather(self) noexcept:
        """Into the queue, which is empty, what came, in that order; False for nothing."""
        self.queue = in_order(&self.back)
        return self.queue != NULL

    cdef void rouse(self) noexcept nogil:
        cdef uint64_t one = 1
        write(self.wake, &one, sizeof(one))

    cdef bint called(self) noexcept nogil:
        """One who rests is counted no more; False where nobody is."""
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
                self.send_all()  # what was given before it stopped
                return
            elif since == 0:
                since = forge_now()
            elif forge_now() - since < NAP:
                sched_yield()
            else:
                forge_swap(&self.asleep, 1)
                # SAFETY: looked at once more: who gave something in between saw us awake.
                if not self.send_all() and not forge_flag(&self.stopped):
                    self.receive_all(-1)
                forge_swap(&self.asleep, 0)
                since = 0

    cdef bint send_all(self) noexcept nogil:
        """Send what was given, in that order; False for nothing."""
        cdef Parcel* parcel = in_order(&self.news)
        cdef bint found = parcel != NULL
        cdef Parcel* next
        cdef int rings = 0
        while parcel != NULL:
            next = <Parcel*>parcel.next  # before it is its owner's again
            rings += self.send_one(parcel)
            forge_next(&self.finished)
            parcel = next
        self.ring(rings)
        return found

    cdef bint send_one(self, Parcel* parcel) noexcept nogil:
        """Whether its owner has to look after it."""
        cdef ssize_t count = send(parcel.fd, parcel.data, parcel.size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if count < 0:
            count = 0 if behind_errno() else PEER_GONE
        # SAFETY: this thread's until epoll knows: who takes it back may close it at once, and its
        # number may be another's.
        if count == parcel.size and self.watch(parcel.fd, NEXT):
            forge_swap(&parcel.whose, WAITING)
            return False
        parcel.count = count
        self.bring(parcel)
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
        """Read what there is to read, waiting so long for it; False for nothing."""
        cdef epoll_event events[AT_ONCE]
        cdef int found = epoll_wait(self.epoll, events, AT_ONCE, milliseconds)
        cdef int i, rings = 0
        cdef uint64_t count
        for i in range(found):
            if events[i].data.fd == self.wake:
                read(self.wake, &count, sizeof(count))
            else:
                rings += self.receive_one(&self.parcels[events[i].data.fd])
        self.ring(rings)
        return found > 0

    cdef bint receive_one(self, Parcel* parcel) noexcept nogil:
        """As send_one."""
        if not forge_change(&parcel.whose, WAITING, READING):
            return False  # its owner took it back
        cdef ssize_t count = recv(parcel.fd, self.room, RECEIVED, MSG_DONTWAIT)
        if count < 0 and behind_errno() and self.watch(parcel.fd, NEXT):
            forge_swap(&parcel.whose, WAITING)
            return False
        if count >= 0:
            parcel.came = <char*>malloc(count + 1)
            memcpy(parcel.came, self.room, count if parcel.came != NULL else 0)
        parcel.count = count if parcel.came != NULL else PEER_GONE
        self.bring(parcel)
        return True

    cdef void bring(self, Parcel* parcel) noexcept nogil:
        forge_swap(&parcel.whose, CAME)
        forge_push(&self.back, parcel, &parcel.next)

    cdef void ring(self, int rings) noexcept nogil:
        """Wake as many who rest as there is to do."""
        cdef uint64_t called = 0
        while called < <uint64_t>rings and self.called():
            called += 1
        if called:
            write(self.bell, &called, sizeof(called))
