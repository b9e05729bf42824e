"""A server in a process of its own, in which tests cause faults: the program and its controller."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import zlib
from pathlib import Path

from forge_min.wsgi import Server

TESTS = Path(__file__).parents[1]
PIECE = 1 << 20
PATTERN = bytes(range(256)) * (PIECE // 256)
ALLOCATOR = r"""
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

/* Of the calls from `low` to `high` one in `rate` fails; the next but `left` of one thread, too. */
static uintptr_t low, high;
static unsigned rate, calls, failures;
static __thread long left = -1;

void fail_within(uintptr_t from, uintptr_t to, unsigned n) { low = from; high = to; rate = n; }
void fail_after(long n) { left = n; }
unsigned count_failures(void) { return failures; }

static int fails(void *caller) {
    uintptr_t at = (uintptr_t)caller;
    int now = 0;
    if (left >= 0) now = left-- == 0;
    if (rate && at >= low && at < high)
        now |= __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) * 2654435761u % 65536 < 65536 / rate;
    if (now) { __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED); errno = ENOMEM; }
    return now;
}
void *malloc(size_t n) { return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}
"""


def piece(number):
    return number.to_bytes(8) + PATTERN[8:]


def checksum(count):
    """Return CRC-32 of a response in `count` pieces."""
    result = 0
    for number in range(count):
        result = zlib.crc32(piece(number), result)
    return result


# -- the program -----------------------------------------------------------------------------------


class Program:
    """The application, and the commands of the controller."""

    def __init__(self, options):
        self.released, self.entered = threading.Event(), 0
        self.signals = 0
        self.pids = []
        self.streams = []
        self.server = Server(("127.0.0.1", 0), self, **options)

    def __call__(self, environ, start_response):
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        body = environ["wsgi.input"].read()
        if path == "/pieces":
            start_response("200 OK", [("Content-Length", str(int(query) * PIECE))])
            return (piece(number) for number in range(int(query)))
        if path == "/forever":
            threading.Event().wait()
        elif path == "/hold":
            self.entered += 1
            self.released.wait()
        elif path == "/stream":
            environ["forge.stream"](self.streams.append)
            self.entered += 1
            self.released.wait()
        elif path == "/compute":
            self.entered += 1
            while not self.released.is_set():
                sum(range(100))
        elif path == "/fork":
            self.fork()
        elif path == "/fork-and-exit":
            self.released.wait()
            self.fork(exits=True)
        elif path == "/spawn":
            self.spawn()
        elif path == "/fail":
            ctypes.CDLL(None).fail_after(int(query))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d %b %b" % (zlib.crc32(body), path.encode(), query.encode())]

    def fork(self, *, exits=False):
        if not (pid := os.fork()):
            if exits:
                sys.exit()
            signal.pause()
            os._exit(0)
        self.pids.append(pid)

    def spawn(self):
        command = [sys.executable, "-c", "input()"]
        self.pids.append(subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False).pid)

    def count_signals(self, *numbers):
        def handle(*_):
            self.signals += 1

        for number in numbers:
            signal.signal(number, handle)

    # -- commands ----------------------------------------------------------------------------------

    def do_state(self):
        """Return the counters of the server, the memory of the process and its files."""
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        return {
            "connections": self.server.connections,
            "memory": pages * resource.getpagesize(),
            "files": len(os.listdir("/proc/self/fd")),
            "threads": threading.active_count(),
            "entered": self.entered,
            "signals": self.signals,
            "pids": self.pids,
            "streams": self.streams,
        }

    def do_release(self):
        self.released.set()

    def do_descriptor(self, port):
        """Return the descriptor of the connection of a peer, or None."""
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.family == socket.AF_INET and sock.getpeername()[1] == port:
                    return int(name)
        return None

    def do_paths(self):
        """Return the paths of open files."""
        names = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
        return [os.readlink(name) for name in names if os.path.exists(name)]

    def do_close(self, descriptor):
        os.close(descriptor)

    def do_replace(self, descriptor, path):
        """Let a descriptor be of a file instead."""
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)

    def do_fail_in_core(self, rate):
        """Let one in `rate` allocations of the compiled core fail; 0: none."""
        with open("/proc/self/maps") as file:
            ranges = [line.split()[0].split("-") for line in file if "/_fanout" in line]
        low, high = int(ranges[0][0], 16), int(ranges[-1][1], 16)
        ctypes.CDLL(None).fail_within(ctypes.c_size_t(low), ctypes.c_size_t(high), rate)

    def do_failures(self):
        return ctypes.CDLL(None).count_failures()

    def do_stop(self, timeout):
        return self.server.stop(timeout)

    def do_bind(self):
        """Return whether another server can listen on the port."""
        Server(("127.0.0.1", self.server.server_port), self).close()
        return True

    def do_timer(self, seconds):
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)

    def run(self):
        self.count_signals(signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD)
        self.server.start()
        print(self.server.server_port, flush=True)
        try:
            for line in sys.stdin:
                name, *arguments = json.loads(line)
                print(json.dumps(getattr(self, f"do_{name}")(*arguments)), flush=True)
        except BaseException:
            traceback.print_exc()
            status = 1
        else:
            status = 0
        for pid in self.pids:  # they have copies of the pipes
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(status)


# -- the controller --------------------------------------------------------------------------------


class FaultServer:
    """The controller of such a server. `state` and so on call the methods `do_...` of Program.

    core: "c" or "python".
    environ: further variables of its environment.
    """

    def __init__(self, core, folder, environ=None, **options):
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.stderr = (folder / "stderr").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wsgi.fault_server", json.dumps(options)],
            env={**os.environ, "FORGE_IMPL": core, "PYTHONPATH": path, **(environ or {})},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr, text=True,
        )  # fmt: skip
        self.server_port = int(self.process.stdout.readline())

    def __getattr__(self, name):
        def call(*arguments):
            self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            assert line, f"the server has ended: {self.log()}"
            return json.loads(line)

        return call

    def log(self):
        self.stderr.seek(0)
        return self.stderr.read()

    def end(self):
        """End the process. Fails if it has ended before."""
        ended = self.process.poll()
        self.process.stdin.close()
        try:
            assert ended is None, f"the server has ended with {ended}: {self.log()}"
            assert self.process.wait(10) == 0, self.log()
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.stderr.close()


def build_allocator(folder):
    """Return the path of a library for LD_PRELOAD, or None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source, library = folder / "allocator.c", folder / "allocator.so"
    source.write_text(ALLOCATOR)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library


def wait_until(server, condition, seconds=20.0):
    """Return the state of a server when it meets a condition."""
    until = time.monotonic() + seconds
    while not condition(state := server.state()):
        assert time.monotonic() < until, state
        time.sleep(0.02)
    return state


def wait_until_settled(server, seconds=20.0, files=None):
    """Return the state of a server when it has no connections any more.

    files: wait also until it has this number of open files.
    """

    def is_settled(state):
        return state["connections"] == 0 and files in (None, state["files"])

    return wait_until(server, is_settled, seconds)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with contextlib.suppress(ValueError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    Program(json.loads(sys.argv[1])).run()
