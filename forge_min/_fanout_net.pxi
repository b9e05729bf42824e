# Calls on sockets that do not block, without releasing the GIL. Part of _fanout.pyx.
#
# PERF: Python's sockets release the GIL, and with eight busy threads each release waits for its
# turn again: 14 futex calls a request, of 22 system calls (benchmarks/http, row). Here the kernel
# takes 1 to 20 microseconds, and no other thread waits for long.

cdef enum:
    RECEIVED = 65536  # bytes that one call reads at most

# SAFETY: one buffer for all threads, used only with the GIL.
cdef char received[RECEIVED]


def receive(int fd, Py_ssize_t size):
    """See _fanout_py.receive."""
    cdef ssize_t count = recv(fd, received, min(size, RECEIVED), MSG_DONTWAIT)
    if count < 0:
        PyErr_SetFromErrno(OSError)
    return received[:count]


def transmit(int fd, const unsigned char[::1] data):
    """See _fanout_py.transmit."""
    cdef ssize_t count = 0
    if data.shape[0]:
        count = send(fd, &data[0], data.shape[0], MSG_DONTWAIT | MSG_NOSIGNAL)
    if count < 0:
        PyErr_SetFromErrno(OSError)
    return count


def rearm(epoll, int fd, uint32_t events):
    """See _fanout_py.rearm."""
    cdef epoll_event event
    cdef int own = epoll.fileno()
    event.data.u64 = 0
    event.data.fd = fd
    event.events = events
    if epoll_ctl(own, EPOLL_CTL_MOD, fd, &event) < 0:
        PyErr_SetFromErrno(OSError)


def ready(epoll):
    """See _fanout_py.ready."""
    cdef epoll_event event
    cdef int count = epoll_wait(epoll.fileno(), &event, 1, 0)
    if count < 0 and errno != EINTR:
        PyErr_SetFromErrno(OSError)
    return event.data.fd if count == 1 else -1
