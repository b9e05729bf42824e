# The tasks of workers, which an I/O thread gives them. Part of _fanout.pyx.

cdef enum:  # why a worker gets a task
    KIND_REQUEST
    KIND_INPUT
    KIND_BODY
    KIND_REFUSED
    KIND_LATE
    KIND_SENT
    KIND_DETACHED
    KIND_GONE
    KIND_NONE  # no task yet

cdef tuple KINDS = ("request", "input", "body", "refused", "late", "sent", "detached", "gone")
cdef dict PHASE_NAMES = {"idle": IDLE, "head": HEAD}


@cython.final
@cython.no_gc
cdef class ServerWorker:
    """See _fanout_task_py.ServerWorker."""

    cdef IoThread io
    cdef WorkerState state
    cdef int taken

    def __cinit__(self, IoThread io not None):
        sem_init(&self.state.wake, 0, 0)
        self.state.proc = open_file(b"/proc/thread-self/syscall", O_RDONLY | O_CLOEXEC)
        self.io = io
        pthread_mutex_lock(&io.tasks.lock)
        list_add(&io.tasks.workers, &self.state.node)
        pthread_mutex_unlock(&io.tasks.lock)

    def __dealloc__(self):
        if self.io is not None:
            pthread_mutex_lock(&self.io.tasks.lock)
            list_remove(&self.io.tasks.workers, &self.state.node)
            pthread_mutex_unlock(&self.io.tasks.lock)
            sem_destroy(&self.state.wake)
            close(self.state.proc)  # or -1, which does nothing

    def next_task(self):
        """See _fanout_task_py.ServerWorker.next_task."""
        cdef Client* client = NULL
        cdef bint ended = False
        cdef IoThread io = self.io
        cdef bint may_take, is_left
        # SAFETY: created before a connection is taken, which a failure would lose.
        cdef Task task = Task.__new__(Task)
        self.taken += 1
        while True:
            pthread_mutex_lock(&io.tasks.lock)
            self.state.idle = True
            ended = io.tasks.ended
            may_take = self.taken % IN_A_ROW != 0 or ended or not tasks_is_any_busy(&io.tasks)
            client = tasks_pop(&io.tasks) if may_take else NULL
            is_left = client == NULL and io.tasks.first != NULL
            if client == NULL and not is_left:
                io.tasks.next_check = 0  # the next task comes after a pause: check at once
            if client != NULL:
                self.state.idle = False
                io.tasks.taken_at = forge_now()
                forge_swap(&io.tasks.processor, sched_getcpu())
            pthread_mutex_unlock(&io.tasks.lock)
            if client != NULL:
                fill_task(task, io, client)
                return task
            if ended:
                return None
            self.taken = 1
            if is_left:
                io.wake()  # no worker was idle when the thread looked last
            with nogil:
                forge_be_worker()
                forge_begin_wait()
                while sem_wait(&self.state.wake) < 0:
                    pass
                forge_end_wait()


cdef fill_task(Task task, IoThread io, Client* client):
    """Let a task be that of a connection that was taken from the queue."""
    cdef int kind = client.kind
    if forge_flag(&client.gone) and kind != KIND_DETACHED:
        kind = KIND_GONE
    task.io = io
    task.client = client
    task.over = kind == KIND_GONE or kind == KIND_DETACHED
    if client.state != NULL:
        task.state = <object>client.state
        Py_DECREF(task.state)
        client.state = NULL
    if kind == KIND_REQUEST:
        task.value = environ_of(client, io.base)
    elif kind == KIND_REFUSED:
        task.value = REFUSALS[client.refusal - BODY_MALFORMED]
    elif kind == KIND_INPUT or kind == KIND_BODY or kind == KIND_LATE:
        task.value = client.input[:client.used] if client.used else b""
        if client.phase == HEAD or client.phase == BODY:
            task.waited = forge_now() - client.since
    elif kind == KIND_DETACHED:
        task.value = client.fd
    task.kind = KINDS[kind]


@cython.final
@cython.no_gc_clear  # __dealloc__ needs `io`
@cython.freelist(64)
cdef class Task:
    """See _fanout_task_py.Task."""

    cdef IoThread io
    cdef Client* client
    cdef readonly str kind
    cdef public object value
    cdef readonly object state
    cdef readonly double waited
    cdef bint over, begun  # LOCK: TaskQueue.lock

    def __dealloc__(self):
        if self.client != NULL:
            if not self.over:
                self.push(&self.client.closing, False)
            client_unref(self.client)

    @property
    def base_environ(self):
        """See _fanout_task_py.Task.base_environ."""
        return base_environ(self.client, self.io.base)

    @property
    def connected(self):
        """See _fanout_task_py.Task.connected."""
        return not (forge_flag(&self.client.hung_up) or forge_flag(&self.client.gone))

    @property
    def last(self):
        """See _fanout_task_py.Task.last."""
        return self.io.last_responses != 0

    @property
    def unsent(self):
        """See _fanout_task_py.Task.unsent."""
        return -1 if forge_flag(&self.client.gone) else forge_load(&self.client.unsent)

    def exempt_network(self):
        """See _fanout_task_py.Task.exempt_network."""
        forge_swap(&self.client.network.exempt, 1)

    def put_back(self, size_t size):
        """See _fanout_task_py.Task.put_back."""
        self.client.used -= min(size, self.client.used)

    def respond(self, bytes data not None):
        """See _fanout_task_py.Task.respond."""
        return self.submit(data, REQUEST, NO_PHASE, None, False)

    def end(self, bytes data not None, *, unless_begun=False):
        """See _fanout_task_py.Task.end."""
        if not data:  # it needs no memory
            return self.push(&self.client.closing, unless_begun)
        return self.submit(data, CLOSE, NO_PHASE, None, unless_begun)

    def send(self, bytes data not None):
        """See _fanout_task_py.Task.send."""
        return self.submit(data, WORKER, NO_PHASE, None, False)

    def wait_sent(self, bytes data not None, state not None):
        """See _fanout_task_py.Task.wait_sent."""
        return self.submit(data, SENT, NO_PHASE, state, False)

    def wait_input(self, str phase not None, state not None, bytes data not None=b""):
        """See _fanout_task_py.Task.wait_input."""
        return self.submit(data, INPUT, PHASE_NAMES[phase], state, False)

    def wait_body(self, ssize_t length, state not None, bytes data not None=b""):
        """See _fanout_task_py.Task.wait_body."""
        return self.submit(data, WHOLE_BODY, BODY, state, False, <size_t>length)

    def detach(self, bytes data not None, state not None):
        """See _fanout_task_py.Task.detach."""
        return self.submit(data, DETACH, NO_PHASE, state, False)

    cdef bint submit(
        self, bytes data, int then, int phase, state, bint unless_begun, size_t body=0
    ) except -1:
        """Give bytes to the thread. Returns False if this task is over."""
        cdef size_t size = <size_t>PyBytes_GET_SIZE(data)
        cdef Block* block = <Block*>malloc(sizeof(Block) + size)
        if block == NULL:
            raise MemoryError
        block.client = self.client
        block.then = then
        block.phase = phase
        block.body = body
        block.size = size
        block.sent = 0
        block.state = NULL if state is None else <PyObject*>state
        memcpy(block_data(block), PyBytes_AS_STRING(data), size)
        if self.push(block, unless_begun):
            return True
        free(block)
        return False

    cdef bint push(self, Block* block, bint unless_begun) noexcept:
        """Give a block to the thread. Returns False if this task is over."""
        cdef bint taken = False
        pthread_mutex_lock(&self.io.tasks.lock)
        if not (self.over or (unless_begun and self.begun)):
            taken = not self.io.tasks.ended
            self.over = block.then != WORKER or not taken
            self.begun = True
            if taken:
                # SAFETY: before the push, after which the block is the thread's.
                Py_XINCREF(block.state)
                forge_ref(&self.client.refs)
                forge_add(&self.client.unsent, block.size)
                forge_push(&self.io.blocks, block, <void**>&block.next)
        pthread_mutex_unlock(&self.io.tasks.lock)
        if taken and forge_swap(&self.io.asleep, 0):
            self.io.wake()
        return taken
