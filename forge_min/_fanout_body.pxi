# Reads bodies of requests in the I/O thread. Part of _fanout.pyx.
#
# The rules are those of _fanout_body_py.read_body. A chunked body is decoded in its place.

cdef size_t CHUNKED = <size_t>-1  # the length of a body in chunks

cdef enum:
    LONGEST_CHUNK_LINE = 1024
    MOST_TRAILERS = 16384
    LEAST_CHUNK = 64
    SMALL_CHUNKS_FROM = 4096

cdef enum:  # parts of a chunked body
    CHUNK_SIZE
    CHUNK_DATA
    CHUNK_END
    TRAILER

cdef enum:  # results
    BODY_INCOMPLETE
    BODY_COMPLETE
    BODY_MALFORMED  # refusals: see REFUSALS
    BODY_TOO_LARGE
    BODY_OF_SMALL_CHUNKS

cdef tuple REFUSALS = ("malformed", "too large", "small chunks")


cdef inline int digit_of(unsigned char byte) noexcept nogil:
    """Return the value of a hexadecimal digit, or -1."""
    if c"0" <= byte <= c"9":
        return byte - c"0"
    byte |= 0x20
    if c"a" <= byte <= c"f":
        return byte - c"a" + 10
    return -1


cdef bint read_chunk_size(
    const unsigned char* at, const unsigned char* end, size_t* size
) noexcept nogil:
    """Read a chunk-size line with its end. Returns False if it is malformed."""
    cdef int digits = 0
    while digit_of(at[0]) >= 0:
        if digits == 16:
            return False
        size[0] = 16 * size[0] + <size_t>digit_of(at[0])
        digits += 1
        at += 1
    if at[0] != c"\r":
        while at[0] == c" " or at[0] == c"\t":
            at += 1
        if at[0] != c";":
            return False
        at = past(at + 1, VALUE)
    return digits > 0 and at + 2 == end and at[0] == c"\r"


cdef bint is_trailer(const unsigned char* at, const unsigned char* end) noexcept nogil:
    """Return whether a line with its end is a field."""
    cdef const unsigned char* colon = past(at, METHOD)  # METHOD: all bytes of a token
    if colon == at or colon[0] != c":":
        return False
    at = past(colon + 1, VALUE)
    return at + 2 == end and at[0] == c"\r"


cdef int read_chunk_line(
    Chunks* chunks, const unsigned char* at, const unsigned char* end, size_t limit
) noexcept nogil:
    """Read one line of the framing of a chunked body, with its end."""
    cdef size_t size = 0
    cdef bint is_empty = end - at == 2 and at[0] == c"\r"
    if chunks.part == CHUNK_END:
        chunks.part = CHUNK_SIZE
        return BODY_INCOMPLETE if is_empty else BODY_MALFORMED
    if chunks.part == TRAILER:
        chunks.left -= <size_t>(end - at)
        if is_empty:
            return BODY_COMPLETE
        return BODY_INCOMPLETE if is_trailer(at, end) else BODY_MALFORMED
    if not read_chunk_size(at, end, &size):
        return BODY_MALFORMED
    if size > limit - chunks.size:
        return BODY_TOO_LARGE
    if size == 0:
        chunks.part = TRAILER
        chunks.left = MOST_TRAILERS
        return BODY_INCOMPLETE
    if chunks.size >= SMALL_CHUNKS_FROM and chunks.size < LEAST_CHUNK * chunks.count:
        return BODY_OF_SMALL_CHUNKS
    chunks.part = CHUNK_DATA
    chunks.left = size
    chunks.count += 1
    return BODY_INCOMPLETE


cdef int read_chunks(Client* client, size_t limit) noexcept nogil:
    """Decode the received part of a chunked body, and move the rest of the input behind it."""
    cdef Chunks* chunks = &client.chunks
    cdef char* at = client.input + chunks.size
    cdef char* end = client.input + client.size
    cdef char* line
    cdef size_t size, longest
    cdef int result = BODY_INCOMPLETE
    while result == BODY_INCOMPLETE and at < end:
        if chunks.part == CHUNK_DATA:
            size = min(chunks.left, <size_t>(end - at))
            memmove(client.input + chunks.size, at, size)
            at += size
            chunks.size += size
            chunks.left -= size
            if chunks.left == 0:
                chunks.part = CHUNK_END
            continue
        longest = 2
        if chunks.part == CHUNK_SIZE:
            longest = LONGEST_CHUNK_LINE
        elif chunks.part == TRAILER:
            longest = chunks.left
        line = <char*>memchr(at, c"\n", min(longest, <size_t>(end - at)))
        if line != NULL:
            result = read_chunk_line(
                chunks, <unsigned char*>at, <unsigned char*>line + 1, limit
            )
            at = line + 1
        elif <size_t>(end - at) >= longest:
            result = BODY_MALFORMED
        else:
            break
    client.size = chunks.size + <size_t>(end - at)
    memmove(client.input + chunks.size, at, <size_t>(end - at) + 1)  # with the final NUL
    return result


cdef int read_body(Client* client, size_t limit) noexcept nogil:
    """Read the received part of a body. If it is complete, `body` is its length in the input."""
    cdef int result
    if client.body == CHUNKED:
        result = read_chunks(client, limit)
        if result == BODY_COMPLETE:
            client.body = client.chunks.size
        return result
    return BODY_COMPLETE if client.size >= client.body else BODY_INCOMPLETE


cdef int next_kind(Client* client, size_t max_body) noexcept nogil:
    """Return the kind of the task for which the input suffices, or KIND_NONE; sets `used`."""
    cdef ssize_t framed
    client.used = client.size
    if client.wait == REQUEST:
        framed = frame_request(client, max_body)
        if framed > 0:
            client.used = <size_t>framed
            return KIND_REQUEST
        if framed == INCOMPLETE:
            return KIND_NONE
    elif client.wait == WHOLE_BODY:
        client.refusal = read_body(client, max_body)
        client.used = 0
        if client.refusal == BODY_INCOMPLETE:
            return KIND_NONE
        if client.refusal != BODY_COMPLETE:
            return KIND_REFUSED
        client.used = client.body
        return KIND_BODY
    return KIND_INPUT
