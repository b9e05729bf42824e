# The metric cells, a part of _fanout.pyx. LOCK: the GIL guards them.


@cython.final
cdef class Counter:
    """A sum of numbers, exact with several threads."""

    cdef readonly double value

    def inc(self, double n=1.0):
        """Add `n`. Raises ValueError below 0."""
        if not n >= 0.0:
            raise ValueError(f"a counter cannot decrease: {n}")
        self.value += n


@cython.final
cdef class Histogram:
    """Counts observations in buckets."""

    cdef readonly tuple bounds
    cdef double* limits
    cdef uint64_t* buckets  # one more than bounds
    cdef double total
    cdef Py_ssize_t count

    def __cinit__(self, bounds):
        values = tuple([float(bound) for bound in bounds])
        if not all(map(math.isfinite, values)):
            raise ValueError("bounds must be finite; +Inf is added")
        if any([values[index] >= values[index + 1] for index in range(len(values) - 1)]):
            raise ValueError("bounds must rise")
        self.bounds = values
        self.count = len(values)
        self.limits = <double*>malloc((len(values) + 1) * sizeof(double))
        self.buckets = <uint64_t*>calloc(len(values) + 1, sizeof(uint64_t))
        if self.limits == NULL or self.buckets == NULL:
            raise MemoryError
        for index in range(len(values)):
            self.limits[<Py_ssize_t>index] = values[index]

    def __dealloc__(self):
        free(self.limits)
        free(self.buckets)

    def observe(self, double x):
        """Count one observation. Raises ValueError for nan."""
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
        """Return (count of each bucket, sum of observations, count of all)."""
        cdef Py_ssize_t index
        buckets = [self.buckets[index] for index in range(self.count + 1)]
        return buckets, self.total, sum(buckets)
