# Reads simple requests and writes simple responses, in one pass. Part of _fanout.pyx.
#
# All other heads and responses are left to the Python code with all rules (wsgi/http1). Nothing is
# rejected here, and nothing is accepted here that is rejected there.

from email.utils import formatdate
from io import BytesIO

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.tuple cimport PyTuple_GET_ITEM
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp
from libc.time cimport time, time_t

cdef enum:
    NAME = 1  # valid in the name of a field; no underscore (RFC 9110 section 5.6.2)
    METHOD = 2
    TARGET = 4
    VALUE = 8
    HOST = 16  # valid in a host that is a name or an IPv4 address
    # Valid unchanged in a line of the access log: no escape, and nothing that the redaction of logs
    # searches for ("Bearer …", "token%3D…"). Then the same for a route, a text of the project.
    LOGGED = 32
    ROUTE = 64
    MOST_FIELDS = 40
    MOST_BYTES = 8190  # of a head; longer heads are not read here
    DATE_LINE = 37
    # What `frame_request` returns instead of a size.
    INCOMPLETE = 0
    UNUSUAL = -1  # `wsgi.http1` decides

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
        if 0x21 <= byte <= 0x7e and byte != c'"' and byte != c"#":  # clients do not send fragments
            KIND[byte] |= TARGET
        if byte == 9 or 32 <= byte != 127:
            KIND[byte] |= VALUE
        if 0x21 <= byte <= 0x7e and chr(byte) not in '%"\\':
            KIND[byte] |= ROUTE if chr(byte) in "=:'" else ROUTE | LOGGED

classify()

# LOCK: the GIL. Name of a field → its key in an environ: the first 1,000 names of at most 64 bytes.
# The keys of other names are created each time.
cdef dict KEYS = {}


cdef struct Field:
    const unsigned char* name
    Py_ssize_t length
    const unsigned char* value
    Py_ssize_t size


cdef inline const unsigned char* past(const unsigned char* at, int kind) noexcept nogil:
    """Return the first byte that is not of this kind. The end of a head is of no kind."""
    while KIND[at[0]] & kind:
        at += 1
    return at


cdef inline bint is_named(
    Field* field, const unsigned char* name, Py_ssize_t length
) noexcept nogil:
    """Return whether a field has this name, in any case: the name of another field, or a constant."""
    cdef Py_ssize_t n
    if field.length != length:
        return False
    for n in range(length):
        if (field.name[n] ^ name[n]) & ~0x20:
            return False
    return True


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


cdef inline Py_ssize_t read_field(Field* field, const unsigned char* at) noexcept nogil:
    """Return the size of the field line at `at` with its end; 0 if it is not simple."""
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


cdef struct PlainHead:
    const unsigned char* target
    const unsigned char* query  # or its end, if there is none
    const unsigned char* end  # of the target
    Py_ssize_t method
    size_t body  # bytes
    int count
    Field fields[MOST_FIELDS]


cdef bint read_length(Field* field, size_t* length) noexcept nogil:
    """Read the value of Content-Length. Returns False unless it is a usual number."""
    cdef Py_ssize_t n
    if not 0 < field.size < 19 or (field.value[0] == c"0" and field.size > 1):
        return False
    for n in range(field.size):
        if not c"0" <= field.value[n] <= c"9":
            return False
        length[0] = 10 * length[0] + field.value[n] - c"0"
    return True


cdef bint read_plain_head(PlainHead* head, const char* data, Py_ssize_t size) noexcept nogil:
    """Read a head that ends with CR LF CR LF. Returns False when unsure."""
    cdef Field* field
    cdef const unsigned char* at = <const unsigned char*>data
    cdef const unsigned char* end = at + size - 2
    cdef Py_ssize_t length
    cdef int n, hosts = 0
    head.count = 0
    head.body = 0
    at = past(at, METHOD)
    head.method = at - <const unsigned char*>data
    if not head.method or at[0] != c" " or at[1] != c"/":
        return False
    head.target = at + 1
    at = head.end = past(head.target, TARGET)
    if end - at < 11 or memcmp(at, b" HTTP/1.1\r\n", 11):
        return False
    head.query = <const unsigned char*>memchr(head.target, c"?", head.end - head.target)
    if head.query is NULL:
        head.query = head.end
    if memchr(head.target, c"%", head.query - head.target) is not NULL:
        return False
    at += 11
    while at < end:
        if head.count == MOST_FIELDS:
            return False
        field = &head.fields[head.count]
        length = read_field(field, at)
        if not length:
            return False
        for n in range(head.count):
            if is_named(&head.fields[n], field.name, field.length):
                return False
        if is_named(field, b"host", 4):
            hosts += 1
            if not is_host(field):
                return False
        elif is_named(field, b"content-length", 14):
            if not read_length(field, &head.body):
                return False
        elif is_named(field, b"transfer-encoding", 17) or is_named(field, b"expect", 6):
            return False
        at += length
        head.count += 1
    return hosts == 1 and at == end


cdef ssize_t frame_request(Client* client, size_t max_body) noexcept nogil:
    """Return the size of the first request of the input, INCOMPLETE or UNUSUAL."""
    cdef PlainHead head
    cdef const char* line
    cdef size_t size
    while client.head == 0:
        line = <const char*>memchr(
            client.input + client.scanned, c"\n", client.size - client.scanned
        )
        if line == NULL:
            return INCOMPLETE if client.size <= MOST_BYTES else UNUSUAL
        size = <size_t>(line + 1 - client.input)
        if size == 1 or (line - 1)[0] != c"\r" or size > MOST_BYTES:
            return UNUSUAL
        if size - client.scanned == 2:
            if not read_plain_head(&head, client.input, <Py_ssize_t>size) or head.body > max_body:
                return UNUSUAL
            client.head = size
            client.body = head.body
        client.scanned = size
    size = client.head + client.body
    return <ssize_t>size if client.size >= size else INCOMPLETE


cdef dict base_environ(Client* client, dict base):
    """Return a new environ with what all requests of a connection have in common."""
    cdef dict environ = base.copy()
    if client.address[0]:
        environ["REMOTE_ADDR"] = client.address.decode("latin-1")
        environ["REMOTE_PORT"] = client.port.decode("latin-1")
    return environ


cdef dict environ_of(Client* client, dict base):
    """Return the environ of the first request of the input, which is complete."""
    cdef PlainHead head
    cdef const unsigned char* query
    cdef int n
    read_plain_head(&head, client.input, <Py_ssize_t>client.head)
    cdef dict environ = base_environ(client, base)
    environ["REQUEST_METHOD"] = text_of(<const unsigned char*>client.input, head.method)
    environ["SERVER_PROTOCOL"] = "HTTP/1.1"
    for n in range(head.count):
        environ[key_of(&head.fields[n])] = text_of(head.fields[n].value, head.fields[n].size)
    environ["PATH_INFO"] = text_of(head.target, head.query - head.target)
    query = head.query + (head.query < head.end)
    environ["QUERY_STRING"] = text_of(query, head.end - query)
    environ["wsgi.input"] = BytesIO(
        client.input[client.head:client.head + client.body] if client.body else b""
    )
    return environ


def try_read_request(bytearray data not None, dict base not None, size_t max_body):
    """See _fanout.pyi."""
    cdef Client client
    cdef ssize_t size
    memset(&client, 0, sizeof(client))
    client.input = PyByteArray_AS_STRING(data)
    client.size = <size_t>PyByteArray_GET_SIZE(data)
    size = frame_request(&client, max_body)
    if size <= 0:
        return None
    environ = environ_of(&client, base)
    del data[:size]
    return environ


def try_format_head(status, headers, dict statuses not None, dict kinds not None):
    """See _fanout.pyi."""
    cdef char buffer[MOST_BYTES]
    cdef char* out = buffer
    cdef const char* end = buffer + MOST_BYTES
    cdef const unsigned char* name
    cdef const unsigned char* value
    cdef Py_ssize_t length_of_name = 0, length_of_value = 0
    cdef object length = None
    if type(headers) is not list or type(status) is not str:
        return None
    known = statuses.get(status)
    if known is None:
        return None
    number, line = <tuple>known
    if PyBytes_GET_SIZE(line) > MOST_BYTES // 2:
        return None
    out = append(out, PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
    for pair in <list>headers:
        if type(pair) is not tuple or len(<tuple>pair) != 2:
            return None
        key = <object>PyTuple_GET_ITEM(pair, 0)
        item = <object>PyTuple_GET_ITEM(pair, 1)
        if type(key) is not str or type(item) is not str:
            return None
        kind = kinds.get(key)
        if kind is None:
            return None
        if kind:
            if kind != "content-length" or length is not None:
                return None
            if not item.isascii() or not item.isdigit():
                return None
            length = int(item)
            continue
        name = narrow(key, &length_of_name)
        value = narrow(item, &length_of_value)
        if name is NULL or value is NULL or end - out < length_of_name + length_of_value + 4:
            return None
        if has_control(value, length_of_value):
            return None
        out = append(out, <const char*>name, length_of_name)
        out = append(out, b": ", 2)
        out = append(out, <const char*>value, length_of_value)
        out = append(out, b"\r\n", 2)
    return number, PyBytes_FromStringAndSize(buffer, out - buffer), length, False


cdef inline bint has_control(const unsigned char* at, Py_ssize_t size) noexcept nogil:
    """Return whether it has a control character other than HTAB (RFC 9110 section 5.5)."""
    cdef Py_ssize_t n
    cdef int result = 0
    for n in range(size):  # to the end: without a branch the compiler does sixteen at a time
        result |= (at[n] < 0x20 and at[n] != c"\t") | (at[n] == 0x7F)
    return result != 0


def try_format_response(head, list body not None):
    """See _fanout.pyi."""
    cdef Py_ssize_t size = 0
    cdef int digits
    cdef char length_line[48]
    cdef char* out
    cdef bytes date = date_line(time(NULL)), response
    number, lines, length, dated = head
    if dated or number == 204 or number == 304 or type(lines) is not bytes:
        return None
    for piece in body:
        if type(piece) is not bytes:
            return None
        size += PyBytes_GET_SIZE(piece)
    if not size or not (length is None or length == size):
        return None
    digits = snprintf(length_line, sizeof(length_line), b"Content-Length: %zd\r\n\r\n", size)
    response = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(lines) + DATE_LINE + digits + size)
    out = append(PyBytes_AS_STRING(response), PyBytes_AS_STRING(lines), PyBytes_GET_SIZE(lines))
    out = append(out, PyBytes_AS_STRING(date), DATE_LINE)
    out = append(out, length_line, digits)
    for piece in body:
        out = append(out, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
    return response


# LOCK: the GIL. The last formatted second, and its line.
cdef time_t DATED = -1
cdef bytes DATE = None


cdef bytes date_line(time_t now):
    """Return the Date field (RFC 9110 section 6.6.1)."""
    global DATED, DATE
    if now != DATED:
        DATE = f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
        DATED = now
    return DATE


cdef inline char* append(char* out, const char* data, Py_ssize_t size) noexcept:
    memcpy(out, data, size)
    return out + size
