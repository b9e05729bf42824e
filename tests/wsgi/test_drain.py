"""A server that stops answers what it has accepted, and nothing else."""

from __future__ import annotations

import socket
import threading
import time

import pytest


def gated():
    """An application that waits at /wait until it is let go."""
    entered, gate = threading.Semaphore(0), threading.Event()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/wait":
            entered.release()
            gate.wait(10)
        start_response("200 OK", [])
        return [b"done"]

    return app, entered, gate


def stopping(server, timeout=10.0):
    result = []
    thread = threading.Thread(target=lambda: result.append(server.stop(timeout)))
    thread.start()

    def finish():
        thread.join(15)
        assert not thread.is_alive()
        return result[0]

    return finish


def test_a_running_request_is_answered_and_its_connection_closed(serve, connect, eventually):
    app, entered, gate = gated()
    server = serve(app)
    peer = connect(server).get("/wait")
    entered.acquire(timeout=10)
    finish = stopping(server)
    eventually(lambda: server.socket.fileno() < 0)
    gate.set()
    answer = peer.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    peer.rest()
    assert finish() is True


@pytest.mark.thorough
def test_new_connections_are_refused_at_once(serve, connect, eventually):
    app, entered, gate = gated()
    server = serve(app)
    connect(server).get("/wait")
    entered.acquire(timeout=10)
    finish = stopping(server)

    def refused():
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", server.server_port)) != 0

    eventually(refused)
    gate.set()
    assert finish()


def test_a_request_that_is_still_arriving_is_answered(serve, connect, eventually):
    app, _, _ = gated()
    server = serve(app)
    peer = connect(server)
    peer.get().answer()
    peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Le")
    late = connect(server)
    late.get().answer()
    finish = stopping(server)
    eventually(lambda: server.socket.fileno() < 0)
    peer.send("ngth: 2\r\n\r\n").send("ab")
    assert peer.answer().status == 200
    assert late.get().answer().headers["connection"] == "close"
    assert finish()


def test_a_handler_that_never_returns_is_cut_at_the_deadline(serve, connect):
    app, entered, gate = gated()
    server = serve(app)
    peer = connect(server).get("/wait")
    entered.acquire(timeout=10)
    began = time.monotonic()
    assert server.stop(timeout=0.5) is False
    assert time.monotonic() - began < 8, "the handler waits for 10"
    assert peer.rest() == b""
    gate.set()


def test_idle_connections_do_not_hold_a_stop_up(serve, connect):
    app, _, _ = gated()
    server = serve(app)
    peers = [connect(server) for _ in range(50)]
    for peer in peers:
        peer.get().answer()
    began = time.monotonic()
    assert server.stop(timeout=20)
    assert time.monotonic() - began < 5
    assert all(peer.rest() == b"" for peer in peers)


def client(port, errors, answered, started):
    """Sends requests on one connection after the other until the port is closed."""
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionError:
            return
        with sock:
            while True:
                try:
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    got = sock.recv(4096)
                except ConnectionError:
                    got = b""
                if not got.startswith(b"HTTP/1.1 200 OK"):
                    errors.append(got)
                    break
                answered.append(1)
                started.set()
                if b"Connection: close" in got:
                    break


@pytest.mark.parametrize("threads", [1, 8])
def test_a_stop_under_load_loses_no_accepted_request(serve, threads):
    app, _, _ = gated()
    server = serve(app, threads=threads)
    errors, answered, started = [], [], threading.Event()
    clients = [
        threading.Thread(target=client, args=(server.server_port, errors, answered, started))
        for _ in range(8)
    ]
    for thread in clients:
        thread.start()
    assert started.wait(10)
    while len(answered) < 500:
        time.sleep(0.001)
    assert server.stop(timeout=10)
    for thread in clients:
        thread.join(10)
    assert errors == []


@pytest.mark.thorough
def test_a_stop_resets_no_connection_that_was_made(serve):
    """Clients that connect anew for each request: they are answered, or refused."""
    app, _, _ = gated()
    wrong, answered = [], []

    def ask(port):
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    data = b""
                    while some := sock.recv(4096):
                        data += some
                    answered.append(data.endswith(b"done"))
            except ConnectionRefusedError:
                return
            except OSError as err:
                wrong.append(err)
                return

    for _ in range(10):
        server = serve(app)
        clients = [threading.Thread(target=ask, args=(server.server_port,)) for _ in range(4)]
        for each in clients:
            each.start()
        until = len(answered) + 20
        while len(answered) < until and not wrong:
            time.sleep(0.001)
        assert server.stop(10)
        for each in clients:
            each.join(15)
    assert not wrong
    assert all(answered)


@pytest.mark.thorough
def test_a_socket_that_others_share_takes_connections_after_a_stop(serve, connect):
    app, _, _ = gated()
    with socket.create_server(("127.0.0.1", 0)) as shared:
        for _ in range(2):
            server = serve(app, listener=shared.dup())
            assert connect(server).get().answer().body == b"done"
            server.stop(10)
        with socket.create_connection(shared.getsockname(), timeout=5):
            shared.accept()[0].close()
