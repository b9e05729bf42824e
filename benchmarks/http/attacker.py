"""A hostile client: many connections in one process, on one epoll, with buffers made before.

    python benchmarks/http/attacker.py NAME PORT ROW DOCUMENT [--source 127.0.0.2]

ROW, DOCUMENT: paths below the API and of a page. Runs at the lowest priority until SIGTERM, prints
"ready" once it has opened its connections, and at the end what it sent as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from crowd import SLOWEST

MIB = 1 << 20
READY = "ready"
TURN = 0.01  # seconds between two looks at the rate and at new connections
MOST_OPENED = 50  # connections in a turn: 5,000 a second
REOPENED = 500  # connections in a second, in place of closed ones
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Attack(NamedTuple):
    """What each connection sends.

    first: sent once; after it `piece` again and again, without waiting for a response.
    rate: bytes of pieces per second on all connections; 0: as many as the server takes.
    request: returns the request with a number; sent again after each response. Without it nothing
        is requested but `first`.
    reads: whether responses are read.
    """

    connections: int
    first: bytes = b""
    piece: bytes = b""
    rate: int = 0
    request: Callable[[int], bytes] | None = None
    reads: bool = True


def get(path: str, headers: str = "") -> bytes:
    """Return a request."""
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode()


def post(path: str, headers: str, body: bytes = b"") -> bytes:
    """Return a request with JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{headers}\r\n"
    return head.encode() + body


def attacks(row: str = "", document: str = "") -> Mapping[str, Attack]:
    """Return the attacks by name. row: path of a row below the API; document: of a large one."""
    create = "/api/v1/products"
    chunked = post(create, "Transfer-Encoding: chunked\r\n")
    chunks = b"1\r\n0\r\n" * 10_000
    sized = f"Content-Length: {MIB}\r\n"
    body = b'{"name": [' + b"1," * (MIB // 2 - 10) + b"1]}"
    large = post(create, f"Content-Length: {len(body)}\r\n", body)
    types = ",".join(f"a{n}/b;q=0.5" for n in range(1, 1200))[: 15 * 1024]
    page = get(document, "Accept: text/html\r\n")
    api = get(f"/api/v1{document}")
    listed = get(f"/api/v1/documents?{SLOWEST}")
    return {
        "chunks of one byte": Attack(300, chunked, chunks),
        "chunks of one byte, 8 MB/s": Attack(100, chunked, chunks, rate=8_000_000),
        "unfinished bodies of 1 MiB": Attack(1500, post(create, sized, bytes(MIB - 1))),
        "idle connections": Attack(10_000),
        "bodies of 1 MiB of JSON": Attack(16, request=lambda number: large),
        # Another header each time: no cache knows it.
        "Accept of 15 kB": Attack(
            16, request=lambda number: get(row, f"Accept: */*,x{number}/y,{types}\r\n")
        ),
        "pages with 1 MiB of JSON": Attack(16, request=lambda number: page),
        "slow heads": Attack(2500, b"GET / HTTP/1.1\r\nHost: a\r\n", b"X-A: b\r\n", rate=20_000),
        "the slowest list": Attack(16, request=lambda number: listed),
        "clients that do not read": Attack(1000, api, reads=False),
    }


class Connection:
    """One connection. sent: bytes of the current piece that are sent."""

    def __init__(self, sock: socket.socket, first: bytes) -> None:
        self.sock = sock
        self.first = memoryview(first)
        self.sent = 0
        self.received = b""
        self.left = -1  # bytes of the body that are not received yet; -1: the head is not complete


class Attacker:
    """Runs one attack until `stop`."""

    def __init__(self, attack: Attack, port: int, source: str) -> None:
        self._attack = attack
        self._port, self._source = port, source
        self._poll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._turns: list[Connection] = []  # the next ones that send a piece at the rate
        self._allowed = 0.0  # bytes that the rate permits now
        self._requests = 0
        self.opened = self.closed = self.bytes = 0
        self.statuses: Counter[int] = Counter()
        self.stop = False

    def run(self) -> None:
        """Open the connections, send and receive. Prints READY."""
        began = before = time.monotonic()
        is_ready = False
        while not self.stop:
            self._open(self._attack.connections + REOPENED * (before - began) - self.opened)
            for fd, event in self._poll.poll(TURN):
                with suppress(KeyError):
                    self._handle(self._connections[fd], event)
            now = time.monotonic()
            self._allowed += (now - before) * self._attack.rate
            self._allowed = min(self._allowed, self._attack.rate)  # what was missed is not sent
            before = now
            self._send_at_rate()
            complete = self.opened >= self._attack.connections
            if not is_ready and (complete or now - began > 10):
                print(READY, flush=True)
                is_ready = True
        for connection in [*self._connections.values()]:
            connection.sock.close()

    def _open(self, most: float) -> None:
        """Open missing connections, some in each turn."""
        attack = self._attack
        missing = attack.connections - len(self._connections)
        for _ in range(min(missing, MOST_OPENED, int(most))):
            sock = socket.socket()
            sock.setblocking(False)
            if not attack.reads:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # Choose the port at connect(2): more than 28,000 to several servers are possible.
            sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            sock.bind((self._source, 0))
            with suppress(BlockingIOError):
                sock.connect(("127.0.0.1", self._port))
            connection = Connection(sock, self._next_request() if attack.request else attack.first)
            self._connections[sock.fileno()] = connection
            self._poll.register(sock, self._events(connection))
            self.opened += 1

    def _next_request(self) -> bytes:
        assert self._attack.request is not None
        self._requests += 1
        return self._attack.request(self._requests)

    def _events(self, connection: Connection) -> int:
        """Return the events to wait for."""
        events = select.EPOLLRDHUP
        if self._attack.reads:
            events |= select.EPOLLIN
        if connection.first or self._attack.piece and not self._attack.rate:
            events |= select.EPOLLOUT
        return events

    def _handle(self, connection: Connection, event: int) -> None:
        attack = self._attack
        try:
            if attack.reads and event & select.EPOLLIN:
                self._receive(connection)
            if event & (select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
                raise ConnectionResetError
            if event & select.EPOLLOUT:
                if connection.first:
                    sent = connection.sock.send(connection.first)
                    self.bytes += sent
                    connection.first = connection.first[sent:]
                    if not connection.first:
                        self._poll.modify(connection.sock, self._events(connection))
                else:
                    self._send_piece(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)

    def _send_piece(self, connection: Connection) -> None:
        """Send the rest of the piece, which then begins again."""
        piece = memoryview(self._attack.piece)
        sent = connection.sock.send(piece[connection.sent :])
        self.bytes += sent
        self._allowed -= sent
        connection.sent = (connection.sent + sent) % len(piece)

    def _send_at_rate(self) -> None:
        """Send pieces of one connection after the other, as far as the rate permits."""
        for _ in range(len(self._connections) if self._attack.rate else 0):
            if self._allowed <= 0:
                break
            self._turns = self._turns or [*self._connections.values()]
            connection = self._turns.pop()
            is_open = connection.sock.fileno() >= 0
            try:
                if is_open and not connection.first:
                    self._send_piece(connection)
            except BlockingIOError:
                pass
            except OSError:
                self._close(connection)

    def _receive(self, connection: Connection) -> None:
        """Read what has come; at the end of a response, send the next request."""
        data = connection.sock.recv(MIB)
        if not data:
            raise ConnectionResetError
        if connection.left < 0:
            connection.received += data
            head, end, data = connection.received.partition(b"\r\n\r\n")
            if not end:
                return
            self.statuses[int(head[9:12])] += 1
            length = LENGTH.search(head)
            connection.received = b""
            connection.left = int(length[1]) if length else 0
        connection.left -= len(data)
        if connection.left <= 0:
            connection.left = -1
            if self._attack.request is not None:
                connection.first = memoryview(self._next_request())
                self._poll.modify(connection.sock, self._events(connection))

    def _close(self, connection: Connection) -> None:
        self.closed += 1
        del self._connections[connection.sock.fileno()]
        connection.sock.close()


def main() -> None:
    """Attack until SIGTERM, then print what was sent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*attacks()])
    parser.add_argument("port", type=int)
    parser.add_argument("row")
    parser.add_argument("document")
    parser.add_argument("--source", default="127.0.0.2")
    options = parser.parse_args()
    os.nice(19)
    attack = attacks(options.row, options.document)[options.name]
    attacker = Attacker(attack, options.port, options.source)

    def end(*_: object) -> None:
        attacker.stop = True

    signal.signal(signal.SIGTERM, end)
    began = time.monotonic()
    attacker.run()
    seconds = time.monotonic() - began
    report = {
        "seconds": seconds,
        "opened": attacker.opened,
        "closed": attacker.closed,
        "bytes": attacker.bytes,
        "statuses": dict(sorted(attacker.statuses.items())),
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
