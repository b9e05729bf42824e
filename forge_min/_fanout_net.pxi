# Sockets that do not block, asked without giving up the GIL. Part of _fanout.pyx.
#
# PERF: the calls of Python's sockets let go of the GIL, and with eight busy threads whoever lets go
# waits for its turn again: that was a quarter of a request (benchmarks/http, hello and row).

cdef enum:
    RECEIVED = 65536  # bytes that one call takes at most
    AT_ONCE = 65536  # bytes that are copied to the kernel with the GIL held

# SAFETY: one for all threads: it is used with the GIL held only.
cdef char received[RECEIVED]


def receive(int fd, Py_ssize_t size):
    """As _fanout_py.receive."""
    cdef ssize_t count = recv(fd, received, min(size, RECEIVED), MSG_DONTWAIT)
    if count < 0:
        PyErr_SetFromErrno(OSError)
    return received[:count]


def transmit(int fd, data):
    """As _fanout_py.transmit."""
    cdef Py_buffer view
    cdef ssize_t count
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    if view.len <= AT_ONCE:
        count = send(fd, view.buf, view.len, MSG_DONTWAIT | MSG_NOSIGNAL)
    else:
        with nogil:
            count = send(fd, view.buf, view.len, MSG_DONTWAIT | MSG_NOSIGNAL)
    # SAFETY: before anything that could change errno.
    if count < 0:
        try:
            PyErr_SetFromErrno(OSError)
        finally:
            PyBuffer_Release(&view)
    PyBuffer_Release(&view)
    return count


def rearm(epoll, int fd, uint32_t events):
    """As _fanout_py.rearm."""
    cdef epoll_event event
    cdef int own = epoll.fileno()
    event.data.u64 = 0
    event.data.fd = fd
    event.events = events
    if epoll_ctl(own, EPOLL_CTL_MOD, fd, &event) < 0:
        PyErr_SetFromErrno(OSError)
