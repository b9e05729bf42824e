# The I/O thread of an HTTP server. Part of _fanout.pyx.
#
# PERF: send(2) wakes the reader; with recv(2) it takes 5 to 12 us. This thread does both without the
# GIL, and no worker releases it between two tasks (docs/understand/architecture.md, "The server").

cdef enum:
    AT_ONCE = 64  # events of one system call
    SENT_AT_ONCE = 1 << 20  # bytes of one connection, before others have their turn
    RECEIVED = 65536  # bytes of one system call

cdef double LINGER_FOR = 1.0  # seconds to wait for the peer's end (RFC 9112 section 9.6)
cdef double MIN_RATE = 1024  # bytes a second that a peer must read
cdef double SPIN_FOR = 10e-6  # seconds for which the thread looks for work before it sleeps
cdef double SPIN_ABOVE = 20e3  # tasks a second from which it does so
cdef double SPIN_BELOW = 12e3  # tasks a second below which it no longer does
cdef double COUNT_FOR = 10e-3  # seconds between two counts of tasks


@cython.final
cdef class IoThread:
    """See _fanout_io_py.IoThread."""

    cdef dict base
    cdef int listener, epoll, wakeup
    cdef size_t max_body
    cdef uint64_t max_connections, max_per_network, seed
    cdef double limits[PHASES]  # seconds
    # atomic
    cdef void* blocks  # a stack
    cdef int asleep, stopped, draining, last_responses, accept_errno
    cdef uint64_t count
    cdef TaskQueue tasks
    # For the thread only.
    cdef Network* networks
    cdef InputBudget budget
    cdef Node* clients
    cdef Client* closed
    cdef char* buffer
    cdef double now, swept, idle_until, counted_at, worked_at
    cdef int given
    cdef bint paused, spins

    def __cinit__(
        self, int listener, dict base not None, *, size_t max_body, size_t max_pending,
        int max_connections, int max_per_network,
        double idle, double head, double body, double write,
    ):
        pthread_mutex_init(&self.tasks.lock, NULL)
        self.listener = listener
        self.base = base
        self.max_body = max_body
        self.budget.most = max_pending
        self.max_connections = max_connections
        self.max_per_network = max_per_network
        self.seed = int.from_bytes(os.urandom(8), "little")
        self.limits[IDLE] = idle
        self.limits[HEAD] = head
        self.limits[BODY] = body
        self.limits[WRITE] = write
        self.limits[LINGER] = LINGER_FOR
        self.limits[NO_PHASE] = body
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.epoll < 0 or self.wakeup < 0 or not (
            epoll_set(self.epoll, EPOLL_CTL_ADD, self.wakeup, EPOLLIN | EPOLLET, &self.wakeup)
            and epoll_set(self.epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL)
        ):
            PyErr_SetFromErrno(OSError)
        self.buffer = <char*>malloc(RECEIVED)
        self.networks = <Network*>calloc(NETWORKS, sizeof(Network))
        if self.buffer == NULL or self.networks == NULL:
            raise MemoryError

    def __dealloc__(self):
        # SAFETY: no Task and no Worker is left, and the thread does not run: each keeps this object.
        # The stack is empty: `end` has taken the last block, or nothing was ever accepted.
        while (client := tasks_pop(&self.tasks)) != NULL:
            Py_XDECREF(client.state)
            client_unref(client)
        free(self.buffer)
        free(self.networks)
        for fd in (self.epoll, self.wakeup):
            if fd > 0:  # 0: __cinit__ did not begin
                close(fd)
        pthread_mutex_destroy(&self.tasks.lock)

    @property
    def connections(self):
        """See _fanout_io_py.IoThread.connections."""
        return forge_load(&self.count)

    def take_accept_error(self):
        """See _fanout_io_py.IoThread.take_accept_error."""
        return forge_swap(&self.accept_errno, 0)

    def run(self):
        """See _fanout_io_py.IoThread.run.

        SAFETY: at the end of the process, as for the thread of StreamWriter: this call keeps this
        object alive.
        """
        with nogil:
            forge_enter_thread(b"http-io")
            self.loop()
            self.end()

    def end_connections(self):
        """See _fanout_io_py.IoThread.end_connections."""
        forge_swap(&self.last_responses, 1)

    def drain(self):
        """See _fanout_io_py.IoThread.drain."""
        forge_change(&self.draining, 0, 1)
        self.wake()
        with nogil:
            while forge_flag(&self.draining) == 1:
                usleep(100)

    def stop(self):
        """See _fanout_io_py.IoThread.stop."""
        forge_swap(&self.stopped, 1)
        self.wake()

    def worker(self):
        """See _fanout_io_py.IoThread.worker."""
        return ServerWorker.__new__(ServerWorker, self)

    cdef void wake(self) noexcept nogil:
        """Wake the thread. Any thread may call it."""
        eventfd_write(self.wakeup, 1)

    # -- the thread --------------------------------------------------------------------------------

    cdef void loop(self) noexcept nogil:
        cdef epoll_event events[AT_ONCE]
        cdef bint took
        cdef int arrived, index
        cdef double pause
        while not forge_flag(&self.stopped):
            self.now = forge_now()
            took = self.take_blocks()
            pause = self.wake_workers()
            if self.spins and self.now - self.worked_at < SPIN_FOR:
                pause = 0
            arrived = self.wait(events, pause)
            for index in range(arrived):
                self.on_event(events[index].data.ptr, events[index].events)
            if took or arrived > 0:
                self.worked_at = self.now
            elif not pause:
                sched_yield()
            if self.now - self.swept >= TICK or self.budget.is_free or forge_flag(&self.draining) == 1:
                self.sweep()
            self.release_closed()

    cdef int wait(self, epoll_event* events, double pause) noexcept nogil:
        """Wait up to `pause` seconds for events. Returns their number."""
        cdef int count
        cdef pollfd polled
        cdef timespec short_pause
        if pause:
            forge_swap(&self.asleep, 1)
            # SAFETY: checked again: a push before `asleep` was set did not wake this thread.
            if forge_any(&self.blocks):
                pause = 0
        if 0 < pause < 1e-3:
            polled.fd = self.epoll
            polled.events = POLLIN
            short_pause.tv_sec = 0
            short_pause.tv_nsec = <long>(pause * 1e9)
            ppoll(&polled, 1, &short_pause, NULL)
            pause = 0
        count = epoll_wait(self.epoll, events, AT_ONCE, <int>(pause * 1e3))
        forge_swap(&self.asleep, 0)
        self.now = forge_now()
        return count

    cdef bint take_blocks(self) noexcept nogil:
        """Take over what workers have pushed, in order. Returns False for nothing."""
        if not forge_any(&self.blocks):
            return False
        cdef Block* block = blocks_take(&self.blocks)
        cdef Block* next
        while block != NULL:
            next = block.next
            self.take(block)
            block = next
        return True

    cdef void take(self, Block* block) noexcept nogil:
        """Append a block to the output, and end the turn of the worker."""
        cdef Client* client = block.client
        if block.then != WORKER:
            client.wait = block.then
            client.state = block.state
            if block.then == CLOSE:
                client.used = client.size  # nothing of it is read any more
            client_consume(client)
            budget_count(&self.budget, client)
            client.body = block.body
            memset(&client.chunks, 0, sizeof(Chunks))
            client_enter(client, block.phase, self.now)
        if client.gone:
            block_free(block)
            self.notify_gone(client)
        else:
            output_append(client, block)
            if client.phase != WRITE:
                self.progress(client)
        client_unref(client)

    cdef void on_event(self, void* source, uint32_t mask) noexcept nogil:
        if source == NULL:
            self.accept_one()
            return
        if source == &self.wakeup:
            return  # edge-triggered: it need not be read
        cdef Client* client = <Client*>source
        if client.gone:
            return
        if mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            forge_swap(&client.hung_up, 1)
        if mask & EPOLLERR:  # a reset: no response reaches the peer
            self.close_client(client)
            return
        if mask & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            client.readable = True
        if mask & (EPOLLOUT | EPOLLHUP | EPOLLERR) or client.phase != WRITE:
            self.progress(client)

    cdef void progress(self, Client* client) noexcept nogil:
        """Send the output, then continue as the connection has to."""
        if not self.send_output(client):
            return
        if client.wait == SENT:
            self.give(client, KIND_SENT)
        elif client.wait == DETACH:
            self.detach(client)
        elif client.wait == CLOSE:
            shutdown(client.fd, SHUT_WR)
            client.wait = CLOSED
            client_enter(client, LINGER, self.now)
            self.read(client)
        elif client.wait != WORKER:
            self.read(client)

    cdef bint send_output(self, Client* client) noexcept nogil:
        """Send until nothing is left. Returns False if something is, or the peer is gone."""
        cdef Block* block
        cdef ssize_t sent
        cdef size_t budget = SENT_AT_ONCE
        while client.first != NULL:
            block = client.first
            sent = 0
            if block.size:
                sent = send(
                    client.fd, block_data(block) + block.sent,
                    min(block.size - block.sent, budget), MSG_DONTWAIT | MSG_NOSIGNAL,
                )
            if sent < 0 and not is_temporary():
                self.close_client(client)
                return False
            if sent < 0 or budget == 0:
                client.phase = WRITE
                client.since = self.now
                client_measure(client)
                if budget == 0:
                    self.watch(client, EPOLL_CTL_MOD)
                return False
            budget -= <size_t>sent
            block.sent += <size_t>sent
            forge_add(&client.unsent, <uint64_t>-sent)
            if block.sent == block.size:
                output_drop_first(client)
        if client.phase == WRITE:
            client_enter(client, NO_PHASE, self.now)
        return True

    cdef void read(self, Client* client) noexcept nogil:
        """Read until a task is complete or nothing is left; discard input after the last response."""
        cdef ssize_t count
        cdef size_t room
        while True:
            if client.size and client.wait != CLOSED and self.give_input(client):
                return
            room = budget_room(&self.budget, client, RECEIVED) if client.readable else 0
            if room:
                count = recv(client.fd, self.buffer, room, MSG_DONTWAIT)
                if count > 0 and client.wait == CLOSED:
                    self.watch(client, EPOLL_CTL_MOD)  # an event for the rest, after others
                    return
                if count > 0 and client_append(client, self.buffer, <size_t>count):
                    budget_count(&self.budget, client)
                    # epoll(7): the peer's end may have come with the same event.
                    client.readable = <size_t>count == room or client.hung_up
                    continue
                if count < 0 and is_temporary():
                    client.readable = False
                else:
                    self.close_client(client)
                    return
            if client.wait == REQUEST:
                client_enter(client, BODY if client.head else HEAD if client.size else IDLE, self.now)
            return

    cdef bint give_input(self, Client* client) noexcept nogil:
        """Give the input to a worker if it is complete, or late."""
        cdef int kind = next_kind(client, self.max_body)
        budget_count(&self.budget, client)
        if kind == KIND_NONE:
            return False
        if kind == KIND_INPUT and client.phase == HEAD and self.is_late(client):
            kind = KIND_LATE
        self.give(client, kind)
        return True

    cdef bint is_late(self, Client* client) noexcept nogil:
        return self.now - client.since >= self.limits[client.phase]

    cdef bint watch(self, Client* client, int operation) noexcept nogil:
        """Let epoll report each change, and the present state at first (epoll_ctl(2))."""
        return epoll_set(
            self.epoll, operation, client.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, client
        )

    # -- tasks -------------------------------------------------------------------------------------

    cdef void give(self, Client* client, int kind) noexcept nogil:
        """Put a task into the queue. From here on the connection waits for a worker."""
        client.kind = kind
        client.wait = WORKER
        tasks_push(&self.tasks, client)
        self.given += 1

    cdef double wake_workers(self) noexcept nogil:
        """Wake a worker if it is needed. Returns the seconds until the next check."""
        cdef double seconds = self.now - self.counted_at
        if seconds >= COUNT_FOR:
            self.spins = self.given > (SPIN_BELOW if self.spins else SPIN_ABOVE) * seconds
            choose_processor(&self.tasks, self.given / seconds, self.now)
            self.counted_at = self.now
            self.given = 0
        return tasks_wake(&self.tasks, self.now)

    cdef void notify_gone(self, Client* client) noexcept nogil:
        """Give the state of a closed connection back."""
        if client.wait != WORKER and client.state != NULL:
            self.give(client, KIND_GONE)

    # -- the beginning and the end of connections --------------------------------------------------

    cdef bint accept_one(self) noexcept nogil:
        """Accept one connection. Returns False if none waits, or none can be accepted."""
        cdef sockaddr_storage address
        cdef unsigned int size = sizeof(address)
        cdef int fd
        if self.count >= self.max_connections and not (forge_flag(&self.draining) or self.make_room()):
            self.listen_for(0)
            return False
        fd = accept4(self.listener, <sockaddr*>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            self.admit(fd, &address, size)
            return True
        if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
            forge_swap(&self.accept_errno, errno)
            if not self.make_room():
                self.listen_for(0)
            return False
        return errno == ECONNABORTED or errno == EINTR

    cdef void admit(self, int fd, sockaddr_storage* address, unsigned int size) noexcept nogil:
        cdef Client* client = client_new(fd, address, size)
        cdef Client* other = <Client*>self.clients
        while other != NULL and other.fd != fd:
            other = <Client*>other.node.next
        if other != NULL:
            self.close_client(other)  # another thread has closed its descriptor
        cdef Network* network = network_of(self.networks, address, self.seed)
        cdef uint64_t most = <uint64_t>-1 if forge_flag(&self.draining) else self.max_per_network
        if (
            client == NULL
            or not (network_has_room(network, most) or self.evict(network))
            or not self.watch(client, EPOLL_CTL_ADD)
        ):
            free(client)
            close(fd)
            return
        client.network = network
        network.connections += 1
        client_enter(client, IDLE, self.now)
        list_add(&self.clients, &client.node)
        forge_add(&self.count, 1)

    cdef void listen_for(self, uint32_t events) noexcept nogil:
        if forge_flag(&self.draining) < 2:
            epoll_set(self.epoll, EPOLL_CTL_MOD, self.listener, events, NULL)
        self.paused = events == 0

    cdef bint make_room(self) noexcept nogil:
        """Close a connection of the largest network, else any; return False for none."""
        return self.evict(networks_largest(self.networks)) or self.evict(NULL)

    cdef bint evict(self, Network* network) noexcept nogil:
        """Close one connection for a new one; return False if none may be closed.

        network: of the connection, or NULL.
        """
        cdef Client* client
        while (client := clients_slowest(self.clients, network, self.now)) != NULL:
            if client.phase == IDLE:
                client.readable = True
                self.read(client)  # its request may have just arrived
                if not client.gone and (client.phase != IDLE or client.wait == WORKER):
                    continue
            if not client.gone:
                self.close_client(client)
            return True
        return False

    cdef void unlink(self, Client* client) noexcept nogil:
        """Remove an open connection from epoll and from the list."""
        list_remove(&self.clients, &client.node)
        forge_swap(&client.gone, 1)
        client.network.connections -= 1
        budget_count(&self.budget, client)
        forge_add(&self.count, <uint64_t>-1)
        # SAFETY: an event of this round may still name it.
        client.next_closed = self.closed
        self.closed = client
        if self.paused:
            self.listen_for(EPOLLIN)

    cdef void close_client(self, Client* client) noexcept nogil:
        """Close a connection. Every one ends here, or in `detach`."""
        # SAFETY: close() does not suffice: a child process may hold a copy of the socket. And if
        # another thread has closed the descriptor, it may be of another file now.
        if epoll_ctl(self.epoll, EPOLL_CTL_DEL, client.fd, NULL) == 0:
            shutdown(client.fd, SHUT_RDWR)
            close(client.fd)
        else:  # epoll may report it again, if a child process holds it: it is never freed
            forge_ref(&client.refs)
        self.unlink(client)
        while client.first != NULL:
            output_drop_first(client)
        self.notify_gone(client)

    cdef void detach(self, Client* client) noexcept nogil:
        if epoll_ctl(self.epoll, EPOLL_CTL_DEL, client.fd, NULL) < 0:
            self.close_client(client)  # as there
            return
        self.unlink(client)
        self.give(client, KIND_DETACHED)

    cdef void release_closed(self) noexcept nogil:
        cdef Client* client
        while self.closed != NULL:
            client = self.closed
            self.closed = client.next_closed
            client_unref(client)

    cdef void sweep(self) noexcept nogil:
        """End connections past their deadline, accept again after a pause, begin a drain."""
        cdef Client* next
        cdef Client* client = <Client*>self.clients
        self.swept = self.now
        budget_release(&self.budget)
        if forge_flag(&self.draining) == 1:
            self.begin_drain()
        elif self.paused:
            self.listen_for(EPOLLIN)
        while client != NULL:
            next = <Client*>client.node.next
            if client.wait != WORKER or client.phase == WRITE:
                self.check_phase(client)
            if client_waits_for_room(client):
                self.read(client)
            client = next

    cdef void check_phase(self, Client* client) noexcept nogil:
        cdef bint ends = client.phase == IDLE and self.now >= self.idle_until > 0
        if not self.is_late(client) and not ends:
            return
        if client.phase == HEAD or client.phase == BODY:
            client.used = client.size  # of a body nothing is copied
            if client.phase == BODY:
                client.used = client.head
            self.give(client, KIND_LATE)
        elif client.phase != WRITE or not client_has_progressed(
            client, self.now, MIN_RATE * self.limits[WRITE]
        ):
            self.close_client(client)

    cdef void begin_drain(self) noexcept nogil:
        """Accept the connections that wait, and no more."""
        cdef pollfd listener
        listener.fd = self.listener
        listener.events = POLLIN
        while poll(&listener, 1, 0) > 0 and self.accept_one():
            pass
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, self.listener, NULL)
        self.idle_until = self.now + LINGER_FOR
        forge_swap(&self.draining, 2)

    cdef void end(self) noexcept nogil:
        """Close all connections. Their tasks, also those in the queue, become "gone"."""
        forge_swap(&self.draining, 2)
        pthread_mutex_lock(&self.tasks.lock)
        self.tasks.ended = True  # no further block comes
        pthread_mutex_unlock(&self.tasks.lock)
        self.take_blocks()
        while self.clients != NULL:
            self.close_client(<Client*>self.clients)
        self.release_closed()
        choose_processor(&self.tasks, 0, self.now)
        tasks_wake_all(&self.tasks)
