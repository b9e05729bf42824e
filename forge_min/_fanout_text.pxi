# Texts: HTML escaping of every value of a page, UUIDs and times. Part of _fanout.pyx.

from libc.string cimport strlen

from datetime import UTC, datetime
from uuid import UUID

cdef object UUID_TEXT = UUID.__str__


def escape(value):
    """See _fanout_py.escape."""
    cdef str text
    if type(value) is str:
        text = value
    elif value is None:
        return ""
    elif type(value).__str__ is UUID_TEXT:
        return hex_text(value.int.to_bytes(16, "big"))
    elif type(value) is datetime and value.tzinfo is UTC:
        return moment_text(value, c" ", b"+00:00", 6)
    else:
        text = str(value)
    return escaped(text)


def uuid_text(value):
    """See _fanout_py.uuid_text."""
    if type(value) is UUID:
        return hex_text(value.int.to_bytes(16, "big"))
    return str(value)


cdef str hex_text(bytes data):
    """Return a UUID by RFC 9562 section 4: 32 digits in lower case with four hyphens."""
    cdef unsigned char text[36]
    cdef unsigned char* out = text
    cdef const unsigned char* raw = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef const char* digits = b"0123456789abcdef"
    cdef int n
    for n in range(16):
        if n == 4 or n == 6 or n == 8 or n == 10:
            out[0] = c"-"
            out += 1
        out[0] = digits[raw[n] >> 4]
        out[1] = digits[raw[n] & 15]
        out += 2
    return PyUnicode_DecodeLatin1(<const char*>text, 36, NULL)


def iso_utc(moment):
    """See _fanout_py.iso_utc."""
    if type(moment) is datetime and moment.tzinfo is UTC:
        return moment_text(moment, c"T", b"Z", 1)
    written = moment.isoformat()
    if not written.endswith("+00:00"):
        written = moment.astimezone(UTC).isoformat()
    return written[: len(written) - 6] + "Z"


cdef str moment_text(object moment, unsigned char separator, const char* zone, int zone_size):
    """Return a time of UTC, such as 2030-01-31 12:00:00.000001, with a separator and a zone."""
    cdef int parts[7]
    cdef int rest, n, size = 19
    cdef unsigned char out[40]
    read_moment(moment, parts)
    memcpy(out, b"0000-00-00 00:00:00", 19)
    out[10] = separator
    two_digits(out, parts[0] // 100)
    two_digits(out + 2, parts[0] % 100)
    for n in range(1, 6):
        two_digits(out + 2 + 3 * n, parts[n])
    rest = parts[6]
    if rest:
        out[19] = c"."
        for n in range(6):
            out[25 - n] = c"0" + rest % 10
            rest //= 10
        size = 26
    memcpy(out + size, zone, zone_size)
    return PyUnicode_DecodeLatin1(<const char*>out, size + zone_size, NULL)


cdef void two_digits(unsigned char* out, int number) noexcept:
    out[0] = c"0" + number // 10
    out[1] = c"0" + number % 10


cdef const char* ENTITIES[63]  # up to ">", the last of them
memset(ENTITIES, 0, sizeof(ENTITIES))
ENTITIES[c"&"], ENTITIES[c"<"], ENTITIES[c">"] = b"&amp;", b"&lt;", b"&gt;"
ENTITIES[c'"'], ENTITIES[c"'"] = b"&#34;", b"&#39;"


cdef str escaped(str text):
    """Return HTML text; the same object if there is nothing to escape."""
    cdef Py_ssize_t size, more = 0, n
    cdef const unsigned char* raw = narrow(text, &size)
    cdef char* html
    cdef char* out
    cdef unsigned char c
    if raw is NULL:
        return replaced(text)
    for n in range(size):
        c = raw[n]
        if c <= c">" and ENTITIES[c] is not NULL:
            more += <Py_ssize_t>strlen(ENTITIES[c]) - 1
    if more == 0:
        return text
    out = html = <char*>malloc(size + more)
    if html is NULL:
        raise MemoryError
    for n in range(size):
        c = raw[n]
        if c <= c">" and ENTITIES[c] is not NULL:
            out = append(out, ENTITIES[c], strlen(ENTITIES[c]))
        else:
            out[0] = <char>c
            out += 1
    try:
        return PyUnicode_DecodeLatin1(html, size + more, NULL)
    finally:
        free(html)


cdef str replaced(str text):
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        .replace('"', "&#34;").replace("'", "&#39;")
    )
