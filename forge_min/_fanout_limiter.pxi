# The limiter of live streams. Part of _fanout.pyx.
#
# LOCK: the GIL guards the limiter. Between the check and the count no operation may release the
# GIL. A dict with keys of exactly type str calls no Python code, and the classes below do not take
# part in garbage collection (no_gc: they cannot form a cycle), so creating one runs no finalizer.
# PERF: a lock of its own would double the cost (benchmarks/limiter.py).


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Lease:
    """A slot of a Limiter."""

    cdef Limiter limiter  # None once released
    cdef readonly str user

    def __init__(self, *args, **kwargs):
        raise TypeError("a Lease comes from Limiter.acquire()")

    def release(self):
        """Release the slot. Returns True the first time, False (and does nothing) afterwards."""
        cdef Limiter limiter = self.limiter
        cdef int count
        if limiter is None:
            return False
        self.limiter = None
        limiter.active -= 1
        count = limiter.counts[self.user] - 1
        if count:
            limiter.counts[self.user] = count
        else:
            del limiter.counts[self.user]
        return True

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        self.release()


@cython.final
cdef class Limiter:
    """Limits live streams: `max_total` at once and `max_per_user` of one user, exactly."""

    cdef dict counts  # number of leases by user
    cdef readonly int active  # number of leases that are held now
    cdef readonly int max_total, max_per_user

    # __cinit__ here and below: unlike __init__ it always runs, and only once.
    def __cinit__(self, *, max_total, max_per_user):
        self.max_total = _whole("max_total", max_total, 0, 2**31 - 1)
        self.max_per_user = _whole("max_per_user", max_per_user, 0, 2**31 - 1)
        self.counts = {}

    def acquire(self, str user not None):
        """Return a lease. Raises TooManyConnections, TooManyConnectionsForUser (both F501)."""
        cdef Lease lease = Lease.__new__(Lease)
        cdef int count = self.counts.get(user, 0)
        if self.active >= self.max_total:
            raise TooManyConnections(f"all {self.max_total} live connections are taken")
        if count >= self.max_per_user:
            raise TooManyConnectionsForUser(
                f"all {self.max_per_user} live connections of one user are taken"
            )
        self.counts[user] = count + 1
        self.active += 1
        lease.limiter = self
        lease.user = user
        return lease

    def active_for(self, user):
        """Return the number of leases that `user` holds now."""
        return self.counts.get(user, 0)

    @property
    def users(self):
        """Number of users that hold a lease now."""
        return len(self.counts)
