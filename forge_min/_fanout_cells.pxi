# The metric cells of _fanout.pyx, which includes this file.

cdef int current_lane = 0


def set_lane(lane):
    """Choose the lane of shared memory that this process writes."""
    global current_lane
    current_lane = _whole("lane", lane, 0, 65535)


@cython.final
@cython.no_gc  # the buffer must not be cleared while somebody may still count
cdef class _Cells:
    """Doubles to count in: those given, whole lanes of `width`, or one private lane."""

    # LOCK: the GIL guards this process's lane; other lanes are only read, a double at a time.

    cdef Py_buffer buffer
    cdef double* cells
    cdef Py_ssize_t count, width
    cdef bint private

    def __cinit__(self, memory, Py_ssize_t width):
        self.width = width
        if memory is None:
            self.private = True
            self.count = width
            self.cells = <double*>calloc(<size_t>width, sizeof(double))
            if self.cells == NULL:
                raise MemoryError
            return
        view = memoryview(memory)
        if view.format != "d" or view.ndim != 1 or view.readonly or not view.c_contiguous:
            raise ValueError("memory must be writable, contiguous doubles (format 'd')")
        if not len(view) or len(view) % width:
            raise ValueError(f"memory must hold whole lanes of {width} doubles, not {len(view)}")
        PyObject_GetBuffer(view, &self.buffer, PyBUF_CONTIG)
        self.cells = <double*>self.buffer.buf
        self.count = len(view)

    def __dealloc__(self):
        if self.private:
            free(self.cells)
        elif self.buffer.obj is not None:
            PyBuffer_Release(&self.buffer)

    cdef inline Py_ssize_t offset(self) except -1:
        cdef Py_ssize_t start
        if self.private:
            return 0
        start = current_lane * self.width
        if start >= self.count:
            raise IndexError(
                f"lane {current_lane} lies outside the memory of {self.count // self.width} lanes"
            )
        return start

    # SAFETY: memcpy, since a caller's memory need not be aligned; it compiles to one move.
    cdef inline double get(self, Py_ssize_t index) noexcept:
        cdef double value
        memcpy(&value, &self.cells[index], sizeof(double))
        return value

    cdef inline void add(self, Py_ssize_t index, double n) noexcept:
        cdef double value = self.get(index) + n
        memcpy(&self.cells[index], &value, sizeof(double))


@cython.final
cdef class Counter:
    """A cell that adds, exact under threads."""

    cdef _Cells cells

    def __cinit__(self, memory=None):
        self.cells = _Cells(memory, 1)

    def inc(self, double n=1.0):
        """Add `n`. ValueError below 0, IndexError when this process's lane is not in the memory."""
        if not n >= 0.0:
            raise ValueError(f"a counter does not fall: {n}")
        self.cells.add(self.cells.offset(), n)

    @property
    def value(self):
        """The sum of all lanes."""
        cdef double total = 0.0
        cdef Py_ssize_t index
        for index in range(self.cells.count):
            total += self.cells.get(index)
        return total


@cython.final
cdef class Histogram:
    """Counts observations by upper bound (inclusive; the last bucket is +Inf)."""

    cdef _Cells cells
    cdef readonly tuple bounds
    cdef double* limits
    cdef Py_ssize_t count

    def __cinit__(self, bounds, memory=None):
        found = tuple([float(bound) for bound in bounds])
        if not all(map(math.isfinite, found)):
            raise ValueError("bounds must be finite; +Inf is always there")
        if any([found[index] >= found[index + 1] for index in range(len(found) - 1)]):
            raise ValueError("bounds must rise")
        self.cells = _Cells(memory, len(found) + 2)
        self.limits = <double*>malloc((len(found) + 1) * sizeof(double))
        if self.limits == NULL:
            raise MemoryError
        for index in range(len(found)):
            self.limits[<Py_ssize_t>index] = found[index]
        self.bounds = found
        self.count = len(found)

    def __dealloc__(self):
        free(self.limits)

    def observe(self, double x):
        """Count one observation. ValueError when it is not a number."""
        cdef Py_ssize_t low = 0, high = self.count, middle, start
        if x != x:
            raise ValueError("an observation must be a number, not nan")
        start = self.cells.offset()
        while low < high:
            middle = (low + high) // 2
            if self.limits[middle] < x:
                low = middle + 1
            else:
                high = middle
        self.cells.add(start + low, 1.0)
        self.cells.add(start + self.count + 1, x)

    def snapshot(self):
        """(count of each bucket, +Inf last, not cumulative; sum; count) over all lanes."""
        cdef list buckets = [0] * (self.count + 1)
        cdef double total = 0.0
        cdef Py_ssize_t start, index
        for start in range(0, self.cells.count, self.count + 2):
            for index in range(self.count + 1):
                buckets[index] += <long long>self.cells.get(start + index)
            total += self.cells.get(start + self.count + 1)
        return buckets, total, sum(buckets)
