"""Slow and greedy clients hold no worker, meet their deadlines, and shut nobody else out."""

from __future__ import annotations

import logging
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from contextvars import ContextVar

import pytest

BIG = b"x" * 20_000_000


def app(environ, start_response):
    path = environ["PATH_INFO"]
    write = start_response("200 OK", [("X-Path", path)])
    if path == "/written":
        for _ in range(20):
            write(BIG[:1_000_000])
        return []
    if path == "/big":
        return [BIG]
    if path == "/pieces":
        return (BIG[:1_000_000] for _ in range(40))
    return [b"ok"]


def begin_head(connect, server, eventually):
    """Connect and send the first part of a head, which the server has then read."""
    before = server.connections
    peer = connect(server).send("GET /")
    eventually(lambda: server.connections == before + 1)
    time.sleep(0.05)
    return peer


def test_half_sent_heads_and_bodies_hold_no_worker(serve, connect):
    server = serve(app, threads=2)
    heads = [connect(server).send("GET / HTT") for _ in range(20)]
    bodies = [
        connect(server).get("/", "Content-Length: 5\r\n", "POST").send("ab") for _ in range(20)
    ]
    assert connect(server).get().answer().status == 200
    for peer in heads:
        assert peer.send("P/1.1\r\nHost: a\r\n\r\n").answer().status == 200
    for peer in bodies:
        assert peer.send("cde").answer().status == 200


@pytest.mark.thorough
def test_slow_readers_of_whole_answers_hold_no_worker(serve, connect):
    server = serve(app, threads=2, write_timeout=60)
    slow = [connect(server).get("/big") for _ in range(6)]
    assert connect(server).get().answer().status == 200
    for peer in slow:
        assert peer.answer().body == BIG
        assert peer.get().answer().status == 200


@pytest.mark.parametrize("path", ["/big", "/pieces"])
def test_a_reader_that_stops_is_cut(serve, connect, eventually, path):
    server = serve(app, threads=1, write_timeout=0.2)
    connect(server).get(path)
    eventually(lambda: server.connections == 1)
    eventually(lambda: server.connections == 0)
    assert connect(server).get().answer().status == 200


@pytest.mark.thorough
@pytest.mark.parametrize("path", ["/big", "/pieces", "/written"])
def test_a_slow_reader_is_not_cut_while_the_kernel_holds_much_for_it(serve, eventually, path):
    server = serve(app, threads=1, write_timeout=0.6)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.connect(("127.0.0.1", server.server_port))
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        for _ in range(30):
            assert sock.recv(20_000)
            time.sleep(0.1)
        assert server.connections == 1
        eventually(lambda: server.connections == 0)  # it has stopped


@pytest.mark.thorough
def test_slow_readers_of_pieces_hold_no_worker(serve, connect):
    server = serve(app, threads=2, write_timeout=60)
    slow = [connect(server).get("/pieces") for _ in range(4)]
    for peer in slow:
        peer.until(b"\r\n\r\n")  # the answer has begun
    assert connect(server).get().answer().status == 200
    for peer in slow:
        assert peer.body({"transfer-encoding": "chunked"}) == BIG * 2
        assert peer.get().answer().status == 200


def test_many_short_pieces_let_others_have_a_turn(serve, connect):
    """Somebody who reads as fast as pieces are made does not keep the only worker to himself."""

    def either(environ, start_response):
        if environ["PATH_INFO"] == "/endless":
            start_response("200 OK", [])
            return iter(lambda: b"x" * 1000, None)
        return app(environ, start_response)

    server = serve(either, threads=1)
    greedy = connect(server).get("/endless")
    reading = threading.Thread(target=lambda: [None for _ in iter(greedy.more, False)])
    reading.start()
    try:
        assert connect(server).get().answer().status == 200
    finally:
        greedy.sock.shutdown(socket.SHUT_RDWR)
        reading.join()


who = ContextVar("who", default="nobody")


def test_pieces_are_made_in_one_context_whoever_asks_for_them(serve, connect):
    """A generator that sets a context variable finds it again after its client was slow, and no
    other request sees it.
    """
    seen = []

    def pieces():
        token = who.set("ann")
        for _ in range(40):
            yield who.get().encode() * 100_000
        who.reset(token)
        seen.append("reset")

    def named(environ, start_response):
        start_response("200 OK", [])
        return pieces() if environ["PATH_INFO"] == "/pieces" else [who.get().encode()]

    server = serve(named, threads=4)
    slow = [connect(server).get("/pieces") for _ in range(4)]
    for peer in slow:
        peer.until(b"\r\n\r\n")
    assert {connect(server).get().answer().body for _ in range(20)} == {b"nobody"}
    for peer in slow:
        assert peer.body({"transfer-encoding": "chunked"}) == b"ann" * 4_000_000
    assert seen == ["reset"] * 4


@pytest.mark.parametrize("how", ["reset", "deadline", "stop"])
def test_the_body_is_closed_when_its_reader_is_gone(serve, connect, eventually, how):
    closed = []

    class Body:
        def __iter__(self):
            return (BIG[:1_000_000] for _ in range(40))

        def close(self):
            closed.append(threading.current_thread().name)

    def app(environ, start_response):
        start_response("200 OK", [])
        return Body()

    server = serve(app, threads=1, write_timeout=0.3 if how == "deadline" else 30)
    peer = connect(server).get()
    peer.until(b"\r\n\r\n")
    if how == "reset":
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
    elif how == "stop":
        server.stop(timeout=0.3)
    eventually(lambda: closed)
    assert len(closed) == 1


def test_a_body_of_pieces_keeps_its_promise_of_a_length(serve, connect):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "4000000")])
        return (BIG[:100_000] for _ in range(int(environ["PATH_INFO"][1:])))

    server = serve(app, threads=1)
    peer = connect(server).get("/40")
    assert peer.answer().body == BIG[:4_000_000]
    assert connect(server).get("/39").rest().count(b"x") == 3_900_000
    assert connect(server).get("/41").rest().count(b"x") <= 4_000_000
    head = peer.get("/40", method="HEAD").answer(head_only=True)
    assert (head.status, head.headers["content-length"]) == (200, "4000000")
    assert peer.get("/40").answer().status == 200


@pytest.mark.parametrize(
    "sent",
    [
        "GET /",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
        "GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_who_keeps_us_waiting_makes_room_for_others(serve, connect, eventually, sent):
    server = serve(
        app, max_connections=4, header_timeout=30, body_timeout=30, write_timeout=30, keepalive=30
    )

    slow = [connect(server).send(sent) for _ in range(4)]
    eventually(lambda: server.connections == 4)
    assert connect(server).get().answer().status == 200  # after a second, not thirty
    assert server.connections == 4
    assert len([peer for peer in slow if select.select([peer.sock], [], [], 0)[0]]) >= 1


def test_a_head_that_does_not_end_gets_408(serve, connect):
    server = serve(app, header_timeout=0.3)
    peer = connect(server).send("GET / HTTP/1.1\r\nHost")
    answer = peer.answer()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert peer.rest() == b""


def test_a_trickle_does_not_move_the_deadline_of_a_head(serve, connect):
    server = serve(app, header_timeout=0.5)
    peer = connect(server)
    peer.sock.settimeout(0.05)
    began = time.monotonic()
    while time.monotonic() - began < 8:
        peer.send("G")
        try:
            if peer.sock.recv(4096).startswith(b"HTTP/1.1 408 "):
                return
        except TimeoutError:
            pass
    pytest.fail("it went on for ever")


def test_a_body_that_does_not_end_gets_408(serve, connect):
    server = serve(app, body_timeout=0.3)
    peer = connect(server).get("/", "Content-Length: 5\r\n", "POST").send("ab")
    assert peer.answer().status == 408


def test_an_idle_connection_is_closed_without_a_word(serve, connect):
    server = serve(app, keepalive=0.3)
    peer = connect(server).get()
    assert peer.answer().status == 200
    assert peer.rest() == b""
    assert connect(server).rest() == b""


def test_the_cap_makes_room_by_closing_the_longest_idle(serve, connect):
    server = serve(app, max_connections=10, threads=1)
    peers = [connect(server) for _ in range(10)]
    for peer in peers:
        assert peer.get().answer().status == 200
    assert connect(server).get().answer().status == 200
    assert peers[0].rest() == b""
    assert peers[9].get().answer().status == 200


def test_above_the_cap_of_busy_connections_new_ones_wait(serve, connect, eventually):
    server = serve(app, max_connections=4, header_timeout=30)
    busy = [begin_head(connect, server, eventually) for _ in range(4)]
    waiting = connect(server).get()
    assert busy[0].send(" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").answer().status == 200
    assert waiting.answer().status == 200
    assert server.connections <= 4


def test_a_thousand_idle_connections_cost_no_thread(serve, connect, eventually):
    server = serve(app, threads=2, max_connections=4000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    try:
        before = threading.active_count()
        peers = [connect(server) for _ in range(1000)]
        for peer in peers:
            peer.get()
        assert all(peer.answer().status == 200 for peer in peers)
        assert threading.active_count() == before
        assert server.connections == 1000
    finally:
        for peer in peers:
            peer.close()
        eventually(lambda: server.connections == 0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_running_out_of_files_is_survived(serve, connect, caplog, eventually, request):
    caplog.set_level(logging.WARNING, "forge_min.wsgi.server")
    server = serve(app, header_timeout=30)
    busy = begin_head(connect, server, eventually)
    waiting = socket.socket()
    request.addfinalizer(waiting.close)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        waiting.settimeout(10)
        waiting.connect(("127.0.0.1", server.server_port))
        waiting.sendall(b"GET / HTTP/1.0\r\n\r\n")
        eventually(lambda: "no connection can be accepted now" in caplog.text)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert waiting.recv(4096).startswith(b"HTTP/1.1 200 OK")
    assert busy.send(" HTTP/1.1\r\nHost: a\r\n\r\n").answer().status == 200
    assert caplog.text.count("no connection can be accepted now") < 30


def test_with_one_file_left_everybody_is_answered_one_after_the_other(serve, eventually):
    """accept(2) says that there is no room for another one, though nobody waits."""
    program = (
        "import socket, sys\n"
        "for _ in range(40):\n"
        "    with socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10) as sock:\n"
        "        sock.sendall(b'GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "        assert sock.recv(100).startswith(b'HTTP/1.1 200 ')\n"
        "        while sock.recv(1000):\n"
        "            pass\n"
    )
    server = serve(app, threads=4)
    with subprocess.Popen(
        [sys.executable, "-c", f"input()\n{program}", str(server.server_port)],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as asking:  # fmt: skip
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, hard))
            asking.stdin.write(b"\n")
            asking.stdin.flush()
            assert asking.wait(60) == 0, asking.stderr.read()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_peer_that_resets_in_the_middle_harms_nobody(serve, connect, eventually, caplog):
    server = serve(app, threads=1)
    for path in ("/", "/big", "/pieces"):
        peer = connect(server).get(path)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
    assert connect(server).get().answer().status == 200
    eventually(lambda: server.connections <= 1)
    assert "Traceback" not in caplog.text
