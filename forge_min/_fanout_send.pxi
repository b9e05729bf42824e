# Answers that leave while the interpreter goes on. Part of _fanout.pyx.
#
# PERF: send(2) goes the whole way to the peer's socket and wakes who waits there, 4 to 8 us: on a
# thread that needs no GIL a hello answers a third more, a row an eighth (benchmarks/http).

cdef enum:
    DESCRIPTORS = 65536
    BEHIND = 8  # answers that wait when the thread has no processor, to all appearance
    PEER_GONE = -1
    NOT_YET = -2

cdef double NAP = 10e-6  # seconds that the thread looks for more before it sleeps

cdef struct Parcel:
    void* next  # in the stack of what was given, or in the thread's own queue
    const char* data
    size_t size
    int fd
    uint32_t events
    int taken  # atomic


@cython.final
cdef class Sender:
    """As _fanout_py.Sender."""

    cdef object poller  # owns the epoll
    cdef int epoll, wake
    cdef Parcel* parcels  # by descriptor: of each socket one, its owner's until it is given
    cdef void* news  # atomic: a stack of what was given
    cdef uint64_t given, finished  # atomic
    cdef int asleep, stopped  # atomic

    most = DESCRIPTORS

    def __cinit__(self, epoll):
        self.poller = epoll
        self.epoll = epoll.fileno()
        self.wake = eventfd(0, EFD_CLOEXEC)
        if self.wake < 0:
            PyErr_SetFromErrno(OSError)
        self.parcels = <Parcel*>calloc(DESCRIPTORS, sizeof(Parcel))
        if self.parcels == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.parcels)
        if self.wake > 0:
            close(self.wake)

    def give(self, int fd, bytes data not None, uint32_t events, dict keep not None, owner):
        """As _fanout_py.Sender.give."""
        if not 0 <= fd < DESCRIPTORS:
            raise ValueError("no such socket is taken")
        if forge_flag(&self.stopped) or self.given - forge_load(&self.finished) >= BEHIND:
            return False
        cdef Parcel* parcel = &self.parcels[fd]
        # SAFETY: kept and given in one step: the GIL is held from here to the end.
        if events:
            keep[fd] = owner
        parcel.fd, parcel.events = fd, events
        parcel.data, parcel.size = PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        forge_next(&self.given)
        forge_push(&self.news, parcel, &parcel.next)
        if forge_swap(&self.asleep, 0):
            self.rouse()
        return True

    def take(self, int fd):
        """As _fanout_py.Sender.take."""
        if not 0 <= fd < DESCRIPTORS:
            raise ValueError("no such socket is taken")
        return forge_swap(&self.parcels[fd].taken, 0) + NOT_YET

    def settle(self):
        """As _fanout_py.Sender.settle."""
        cdef uint64_t given = forge_load(&self.given)
        if forge_load(&self.finished) >= given:
            return
        with nogil:
            while forge_load(&self.finished) < given:
                sched_yield()

    def run(self):
        """As _fanout_py.Sender.run.

        SAFETY: as StreamWriter's thread at the end of the process: this object stays alive through
        this very call, and so do the bytes of every connection.
        """
        with nogil:
            forge_enter_thread(b"http-send")
            self.loop()

    def stop(self):
        """As _fanout_py.Sender.stop."""
        forge_swap(&self.stopped, 1)
        self.rouse()

    cdef void rouse(self) noexcept nogil:
        cdef uint64_t one = 1
        write(self.wake, &one, sizeof(one))

    cdef void loop(self) noexcept nogil:
        cdef double since = 0
        cdef uint64_t count
        while True:
            if self.send_all():
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
                    read(self.wake, &count, sizeof(count))
                forge_swap(&self.asleep, 0)

    cdef bint send_all(self) noexcept nogil:
        """Send what was given, in that order, which `settle` counts on; False for nothing."""
        cdef Parcel* stack = <Parcel*>forge_take(&self.news)
        cdef bint found = stack != NULL
        cdef Parcel* parcel = NULL
        cdef Parcel* next
        while stack != NULL:
            next = <Parcel*>stack.next
            stack.next = parcel
            parcel, stack = stack, next
        while parcel != NULL:
            next = <Parcel*>parcel.next  # before it is its owner's again
            self.send_one(parcel)
            parcel = next
        return found

    cdef void send_one(self, Parcel* parcel) noexcept nogil:
        cdef int fd = parcel.fd
        cdef ssize_t size = <ssize_t>parcel.size
        cdef epoll_event event
        cdef ssize_t count = send(fd, parcel.data, parcel.size, MSG_DONTWAIT | MSG_NOSIGNAL)
        event.data.u64 = 0
        event.data.fd = fd
        event.events = parcel.events
        if count < 0:
            count = 0 if errno == EAGAIN or errno == EINTR or errno == ENOBUFS else PEER_GONE
        if 0 <= count < size:
            event.events = EPOLLOUT | EPOLLONESHOT
        cdef bint waits = parcel.events != 0
        forge_swap(&parcel.taken, <int>count - NOT_YET)
        # SAFETY: not counted before epoll knows: who waits for that does not close the socket yet,
        # and its number stays its own. Where epoll is not to wait, the socket is the owner's now.
        if waits:
            epoll_ctl(self.epoll, EPOLL_CTL_MOD, fd, &event)
        forge_next(&self.finished)
