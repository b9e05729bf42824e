"""The stream writer over real sockets: what clients read, and what is given back when they go."""

from __future__ import annotations

import gc
import os
import random
import re
import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HEARTBEAT = b": hb\n\n"
REFRESH = re.compile(rb'event: refresh\ndata: \{"reason":"overflow","missed":(\d+)\}\n\n')


def frame(number: int, size: int = 0) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (number, b"x" * size)


def numbers(data: bytes) -> list[int]:
    return [int(n) for n in re.findall(rb"id: (\d+)\n", data)]


def open_files() -> int:
    gc.collect()  # what earlier tests left in cycles is theirs
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0


def test_frames_reach_every_client_in_order_after_first(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    writer = bench.writer()
    clients = []
    for _ in range(5):
        fd, client = bench.pair()
        assert writer.adopt(fd, [topic.subscribe()], None, b"data: hello\n\n") > 0
        clients.append(client)
    for number in range(1, 31):
        topic.publish(frame(number))
    for client in clients:
        data = client.read_until(frame(30))
        assert data == b"data: hello\n\n" + b"".join(map(frame, range(1, 31)))
    bench.eventually(lambda: writer.frames_sent == 5 * 30)
    assert (writer.connections, writer.refreshes) == (5, 0)
    writer.stop()
    assert [client.read_all() for client in clients] == [b""] * 5, "no byte more was sent"


def test_several_topics_merge_into_one_stream(core: ModuleType, bench: Any) -> None:
    topics = [core.Topic() for _ in range(3)]
    writer = bench.writer()
    fd, client = bench.pair()
    for topic in topics:
        topic.publish(b"data: before\n\n")
    writer.adopt(fd, [topic.subscribe(after=0) for topic in topics])
    for number in range(1, 61):
        topics[number % 3].publish(frame(number))
    topics[0].publish(b"data: end\n\n")
    data = b""
    while len(numbers(data)) < 60 or b"end" not in data:
        data += client.read_until(b"\n\n")
    assert data.count(b"before") == 3
    for rest in range(3):
        mine = [n for n in numbers(data) if n % 3 == rest]
        assert mine == sorted(mine)


def test_topics_keep_the_order_of_publication_on_one_stream(core: ModuleType, bench: Any) -> None:
    topics = [core.Topic(1000) for _ in range(5)]
    dice = random.Random(7)
    writer = bench.writer()
    fd, client = bench.pair(small=True)
    writer.adopt(fd, [topic.subscribe() for topic in topics])
    heard = b""
    for number in range(1, 600):
        dice.choice(topics).publish(frame(number, dice.choice((10, 300, 9000))))
        if number % 50 == 0:  # the rest waits meanwhile, some of it half out
            heard += client.read_until(b"id: %d\n" % (number - 40))
    heard += client.read_until(b"id: 599\n")
    assert numbers(heard) == list(range(1, 600))


def test_what_was_published_before_adoption_is_sent_from_the_cursor(
    core: ModuleType, bench: Any
) -> None:
    topic = core.Topic()
    for number in range(1, 6):
        topic.publish(frame(number))
    fd, client = bench.pair()
    bench.writer().adopt(fd, [topic.subscribe(after=2)])
    assert client.read_until(frame(5)) == frame(3) + frame(4) + frame(5)


def test_a_slow_reader_gets_exactly_one_refresh_with_what_it_missed(
    core: ModuleType, bench: Any
) -> None:
    """For each time that it fell behind: the kernel takes a frame now and then while nobody reads
    (a zero-window probe), so it may do so twice on a busy machine.
    """
    topic = core.Topic(64)
    writer = bench.writer()
    slow_fd, slow = bench.pair(small=True)
    fast_fd, fast = bench.pair()
    writer.adopt(slow_fd, [topic.subscribe()])
    writer.adopt(fast_fd, [topic.subscribe()])
    for sent in range(1, 401):  # until nothing more fits, and then the ring over and over
        topic.publish(frame(sent, 4000))
        fast.read_until(frame(sent, 4000))
    at, refreshes, behind = 0, 0, False
    while at < 400:
        event = slow.read_until(b"\n\n")
        if event.startswith(b"event: refresh\n"):  # whole, at a frame boundary
            assert not behind
            (missed,) = REFRESH.findall(event)
            at, refreshes, behind = at + int(missed), refreshes + 1, True
        else:
            at, behind = at + 1, False
            assert numbers(event) == [at]
    topic.publish(b"data: next\n\n")
    assert slow.read_until(b"\n\n") == b"data: next\n\n"
    assert refreshes >= 1
    assert (writer.refreshes, writer.connections) == (refreshes, 2)


def _read_to_refresh(client: Any) -> bytes:
    head: bytes = client.read_until(b"event: refresh\n")
    tail: bytes = client.read_until(b"\n\n")
    return head + tail


def test_a_client_whose_socket_is_full_may_lag_by_buffer_size(core: ModuleType, bench: Any) -> None:
    topic = core.Topic(64)
    writer = bench.writer(buffer_size=4)
    fd, client = bench.pair(small=True)
    writer.adopt(fd, [topic.subscribe()])
    big = b"data: %s\n\n" % (b"x" * 200_000)  # more than the kernel takes
    topic.publish(big)
    client.wait()
    for number in range(1, 6):
        topic.publish(frame(number))
    data = _read_to_refresh(client)
    assert data.startswith(big)
    assert [int(n) for n in REFRESH.findall(data)] == [5]
    assert numbers(data) == []


def test_a_burst_that_the_ring_holds_is_no_overflow(core: ModuleType, bench: Any) -> None:
    topic = core.Topic(64)
    writer = bench.writer(buffer_size=4)
    fd, client = bench.pair()
    subscription = topic.subscribe()
    for number in range(1, 65):
        topic.publish(frame(number))
    writer.adopt(fd, [subscription])
    assert numbers(client.read_until(frame(64))) == list(range(1, 65))
    assert writer.refreshes == 0


def test_a_frame_larger_than_the_socket_buffer_arrives_whole(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    writer = bench.writer(heartbeat=0.05)
    fd, client = bench.pair(small=True)
    first, big = (b"data: %s\n\n" % os.urandom(300_000).replace(b"\n", b" ") for _ in range(2))
    writer.adopt(fd, [topic.subscribe()], None, first)
    topic.publish(big)
    topic.publish(frame(2))
    data = client.read_until(frame(2))
    assert data.replace(HEARTBEAT, b"") == first + big + frame(2)
    assert data.count(HEARTBEAT) == 0 or (first + HEARTBEAT in data or big + HEARTBEAT in data)


def test_silence_brings_heartbeats_and_traffic_none(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    writer = bench.writer(heartbeat=0.05)
    fd, client = bench.pair()
    writer.adopt(fd, [topic.subscribe()])
    began = time.monotonic()
    assert client.read_until(HEARTBEAT) == HEARTBEAT
    assert client.read_until(HEARTBEAT) == HEARTBEAT
    assert time.monotonic() - began >= 0.09
    assert writer.frames_sent == 0
    topic = core.Topic()
    quiet_fd, quiet = bench.pair()
    bench.writer().adopt(quiet_fd, [topic.subscribe()])
    topic.publish(frame(1))
    assert quiet.read_until(frame(1)) == frame(1)


def test_who_reads_nothing_is_given_up_at_the_deadline(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    limiter = core.Limiter(max_total=5, max_per_user=5)
    writer = bench.writer(write_timeout=0.2)
    fd, _client = bench.pair(small=True)
    began = time.monotonic()
    writer.adopt(fd, [topic.subscribe()], limiter.acquire("ann"), b"x" * 4_000_000)
    bench.eventually(lambda: limiter.active == 0)
    assert time.monotonic() - began >= 0.2
    assert (writer.connections, topic.subscribers) == (0, 0)


def test_who_never_reads_is_given_up_though_every_send_succeeds(
    core: ModuleType, bench: Any
) -> None:
    topic = core.Topic()
    limiter = core.Limiter(max_total=2, max_per_user=1)
    writer = bench.writer(heartbeat=0.05, write_timeout=0.4)
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    client.connect(listener.getsockname())
    server, _ = listener.accept()
    reading_fd, reading = bench.pair()
    writer.adopt(server.detach(), [topic.subscribe()], limiter.acquire("deaf"))
    writer.adopt(reading_fd, [topic.subscribe()], limiter.acquire("reading"))
    topic.publish(frame(1, 10_000))  # fits the kernel's buffer here, not the client's
    try:
        reading.read_until(HEARTBEAT)
        bench.eventually(lambda: limiter.active_for("deaf") == 0)
        assert (writer.connections, limiter.active_for("reading")) == (1, 1), "one that reads stays"
    finally:
        client.close()
        listener.close()


@pytest.mark.thorough
def test_a_client_whose_network_vanished_keeps_no_place(core: ModuleType, bench: Any) -> None:
    name = f"fg{random.randrange(10**9)}"
    net = f"10.{random.randrange(100, 250)}.{random.randrange(250)}"  # not that of the twin's test

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)

    try:
        ip("netns", "add", name)
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
    except (OSError, subprocess.CalledProcessError) as err:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"no network namespace can be made here: {err}")
    try:
        ip("addr", "add", f"{net}.1/24", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "addr", "add", f"{net}.2/24", "dev", f"{name}b")
        ip("-n", name, "link", "set", f"{name}b", "up")
        listener = socket.create_server((f"{net}.1", 0))
        read = f"import socket as s; c = s.create_connection({listener.getsockname()!r})"
        command = ["ip", "netns", "exec", name, sys.executable, "-c"]
        client = subprocess.Popen([*command, f"{read}\nwhile c.recv(4096): pass"])
        try:
            listener.settimeout(60)  # an interpreter starts, and a new link may lose packets
            server, _ = listener.accept()
            limiter = core.Limiter(max_total=5, max_per_user=5)
            writer = bench.writer(heartbeat=0.1, write_timeout=1.0)
            topic = core.Topic()
            writer.adopt(server.detach(), [topic.subscribe()], limiter.acquire("ann"))
            topic.publish(frame(1))
            bench.eventually(lambda: writer.frames_sent == 1)
            ip("-n", name, "link", "set", f"{name}b", "down")
            bench.eventually(lambda: limiter.active == 0 and writer.connections == 0)
        finally:
            client.kill()
            client.wait()
            listener.close()
    finally:
        ip("netns", "del", name)


@pytest.mark.parametrize("how", ["half-close", "close", "reset", "flood"])
def test_a_client_that_goes_is_noticed_and_everything_is_given_back(
    core: ModuleType, bench: Any, how: str
) -> None:
    topic = core.Topic()
    limiter = core.Limiter(max_total=5, max_per_user=5)
    writer = bench.writer()
    fd, client = bench.pair()
    lease = limiter.acquire("ann")
    writer.adopt(fd, [topic.subscribe()], lease)
    if how == "half-close":
        client.sock.shutdown(socket.SHUT_WR)
    elif how == "flood":
        try:
            client.sock.sendall(b"x" * 1_000_000)
        except OSError:
            pass
    else:
        client.reset() if how == "reset" else client.close()
    bench.eventually(lambda: limiter.active == 0)
    assert (writer.connections, topic.subscribers) == (0, 0)
    assert lease.release() is False
    if how == "half-close":
        assert client.read_all() == b""


def test_what_a_client_says_is_ignored(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    writer = bench.writer()
    fd, client = bench.pair()
    writer.adopt(fd, [topic.subscribe()])
    client.sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
    topic.publish(frame(1))
    assert client.read_until(frame(1)) == frame(1)
    assert writer.connections == 1


def test_a_compiled_writer_needs_no_gil(twins: tuple[ModuleType, ModuleType], bench: Any) -> None:
    compiled, _ = twins
    topic = compiled.Topic()
    writer = compiled.StreamWriter()
    writer.start()
    bench.writers.append(writer)
    fd, client = bench.pair()
    writer.adopt(fd, [topic.subscribe()])
    topic.publish(frame(1))
    client.read_until(frame(1))
    bench.eventually(lambda: writer.frames_sent == 1)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)  # from here on nobody takes the GIL from this thread
    try:
        topic.publish(frame(2))
        sum(range(10_000_000))  # one call into C, which keeps it
        sent = writer.frames_sent
    finally:
        sys.setswitchinterval(interval)
    assert sent == 2


def test_nothing_spins_when_there_is_nothing_to_do(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    writer = bench.writer()
    fd, stuck = bench.pair(small=True)  # one that is stuck, one that talked, one that left
    writer.adopt(fd, [topic.subscribe()], None, b"x" * 4_000_000)
    talker_fd, talker = bench.pair()
    writer.adopt(talker_fd, [topic.subscribe()])
    talker.sock.sendall(b"hello")
    gone_fd, gone = bench.pair()
    writer.adopt(gone_fd, [topic.subscribe()])
    gone.sock.shutdown(socket.SHUT_WR)
    stuck.wait()
    bench.eventually(lambda: writer.connections == 2)

    def used() -> float:
        before = time.process_time()
        threading.Event().wait(0.1)
        return time.process_time() - before

    assert min(used() for _ in range(5)) < 0.01, "what spins uses some all the time"


def test_200_that_connect_and_vanish_leave_nothing(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    limiter = core.Limiter(max_total=500, max_per_user=500)
    writer = bench.writer()
    before = open_files()
    stop = threading.Event()

    def publish() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            topic.publish(frame(number, 300))
            stop.wait(0.0005)

    publisher = threading.Thread(target=publish)
    publisher.start()
    for turn in range(200):
        fd, client = bench.pair()
        writer.adopt(fd, [topic.subscribe()], limiter.acquire("ann"))
        client.reset() if turn % 2 else client.close()
    bench.eventually(lambda: limiter.active == 0)
    stop.set()
    publisher.join(10)
    assert (writer.connections, topic.subscribers, limiter.users) == (0, 0, 0)
    assert open_files() == before


def test_stop_says_farewell_at_a_frame_boundary_and_closes(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    limiter = core.Limiter(max_total=9, max_per_user=9)
    before = open_files()
    writer = bench.writer()
    pairs = [bench.pair() for _ in range(4)]
    for fd, _ in pairs:
        writer.adopt(fd, [topic.subscribe()], limiter.acquire("ann"))
    topic.publish(frame(1))
    for _, client in pairs:
        client.read_until(frame(1))
    writer.stop(farewell=b"event: close\ndata: {}\n\n")
    for _, client in pairs:
        assert client.read_all() == b"event: close\ndata: {}\n\n"
        client.close()
    assert (limiter.active, writer.connections) == (0, 0)
    writer.stop()
    bench.writers.clear()
    del writer, topic
    assert open_files() == before


def test_stop_waits_for_a_reader_that_moves_and_not_for_one_that_does_not(
    core: ModuleType, bench: Any
) -> None:
    writer = bench.writer()
    topic = core.Topic()
    big = b"data: %s\n\n" % (b"y" * 3_000_000)
    moving_fd, moving = bench.pair()
    stuck_fd, _stuck = bench.pair(small=True)
    writer.adopt(moving_fd, [topic.subscribe()], None, big)
    writer.adopt(stuck_fd, [topic.subscribe()], None, big)
    moving.wait()
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(moving.read_all()))
    reader.start()
    began = time.monotonic()
    writer.stop(timeout=30, farewell=b"data: bye\n\n")
    assert time.monotonic() - began < 10
    reader.join(10)
    assert read == [big + b"data: bye\n\n"]
    assert writer.connections == 0


def test_stop_keeps_its_deadline(core: ModuleType, bench: Any) -> None:
    writer = bench.writer()
    fd, client = bench.pair(small=True)
    writer.adopt(fd, [core.Topic().subscribe()], None, b"x" * 4_000_000)

    def read_slowly() -> None:
        with suppress(OSError):
            while client.sock.recv(4096):
                time.sleep(0.05)

    reader = threading.Thread(target=read_slowly)
    client.wait()
    reader.start()
    began = time.monotonic()
    writer.stop(timeout=0.1, farewell=b"bye")
    assert time.monotonic() - began < 10, "all would take 50 s"
    reader.join(30)
    assert writer.connections == 0


def test_a_writer_starts_once(core: ModuleType, bench: Any) -> None:
    def threads() -> int:
        return [thread.name for thread in threading.enumerate()].count("stream-writer")

    before = threads()
    writer = bench.writer()
    writer.start()
    assert threads() == before + 1
    writer.stop()
    writer.start()
    writer.stop()
    assert threads() == before


def test_drop_ends_one_stream_after_its_farewell(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    limiter = core.Limiter(max_total=9, max_per_user=9)
    writer = bench.writer()
    fd, client = bench.pair()
    stream = writer.adopt(fd, [topic.subscribe()], limiter.acquire("ann"))
    other_fd, other = bench.pair()
    writer.adopt(other_fd, [topic.subscribe()])
    assert writer.drop(stream, b"data: bye\n\n") is True
    assert client.read_all() == b"data: bye\n\n"
    bench.eventually(lambda: writer.connections == 1 and limiter.active == 0)
    assert writer.drop(stream) is False
    assert writer.drop(10**9) is False
    topic.publish(frame(1))
    assert other.read_until(frame(1)) == frame(1)


def test_a_farewell_that_ends_the_stream_itself_drops_nothing(core: ModuleType, bench: Any) -> None:
    writer = bench.writer()
    fd, client = bench.pair()
    stream = writer.adopt(fd, [core.Topic().subscribe()])
    asked = []  # the twin takes it as it is

    class Tricky(bytes):
        def __bytes__(self) -> bytes:
            asked.append(stream)
            client.close()
            bench.eventually(lambda: not writer.alive(stream))
            return b"data: bye\n\n"

    assert writer.drop(stream, Tricky(b"data: bye\n\n")) is not bool(asked)


def test_after_drop_no_frame_of_a_topic_follows(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    writer = bench.writer()
    fd, client = bench.pair(small=True)
    big = b"data: %s\n\n" % (b"x" * 3_000_000)
    stream = writer.adopt(fd, [topic.subscribe()], None, big)
    client.wait()
    topic.publish(b"data: secret\n\n")
    assert writer.drop(stream, b"data: bye\n\n")
    assert client.read_all() == big + b"data: bye\n\n"


def test_a_blocked_stream_between_frames_is_dropped_at_once(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    writer = bench.writer(write_timeout=60)
    fd, client = bench.pair(small=True)
    with socket.socket(fileno=os.dup(fd)) as same:  # fd itself is the writer's from here on
        stream = writer.adopt(fd, [topic.subscribe()], None, b"x" * 4_000_000)
        client.wait()
        bench.eventually(lambda: not select.select([], [same], [], 0)[1])  # it is full
    began = time.monotonic()
    assert writer.drop(stream)
    bench.eventually(lambda: writer.connections == 0)
    assert time.monotonic() - began < 5  # not after write_timeout


def test_closing_an_adopted_subscription_stops_its_frames_only(
    core: ModuleType, bench: Any
) -> None:
    one, other = core.Topic(), core.Topic()
    writer = bench.writer()
    fd, client = bench.pair()
    closing = one.subscribe()
    writer.adopt(fd, [closing, other.subscribe()])
    one.publish(frame(1))
    client.read_until(frame(1))
    closing.close()
    one.publish(frame(2))
    other.publish(frame(3))
    assert client.read_until(frame(3)) == frame(3)


def test_adopt_gives_everything_back_when_it_cannot_keep_it(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    limiter = core.Limiter(max_total=9, max_per_user=9)
    writer = bench.writer()
    before = open_files()
    assert writer.adopt(-1, [topic.subscribe()], limiter.acquire("ann")) == 0
    pipe, pipe_in = os.pipe()
    with pytest.raises(OSError):
        writer.adopt(pipe, [topic.subscribe()], limiter.acquire("ann"))
    os.close(pipe_in)
    kept = topic.subscribe()
    fd, client = bench.pair()
    writer.adopt(fd, [kept])
    for subscriptions, first, kind in (
        ([topic.subscribe(), kept], b"", ValueError),
        ([topic.subscribe(), None], b"", TypeError),
        ([topic.subscribe()], "text", TypeError),
        (None, b"", TypeError),
    ):
        bad_fd, bad = bench.pair()
        with pytest.raises(kind):
            writer.adopt(bad_fd, subscriptions, limiter.acquire("ann"), first)
        assert bad.read_all() == b""
        bad.close()
    bad_fd, bad = bench.pair()
    with pytest.raises(TypeError):
        writer.adopt(bad_fd, [topic.subscribe()], "lease")
    assert bad.read_all() == b""
    bad.close()
    with pytest.raises(TypeError):
        writer.adopt("7", [topic.subscribe()], limiter.acquire("ann"))
    bad_fd, bad = bench.pair()
    with pytest.raises(ValueError, match="the topic's StreamWriter"):
        bench.writer().adopt(bad_fd, [topic.subscribe()], limiter.acquire("ann"))
    assert bad.read_all() == b""
    bad.close()
    bench.writers.pop().stop()
    del subscriptions
    assert (limiter.active, topic.subscribers, writer.connections) == (0, 1, 1)
    topic.publish(frame(1))
    client.read_until(frame(1))
    assert open_files() == before + 2


def test_a_writer_that_does_not_run_takes_nothing(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    limiter = core.Limiter(max_total=9, max_per_user=9)
    writer = core.StreamWriter()
    for act in (lambda: None, lambda: (writer.start(), writer.stop())):
        act()
        fd, client = bench.pair()
        assert writer.adopt(fd, [topic.subscribe()], limiter.acquire("ann"), b"x") == 0
        assert client.read_all() == b""
    assert (limiter.active, topic.subscribers, writer.connections) == (0, 0, 0)
    assert writer.drop(1) is False


def test_wrong_options_are_refused(core: ModuleType) -> None:
    for options in (
        {"heartbeat": 0},
        {"heartbeat": -1},
        {"write_timeout": 0},
        {"write_timeout": float("nan")},
        {"buffer_size": 0},
    ):
        with pytest.raises(ValueError):
            core.StreamWriter(**options)
    with pytest.raises(TypeError):
        core.StreamWriter(buffer_size="8")
    with pytest.raises(TypeError):
        core.StreamWriter().stop(farewell="bye")
    with pytest.raises(TypeError):
        core.StreamWriter().drop(1, "bye")


@pytest.mark.thorough
def test_adopt_drop_publish_and_vanish_from_many_threads(core: ModuleType, bench: Any) -> None:
    topics = [core.Topic(16) for _ in range(4)]
    limiter = core.Limiter(max_total=5000, max_per_user=5000)
    writer = bench.writer(heartbeat=0.02, write_timeout=1.0)
    before = open_files()
    stop = threading.Event()
    trouble: list[BaseException] = []
    leases: list[Any] = []

    def guarded(work: Any, seed: int) -> threading.Thread:
        def run() -> None:
            try:
                work(random.Random(seed))
            except BaseException as err:
                trouble.append(err)

        return threading.Thread(target=run)

    def publish(dice: random.Random) -> None:
        while not stop.is_set():
            dice.choice(topics).publish(frame(1, dice.choice((10, 1000, 40_000))))
            stop.wait(0.0002)

    def visit(dice: random.Random) -> None:
        for _ in range(60):
            ours, theirs = socket.socketpair()
            lease = limiter.acquire("user")
            leases.append(lease)
            chosen = [t.subscribe() for t in dice.sample(topics, dice.randrange(1, 5))]
            stream = writer.adopt(ours.detach(), chosen, lease, b"data: hi\n\n")
            theirs.settimeout(0.01)
            with theirs:
                act = dice.randrange(4)
                if act == 0:
                    writer.drop(stream, b"data: bye\n\n")
                elif act == 1:
                    writer.drop(stream)
                    writer.drop(stream)
                elif act == 2:
                    try:
                        theirs.recv(dice.randrange(1, 5000))
                    except OSError:
                        pass

    publishers = [guarded(publish, n) for n in range(2)]
    visitors = [guarded(visit, n) for n in range(6)]
    for thread in publishers + visitors:
        thread.start()
    for thread in visitors:
        thread.join(30)
    bench.eventually(lambda: writer.connections == 0)
    stop.set()
    for thread in publishers:
        thread.join(10)
    assert trouble == []
    assert len(leases) == 360
    assert [lease.release() for lease in leases] == [False] * 360
    assert (limiter.active, [t.subscribers for t in topics]) == (0, [0] * 4)
    assert open_files() <= before  # earlier tests may have closed more


def test_stopping_while_others_adopt_loses_nothing(core: ModuleType, bench: Any) -> None:
    limiter = core.Limiter(max_total=5000, max_per_user=5000)
    for _ in range(10):
        topic = core.Topic()
        writer = core.StreamWriter()
        writer.start()
        go = threading.Barrier(4)

        def adopt(topic: Any = topic, writer: Any = writer, go: threading.Barrier = go) -> None:
            go.wait(10)
            for _ in range(20):
                ours, theirs = socket.socketpair()
                with theirs:
                    writer.adopt(ours.detach(), [topic.subscribe()], limiter.acquire("ann"))

        threads = [threading.Thread(target=adopt) for _ in range(3)]
        for thread in threads:
            thread.start()
        go.wait(10)
        writer.stop(farewell=b"bye")
        for thread in threads:
            thread.join(10)
        assert (writer.connections, limiter.active, topic.subscribers) == (0, 0, 0)
