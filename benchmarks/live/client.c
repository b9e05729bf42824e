/* Many browsers in one process: opens streams, has events published, and times every delivery.

   client PORT STREAMS EVENTS RATE PID
   PID: the server, whose processor time and memory are read from /proc (proc(5)). RATE: events a second, 0 = at once.
   An event's data hold "t":N, the publisher's CLOCK_MONOTONIC in nanoseconds and 10^18 more, which makes 19 digits. Prints one line of JSON. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 65536, KEPT = 64, OPENING = 128, DIGITS = 19 };
enum state { CONNECTING, ASKED, LIVE, GONE };

struct stream {
    int fd;
    enum state state;
    int kept; /* bytes at the end of what was read, which may be the beginning of a mark */
    char tail[KEPT];
};

static const char REQUEST[] = "GET /events?topic=products HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
static const int64_t EPOCH = INT64_C(1000000000000000000);
static const char MARK[] = "\"t\":";
static struct sockaddr_in address;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static double cpu_seconds(int pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    unsigned long user = 0, system = 0;
    sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double resident_bytes(int pid) {
    char path[64];
    long all = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (fscanf(file, "%ld %ld", &all, &resident) != 2) resident = 0;
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static int by_time(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static int fail(const char *what) {
    perror(what);
    exit(1);
}

/* Open all streams, a few at a time; how many are live. */
static int open_streams(int poll, struct stream *streams, int count) {
    struct epoll_event events[1024];
    char buffer[BUFFER + 1];
    int started = 0, live = 0, gone = 0;
    while (live + gone < count) {
        for (; started < count && started - live - gone < OPENING; started++) {
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
            if (fd < 0) fail("socket");
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) fail("connect");
            struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLET, {.u32 = (uint32_t)started}};
            epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
            streams[started].fd = fd;
        }
        int ready = epoll_wait(poll, events, 1024, 10000);
        if (ready <= 0) break;
        for (int i = 0; i < ready; i++) {
            struct stream *stream = &streams[events[i].data.u32];
            if (stream->state == CONNECTING && events[i].events & EPOLLOUT) {
                if (send(stream->fd, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) < 0) stream->state = GONE, gone++;
                else stream->state = ASKED;
            }
            if (stream->state != ASKED) continue;
            ssize_t got = recv(stream->fd, buffer, BUFFER, 0);
            if (got > 0 && memmem(buffer, (size_t)got, "text/event-stream", 17)) stream->state = LIVE, live++;
            else if (got == 0 || (got < 0 && errno != EAGAIN)) stream->state = GONE, gone++;
        }
    }
    return live;
}

int main(int count, char **given) {
    if (count != 6) return fprintf(stderr, "client PORT STREAMS EVENTS RATE PID\n"), 2;
    int port = atoi(given[1]), wanted = atoi(given[2]), events_wanted = atoi(given[3]), rate = atoi(given[4]), pid = atoi(given[5]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct stream *streams = calloc((size_t)wanted, sizeof *streams);
    int64_t *latency = malloc(sizeof *latency * (size_t)wanted * (size_t)(events_wanted + 1));
    int poll = epoll_create1(0);
    if (!streams || !latency || poll < 0) fail("memory");

    double memory = resident_bytes(pid), cpu = cpu_seconds(pid);
    int64_t began = now();
    int live = open_streams(poll, streams, wanted);
    double accept_seconds = (double)(now() - began) / 1e9;
    usleep(500000);
    double per_stream = live ? (resident_bytes(pid) - memory) / live : 0;
    double accept_cpu = cpu_seconds(pid) - cpu;
    cpu = cpu_seconds(pid);

    int go = socket(AF_INET, SOCK_STREAM, 0);
    char request[200];
    snprintf(request, sizeof request, "GET /go?n=%d&rate=%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", events_wanted, rate);
    if (connect(go, (struct sockaddr *)&address, sizeof address) < 0 || send(go, request, strlen(request), 0) < 0) fail("go");

    int64_t first = INT64_MAX, last = 0;
    long got_all = 0, expected = (long)live * events_wanted;
    static char buffer[BUFFER + KEPT];
    struct epoll_event events[1024];
    while (got_all < expected) {
        int ready = epoll_wait(poll, events, 1024, 3000);
        if (ready <= 0) break;
        for (int i = 0; i < ready; i++) {
            struct stream *stream = &streams[events[i].data.u32];
            while (stream->state == LIVE) {
                memcpy(buffer, stream->tail, (size_t)stream->kept);
                ssize_t got = recv(stream->fd, buffer + stream->kept, BUFFER, 0);
                if (got <= 0) {
                    if (got == 0) stream->state = GONE;
                    break;
                }
                int64_t at = now();
                char *place = buffer, *end = buffer + stream->kept + got;
                for (;;) {
                    char *mark = memmem(place, (size_t)(end - place), MARK, sizeof MARK - 1);
                    if (!mark) {
                        if (end - place > KEPT / 2) place = end - KEPT / 2;
                        break;
                    }
                    if (end - mark < (long)sizeof MARK + DIGITS) {
                        place = mark;
                        break;
                    }
                    int64_t sent = 0;
                    for (int digit = 0; digit < DIGITS; digit++) sent = sent * 10 + (mark[sizeof MARK - 1 + digit] - '0');
                    sent -= EPOCH;
                    if (sent < first) first = sent;
                    if (got_all < expected) latency[got_all++] = at - sent;
                    last = at;
                    place = mark + sizeof MARK - 1 + DIGITS;
                }
                stream->kept = (int)(end - place);
                memmove(stream->tail, place, (size_t)stream->kept);
                if (got < BUFFER) break;
            }
        }
    }
    usleep(100000);
    cpu = cpu_seconds(pid) - cpu;
    qsort(latency, (size_t)got_all, sizeof *latency, by_time);
    double seconds = got_all ? (double)(last - first) / 1e9 : 0;
    printf("{\"live\": %d, \"accept_seconds\": %.3f, \"accept_cpu\": %.3f, \"bytes_per_stream\": %.0f, \"expected\": %ld, "
           "\"deliveries\": %ld, \"seconds\": %.4f, \"per_second\": %.0f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"cpu_us\": %.3f}\n",
           live, accept_seconds, accept_cpu, per_stream, expected, got_all, seconds, seconds > 0 ? (double)got_all / seconds : 0,
           got_all ? (double)latency[got_all / 2] / 1e6 : 0, got_all ? (double)latency[got_all * 99 / 100] / 1e6 : 0,
           got_all ? cpu * 1e6 / (double)got_all : 0);
    return 0;
}
