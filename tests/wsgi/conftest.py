"""A running server for each test that asks, and plain sockets to talk to it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from forge_min.wsgi import Server

from wsgi.mutate import corpus

DEADLINE = 10.0 * float(os.environ.get("FORGE_TEST_PATIENCE", "1"))


class Answer(NamedTuple):
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Peer:
    """A client that sends what it is told, byte for byte. host: its own address."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), DEADLINE, (host, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = b""

    def send(self, data: bytes | str) -> Peer:
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def get(self, path: str = "/", extra: str = "", method: str = "GET") -> Peer:
        return self.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{extra}\r\n")

    def more(self) -> bool:
        """Receive once; False at the end."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self.left += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        while mark not in self.left:
            assert self.more(), self.left
        head, self.left = self.left.split(mark, 1)
        return head

    def answer(self, head_only: bool = False) -> Answer:
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        status = int(lines[0].split(" ")[1])
        if head_only or status in (100, 204, 304):
            return Answer(status, headers, b"")
        return Answer(status, headers, self.body(headers))

    def body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            out = bytearray()
            while size := int(self.until(b"\r\n"), 16):
                out += self.exactly(size)
                self.exactly(2)
            self.exactly(2)
            return bytes(out)
        if "content-length" in headers:
            return self.exactly(int(headers["content-length"]))
        return self.rest()

    def exactly(self, size: int) -> bytes:
        while len(self.left) < size:
            assert self.more(), self.left
        out, self.left = self.left[:size], self.left[size:]
        return out

    def rest(self) -> bytes:
        """Everything up to the end of the connection, which must come."""
        while self.more():
            pass
        out, self.left = self.left, b""
        return out

    def close(self) -> None:
        self.sock.close()


Serve = Callable[..., Server]
Connect = Callable[..., Peer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server of an application on a free port; stopped after the test."""
    servers: list[Server] = []

    def start(app: Any = None, **options: Any) -> Server:
        server = Server(("127.0.0.1", 0), app, **options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop(timeout=2.0)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects to a server; closed after the test."""
    peers: list[Peer] = []

    def open_(server: Server) -> Peer:
        peer = Peer(server.server_port)
        peers.append(peer)
        return peer

    yield open_
    for peer in peers:
        peer.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "hostile_request" in metafunc.fixturenames:
        bytes_of, wanted = corpus()
        rows = [(name, wanted[name], raw.encode("latin-1")) for name, raw in bytes_of.items()]
        metafunc.parametrize("hostile_request", rows, ids=list(bytes_of))


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits until something is true, or fails."""

    def wait(condition: Callable[[], bool]) -> None:
        until = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < until, "it never became true"
            time.sleep(0.005)

    return wait
