/* The floor: one epoll loop that sends each frame to each socket with one send(). floor PORT */
#define _GNU_SOURCE
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int streams[20000], count;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void publish(int events, int rate) {
    int64_t began = now();
    for (int event = 0; event < events; event++) {
        int64_t wait = rate ? began + (int64_t)event * 1000000000 / rate - now() : 0;
        if (wait > 0) usleep((useconds_t)(wait / 1000));
        char frame[128];
        int size = snprintf(frame, sizeof frame, "event: product.updated\ndata: {\"id\":1,\"t\":%" PRId64 "}\n\n", now() + INT64_C(1000000000000000000));
        for (int each = 0; each < count; each++) send(streams[each], frame, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

int main(int given, char **values) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\r\n";
    static const char empty[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, poll = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(values[given - 1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) return 1;
    struct epoll_event event = {EPOLLIN, {.fd = listener}}, ready[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int found = epoll_wait(poll, ready, 256, -1);
        for (int i = 0; i < found; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener) {
                fd = accept(listener, 0, 0);
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event = (struct epoll_event){EPOLLIN, {.fd = fd}};
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            char request[4096];
            ssize_t got = recv(fd, request, sizeof request - 1, 0);
            if (got <= 0) {
                close(fd);
                for (int each = 0; each < count; each++)
                    if (streams[each] == fd) streams[each] = streams[--count];
                continue;
            }
            request[got] = 0;
            int events = 0, rate = 0;
            if (sscanf(request, "GET /go?n=%d&rate=%d", &events, &rate) == 2) {
                send(fd, empty, sizeof empty - 1, 0);
                publish(events, rate);
            } else {
                send(fd, head, sizeof head - 1, 0);
                streams[count++] = fd;
            }
        }
    }
}
