"""Answers that another thread sends, and requests that it reads: each one whole, in order, of the
peer that asked, and no socket is closed, or becomes somebody else's, while it is used.
"""

from __future__ import annotations

import itertools
import os
import queue
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from forge_min import fanout
from forge_min.fanout import IoThread
from forge_min.wsgi import Server
from forge_min.wsgi.server import core
from forge_min.wsgi.server.poll_policy import PollPolicy

# -- the I/O thread --------------------------------------------------------------------------------


class Carrying:
    """An IoThread with its thread, and pairs of sockets of which it knows one end."""

    def __init__(self) -> None:
        self.io_thread = IoThread()
        self.thread = threading.Thread(target=self.io_thread.run)
        self.thread.start()
        self.ends: list[socket.socket] = []
        self.kept: dict[int, bytes] = {}
        self.parked: dict[int, socket.socket] = {}

    def submit(self, own: socket.socket, data: bytes) -> None:
        fd = own.fileno()
        self.kept[fd] = data
        while not self.io_thread.submit(fd, data, self.parked, own):
            time.sleep(0)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        own, peer = socket.socketpair()
        own.setblocking(False)
        peer.settimeout(10)
        self.ends += own, peer
        return own, peer

    def completed(self) -> tuple[int, bytes | int]:
        until = time.monotonic() + 10
        while (found := self.io_thread.completed(self.parked)) is None:
            assert time.monotonic() < until
            time.sleep(0)
        own, came = found
        assert own.fileno() not in self.parked
        return own.fileno(), came

    def reclaim(self, own: socket.socket) -> socket.socket:
        """It is sent, sooner or later, and nothing comes."""
        until = time.monotonic() + 10
        while (found := self.io_thread.reclaim(own.fileno(), self.parked)) is None:
            assert time.monotonic() < until
            time.sleep(0)
        return found

    def end(self) -> None:
        self.io_thread.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()
        for end in self.ends:
            end.close()


@pytest.fixture
def carrying() -> Iterator[Carrying]:
    if not IoThread.most:
        pytest.skip("the twin takes nothing")
    made = Carrying()
    yield made
    made.end()


def test_the_twin_takes_nothing_and_the_compiled_one_does():
    assert bool(IoThread.most) == (fanout.IMPL == "c")
    io_thread = IoThread()
    for fd in (-1, IoThread.most):
        with pytest.raises(ValueError):
            io_thread.submit(fd, b"x", {}, None)
        assert io_thread.reclaim(fd, {fd: "kept"}) == "kept"  # nobody else can have it
    assert io_thread.reclaim(7, {}) is None
    assert io_thread.completed({}) is None
    assert io_thread.arm()
    io_thread.disarm()
    io_thread.stop()
    thread = threading.Thread(target=io_thread.run)  # it takes the signals from its thread
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_what_is_given_is_sent_and_what_is_asked_next_is_read(carrying):
    own, peer = carrying.pair()
    for size in (1, 100, 60_000):
        carrying.submit(own, b"a" * size)
        assert carrying.parked == {own.fileno(): own}
        assert len(peer.recv(size, socket.MSG_WAITALL)) == size
        assert carrying.io_thread.completed(carrying.parked) is None
        peer.send(b"next %d" % size)
        assert carrying.completed() == (own.fileno(), b"next %d" % size)
        peer.send(b"later")  # it is read once: what comes now is the owner's
        time.sleep(0.01)
        assert carrying.io_thread.completed(carrying.parked) is None
        assert own.recv(10) == b"later"


def test_what_came_before_the_answer_left_is_read_too(carrying):
    own, peer = carrying.pair()
    peer.send(b"early")
    carrying.submit(own, b"answer")
    assert carrying.completed() == (own.fileno(), b"early")
    assert peer.recv(10) == b"answer"


def test_much_is_read_in_pieces_and_each_is_asked_for(carrying):
    own, peer = carrying.pair()
    data, got = os.urandom(150_000), b""
    feeder = threading.Thread(target=peer.sendall, args=(data,))
    feeder.start()
    while len(got) < len(data):
        carrying.submit(own, b"")
        fd, piece = carrying.completed()
        assert fd == own.fileno() and isinstance(piece, bytes) and 0 < len(piece) <= 65536
        got += piece
    feeder.join()
    assert got == data


def test_what_the_socket_does_not_take_is_told(carrying):
    own, peer = carrying.pair()
    data = b"z" * 5_000_000
    carrying.submit(own, data)
    fd, taken = carrying.completed()
    assert fd == own.fileno() and isinstance(taken, int) and 0 < taken < len(data)
    carrying.submit(own, data)
    assert carrying.completed() == (fd, 0)
    assert len(peer.recv(taken, socket.MSG_WAITALL)) == taken


def test_a_peer_that_is_gone_is_told(carrying):
    own, peer = carrying.pair()
    peer.close()
    carrying.submit(own, b"abc")
    assert carrying.completed() == (own.fileno(), -1)
    own, peer = carrying.pair()
    carrying.submit(own, b"abc")
    assert peer.recv(3) == b"abc"
    peer.shutdown(socket.SHUT_WR)
    assert carrying.completed() == (own.fileno(), b"")


def test_a_socket_that_was_taken_back_is_read_no_more(carrying):
    own, peer = carrying.pair()
    for _ in range(200):
        carrying.submit(own, b"abc")
        assert carrying.reclaim(own) is own and carrying.parked == {}
        peer.send(b"mine")
        assert peer.recv(10) == b"abc"
        assert own.recv(10) == b"mine"
    time.sleep(0.01)
    assert carrying.io_thread.completed(carrying.parked) is None


def test_what_has_come_is_fetched_and_cannot_be_taken_back(carrying):
    own, peer = carrying.pair()
    carrying.submit(own, b"abc")
    peer.send(b"next")
    carrying.io_thread.arm()
    assert select.select([carrying.io_thread], [], [], 10)[0]
    assert carrying.io_thread.reclaim(own.fileno(), carrying.parked) is None
    assert carrying.completed() == (own.fileno(), b"next")


@pytest.mark.thorough
def test_of_two_who_want_it_one_gets_it(carrying):
    """What has come may be fetched while another one takes back what waits, past its deadline."""
    own, peer = carrying.pair()
    fd, ended, got = own.fileno(), threading.Event(), []

    def sweep() -> None:
        while not ended.is_set():
            if io_thread.reclaim(fd, carrying.parked) is not None:
                got.append("swept")

    io_thread = carrying.io_thread
    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for number in range(3000):
            got.clear()
            carrying.submit(own, b"x")
            peer.send(b"y")
            until = time.monotonic() + 10
            while not got:
                assert time.monotonic() < until
                if io_thread.completed(carrying.parked) is not None:
                    got.append("fetched")
            assert peer.recv(1) == b"x"
            if got[0] == "swept":
                assert own.recv(1) == b"y"
            assert len(got) == 1 and not carrying.parked, number
    finally:
        ended.set()
        sweeper.join()


def test_a_number_that_is_anothers_now_brings_nothing_of_the_first(carrying):
    """Closed while it waited: whoever gets its number gets its own bytes."""
    for turn in range(500):
        own, peer = carrying.pair()
        fd = own.fileno()
        carrying.submit(own, b"abc")
        if turn % 2:
            carrying.reclaim(own)
        else:
            peer.send(b"old")
            assert carrying.completed() == (fd, b"old")
        for end in carrying.ends:
            end.close()
        carrying.ends.clear()
        own, peer = carrying.pair()
        assert own.fileno() == fd
        carrying.submit(own, b"def")
        assert peer.recv(10) == b"def"
        peer.send(b"%d" % turn)
        assert carrying.completed() == (fd, b"%d" % turn)
        own.close()
        peer.close()
        carrying.ends.clear()


def test_who_rests_is_called_once_for_each_that_came(carrying):
    io_thread, pairs = carrying.io_thread, [carrying.pair() for _ in range(3)]
    for own, _ in pairs:
        carrying.submit(own, b"abc")
        assert io_thread.arm()
    for _, peer in pairs:
        peer.send(b"next")
    for _ in pairs:
        assert select.select([io_thread], [], [], 10)[0]
        io_thread.acknowledge()
        carrying.completed()
    assert not select.select([io_thread], [], [], 0.05)[0]


def test_nobody_is_called_who_does_not_rest(carrying):
    own, peer = carrying.pair()
    carrying.io_thread.arm()
    carrying.io_thread.disarm()
    carrying.submit(own, b"abc")
    peer.send(b"next")
    assert not select.select([carrying.io_thread], [], [], 0.05)[0]
    assert not carrying.io_thread.arm()  # something is there
    carrying.completed()


def test_no_call_is_lost_at_any_moment(carrying):
    """Two who rest and fetch by turns; what comes around the moment of going to rest is fetched."""

    def work() -> None:
        while not over.is_set():
            if io_thread.arm():
                if not select.select([io_thread], [], [], 5)[0]:
                    stuck.append(1)
                    return
                io_thread.acknowledge()
            found = io_thread.completed(carrying.parked)
            if found is not None:
                got.put(found[0].fileno())

    over, stuck, got = threading.Event(), [], queue.SimpleQueue()
    io_thread = carrying.io_thread
    pairs = {own.fileno(): (own, peer) for own, peer in [carrying.pair() for _ in range(4)]}
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for own, peer in pairs.values():
        carrying.submit(own, b"x")
        peer.send(b"x")
    for number in range(8_000):
        own, peer = pairs[got.get(timeout=10)]
        until = time.perf_counter() + number % 100 * 1e-7
        while time.perf_counter() < until:
            pass
        carrying.submit(own, b"x")
        assert peer.recv(1) == b"x"
        peer.send(b"y")
    for _ in pairs:
        got.get(timeout=10)
    over.set()
    for own, peer in pairs.values():  # both are called for the last time
        carrying.submit(own, b"x")
        peer.send(b"y")
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert not stuck


def test_a_thread_that_slept_is_woken_again_and_again(carrying):
    own, peer = carrying.pair()
    for number in range(300):
        time.sleep((0, 20e-6, 2e-3)[number % 3])
        carrying.submit(own, b"%d" % number)
        assert peer.recv(10) == b"%d" % number
        carrying.reclaim(own)


def test_many_threads_give_at_once(carrying):
    def hurry(pair: tuple[socket.socket, socket.socket]) -> None:
        own, peer = pair
        for number in range(500):
            data = b"%d" % number * 10
            carrying.submit(own, data)
            if peer.recv(len(data), socket.MSG_WAITALL) == data:
                done.append(carrying.reclaim(own) is own)

    done: list[bool] = []
    threads = [threading.Thread(target=hurry, args=(carrying.pair(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 4000 and all(done)


def test_what_is_given_at_any_moment_does_not_find_the_thread_asleep(carrying):
    """Around the moment in which it goes to sleep: whoever gives then has to wake it."""
    own, peer = carrying.pair()
    for number in range(5_000):
        until = time.perf_counter() + number % 250 * 1e-7
        while time.perf_counter() < until:
            pass
        carrying.submit(own, b"x")
        assert peer.recv(1) == b"x"
        carrying.reclaim(own)


def test_who_is_behind_takes_no_more_and_who_was_stopped_nothing():
    if not IoThread.most:
        pytest.skip("the twin takes nothing")
    io_thread, pairs = IoThread(), [socket.socketpair() for _ in range(20)]
    kept: dict[int, Any] = {}
    taken = [io_thread.submit(own.fileno(), b"x", kept, own) for own, _ in pairs]
    assert taken == [True] * 8 + [False] * 12  # its thread does not run yet
    assert kept == {own.fileno(): own for own, _ in pairs[:8]}
    thread = threading.Thread(target=io_thread.run)
    thread.start()
    io_thread.stop()
    thread.join(10)
    assert [own.recv(10) for _, own in pairs[:8]] == [b"x"] * 8
    assert not io_thread.submit(pairs[9][0].fileno(), b"x", kept, None)
    for ends in pairs:
        for end in ends:
            end.close()


def test_all_that_was_given_leaves_before_a_stop_is_over():
    if not IoThread.most:
        pytest.skip("the twin takes nothing")
    for _ in range(30):
        made = Carrying()
        own, peer = made.pair()
        made.submit(own, b"last")
        peer.send(b"not fetched any more")
        made.io_thread.stop()
        peer.settimeout(0)
        assert peer.recv(10) == b"last"
        made.end()


# -- the server ------------------------------------------------------------------------------------


@pytest.fixture
def crowd(serve, monkeypatch) -> Callable[..., Server]:
    """Starts a server all of whose answers are given to its io_thread."""
    monkeypatch.setattr(PollPolicy, "has_sole_poller", True)
    monkeypatch.setattr(core, "_DIRECT_UP_TO", 0)
    given, submit = [0], core.ClientConnection.submit

    def counted(self: core.ClientConnection, *args: Any) -> bool:
        taken = submit(self, *args)
        given[0] += taken
        return taken

    monkeypatch.setattr(core.ClientConnection, "submit", counted)

    def start(app: Any, **options: Any) -> Server:
        server = serve(app, **{"threads": 4, "pin_threads": "auto", **options})
        if not server._core.uses_io_thread:
            given[0] = -1
            pytest.skip("one processor, or the twin")
        return server

    yield start
    assert given[0] != 0


def echo(environ, start_response):
    start_response("200 OK", [])
    return [environ["QUERY_STRING"].encode()]


def test_answers_leave_though_the_next_handler_blocks(crowd, connect):
    gate = threading.Event()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/block":
            gate.wait(10)
        return echo(environ, start_response)

    server = crowd(app)
    peers = [connect(server) for _ in range(24)]
    for turn in range(20):
        gate.clear()
        for number, peer in enumerate(peers):
            peer.get(f"/block?{turn}" if number == 12 else f"/?{turn}.{number}")
        for number, peer in enumerate(peers):
            if number != 12:
                assert peer.answer().body == b"%d.%d" % (turn, number)
        gate.set()
        assert peers[12].answer().body == b"%d" % turn


def test_a_pipeline_is_answered_in_order(crowd, connect):
    server = crowd(echo)
    peers = [connect(server) for _ in range(4)]
    for turn in range(10):
        for peer in peers:
            for number in range(100):
                peer.send(f"GET /?{turn}.{number} HTTP/1.1\r\nHost: a\r\n\r\n")
        for peer in peers:
            for number in range(100):
                assert peer.answer().body == b"%d.%d" % (turn, number)


def test_an_answer_is_cut_in_no_way(crowd, connect):
    """The peer is gone; it ends with the connection; it is more than the kernel takes."""

    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"x" * (3_000_000 if environ["PATH_INFO"] == "/large" else 1)]

    server = crowd(app)
    peers = [connect(server) for _ in range(24)]
    for number, peer in enumerate(peers):
        peer.get("/large" if number % 4 == 1 else "/", "Connection: close\r\n" * (number % 4 == 0))
        if number % 4 == 3:
            peer.sock.close()
    for number, peer in enumerate(peers):
        if number % 4 < 3:
            assert len(peer.answer().body) == (3_000_000 if number % 4 == 1 else 1)
        if number % 4 == 0:
            assert peer.sock.recv(1) == b""
    assert connect(server).get().answer().body == b"x"


def slow_reader(server: Server, connect: Any) -> tuple[Any, int]:
    """A peer that has read nothing and asked until the kernel takes no more; how often it did."""
    peer = connect(server)
    for number in range(2000):
        peer.get(f"/?{number}")
        time.sleep(0.002)
        if any(conn.out and not conn.submitted for conn in list(server._core.open)):
            return peer, number + 1
    raise AssertionError("the kernel takes everything")


def large(environ, start_response):
    start_response("200 OK", [])
    return [environ["QUERY_STRING"].encode() + b"." * 60_000]


def test_who_reads_late_gets_everything(crowd, connect):
    server = crowd(large)
    peer, asked = slow_reader(server, connect)
    assert connect(server).get("/?else").answer().body[:4] == b"else"
    for number in range(asked):
        assert peer.answer().body == b"%d" % number + b"." * 60_000


def test_who_does_not_read_is_cut_at_the_deadline_of_writing(crowd, connect):
    server = crowd(large, write_timeout=0.5, keepalive=60)
    slow_reader(server, connect)
    until = time.monotonic() + 20
    while server.connections:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.thorough
def test_who_is_idle_is_closed_at_the_deadline_of_waiting_and_not_before(crowd, connect):
    server = crowd(echo, write_timeout=0.2, keepalive=2.0)
    peer = connect(server)
    began = time.monotonic()
    assert peer.get("/?a").answer().body == b"a"
    assert not peer.more()
    assert time.monotonic() - began > 1.5


def test_a_slow_reader_is_not_kept_waiting(crowd, connect):
    """Little room in the kernel, as on a slow line: the rest is sent as soon as there is some, not
    at the next look at deadlines.
    """
    server = crowd(large)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    peers = [connect(server) for _ in range(4)]
    until = time.monotonic() + 10
    for turn in range(20):
        for peer in peers:
            peer.get(f"/?{turn}")
        time.sleep(0.01)
        for peer in peers:
            assert peer.answer().body == b"%d" % turn + b"." * 60_000
    assert time.monotonic() < until  # 20 looks, and more, are three times as long


@pytest.mark.thorough
def test_who_pauses_is_not_taken_for_idle(crowd, connect):
    """Its answer may be collected before it asks again, or only then."""
    server = crowd(echo, keepalive=60)
    peers = [connect(server) for _ in range(12)]
    for turn in range(3):
        for peer in peers:
            peer.get(f"/?{turn}")
        for peer in peers:
            assert peer.answer().body == b"%d" % turn
        time.sleep(2)


def test_a_stop_loses_no_answer(crowd, connect):
    server = crowd(echo)
    peers = [connect(server) for _ in range(24)]
    for number, peer in enumerate(peers):
        peer.get(f"/?{number}")
    answered = [peer.answer().body for peer in peers[:12]]
    server.stop(timeout=10)
    answered += [peer.answer().body for peer in peers[12:]]
    assert answered == [b"%d" % number for number in range(24)]


@pytest.mark.thorough
def test_nobody_gets_the_answer_of_another(crowd):
    """More peers than there is room for, who come, ask, and go at any moment; deadlines pass, and
    the numbers of sockets are used again at once. Whoever gets an answer gets its own.
    """
    server = crowd(echo, max_connections=12, keepalive=0.3, write_timeout=0.3)
    until, wrong, right = time.monotonic() + 8, [], itertools.count()

    def ask(seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < until:
            try:
                with socket.create_connection(server.server_address, timeout=5) as sock:
                    for _ in range(chance.randrange(1, 40)):
                        mark = os.urandom(6).hex()
                        times = chance.choice((1, 1, 1, 3))
                        sock.sendall(f"GET /?{mark} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * times)
                        if chance.random() < 0.05:
                            break  # gone before the answer comes
                        for _ in range(times):
                            data = b""
                            while not data.endswith(mark.encode()):
                                if not (some := sock.recv(1)):
                                    raise ConnectionResetError
                                data += some
                                if len(data) > 4000:
                                    wrong.append(data)
                                    return
                            if data.count(b"HTTP/1.1 200 OK") != 1:
                                wrong.append(data)
                        next(right)
                        if chance.random() < 0.02:
                            time.sleep(0.4)
            except (ConnectionError, TimeoutError):
                pass

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert next(right) > 100


def test_who_pipelines_starves_nobody(crowd, connect):
    """A fresh client is answered before all that was sent in one piece before it came."""
    count = itertools.count()

    def app(environ, start_response):
        time.sleep(0.0001)
        start_response("200 OK", [])
        return [b"%d" % next(count)]

    server = crowd(app, threads=1)
    hogs = [connect(server) for _ in range(8)]
    fresh = connect(server)
    assert fresh.get("/").answer().body == b"0"
    for hog in hogs:
        hog.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
    while next(count) < 200:
        time.sleep(0.001)
    asked = next(count)
    place = int(fresh.get("/").answer().body)
    bodies = [int(hog.answer().body) for hog in hogs for _ in range(500)]
    assert place < asked + 1000 < max(bodies)
    each = [bodies[n : n + 500] for n in range(0, 4000, 500)]
    assert all(own == sorted(own) for own in each)


def test_an_empty_answer_leaves_before_its_body_is_closed(crowd, connect):
    gate = threading.Event()

    class Body:
        def __iter__(self):
            return iter(())

        def close(self):
            gate.wait(10)
            raise ValueError

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/echo":
            return echo(environ, start_response)
        start_response("204 No Content", [])
        return Body()

    server = crowd(app, threads=2)
    peer = connect(server).get("/")
    assert peer.answer().status == 204
    gate.set()
    assert connect(server).get("/echo?a").answer().body == b"a"
