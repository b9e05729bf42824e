"""Faults of the machine, the application and the peers: the server goes on, and its counters are
right. Each server runs in a process of its own, with both twins of the I/O thread.
"""

from __future__ import annotations

import importlib.util
import os
import random
import resource
import select
import signal
import socket
import struct
import threading
import time
import zlib
from contextlib import contextmanager, suppress

import pytest

from waiting import wait_for
from wsgi.conftest import DEADLINE, Peer
from wsgi.fault_server import (
    PIECE,
    FaultServer,
    build_allocator,
    checksum,
    wait_until,
    wait_until_settled,
)
from wsgi.io_bench import finish, run

MEGABYTE = 1 << 20
LONG = 30.0  # seconds: no deadline of the server ends a connection of these tests


@pytest.fixture(params=["c", pytest.param("python", marks=pytest.mark.thorough)])
def core(request):
    return request.param


@pytest.fixture
def start(core, tmp_path):
    if core == "c" and importlib.util.find_spec("forge_min._fanout") is None:
        pytest.skip("the compiled core is not built")
    servers = []

    def make(environ=None, **options):
        seconds = dict.fromkeys(("keepalive", "header_timeout", "body_timeout"), LONG)
        servers.append(FaultServer(core, tmp_path, environ, **{**seconds, **options}))
        return servers[-1]

    yield make
    for server in servers:
        server.end()


@pytest.fixture
def allocator(tmp_path):
    """Variables with which allocations can fail."""
    library = build_allocator(tmp_path)
    if library is None:
        pytest.skip("no allocation can fail: there is no C compiler")
    return {"LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc"}


@contextmanager
def connected(server, count=1):
    peers = [Peer(server.server_port) for _ in range(count)]
    try:
        yield peers
    finally:
        for peer in peers:
            peer.close()


def ask(server, path="/quick", body=b""):
    """Return the response to a request on a connection of its own."""
    with connected(server) as (peer,):
        lines = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        answer = peer.get(path, lines, "POST").send(body).answer()
        assert peer.rest() == b""
    return answer


def quick(server):
    answer = ask(server)
    assert (answer.status, answer.body) == (200, b"0 /quick ")


@contextmanager
def others(server):
    """A client that asks all the time: each request is served before a generous deadline."""
    ended, errors, served = threading.Event(), [], []

    def client():
        try:
            while not ended.wait(0.01):
                quick(server)
                served.append(1)
        except BaseException as err:
            errors.append(err)

    thread = threading.Thread(target=client)
    thread.start()
    try:
        yield served
        wait_for(lambda: served or errors)
    finally:
        ended.set()
        thread.join()
    assert errors == []


def finish_late(*threads):
    for thread in threads:
        thread.join(6 * DEADLINE)
        assert not thread.is_alive()


def need_files(count):
    """Raise the limit of open files of this process, or skip."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 500:
        pytest.skip(f"NOT PROVED: {count} connections, the limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 500), hard))


# -- allocations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("core", ["c"])
def test_a_failed_allocation_of_the_core_ends_one_connection(start, allocator):
    server = start(allocator, threads=4)
    quick(server)
    before = wait_until_settled(server)
    outcomes = []

    def client(seed):
        rng = random.Random(seed)
        for _ in range(40):
            body = rng.randbytes(rng.choice([0, 10, 200_000]))
            path = rng.choice(["/quick", "/quick", "/quick", "/pieces?1"])
            try:
                with connected(server) as (peer,):
                    for _ in range(3):
                        peer.get(path, f"Content-Length: {len(body)}\r\n", "POST").send(body)
                        answer = peer.answer()
                        assert answer.status in (200, 500)
                        if path == "/quick" and answer.status == 200:
                            assert answer.body.startswith(b"%d " % zlib.crc32(body))
                        outcomes.append(answer.status == 200)
            except (OSError, AssertionError):
                outcomes.append(False)

    server.fail_in_core(6)
    finish_late(*[run(client, seed) for seed in range(8)])
    server.fail_in_core(0)
    assert server.failures() > 100 and True in outcomes and False in outcomes
    quick(server)
    after = wait_until_settled(server, files=before["files"])
    assert after["threads"] == before["threads"]
    assert after["memory"] < before["memory"] + 50 * MEGABYTE


@pytest.mark.thorough
@pytest.mark.parametrize("core", ["c"])  # threading.Condition loses its lock without memory
def test_a_worker_survives_a_failed_allocation_anywhere(start, allocator):
    """The only worker; each of its allocations during some requests fails once."""
    server, count = start(allocator, threads=1), 150
    before = server.state()
    for number in range(count):
        for path, lines, body in (
            (f"/fail?{number}", "", ""),
            ("/quick", f"X-Unknown-{number}: 1\r\n", ""),
            ("/quick", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
            ("/pieces?1", "", ""),
        ):
            with connected(server) as (peer,):
                peer.get(path, f"{lines}Connection: close\r\n", "POST").send(body).rest()
    assert server.failures() > count - 10
    quick(server)
    after = wait_until_settled(server)
    assert after["threads"] == before["threads"] and after["files"] <= before["files"] + 2


# -- descriptors -----------------------------------------------------------------------------------

WAITS = {
    "for a request": b"",
    "for a head": b"GET / HTTP/1.1\r\nHo",
    "for a worker": b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n",
    "to send": b"GET /pieces?64 HTTP/1.1\r\nHost: a\r\n\r\n",
}


def descriptor(server, peer):
    """Return the descriptor of a connection, which the server has accepted by then."""
    port = peer.sock.getsockname()[1]
    wait_for(lambda: server.descriptor(port) is not None)
    return server.descriptor(port)


def test_a_descriptor_closed_from_outside_ends_its_connection_only(start, tmp_path):
    seconds = dict.fromkeys(("keepalive", "header_timeout", "write_timeout"), 1.0)
    server, file = start(threads=4, **seconds), tmp_path / "file"
    with others(server), connected(server, 2 * len(WAITS)) as peers:
        for peer, sent in zip(peers, [*WAITS.values()] * 2):
            peer.send(sent)
            if b"pieces" in sent:
                peer.until(b"\r\n\r\n")
        wait_for(lambda: server.state()["entered"] == 2)
        descriptors = [descriptor(server, peer) for peer in peers]
        for fd in descriptors[: len(WAITS)]:
            server.replace(fd, str(file))
        for fd in descriptors[len(WAITS) :]:
            server.close(fd)
        server.release()
        state = wait_until(server, lambda state: state["connections"] <= 1)
    quick(server)
    assert file.read_bytes() == b""
    assert server.paths().count(str(file)) == len(WAITS)
    assert state["threads"] == server.state()["threads"]


def test_a_connection_that_reuses_a_descriptor_gets_its_own_responses_only(start):
    server = start(threads=2)
    with connected(server) as (old,):
        old.get("/hold?old")
        wait_for(lambda: server.state()["entered"])
        fd = descriptor(server, old)
        server.close(fd)
        with connected(server) as (new,):
            assert new.get("/quick?1").answer().body.endswith(b"/quick 1")
            assert descriptor(server, new) == fd
            server.release()
            assert old.rest() == b""
            for number in range(2, 20):
                body = b"0 /quick %d" % number
                assert new.get(f"/quick?{number}").answer().body == body
                time.sleep(0.02)
            assert server.state()["connections"] == 1
    wait_until_settled(server)


def test_a_stream_does_not_get_a_descriptor_of_another_file(start, tmp_path):
    server, file = start(threads=2, keepalive=1.0), tmp_path / "file"
    with connected(server) as (peer,):
        peer.get("/stream")
        wait_for(lambda: server.state()["entered"])
        server.replace(descriptor(server, peer), str(file))
        server.release()
        wait_for(lambda: server.state()["streams"])
        assert server.state()["streams"] == [-1]
    quick(server)
    assert file.read_bytes() == b"" and str(file) in server.paths()


# -- forks -----------------------------------------------------------------------------------------


def is_running(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize("ends", ["response", "deadline", "stop"])
def test_a_forked_child_keeps_no_connection_open(start, ends):
    """Neither does it keep the port of a server that has stopped."""
    server = start(threads=2, keepalive=1.0 if ends == "deadline" else LONG)
    with connected(server) as (peer,):
        peer.get("/quick").answer()
        last = "Connection: close\r\n" if ends == "response" else ""
        assert peer.get("/fork", last).answer().status == 200
        quick(server)
        if ends == "stop":
            assert server.stop(10)
        assert peer.rest() == b""
        (pid,) = server.state()["pids"]
        assert is_running(pid)
        if ends == "stop":
            assert server.bind()


def test_a_child_that_leaves_the_handler_serves_nothing(start):
    server = start(threads=1)
    with connected(server, 6) as (peer, *others):
        peer.get("/fork-and-exit")
        for other in others:
            other.get("/quick")
        server.release()
        assert peer.answer().status == 200
        (pid,) = server.state()["pids"]
        wait_for(lambda: not is_running(pid))
        assert [other.answer().status for other in others] == [200] * len(others)


def test_a_file_that_epoll_still_reports_after_its_connection_has_ended_harms_none(start):
    """A child process holds the socket, and its descriptor was closed from outside."""
    server = start(threads=4)
    with connected(server) as (old,):
        old.get("/quick").answer()
        fd = descriptor(server, old)
        with connected(server) as (peer,):
            assert peer.get("/fork").answer().status == 200
        server.close(fd)
        with connected(server, 8) as fill:  # one of them gets the descriptor
            for peer in fill:
                peer.get("/quick").answer()
        wait_until(server, lambda state: state["connections"] == 0)
        with connected(server, 30) as new:
            for number, peer in enumerate(new):
                old.send(b"x")
                assert peer.get(f"/quick?{number}").answer().body.endswith(b" %d" % number)
            assert server.state()["connections"] == len(new)
    quick(server)


def test_a_child_inherits_no_descriptor_of_the_server(start):
    server = start(threads=2)
    with connected(server, 3) as peers:
        for peer in peers:
            peer.get("/spawn").answer()
        for pid in server.state()["pids"]:
            names = []
            for number in os.listdir(f"/proc/{pid}/fd"):
                with suppress(FileNotFoundError):  # the child has closed it meanwhile
                    names.append(os.readlink(f"/proc/{pid}/fd/{number}"))
            assert not [name for name in names if name.startswith(("socket:", "anon_inode:"))]


# -- signals ---------------------------------------------------------------------------------------


def test_a_storm_of_signals_changes_no_response(start):
    server, ended, sent = start(threads=4), threading.Event(), []

    def storm():
        numbers = signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM
        while not ended.wait(0.0001):
            os.kill(server.process.pid, numbers[len(sent) % 3])
            sent.append(1)

    def client(seed):
        rng = random.Random(seed)
        with connected(server) as (peer,):
            for _ in range(40):
                body = rng.randbytes(rng.choice([0, 100, 300_000]))
                peer.get("/quick", f"Content-Length: {len(body)}\r\n", "POST").send(body)
                answer = peer.answer()
                assert (answer.status, answer.body) == (200, b"%d /quick " % zlib.crc32(body))
            assert zlib.crc32(peer.get("/pieces?4").answer().body) == checksum(4)
            done.append(seed)

    done = []
    server.timer(0.001)
    storming = run(storm)
    finish_late(*[run(client, seed) for seed in range(8)])
    server.timer(0)
    ended.set()
    finish(storming)
    assert sorted(done) == list(range(8))
    assert len(sent) > 100
    state = wait_until(server, lambda state: state["connections"] == 0)
    assert state["signals"] > 100


# -- slow and greedy peers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "room"),
    [
        (200, 100),
        pytest.param(200, 0, marks=pytest.mark.thorough),
        pytest.param(2000, 100, marks=pytest.mark.thorough),
        pytest.param(2000, 0, marks=pytest.mark.thorough),
    ],
)
def test_one_byte_a_second_shuts_nobody_out(start, count, room):
    """The slow ones end by the deadline of a head, or for new ones if there is no room."""
    need_files(count)
    server = start(threads=4, header_timeout=3.0, max_connections=count + room)
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    socks = []
    try:
        for number in range(count):  # of several clients: one has a quarter of the connections
            own = (f"127.0.0.{2 + number % 8}", 0)
            address = ("127.0.0.1", server.server_port)
            socks.append(socket.create_connection(address, DEADLINE, own))
        poll, open_ = select.epoll(), {}
        for sock in socks:
            open_[sock.fileno()] = sock
            poll.register(sock, select.EPOLLIN | select.EPOLLRDHUP)
        statuses = []
        with others(server) as served:
            until = time.monotonic() + 60
            for byte in head:
                for sock in open_.values():
                    try:
                        sock.send(bytes([byte]))
                    except OSError:
                        pass  # it has just ended
                end = time.monotonic() + 1
                while open_ and (left := end - time.monotonic()) > 0:
                    for fd, _ in poll.poll(left):
                        poll.unregister(fd)
                        statuses.append(received(open_.pop(fd))[9:12])
                assert time.monotonic() < until
                if not open_:
                    break
            assert not open_, "slow heads have no deadline"
        assert len(served) > 10
        assert set(statuses) <= {b"408", b""}
        assert statuses.count(b"408") >= (count if room else count // 2)
        poll.close()
    finally:
        for sock in socks:
            sock.close()
    wait_until_settled(server)


def received(sock):
    """Return what a peer has received until the end of the connection."""
    data = b""
    try:
        while part := sock.recv(4096):
            data += part
    except ConnectionResetError:
        pass
    return data


@pytest.mark.parametrize("count", [64, pytest.param(1024, marks=pytest.mark.thorough)])
def test_a_response_in_pieces_needs_little_memory(start, count):
    server = start(threads=2)
    before, most, crc, size = server.state()["memory"], 0, 0, 0
    with others(server), connected(server) as (peer,):
        peer.get(f"/pieces?{count}").until(b"\r\n\r\n")
        data = peer.left or peer.sock.recv(1 << 16)
        while data:
            if (size + len(data)) // PIECE > size // PIECE:
                most = max(most, server.state()["memory"])
            crc, size = zlib.crc32(data, crc), size + len(data)
            left = count * PIECE - size
            data = peer.sock.recv(min(1 << 20, left)) if left else b""
        assert (size, crc) == (count * PIECE, checksum(count))
        quick(server)
    assert most - before < 24 * MEGABYTE
    wait_until_settled(server)


# -- handlers --------------------------------------------------------------------------------------


def test_handlers_that_never_return_end_with_500_and_hold_nobody_up(start):
    """More of them than there are workers, so each worker is replaced several times."""
    server = start(threads=4, handler_timeout=0.5)
    with others(server), connected(server, 12) as peers:
        for peer in peers:
            peer.get("/forever")
        for peer in peers:
            assert peer.answer().status == 500 and peer.rest() == b""
    wait_until_settled(server)
    quick(server)
    assert server.log().count("is given up") == len(peers)


@pytest.mark.parametrize("threads", [2, pytest.param(4, marks=pytest.mark.thorough)])
def test_handlers_that_compute_leave_quick_ones_their_turn(start, threads):
    server = start(threads=threads)
    with connected(server, threads - 1) as peers:
        for peer in peers:
            peer.get("/compute")
        wait_until(server, lambda state: state["entered"] == len(peers))
        for _ in range(20):  # each before a generous deadline: the others compute until then
            quick(server)
        with others(server) as served:
            wait_for(lambda: len(served) > 20, 60)
        server.release()
        for peer in peers:
            assert peer.answer().status == 200
    wait_until_settled(server)


# -- many connections ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [4000, pytest.param(100_000, marks=pytest.mark.thorough)])
def test_connections_that_are_dropped_leave_nothing_behind(start, count):
    server = start(threads=4)
    for _ in range(100):
        quick(server)
    before = wait_until_settled(server)
    parts = [
        b"",
        b"GET / HTTP/1.1\r\nHos",
        b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"GET /pieces?8 HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    rng = random.Random(count)
    with others(server):
        for number in range(count):
            if number % 100 == 0:  # at the cap, the connection of another client may be closed
                wait_until(server, lambda state: state["connections"] < 500, 60)
            sock = socket.socket()
            if number % 10:  # without TIME-WAIT, of which there is room for some
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.connect(("127.0.0.1", server.server_port))
            if part := rng.choices(parts, [8, 8, 4, 4, 4, 1])[0]:
                sock.send(part)
            sock.close()
    quick(server)
    after = wait_until_settled(server, 60, before["files"])
    assert after["threads"] == before["threads"]
    assert after["memory"] < before["memory"] + 24 * MEGABYTE
