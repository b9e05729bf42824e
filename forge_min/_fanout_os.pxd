# The interface to Linux, and the atomic operations of GCC and Clang.

from libc.stdint cimport uint32_t, uint64_t
from posix.ioctl cimport ioctl
from posix.uio cimport iovec
from posix.unistd cimport close

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <pthread.h>
    #include <signal.h>
    #include <stdint.h>
    #include <time.h>

    static inline void forge_ref(long *count) {
        __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
    }
    /* True for the last owner. Writes of other owners to the block happen before its free(). */
    static inline int forge_unref(long *count) {
        return __atomic_sub_fetch(count, 1, __ATOMIC_ACQ_REL) == 0;
    }
    /* Returns the new value. */
    static inline uint64_t forge_add(uint64_t *cell, uint64_t n) {
        return __atomic_add_fetch(cell, n, __ATOMIC_SEQ_CST);
    }
    static inline uint64_t forge_load(uint64_t *cell) {
        return __atomic_load_n(cell, __ATOMIC_ACQUIRE);
    }
    static inline void forge_store(uint64_t *cell, uint64_t n) {
        __atomic_store_n(cell, n, __ATOMIC_RELEASE);
    }
    static inline int forge_flag(int *flag) {
        return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
    }
    static inline int forge_swap(int *flag, int value) {
        return __atomic_exchange_n(flag, value, __ATOMIC_SEQ_CST);
    }
    /* Change one value into another. Returns 0 if it was a third one. */
    static inline int forge_change(int *cell, int from, int to) {
        return __atomic_compare_exchange_n(cell, &from, to, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    /* A stack: any thread pushes, and one takes all items at once. next: the link of the item. */
    static inline void forge_push(void **stack, void *item, void **next) {
        *next = __atomic_load_n(stack, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(
            stack, next, item, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {}
    }
    static inline int forge_any(void **stack) {
        return __atomic_load_n(stack, __ATOMIC_SEQ_CST) != NULL;
    }
    static inline void *forge_take(void **stack) {
        return __atomic_exchange_n(stack, NULL, __ATOMIC_SEQ_CST);
    }

    static inline double forge_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
    }

    /* Block signals: Python's handlers run in the main thread, so another thread must get them. */
    static void forge_enter_thread(const char *name) {
        sigset_t all;
        sigfillset(&all);
        sigdelset(&all, SIGSEGV); sigdelset(&all, SIGBUS); sigdelset(&all, SIGFPE);
        sigdelset(&all, SIGILL); sigdelset(&all, SIGABRT);
        pthread_sigmask(SIG_BLOCK, &all, NULL);
        pthread_setname_np(pthread_self(), name);
    }
    """
    void forge_ref(long* count) noexcept nogil
    bint forge_unref(long* count) noexcept nogil
    uint64_t forge_add(uint64_t* cell, uint64_t n) noexcept nogil
    uint64_t forge_load(uint64_t* cell) noexcept nogil
    void forge_store(uint64_t* cell, uint64_t n) noexcept nogil
    int forge_flag(int* flag) noexcept nogil
    int forge_swap(int* cell, int value) noexcept nogil
    int forge_change(int* cell, int old, int new) noexcept nogil
    void forge_push(void** stack, void* item, void** next) noexcept nogil
    bint forge_any(void** stack) noexcept nogil
    void* forge_take(void** stack) noexcept nogil
    double forge_now() noexcept nogil
    void forge_enter_thread(const char* name) noexcept nogil

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t*, void*)
    int pthread_mutex_lock(pthread_mutex_t*)
    int pthread_mutex_unlock(pthread_mutex_t*)
    int pthread_mutex_destroy(pthread_mutex_t*)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET
        EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_wait(int, epoll_event*, int, int)

cdef inline bint epoll_set(
    int epoll, int operation, int fd, uint32_t events, void* source
) noexcept nogil:
    """Let epoll report these events of a descriptor with `source`. Returns False for an error."""
    cdef epoll_event event
    event.events, event.data.ptr = events, source
    return epoll_ctl(epoll, operation, fd, &event) == 0

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int, int)
    int eventfd_write(int, uint64_t)

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    enum:
        MSG_DONTWAIT, MSG_NOSIGNAL, SOL_SOCKET, SO_TYPE
        SOCK_NONBLOCK, SOCK_CLOEXEC, AF_INET, AF_UNIX, SHUT_WR, SHUT_RDWR
    struct sockaddr:
        pass
    struct sockaddr_storage:
        int ss_family
    int accept4(int, sockaddr*, unsigned int*, int)
    int shutdown(int, int)
    ssize_t send(int, const void*, size_t, int)
    ssize_t sendmsg(int, msghdr*, int)
    ssize_t recv(int, void*, size_t, int)
    int getsockopt(int, int, int, void*, unsigned int*)

cdef extern from "<sys/ioctl.h>" nogil:
    enum:
        TIOCOUTQ  # as SIOCOUTQ

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "<netdb.h>" nogil:
    enum:
        NI_NUMERICHOST, NI_NUMERICSERV
    int getnameinfo(sockaddr*, unsigned int, char*, unsigned int, char*, unsigned int, int)

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass
    int sem_init(sem_t*, int, unsigned int)
    int sem_destroy(sem_t*)
    int sem_post(sem_t*)
    int sem_wait(sem_t*)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
    enum:
        POLLIN
    int poll(pollfd*, unsigned long, int)
    int ppoll(pollfd*, unsigned long, timespec*, void*)

cdef extern from "<fcntl.h>" nogil:
    enum:
        O_RDONLY, O_CLOEXEC
    int open_file "open"(const char*, int)

cdef extern from "<unistd.h>" nogil:
    ssize_t pread(int, void*, size_t, long)
    int usleep(unsigned int)
