# Heads of the plainest kind, read and written in one pass. Part of _fanout.pyx.
#
# What is not plain is left to the Python that knows all the rules (wsgi/message/head.py and
# answer.py): nothing is refused here, and nothing is accepted that is not accepted there.

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.tuple cimport PyTuple_GET_ITEM
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.string cimport memchr, memcmp

cdef enum:
    NAME = 1  # may stand in a field's name; no underscore (RFC 9110 section 5.6.2)
    METHOD = 2
    TARGET = 4
    VALUE = 8
    HOST = 16  # of a host that is a name or an IPv4 address
    MOST_FIELDS = 40

# Module state: constant after import.
cdef unsigned char KIND[256]

cdef void classify() noexcept:
    cdef int byte
    for byte in range(256):
        KIND[byte] = 0
        if c"0" <= byte <= c"9" or c"A" <= byte <= c"Z" or c"a" <= byte <= c"z":
            KIND[byte] = NAME | METHOD | HOST
        elif byte == c"-" or byte == c".":
            KIND[byte] = NAME | METHOD | HOST
        elif byte != 0 and byte < 127 and chr(byte) in "!#$%&'*+^_`|~":
            KIND[byte] = METHOD if byte == c"_" else NAME | METHOD
        if 0x21 <= byte <= 0x7e and byte != c'"' and byte != c"#":  # a fragment is not sent
            KIND[byte] |= TARGET
        if byte == 9 or 32 <= byte != 127:
            KIND[byte] |= VALUE

classify()

# LOCK: the GIL. From a field's name to its key in an environ: the first 1,000 of at most 64 bytes,
# the others are made anew each time.
cdef dict KEYS = {}


cdef struct Field:
    const unsigned char* name
    Py_ssize_t length
    const unsigned char* value
    Py_ssize_t size


cdef inline const unsigned char* past(const unsigned char* at, int kind) noexcept nogil:
    """The first byte that is not of this kind; a head ends with one of none."""
    while KIND[at[0]] & kind:
        at += 1
    return at


cdef inline int same_name(Field* a, Field* b) noexcept nogil:
    cdef Py_ssize_t n
    if a.length != b.length:
        return 0
    for n in range(a.length):
        if (a.name[n] ^ b.name[n]) & ~0x20:
            return 0
    return 1


cdef int is_host(Field* field) noexcept nogil:
    cdef const unsigned char* end = field.value + field.size
    cdef const unsigned char* at = past(field.value, HOST)
    cdef const unsigned char* colon = at
    if at == field.value:
        return 0
    if at < end and at[0] == c":":
        at += 1
        while at < end and c"0" <= at[0] <= c"9":
            at += 1
        if at - colon > 6:
            return 0
    return at == end


cdef str key_of(Field* field):
    cdef bytes name = PyBytes_FromStringAndSize(<const char*>field.name, field.length)
    cdef object key = KEYS.get(name)
    if key is None:
        key = name.decode("ascii").upper().replace("-", "_")
        if key != "CONTENT_TYPE" and key != "CONTENT_LENGTH":
            key = "HTTP_" + key
        if len(KEYS) < 1000 and field.length <= 64:
            KEYS[name] = key
    return key


cdef inline int same_word(const unsigned char* name, const char* lower) noexcept nogil:
    cdef int n
    for n in range(4):
        if (name[n] | 0x20) != <unsigned char>lower[n]:
            return 0
    return 1


cdef inline Py_ssize_t read_field(Field* field, const unsigned char* at) noexcept nogil:
    """The bytes of the field line at `at`, its end included; 0 when it is not plain."""
    cdef const unsigned char* start = at
    field.name = at
    at = past(at, NAME)
    field.length = at - start
    if not field.length or at[0] != c":":
        return 0
    at += 1
    while at[0] == c" " or at[0] == c"\t":
        at += 1
    field.value = at
    at = past(at, VALUE)
    if at[0] != c"\r" or at[1] != c"\n":
        return 0
    field.size = at - field.value
    while field.size and (
        field.value[field.size - 1] == c" " or field.value[field.size - 1] == c"\t"
    ):
        field.size -= 1
    return at + 2 - start


cdef inline str text_of(const unsigned char* at, Py_ssize_t size):
    return PyUnicode_DecodeLatin1(<const char*>at, size, NULL)


def plain_head(bytearray data, Py_ssize_t size, dict environ):
    """As _fanout_py.plain_head."""
    cdef Field fields[MOST_FIELDS]
    cdef Field* field
    # SAFETY: a bytearray has a NUL behind its end, and every scan below ends at one.
    cdef const unsigned char* start = <const unsigned char*>PyByteArray_AS_STRING(data)
    cdef const unsigned char* end = start + size - 2
    cdef const unsigned char* at = start
    cdef const unsigned char* target
    cdef const unsigned char* target_end
    cdef const unsigned char* query
    cdef Py_ssize_t method, length
    cdef int n, count = 0, hosts = 0
    if not 4 <= size <= PyByteArray_GET_SIZE(data) or end[0] != c"\r" or end[1] != c"\n":
        return False
    at = past(at, METHOD)
    method = at - start
    if not method or at[0] != c" " or at[1] != c"/":
        return False
    target = at + 1
    at = target_end = past(target, TARGET)
    if end - at < 11 or memcmp(at, b" HTTP/1.1\r\n", 11):
        return False
    query = <const unsigned char*>memchr(target, c"?", target_end - target)
    if query is NULL:
        query = target_end
    if memchr(target, c"%", query - target) is not NULL:
        return False
    at += 11
    while at < end:
        if count == MOST_FIELDS:
            return False
        field = &fields[count]
        length = read_field(field, at)
        if not length:
            return False
        for n in range(count):
            if same_name(&fields[n], field):
                return False
        if field.length == 4 and same_word(field.name, b"host"):
            hosts += 1
            if not is_host(field):
                return False
        at += length
        count += 1
    if hosts != 1 or at != end:
        return False
    environ["REQUEST_METHOD"] = text_of(start, method)
    environ["SERVER_PROTOCOL"] = "HTTP/1.1"
    for n in range(count):
        environ[key_of(&fields[n])] = text_of(fields[n].value, fields[n].size)
    environ["PATH_INFO"] = text_of(target, query - target)
    query += query < target_end
    environ["QUERY_STRING"] = text_of(query, target_end - query)
    return True


def plain_fields(headers, kind):
    """As _fanout_py.plain_fields."""
    # Twice over: the length first, so that one block is enough.
    cdef Py_ssize_t size = 0, length_of_name, length_of_value, n
    cdef object length = None
    cdef object name, value, what
    cdef list plain = []
    if type(headers) is not list:
        return None
    for pair in <list>headers:
        if type(pair) is not tuple or len(<tuple>pair) != 2:
            return None
        name, value = <object>PyTuple_GET_ITEM(pair, 0), <object>PyTuple_GET_ITEM(pair, 1)
        if type(name) is not str or type(value) is not str:
            return None
        what = kind(name)
        if what:
            if what != "content-length" or length is not None:
                return None
            if not value.isascii() or not value.isdigit():
                return None
            length = int(value)
            continue
        if narrow(name, &length_of_name) is NULL or narrow(value, &length_of_value) is NULL:
            return None
        plain.append(pair)
        size += length_of_name + length_of_value + 4
    cdef bytes made = PyBytes_FromStringAndSize(NULL, size)
    cdef char* out = PyBytes_AS_STRING(made)
    cdef char* start
    for pair in plain:
        out = copied(out, <object>PyTuple_GET_ITEM(pair, 0))
        out[0], out[1] = c":", c" "
        start = out + 2
        out = copied(start, <object>PyTuple_GET_ITEM(pair, 1))
        for n in range(out - start):
            if start[n] == c"\r" or start[n] == c"\n" or start[n] == 0:
                return None
        out[0], out[1] = c"\r", c"\n"
        out += 2
    return made, length


cdef inline char* copied(char* out, object text):
    cdef Py_ssize_t size
    cdef const unsigned char* at = narrow(text, &size)
    memcpy(out, at, size)
    return out + size
