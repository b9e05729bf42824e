# The queue of tasks of an HTTP server, and the choice of the workers to wake. Part of _fanout.pyx.
#
# One worker is enough while it runs: a second one would only wait for the GIL. If all that have a
# task wait for something else, such as a database, one more is woken. Also if no task was taken for
# a while: a handler that computes shares the GIL then, or has released it.

cdef enum:
    IN_A_ROW = 32  # tasks, after which a worker pauses unless it is the only one

cdef double TICK = 0.5  # seconds between two checks of deadlines
cdef double CHECK_AFTER = 100e-6  # seconds between two checks whether a worker runs
cdef double SHARE_AFTER = 300e-6  # seconds in which no worker took a task, until one more is woken


cdef struct WorkerState:
    Node node  # in the list of all workers
    sem_t wake
    bint idle
    int proc  # descriptor of /proc/thread-self/syscall, or -1


cdef struct TaskQueue:
    # LOCK: lock guards the rest, the tasks of each Network, and `over` of each Task. While it is
    # held, no Python object is created or dropped, and no thread waits for the GIL or a socket.
    pthread_mutex_t lock
    # The networks that have tasks, in the order of their turns: each turn is one task, so that a
    # client with a thousand connections delays others by one.
    Network* first
    Network* last
    Node* workers
    double taken_at  # when a task was last taken, or a worker woken for one
    double next_check
    int processor  # atomic: of the worker that took the last task
    double chosen_at  # for the I/O thread only: when the shared processor was chosen
    bint ended


cdef inline void tasks_add_turn(TaskQueue* tasks, Network* network) noexcept nogil:
    """Let a network be the last to have its turn. The caller holds the lock."""
    network.next = NULL
    if tasks.first != NULL:
        tasks.last.next = network
    else:
        tasks.first = network
    tasks.last = network


cdef inline void tasks_push(TaskQueue* tasks, Client* client) noexcept nogil:
    """Append a connection with a task, which gets a count."""
    cdef Network* network = client.network
    forge_ref(&client.refs)
    client.next_task = NULL
    pthread_mutex_lock(&tasks.lock)
    if network.first != NULL:
        network.last.next_task = client
    else:
        network.first = client
        tasks_add_turn(tasks, network)
    network.last = client
    pthread_mutex_unlock(&tasks.lock)


cdef inline Client* tasks_pop(TaskQueue* tasks) noexcept nogil:
    """Take the next connection with a task; NULL for none. The caller holds the lock."""
    cdef Network* network = tasks.first
    if network == NULL:
        return NULL
    cdef Client* client = network.first
    tasks.first = network.next
    network.first = client.next_task
    if network.first != NULL:
        tasks_add_turn(tasks, network)
    return client


cdef inline bint tasks_is_any_busy(TaskQueue* tasks) noexcept nogil:
    """Return whether a worker has a task. The caller holds the lock."""
    cdef WorkerState* worker = <WorkerState*>tasks.workers
    while worker != NULL and worker.idle:
        worker = <WorkerState*>worker.node.next
    return worker != NULL


cdef inline void worker_wake(WorkerState* worker) noexcept nogil:
    """Wake an idle worker. The caller holds the lock."""
    if worker.idle:
        worker.idle = False
        sem_post(&worker.wake)


cdef inline bint worker_is_running(WorkerState* worker) noexcept nogil:
    """Return whether a worker runs or could run, and does not wait in the kernel (proc(5))."""
    cdef char first = 0
    return worker.proc >= 0 and pread(worker.proc, &first, 1, 0) == 1 and first == c"r"


cdef inline bint tasks_is_any_running(TaskQueue* tasks) noexcept nogil:
    """Return whether a worker with a task runs or could run. The caller holds the lock."""
    cdef WorkerState* worker = <WorkerState*>tasks.workers
    while worker != NULL and (worker.idle or not worker_is_running(worker)):
        worker = <WorkerState*>worker.node.next
    return worker != NULL


cdef inline double tasks_wake(TaskQueue* tasks, double now) noexcept nogil:
    """Wake a worker if it is needed. Returns the seconds until the next check."""
    cdef WorkerState* worker = NULL
    cdef double seconds = TICK
    pthread_mutex_lock(&tasks.lock)
    if tasks.first != NULL:
        worker = <WorkerState*>tasks.workers
    while worker != NULL and not worker.idle:
        worker = <WorkerState*>worker.node.next
    if worker != NULL:
        if now >= tasks.next_check:
            tasks.next_check = now + CHECK_AFTER
            if now - tasks.taken_at >= SHARE_AFTER or not tasks_is_any_running(tasks):
                worker_wake(worker)
                tasks.taken_at = now
        seconds = max(tasks.next_check - now, 0)
    pthread_mutex_unlock(&tasks.lock)
    return seconds


cdef inline void tasks_wake_all(TaskQueue* tasks) noexcept nogil:
    pthread_mutex_lock(&tasks.lock)
    cdef WorkerState* worker = <WorkerState*>tasks.workers
    while worker != NULL:
        worker_wake(worker)
        worker = <WorkerState*>worker.node.next
    pthread_mutex_unlock(&tasks.lock)
