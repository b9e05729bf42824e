"""Every sort of bad client at once, beside good ones; and what a machine runs out of."""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import threading
import time
from types import ModuleType
from typing import Any

import pytest

FRAME = re.compile(rb"data: (\d+) x*\n\n|event: refresh\ndata: [^\n]*\"missed\":(\d+)}\n\n")
FAREWELL = b"event: close\ndata: {}\n\n"
LARGE = 400_000  # bytes: more than the kernel takes for a client with small buffers


def frame(number: int) -> bytes:
    return b"data: %d %s\n\n" % (number, b"x" * (LARGE if number % 100 == 0 else 80))


class Reader(threading.Thread):
    """A good client: reads all there is, as fast as it can, to the end."""

    def __init__(self, client: Any) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.numbers: list[int] = []
        self.missed = self.refreshes = 0
        self.rest = b""

    def run(self) -> None:
        data = bytearray()
        while got := self.client.sock.recv(1 << 20):
            data += got
            end = 0
            for found in FRAME.finditer(data):
                end = found.end()
                if found[1]:
                    self.numbers.append(int(found[1]))
                else:
                    self.missed += int(found[2])
                    self.refreshes += 1
            del data[:end]
        self.rest = bytes(data)


def resident() -> int:
    """Bytes of this process in memory (proc(5), statm)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_the_rest_are_served_beside_every_sort_of_bad_client(core: ModuleType, bench: Any) -> None:
    topic = core.Topic(64)
    limiter = core.Limiter(max_total=5000, max_per_user=5000)
    writer = bench.writer(heartbeat=0.2, write_timeout=1.0, buffer_size=32)
    stop, published = threading.Event(), 0

    def adopt(user: str, small: bool = False) -> Any:
        fd, client = bench.pair(small)
        assert writer.adopt(fd, [topic.subscribe()], limiter.acquire(user))
        return client

    readers = [Reader(adopt("good")) for _ in range(8)]
    slow, _deaf, half = adopt("slow", True), adopt("deaf", True), adopt("half", True)
    before = resident()

    def publish() -> None:
        nonlocal published
        while not stop.wait(0.001):
            for _ in range(200):  # more than the ring holds: nobody can keep up
                published = topic.publish(frame(published + 1))

    def trickle() -> None:
        while not stop.wait(1.0):  # one byte a second
            try:
                slow.sock.recv(1)
            except OSError:
                return

    threads = [*readers, threading.Thread(target=publish), threading.Thread(target=trickle)]
    for thread in threads:
        thread.start()
    half.sock.shutdown(socket.SHUT_WR)
    for turn in range(2000):
        client = adopt("vanishing")
        client.reset() if turn % 2 else client.close()
        bench.clients.pop()
    bench.eventually(lambda: limiter.active_for("vanishing") == 0)
    bench.eventually(lambda: limiter.active_for("deaf") == limiter.active_for("half") == 0)
    assert resident() - before < 150_000_000, "memory grows with what is published"
    stop.set()
    for thread in threads[len(readers) :]:
        thread.join(10)
    assert published > 500
    for reader in readers:
        # Every frame was had or counted, each once and in order.
        bench.eventually(lambda me=reader: len(me.numbers) + me.missed == published)
        assert reader.numbers == sorted(set(reader.numbers))
    assert sum(reader.missed for reader in readers) > 0, "nobody fell off: too slow a publisher"
    # The slow one reads nothing by now, and is given up as the deaf one was.
    bench.eventually(lambda: limiter.active == writer.connections == topic.subscribers == 8)
    assert limiter.active_for("good") == 8
    assert sum(len(reader.numbers) for reader in readers) <= writer.frames_sent
    assert sum(reader.refreshes for reader in readers) <= writer.refreshes
    began = time.monotonic()
    writer.stop(2.0, FAREWELL)
    assert time.monotonic() - began < 4.0
    for reader in readers:
        reader.join(10)
        assert reader.rest.replace(b": hb\n\n", b"") == FAREWELL
    assert (limiter.active, writer.connections, topic.subscribers) == (0, 0, 0)


def test_ten_thousand_topics_in_one_writer(core: ModuleType, bench: Any) -> None:
    topics = [core.Topic(4) for _ in range(10_000)]
    writer = bench.writer()
    clients = []
    for start in range(0, 10_000, 100):
        fd, client = bench.pair()
        clients.append(client)
        writer.adopt(fd, [topic.subscribe() for topic in topics[start : start + 100]])
    for number, topic in enumerate(topics):
        topic.publish(b"data: %d\n\n" % number)
    for index, client in enumerate(clients):
        data = b""
        while data.count(b"\n\n") < 100:
            data += client.sock.recv(65536)
        wanted = {b"data: %d" % n for n in range(index * 100, index * 100 + 100)}
        assert set(data.split(b"\n\n")[:-1]) == wanted
    for client in clients[::2]:
        client.close()
    bench.eventually(lambda: writer.connections == 50)
    bench.eventually(lambda: sum(topic.subscribers for topic in topics) == 5000)
    # A topic whose readers left and another one's, in one breath: nothing is left to look at.
    for topic in topics:
        topic.publish(b"data: again\n\n")
    for client in clients[1::2]:
        data = b""
        while data.count(b"again") < 100:
            data += client.sock.recv(65536)
    writer.stop(1.0)
    assert sum(topic.subscribers for topic in topics) == 0


@pytest.mark.alone
def test_a_process_without_file_descriptors_is_an_error_and_no_more(
    core: ModuleType, bench: Any
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    topic, running = core.Topic(), bench.writer()
    fd, client = bench.pair()
    running.adopt(fd, [topic.subscribe()])
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(OSError) as refused:
            core.StreamWriter().start()
        assert refused.value.errno == errno.EMFILE
        topic.publish(b"data: 1\n\n")
        assert client.read_until(b"\n\n") == b"data: 1\n\n"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    topic, writer = core.Topic(), bench.writer()
    fd, client = bench.pair()
    writer.adopt(fd, [topic.subscribe()])
    topic.publish(b"data: 2\n\n")
    assert client.read_until(b"\n\n") == b"data: 2\n\n"
