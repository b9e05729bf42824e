# Connections of an HTTP server for its I/O thread: received input and unsent output.

from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove

from forge_min._fanout_os cimport *
from forge_min._fanout_ring cimport Node

cdef enum:
    ADDRESS = 64  # bytes of a numeric address with its NUL
    EVICT_AFTER = 1  # seconds after which a slow connection may be closed for a new one
    LEAST_SHARE = 8191  # bytes of input that each connection may hold: a head
    NETWORKS = 4096  # entries of the table of networks; those with one entry share their limits

cdef enum:  # the reason why a connection waits
    WORKER  # to end the task
    REQUEST  # the peer: a whole request
    INPUT  # the peer: any bytes, which `wsgi.http1` reads
    WHOLE_BODY  # the peer: a whole body after a head that `wsgi.http1` has read
    SENT  # the peer: to read the output, then a worker continues
    DETACH  # the same, then the socket leaves the thread
    CLOSE  # the same, then the connection ends
    CLOSED  # the end of the peer's input

cdef enum:  # phases of a connection; each may last for a time of its own
    NO_PHASE
    IDLE
    HEAD
    BODY
    WRITE
    LINGER
    PHASES


cdef struct Network:  # the connections of one IPv4 address, or of a /64 of IPv6
    # For the thread only.
    uint64_t connections
    uint64_t holders  # connections that hold input
    int exempt  # atomic: its connections have no limit
    # LOCK: TaskQueue.lock
    Client* first
    Client* last
    Network* next


cdef struct InputBudget:  # for the thread only
    size_t most  # bytes that the input of all connections may have
    size_t held
    uint64_t networks  # those with connections that hold input
    Client* favored  # it is read above the budget: if all waited, all would be late
    bint is_free  # another one may be favored


cdef struct Chunks:  # of a chunked body
    int part  # the next part: see CHUNK_SIZE
    size_t size  # decoded bytes, at the beginning of the input
    size_t left  # bytes of the chunk, or of further trailers
    size_t count


cdef struct Block:
    Block* next  # in the stack of the thread, then in the output of the connection
    Client* client  # one count
    PyObject* state  # one count, or NULL
    int then, phase
    size_t body  # for WHOLE_BODY
    size_t size, sent
    # `size` bytes follow


cdef struct Client:
    Node node  # in the list of the open ones
    long refs  # the thread, each Task, the queue, each Block
    int fd
    Network* network
    Client* next_task
    Client* next_closed
    PyObject* state  # of a worker, which gets it back with the next task
    # The thread's, except while `wait` is WORKER: then the worker reads the input.
    int wait, phase, kind
    int refusal  # why its body is refused
    double since  # when the phase began
    bint readable, is_fresh  # is_fresh: nothing was received yet
    int hung_up, gone  # atomic: the peer sends no more; the connection is closed
    char* input
    size_t size, scanned, head, body, used
    size_t held  # bytes of input that are counted in the budget
    Chunks chunks
    Block* first
    Block* last
    uint64_t unsent  # atomic: bytes
    int64_t in_kernel  # bytes that the peer had not acknowledged at the last check
    Block closing  # closes the connection without an allocation
    char address[ADDRESS]  # both empty for a Unix socket
    char port[8]


cdef inline bint is_temporary() noexcept nogil:
    """Return whether the last call may succeed later."""
    return errno == EAGAIN or errno == EINTR or errno == ENOBUFS


cdef inline char* block_data(Block* block) noexcept nogil:
    return <char*>block + sizeof(Block)


cdef inline void block_free(Block* block) noexcept nogil:
    """Free a block, unless it is a part of its connection."""
    if block != &block.client.closing:
        free(block)


cdef inline Block* blocks_take(void** stack) noexcept nogil:
    """Take all blocks of a stack, in the order of their pushes; NULL for none."""
    cdef Block* block = <Block*>forge_take(stack)
    cdef Block* ordered = NULL
    cdef Block* next
    while block != NULL:
        next = block.next
        block.next = ordered
        ordered, block = block, next
    return ordered


cdef inline void output_append(Client* client, Block* block) noexcept nogil:
    block.next = NULL
    if client.last != NULL:
        client.last.next = block
    else:
        client.first = block
    client.last = block


cdef inline void output_drop_first(Client* client) noexcept nogil:
    cdef Block* block = client.first
    client.first = block.next
    if client.first == NULL:
        client.last = NULL
    block_free(block)


cdef inline Client* client_new(int fd, sockaddr_storage* address, unsigned int size) noexcept nogil:
    """Return a connection with one count, or NULL."""
    cdef Client* client = <Client*>calloc(1, sizeof(Client))
    if client != NULL:
        client.refs, client.fd, client.wait, client.is_fresh = 1, fd, REQUEST, True
        client.closing.client, client.closing.then = client, CLOSE
        if address.ss_family != AF_UNIX:
            getnameinfo(
                <sockaddr*>address, size, client.address, ADDRESS, client.port,
                sizeof(client.port), NI_NUMERICHOST | NI_NUMERICSERV,
            )
    return client


cdef inline Network* network_of(
    Network* networks, sockaddr_storage* address, uint64_t seed
) noexcept nogil:
    """Return the network of an address by its hash (FNV-1a). An IPv4 address may be mapped."""
    cdef const unsigned char* bytes = <const unsigned char*>address
    cdef int at = 8, end = 16  # sin6_addr of ipv6(7)
    if address.ss_family == AF_UNIX:
        networks.exempt = 1
        return networks
    if address.ss_family == AF_INET:
        at, end = 4, 8  # sin_addr of ip(7)
    elif memcmp(bytes + 8, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0:
        at, end = 20, 24
    while at < end:
        seed = (seed ^ bytes[at]) * <uint64_t>1099511628211
        at += 1
    return networks + (seed ^ (seed >> 32)) % NETWORKS


cdef inline bint network_has_room(Network* network, uint64_t most) noexcept nogil:
    """Return whether a network may have one more connection."""
    return network.connections < most or forge_flag(&network.exempt)


cdef inline void client_enter(Client* client, int phase, double now) noexcept nogil:
    """Begin a phase, unless it is the present one."""
    if phase != client.phase:
        client.phase, client.since = phase, now


cdef inline void client_unref(Client* client) noexcept nogil:
    if forge_unref(&client.refs):
        free(client.input)
        free(client)


cdef inline bint client_append(Client* client, const char* data, size_t size) noexcept nogil:
    """Append input. Returns False without memory."""
    cdef char* grown = <char*>realloc(client.input, client.size + size + 1)
    if grown == NULL:
        return False
    memcpy(grown + client.size, data, size)
    client.input, client.is_fresh = grown, False
    client.size += size
    grown[client.size] = 0  # the end of every scan
    return True


cdef inline void client_consume(Client* client) noexcept nogil:
    """Remove the input that a worker has used."""
    client.size -= client.used
    if client.size == 0:
        free(client.input)
        client.input = NULL
    elif client.used:
        memmove(client.input, client.input + client.used, client.size + 1)
    client.used = client.scanned = client.head = client.body = 0


cdef inline void budget_count(InputBudget* budget, Client* client) noexcept nogil:
    """Count the input that a connection holds."""
    cdef Network* network = client.network
    cdef size_t size = 0 if client.gone else client.size
    if size and not client.held:
        network.holders += 1
        budget.networks += network.holders == 1
    elif client.held and not size:
        network.holders -= 1
        budget.networks -= network.holders == 0
        if client == budget.favored:
            budget.favored = NULL
            budget.is_free = True
    budget.held += size - client.held
    client.held = size


cdef inline void budget_release(InputBudget* budget) noexcept nogil:
    """Favor no connection any more: its peer may have stopped."""
    budget.is_free = False
    # A body in the queue is still in memory.
    if budget.favored != NULL and budget.favored.wait != WORKER:
        budget.favored = NULL


cdef inline size_t budget_room(InputBudget* budget, Client* client, size_t most) noexcept nogil:
    """Return how many bytes a connection may receive now, `most` at once; 0: it has to wait.

    If together all would hold more than the budget, each has a share: networks have equal ones,
    and so have the connections of a network. The first one with more is favored.
    """
    cdef size_t share
    if client.wait == CLOSED or budget.held + most <= budget.most:
        return most
    share = budget.most // ((budget.networks + 1) * (client.network.holders + 1))
    share = max(share, LEAST_SHARE)
    if client.size < share:
        return min(most, share - client.size)
    if budget.favored == NULL:
        budget.favored = client
    return most if client == budget.favored else 0


cdef inline bint client_waits_for_room(Client* client) noexcept nogil:
    """Return whether a connection has input that it had no room for."""
    cdef bint waits = client.wait == REQUEST or client.wait == WHOLE_BODY
    return waits and client.readable and not client.gone


cdef inline Network* networks_largest(Network* networks) noexcept nogil:
    """Return the network with most connections."""
    cdef Network* largest = networks
    cdef int n
    for n in range(1, NETWORKS):
        if networks[n].connections > largest.connections:
            largest = &networks[n]
    return largest


cdef inline void client_measure(Client* client) noexcept nogil:
    """Set `in_kernel` (tcp(7), SIOCOUTQ)."""
    cdef int held = 0
    ioctl(client.fd, TIOCOUTQ, &held)
    client.in_kernel = held


cdef inline bint client_has_progressed(Client* client, double now, double least) noexcept nogil:
    """Return whether the peer has read `least` bytes, and begin the phase again.

    A socket is writable only if a third of its buffer is free, and that may be a megabyte. So the
    queue of the kernel is compared with the one at the last check.
    """
    cdef int64_t before = client.in_kernel
    client_measure(client)
    client.since = now
    return before - client.in_kernel >= least


cdef inline Client* clients_slowest(Node* clients, Network* network, double now) noexcept nogil:
    """Return the connection to close for a new one, or NULL. network: NULL for all.

    It is the longest idle one, else the one that has been slowest for more than a second: to begin
    its first request, to send a head or a body, or to read a response.
    """
    cdef Client* client = <Client*>clients
    cdef Client* slowest = NULL
    cdef double rank, lowest = now - EVICT_AFTER
    while client != NULL:
        rank = client.since
        if client.phase == LINGER or (client.phase == IDLE and not client.is_fresh):
            rank -= now  # before all others
        if network != NULL and client.network != network:
            rank = now
        if rank < lowest and (client.wait != WORKER or client.phase == WRITE):
            slowest, lowest = client, rank
        client = <Client*>client.node.next
    return slowest
