# Sockets that do not block, asked without giving up the GIL. Part of _fanout.pyx.
#
# PERF: the calls of Python's sockets let go of the GIL, and with eight busy threads whoever lets go
# may wait for its turn again. These two take a microsecond (benchmarks/http, row). A send takes 25,
# in which the kernel wakes the peer, so that one lets go.

cdef enum:
    RECEIVED = 65536  # bytes that one call takes at most

# SAFETY: one for all threads: it is used with the GIL held only.
cdef char received[RECEIVED]


def receive(int fd, Py_ssize_t size):
    """As _fanout_py.receive."""
    cdef ssize_t count = recv(fd, received, min(size, RECEIVED), MSG_DONTWAIT)
    if count < 0:
        PyErr_SetFromErrno(OSError)
    return received[:count]


def rearm(epoll, int fd, uint32_t events):
    """As _fanout_py.rearm."""
    cdef epoll_event event
    cdef int own = epoll.fileno()
    event.data.u64 = 0
    event.data.fd = fd
    event.events = events
    if epoll_ctl(own, EPOLL_CTL_MOD, fd, &event) < 0:
        PyErr_SetFromErrno(OSError)
