# The processor on which the workers of a busy server continue after a wait. Part of _fanout.pyx.
#
# PERF: only one thread runs Python at a time, and the next one needs the same code and objects, which
# are in the caches of that processor. So while workers wait, for a task or for PostgreSQL, they may
# continue only there, and one that continues does not interrupt another (SCHED_BATCH; sched(7)).
# While they run, the kernel may move them, and threads and processes of a handler may use all
# processors. The kernel chooses the processor: now and then it may move all workers for a moment.

cdef extern from *:
    """
    #include <sched.h>

    static int forge_processor = -1;  /* atomic; -1: workers continue anywhere */
    static void *forge_sharing;  /* atomic: the queue whose workers share it, or NULL */
    static __thread int forge_is_worker, forge_stays;
    static __thread cpu_set_t forge_allowed;

    /* Make a queue the sharing one, unless there is another. Returns whether it is. */
    static inline int forge_claim(void *queue) {
        void *other = NULL;
        return __atomic_compare_exchange_n(
            &forge_sharing, &other, queue, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) || other == queue;
    }
    static inline void forge_be_worker(void) {
        struct sched_param none = {0};
        if (!forge_is_worker && !sched_getaffinity(0, sizeof(forge_allowed), &forge_allowed)) {
            forge_is_worker = 1;
            sched_setscheduler(0, SCHED_BATCH, &none);
        }
    }
    static inline void forge_begin_wait(void) {
        int processor = __atomic_load_n(&forge_processor, __ATOMIC_RELAXED);
        cpu_set_t one;
        if (!forge_is_worker || processor < 0 || processor >= CPU_SETSIZE) return;
        CPU_ZERO(&one);
        CPU_SET(processor, &one);
        forge_stays = !sched_setaffinity(0, sizeof(one), &one);
    }
    static inline void forge_end_wait(void) {
        if (forge_stays) sched_setaffinity(0, sizeof(forge_allowed), &forge_allowed);
        forge_stays = 0;
    }
    """
    int forge_processor
    void* forge_sharing
    bint forge_claim(void* queue) noexcept nogil
    void forge_be_worker() noexcept nogil
    void forge_begin_wait() noexcept nogil
    void forge_end_wait() noexcept nogil
    int sched_getcpu() noexcept nogil

cdef double BUSY = 500  # tasks a second from which workers share a processor
cdef double SHARED_FOR = 0.5  # seconds until the kernel may choose again


cdef void choose_processor(TaskQueue* tasks, double rate, double now) noexcept nogil:
    """Begin, renew or end the sharing of a processor. rate: tasks per second."""
    if not forge_claim(tasks):
        return
    if rate < BUSY:
        forge_swap(&forge_processor, -1)
        forge_take(&forge_sharing)
    elif forge_flag(&forge_processor) < 0:
        forge_swap(&forge_processor, forge_flag(&tasks.processor))
        tasks.chosen_at = now
    elif now - tasks.chosen_at >= SHARED_FOR:
        forge_swap(&forge_processor, -1)


def begin_wait():
    """See _fanout_py.begin_wait."""
    forge_begin_wait()


def end_wait():
    """See _fanout_py.end_wait."""
    forge_end_wait()
