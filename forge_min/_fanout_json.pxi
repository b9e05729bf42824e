# Creates objects of rows, and writes simple JSON in one pass. Part of _fanout.pyx.
#
# All other values are left to the encoder of Python's json: nothing is rejected here.

from cpython.float cimport PyFloat_AS_DOUBLE
from libc.math cimport floor, fmod, isfinite
from libc.stdlib cimport realloc
from libc.time cimport tm

cdef extern from *:
    tm* gmtime_r(const time_t*, tm*) nogil

cdef extern from "Python.h":
    int PyObject_GenericSetAttr(object, object, object) except -1
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    char* PyOS_double_to_string(double, char, int, int, int*) except NULL
    unsigned long long PyLong_AsUnsignedLongLongMask(object) except? -1
    long long PyLong_AsLongLongAndOverflow(object, int*) except? -1
    void PyMem_Free(void*)
    int Py_DTSF_ADD_DOT_0

cdef enum:
    DEEPEST = 50

cdef const char* ESCAPES = b"uuuuuuuubtnufruuuuuuuuuuuuuuuuuu"  # of control characters

cdef const char* ACCESS = b'+00:00","level":"info","logger":"forge_min.access","message":"'
# Fields that need no redaction if their values are simple. Python writes lines with other fields.
cdef frozenset FIELDS = frozenset(("request_id", "route", "user_id", "tenant_id"))


cdef struct Text:
    char* at
    Py_ssize_t size
    Py_ssize_t capacity


cdef inline int need(Text* text, Py_ssize_t more) except -1:
    cdef Py_ssize_t capacity = text.capacity
    cdef char* at
    if text.size + more > capacity:
        capacity = 2 * capacity + more
        at = <char*>realloc(text.at, capacity)
        if at is NULL:
            raise MemoryError
        text.at = at
        text.capacity = capacity
    return 0


cdef inline int put(Text* text, const char* data, Py_ssize_t size) except -1:
    need(text, size)
    memcpy(text.at + text.size, data, size)
    text.size += size
    return 0


cdef inline int put_string(Text* text, object value) except -1:
    put(text, b'"', 1)
    put_escaped(text, value)
    return put(text, b'"', 1)


cdef int put_escaped(Text* text, object value) except -1:
    """Write a string with the escapes of RFC 8259 section 7. Non-ASCII characters stay."""
    cdef Py_ssize_t size, n
    cdef const unsigned char* raw = <const unsigned char*>PyUnicode_AsUTF8AndSize(value, &size)
    need(text, 6 * size)
    cdef char* out = text.at + text.size
    cdef unsigned char byte
    for n in range(size):
        byte = raw[n]
        if byte >= 32 and byte != c'"' and byte != c"\\":
            out[0] = byte
            out += 1
            continue
        out[0] = c"\\"
        out[1] = byte if byte >= 32 else ESCAPES[byte]
        if out[1] == c"u":
            out[2] = out[3] = c"0"
            out[4] = b"0123456789abcdef"[byte >> 4]
            out[5] = b"0123456789abcdef"[byte & 15]
            out += 4
        out += 2
    text.size = out - text.at
    return 0


cdef int put_number(Text* text, double value, char format, int digits) except -1:
    cdef char* number = PyOS_double_to_string(value, format, digits, Py_DTSF_ADD_DOT_0, NULL)
    try:
        return put(text, number, strlen(number))
    finally:
        PyMem_Free(number)


cdef int put_whole(Text* text, unsigned long long value, int least) except -1:
    """Write in decimal, with leading zeros up to `least` digits."""
    cdef char digits[24]
    cdef int n = 24
    while value or least > 0:
        n -= 1
        least -= 1
        digits[n] = c"0" + <char>(value % 10)
        value //= 10
    return put(text, digits + n, 24 - n)


cdef int put_tenths(Text* text, double value) except -1:
    """Write as Python's `.1f`, for 0 <= value < 1e9."""
    cdef unsigned long long whole = <unsigned long long>(value * 10)
    cdef double rest = value * 10 - whole
    # PERF: exact decimals of a double take ten times as long, and are needed only near a tie.
    if 0.4999 < rest < 0.5001:
        return put_number(text, value, c"f", 1)
    whole += rest > 0.5
    put_whole(text, whole // 10, 1)
    put(text, b".", 1)
    return put_whole(text, whole % 10, 1)


cdef int put_micros(Text* text, double seconds) except -1:
    """Write as Python's repr, rounded to microseconds, for 0 <= seconds < 1e6."""
    cdef double rounded = floor(seconds * 1e6 + 0.5)
    cdef unsigned long long micros = <unsigned long long>rounded
    # PERF: with at most 15 digits, repr has all of them except trailing zeros.
    if micros < 100:
        return put_few(text, micros)
    put_whole(text, micros // 1000000, 1)
    put(text, b".", 1)
    put_whole(text, micros % 1000000, 6)
    while text.at[text.size - 1] == c"0" and text.at[text.size - 2] != c".":
        text.size -= 1
    return 0


cdef int put_few(Text* text, unsigned long long micros) except -1:
    """Write as `put_micros`, for 0 to 99 microseconds, where repr has an exponent."""
    if not micros:
        return put(text, b"0.0", 3)
    if micros < 10:
        put_whole(text, micros, 1)
        return put(text, b"e-06", 4)
    put_whole(text, micros // 10, 1)
    if micros % 10:
        put(text, b".", 1)
        put_whole(text, micros % 10, 1)
    return put(text, b"e-05", 4)


cdef int put_hex(Text* text, unsigned long long value) except -1:
    """Write 16 hexadecimal digits."""
    cdef char digits[16]
    cdef int n
    for n in range(15, -1, -1):
        digits[n] = b"0123456789abcdef"[value & 15]
        value >>= 4
    return put(text, digits, 16)


cdef bint put_value(Text* text, object value, int depth) except -1:
    """Write a value. Returns whether it was simple."""
    cdef long long whole
    cdef int overflow = 0
    cdef bint first = True
    if type(value) is str:
        put_string(text, value)
    elif value is None:
        put(text, b"null", 4)
    elif value is True:
        put(text, b"true", 4)
    elif value is False:
        put(text, b"false", 5)
    elif type(value) is int:
        whole = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow:
            return False
        if whole < 0:
            put(text, b"-", 1)
        put_whole(text, -<unsigned long long>whole if whole < 0 else whole, 1)
    elif type(value) is float:
        if not isfinite(PyFloat_AS_DOUBLE(value)):
            return False
        put_number(text, PyFloat_AS_DOUBLE(value), c"r", 0)
    elif depth == DEEPEST:
        return False
    elif type(value) is dict:
        put(text, b"{", 1)
        for key, item in (<dict>value).items():
            if type(key) is not str:
                return False
            if not first:
                put(text, b",", 1)
            first = False
            put_string(text, key)
            put(text, b":", 1)
            if not put_value(text, item, depth + 1):
                return False
        put(text, b"}", 1)
    elif type(value) is list or type(value) is tuple:
        put(text, b"[", 1)
        for item in value:
            if not first:
                put(text, b",", 1)
            first = False
            if not put_value(text, item, depth + 1):
                return False
        put(text, b"]", 1)
    else:
        return False
    return True


def try_encode_json(value):
    """See _fanout.pyi."""
    cdef Text text
    memset(&text, 0, sizeof(text))
    try:
        need(&text, 1024)
        return text.at[:text.size] if put_value(&text, value, 0) else None
    finally:
        free(text.at)


cdef bint put_plain(Text* text, object value, int kind) except -1:
    """Write a text unchanged. Returns False, and writes nothing, if a byte is of another kind."""
    cdef Py_ssize_t n, size = 0
    cdef const unsigned char* at
    if type(value) is not str:
        return False
    at = narrow(value, &size)
    if at is NULL:
        return False
    for n in range(size):
        if not KIND[at[n]] & kind:
            return False
    put(text, <const char*>at, size)
    return True


# LOCK: the GIL. The last formatted second, and its text.
cdef long long WRITTEN = -1
cdef char CLOCK[64]


cdef int put_clock(Text* text, long long second) except -1:
    """Write Unix time before the year 10000 in UTC, as ISO 8601 to the second."""
    global WRITTEN
    cdef tm parts
    cdef time_t moment = second
    if second != WRITTEN:
        gmtime_r(&moment, &parts)
        snprintf(
            CLOCK, sizeof(CLOCK), b"%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year + 1900,
            parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
        )
        WRITTEN = second
    return put(text, CLOCK, 19)


def try_format_access_line(double now, method, path, status, double seconds, fields, span):
    """See _fanout.pyi."""
    cdef Text text
    if type(fields) is not dict or not 0 <= now < 253402300800:
        return None
    if type(status) is not int or not 0 <= status < 1000 or not 0 <= seconds < 1e6:
        return None
    memset(&text, 0, sizeof(text))
    try:
        need(&text, 1024)
        put(&text, b'{"time":"', 9)
        put_clock(&text, <long long>now)
        put(&text, b".", 1)
        put_whole(&text, <unsigned long long>(fmod(now, 1.0) * 1e3), 3)
        put(&text, ACCESS, strlen(ACCESS))
        if not put_plain(&text, method, LOGGED):
            return None
        put(&text, b" ", 1)
        if not put_plain(&text, path, LOGGED):
            return None
        put(&text, b" ", 1)
        put_whole(&text, status, 1)
        put(&text, b" ", 1)
        put_tenths(&text, seconds * 1e3)
        put(&text, b'ms"', 3)
        for key, item in (<dict>fields).items():
            if type(key) is not str or key not in FIELDS:
                return None
            put(&text, b',"', 2)
            put_plain(&text, key, ROUTE)
            if type(item) is str:
                put(&text, b'":"', 3)
                if not put_plain(&text, item, ROUTE if key == "route" else LOGGED):
                    return None
                put(&text, b'"', 1)
            else:
                put(&text, b'":', 2)
                if not put_value(&text, item, DEEPEST):
                    return None  # Python writes lists and objects
        if span is not None:
            put_span(&text, span)
        put(&text, b',"method":"', 11)
        put_plain(&text, method, LOGGED)
        put(&text, b'","status":', 11)
        put_whole(&text, status, 1)
        put(&text, b',"duration":', 12)
        put_micros(&text, seconds)
        put(&text, b"}\n", 2)
        return PyUnicode_DecodeLatin1(text.at, text.size, NULL)
    finally:
        free(text.at)


cdef int put_span(Text* text, object span) except -1:
    """Write the ids of a span and its trace."""
    if not isinstance(span, tuple) or len(span) != 3:
        raise TypeError("a span is a tuple of three")
    cdef object trace_id = <object>PyTuple_GET_ITEM(span, 0)
    cdef object span_id = <object>PyTuple_GET_ITEM(span, 1)
    put(text, b',"trace_id":"', 13)
    put_hex(text, PyLong_AsUnsignedLongLongMask(trace_id >> 64))
    put_hex(text, PyLong_AsUnsignedLongLongMask(trace_id))
    put(text, b'","span_id":"', 13)
    put_hex(text, PyLong_AsUnsignedLongLongMask(span_id))
    return put(text, b'"', 1)


def make_rows(type kind, tuple names, rows):
    """See _fanout_py.make_rows."""
    cdef Py_ssize_t n, count = len(names)
    cdef object row
    cdef list result = []
    for values in rows:
        if len(values) < count:
            raise TypeError(f"{len(values)} values for {count} names")
        row = kind.__new__(kind)
        for n in range(count):
            PyObject_GenericSetAttr(row, <object>PyTuple_GET_ITEM(names, n), values[n])
        result.append(row)
    return result
