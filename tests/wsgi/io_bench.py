"""An I/O thread without a server: its workers and peers, for the tests of its tasks."""

from __future__ import annotations

import gc
import itertools
import os
import queue
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

from forge_min.wsgi.http1 import ExpectedBody, Phase, read_requests

from wsgi.conftest import DEADLINE, Peer

MIB = bytes(1 << 20)
BIG = random.Random(1).randbytes(20 << 20)  # more than the buffers of the kernel hold


def answer_of(body):
    data = body.encode() if isinstance(body, str) else body
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)


class Bench:
    """An I/O thread, its workers and their peers.

    perform: called by workers with each task; without it, tasks go to the queue `tasks`.
    """

    def __init__(self, core, perform=None, *, workers=1, run=True, **options):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.listener.setblocking(False)
        self.server_port = self.listener.getsockname()[1]
        seconds = dict.fromkeys(("idle", "head", "body", "write"), 60.0)
        limits = {"max_body": 1 << 20, "max_pending": 64 << 20, "max_per_network": 1000}
        settings = {**limits, "max_connections": 1000, **seconds, **options}
        self.io = core.IoThread(self.listener.fileno(), {"base": "kept"}, **settings)
        self.tasks, self.errors, self.peers = queue.Queue(), [], []
        self.perform = perform or self.tasks.put
        self.thread = threading.Thread(target=self.io.run, daemon=True)
        self.workers = [threading.Thread(target=self.work, daemon=True) for _ in range(workers)]
        for thread in [*self.workers, *([self.thread] if run else [])]:
            thread.start()

    def work(self):
        worker = self.io.worker()
        while (task := worker.next_task()) is not None:
            try:
                self.perform(task)
            except BaseException as err:
                self.errors.append(err)
            del task

    def connect(self, host="127.0.0.1"):
        self.peers.append(Peer(self.server_port, host))
        return self.peers[-1]

    def next(self):
        return self.tasks.get(timeout=DEADLINE)

    def asked(self):
        """A peer and the task of its first request."""
        peer = self.connect().get()
        return peer, self.next()

    def stop(self):
        if not self.thread.ident:
            self.thread.start()
        self.io.stop()
        for thread in (self.thread, *self.workers):
            thread.join(DEADLINE)
            assert not thread.is_alive(), "a thread did not end"

    def end(self):
        try:
            self.stop()
            assert self.errors == []
        finally:
            self.listener.close()
            for peer in self.peers:
                peer.close()


def reads(handle):
    """Let a worker read requests as the server does.

    handle: called with environ, task, and what ends the response but not the connection.
    """

    def perform(task):
        if task.kind == "request":
            handle(task.value, task, lambda task, data: task.respond(data))
        elif task.kind in ("input", "body", "sent"):
            if (reader := task.state) is None:
                buffer = bytearray()
                reader = buffer, read_requests(buffer, task.base_environ, 1 << 20)
            buffer, requests = reader
            if task.kind == "body":
                arrived = requests.send(task.value)
            else:
                buffer += task.value or b""
                arrived = next(requests)
            if isinstance(arrived, Phase):
                task.wait_input(arrived.value, reader)
            elif isinstance(arrived, ExpectedBody):
                task.put_back(len(buffer))
                buffer.clear()
                task.wait_body(arrived.length, reader)
            elif buffer:
                handle(arrived, task, lambda task, data: task.wait_sent(data, reader))
            else:
                handle(arrived, task, lambda task, data: task.respond(data))

    return perform


def answers(body):
    """Answer each request with `body(environ)`."""
    return reads(lambda environ, task, rest: rest(task, answer_of(body(environ))))


def reset(peer):
    """Vanish: the other side gets a reset instead of an end."""
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()


def whole(peer):
    """All bytes up to the end. Raises if the connection is reset."""
    return b"".join(iter(lambda: peer.sock.recv(65536), b""))


def run(target, *args):
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


def finish(*threads):
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


class Load:
    """Random clients for two seconds, and what workers do for them."""

    def __init__(self):
        self.handled, self.answered, self.states = Counter(), Counter(), Counter()
        self.read = reads(self.handle)

    def perform(self, task):
        if not callable(task.state):
            self.read(task)
            return
        self.states[task.state] -= 1
        if task.kind == "sent":
            task.state(task)

    def handle(self, environ, task, rest):
        """Answer as the path says: at once, in parts, as the last one, or not at all."""
        path = environ["PATH_INFO"]
        data, how = answer_of(path), path.split("/")[1]
        self.handled[path] += 1
        if how == "sent":
            state = partial(rest, data=data[9:])
            self.states[state] += 1
            task.wait_sent(data[:9], state)
        elif how == "end":
            task.end(data)
        elif how == "send":
            task.send(data[:9])
            assert not task.end(b"wrong", unless_begun=True)
            rest(task, data[9:])
        elif how == "respond":
            rest(task, data)

    def client(self, made, seed):
        rng, until = random.Random(seed), time.monotonic() + 2
        try:
            for serial in itertools.count():
                if time.monotonic() > until:
                    break
                peer = Peer(made.server_port)
                self.talk(peer, rng, f"{seed}/{serial}")
                reset(peer) if rng.random() < 0.1 else peer.close()
        except BaseException as err:
            made.errors.append(err)

    def talk(self, peer, rng, id):
        for turn in range(rng.randrange(6)):
            hows = rng.choices(["respond", "sent", "send", "end", "drop"], [8, 4, 4, 1, 1], k=4)
            paths = [f"/{how}/{id}/{turn}/{n}" for n, how in enumerate(hows)]
            data = "".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths)
            cut = rng.randrange(len(data)) if rng.random() < 0.3 else 0
            peer.send(data[:cut])
            if rng.random() < 0.1:
                return
            peer.send(data[cut:])
            for path, how in zip(paths, hows):
                if how != "drop":
                    assert peer.answer().body.decode() == path
                    self.answered[path] += 1
                if how in ("end", "drop"):
                    assert peer.left + whole(peer) == b""
                    return


def resident():
    """MiB of memory of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def hold_bodies(core):
    """150 bodies of 1 MiB, of which the last byte is missing, and a whole one of another client."""
    made = Bench(core, max_pending=8 << 20)
    heads = {
        "sized": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(MIB),
        "chunked": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    }
    made.perform = reads(lambda environ, task, rest: made.tasks.put((environ, task)))
    before = resident()
    for number in range(150):
        peer = made.connect("127.0.0.2")
        chunked = number % 2
        data = heads["chunked" if chunked else "sized"]
        data = memoryview(data + (b"%x\r\n" % len(MIB) if chunked else b"") + MIB[:-1])
        peer.sock.setblocking(False)
        with suppress(BlockingIOError):
            while data:
                data = data[peer.sock.send(data) :]
    other = made.connect()
    run(other.send, heads["sized"] + MIB)
    environ, task = made.next()
    assert environ["wsgi.input"].read() == MIB
    assert resident() - before < 64
    assert task.respond(answer_of("done")) and other.answer().body == b"done"
    made.end()


# -- what may crash or hang its process ------------------------------------------------------------


def alone(core, body):
    """Run a function of this module, which gets the core, in a process of its own."""
    lines = [
        "import faulthandler",
        f"faulthandler.dump_traceback_later({DEADLINE}, exit=True)",
        f"import {core.__name__} as core",
        "from wsgi import io_bench",
        f"io_bench.{body.__name__}(core)",
    ]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"


def drop_cycles(core):
    made = Bench(core)
    peer, task = made.asked()
    older = []
    task.wait_sent(b"part", older)
    task = made.next()
    newer = [task]
    newer.append(newer)
    older.append(task)
    del task, newer, older
    gc.collect()
    assert whole(peer) == b"part"
    made.end()


def collect_often(core):
    """As a response in parts does: its state keeps the last task, and the task its state."""
    made = Bench(core)
    gc.set_threshold(1, 1, 1)
    peer = made.connect()
    for _ in range(5000):
        peer.get()
        made.next().wait_sent(b"", type("State", (), {})())
        task = made.next()
        task.state.task = task
        assert task.respond(b"x")
        del task
        peer.exactly(1)
    made.end()


def drain_after_stop(core):
    made = Bench(core)
    made.stop()
    made.io.drain()
    made.end()
