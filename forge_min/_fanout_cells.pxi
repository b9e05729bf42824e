# The metric cells of _fanout.pyx, which includes this file. LOCK: the GIL guards them.


@cython.final
cdef class Counter:
    """A cell that adds, exact under threads."""

    cdef readonly double value

    def inc(self, double n=1.0):
        """Add `n`. ValueError below 0."""
        if not n >= 0.0:
            raise ValueError(f"a counter does not fall: {n}")
        self.value += n


@cython.final
cdef class Histogram:
    """Counts observations by upper bound (inclusive; the last bucket is +Inf)."""

    cdef readonly tuple bounds
    cdef double* limits
    cdef uint64_t* buckets  # one more than bounds
    cdef double total
    cdef Py_ssize_t count

    def __cinit__(self, bounds):
        found = tuple([float(bound) for bound in bounds])
        if not all(map(math.isfinite, found)):
            raise ValueError("bounds must be finite; +Inf is always there")
        if any([found[index] >= found[index + 1] for index in range(len(found) - 1)]):
            raise ValueError("bounds must rise")
        self.bounds = found
        self.count = len(found)
        self.limits = <double*>malloc((len(found) + 1) * sizeof(double))
        self.buckets = <uint64_t*>calloc(len(found) + 1, sizeof(uint64_t))
        if self.limits == NULL or self.buckets == NULL:
            raise MemoryError
        for index in range(len(found)):
            self.limits[<Py_ssize_t>index] = found[index]

    def __dealloc__(self):
        free(self.limits)
        free(self.buckets)

    def observe(self, double x):
        """Count one observation. ValueError when it is not a number."""
        cdef Py_ssize_t low = 0, high = self.count, middle
        if x != x:
            raise ValueError("an observation must be a number, not nan")
        while low < high:
            middle = (low + high) // 2
            if self.limits[middle] < x:
                low = middle + 1
            else:
                high = middle
        self.buckets[low] += 1
        self.total += x

    def snapshot(self):
        """(count of each bucket, +Inf last, not cumulative; sum; count)."""
        cdef Py_ssize_t index
        buckets = [self.buckets[index] for index in range(self.count + 1)]
        return buckets, self.total, sum(buckets)
