"""A client process of `make storm`: connections, random requests, and the check of responses."""

from __future__ import annotations

import itertools
import random
import re
import socket
import time
from collections import Counter
from multiprocessing.connection import Connection

from wsgi.storm_kinds import LAST, SHARES, exchange

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
STUCK = 20.0  # seconds without a response
DATE = re.compile(rb"Date: [^\r]{29}\r\n")
DATE_SIZE = 37
FAILED = re.compile(rb"HTTP/1\.1 500 (?:[^\r]+\r\n)+\r\n\{[^{}]+\}")


class Stuck(Exception):
    """A request has no response."""


class Wrong(Exception):
    """A response is not that of its request."""


class Link:
    """One connection of a client, and the requests of a round.

    ids: of the requests that may be answered; behind: number of requests after the last of these.
    fails, ends: whether the last response is that of an exception, or that of the connection.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=STUCK)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ids: list[bytes] = []
        self.requests: list[bytes] = []
        self.responses: list[bytes] = []
        self.fails = self.ends = False
        self.behind = 0

    def prepare(self, kinds: list[str], first: int, rng: random.Random) -> bytes:
        """Return requests of these kinds. After the last of the connection there is at most one."""
        self.ids, self.requests, self.responses = [], [], []
        self.fails = self.ends = False
        self.behind = 0
        for number, kind in enumerate(kinds, first):
            id = b"%d" % number
            request, wanted = exchange(kind, id, rng)
            self.requests.append(request)
            if self.ends:
                # Unread bytes would reset a connection that is handed over.
                self.behind = int(self.requests[-2][:6] != b"GET /d")
                del self.requests[len(self.ids) + self.behind :]
                break
            self.ids.append(id)
            self.responses.append(wanted)
            if kind in LAST:
                self.ends, self.fails = True, kind == "x"
        return b"".join(self.requests)

    def cut(self, size: int) -> None:
        """Expect responses only to the requests that are complete in so many bytes."""
        ends = itertools.accumulate(map(len, self.requests))
        count = sum(end <= size for end in ends)
        if count < len(self.ids):
            self.fails = self.ends = False
        del self.ids[count:], self.responses[count:]

    def receive(self, size: int) -> bytes:
        """Receive so many bytes, or all up to the end of the connection."""
        pieces = []
        while size > 0:
            data = self.sock.recv(min(size, 1 << 18))
            if not data:
                break
            pieces.append(data)
            size -= len(data)
        return b"".join(pieces)

    def check(self, *, ended: bool = False) -> None:
        """Receive all responses. Raises Stuck and Wrong.

        ended: the client has ended its output, so the connection ends after them.
        """
        wanted = b"".join(self.responses)
        size = len(wanted) + DATE_SIZE * (len(self.responses) - self.fails)
        try:
            data = self.receive(size)
            if self.ends or ended:
                data += self.receive(1 << 30)
        except TimeoutError:
            raise Stuck(f"no response for {STUCK:.0f} s: one of {self.ids}") from None
        except ConnectionError as err:
            raise Wrong(f"{err!r} instead of a response to one of {self.ids}") from None
        if self.fails:
            data, failed = data[:size], data[size:]
            if not FAILED.fullmatch(failed):
                raise Wrong(f"{failed!r} instead of 500 for {self.ids[-1]!r}")
        if DATE.sub(b"", data) != wanted:
            raise Wrong(f"{data!r}\ninstead of\n{wanted!r}\nfor {self.ids}")

    def check_part(self, size: int) -> None:
        """Receive at most so many bytes. Raises Stuck and Wrong."""
        try:
            data = self.sock.recv(size)
        except TimeoutError:
            raise Stuck(f"no response for {STUCK:.0f} s: one of {self.ids}") from None
        # The end is left out: it may be a part of a Date.
        part = DATE.sub(b"", data)[: -DATE_SIZE - 1]
        if not self.fails and not b"".join(self.responses).startswith(part):
            raise Wrong(f"{data!r}\nis no beginning of the responses to {self.ids}")

    def reset(self) -> None:
        """Close so that the server gets a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


class Client:
    """Sends requests in rounds: on some connections at once, then it reads all responses.

    counts: "requests", also those sent in part; of these "answered", "left" by the client, and
        "behind" the last response of a connection. "connections", and how they ended.
    longest: seconds that one round has waited for responses.
    """

    def __init__(self, address: tuple[str, int], number: int, seed: str) -> None:
        self.address, self.rng = address, random.Random(seed)
        self.next_id = 10**10 * (number + 1)
        self.counts = Counter[str]()
        self.longest = 0.0
        self.links: list[Link] = []
        self.usual = [kind for kind, share in SHARES.items() for _ in range(share)]
        self.rare = [kind for kind in SHARES for _ in range(1 if kind in "bB" else 3)]

    def round(self) -> None:
        """Run one round, of a random shape."""
        rng = self.rng
        width, depth, kinds = rng.randint(8, 64), 60, self.usual
        if rng.random() < 0.3:  # workers sleep between its requests
            width, depth = rng.randint(1, 4), 2
        if rng.random() < 0.1:
            depth, kinds = min(depth, 5), self.rare
        while len(self.links) < width:
            self.links.append(Link(self.address))
            self.counts["connections"] += 1
        waiting = []
        for link in rng.sample(self.links, width):
            if rng.random() < 0.005:
                self.expect(link)
                continue
            data = link.prepare(rng.choices(kinds, k=rng.randint(1, depth)), self.next_id, rng)
            self.next_id += len(link.requests)
            self.counts["requests"] += len(link.requests)
            self.counts["behind"] += link.behind
            if rng.random() < 0.08:
                self.leave(link, data)
            else:
                self.send(link, data)
                waiting.append(link)
        self.receive(waiting)
        if rng.random() < 0.1:
            time.sleep(rng.random() * 0.005)

    def send(self, link: Link, data: bytes) -> None:
        """Send requests, sometimes in pieces."""
        rng = self.rng
        begin = 0
        if rng.random() < 0.1:
            for end in sorted(rng.randrange(len(data)) for _ in range(4)):
                link.sock.sendall(data[begin:end])
                begin = end
                if rng.random() < 0.3:
                    time.sleep(rng.random() * 0.001)
        link.sock.sendall(data[begin:])

    def expect(self, link: Link) -> None:
        """Send the head of a request, wait for 100 Continue, and send its body."""
        data = link.prepare(["e"], self.next_id, self.rng)
        self.next_id += 1
        self.counts["requests"] += 1
        head = data.index(b"\r\n\r\n") + 4
        self.send(link, data[:head])
        try:
            received = link.receive(len(CONTINUE))
        except TimeoutError:
            raise Stuck(f"no 100 Continue for {STUCK:.0f} s: {link.ids}") from None
        if received != CONTINUE:
            raise Wrong(f"{received!r} instead of 100 Continue")
        self.send(link, data[head:])
        link.check()
        self.counts["answered"] += 1

    def receive(self, links: list[Link]) -> None:
        rng = self.rng
        if rng.random() < 0.05:
            time.sleep(rng.random() * 0.01)
        began = time.monotonic()
        for link in links:
            link.check()
            self.counts["answered"] += len(link.ids)
            if link.ends:
                self.drop(link, "closed by the server")
            elif rng.random() < 0.02:
                self.drop(link, "closed between requests")
        self.longest = max(self.longest, time.monotonic() - began)

    def leave(self, link: Link, data: bytes) -> None:
        """Send requests, or a part of them, and end the connection in some way."""
        rng, sent = self.rng, len(link.ids)
        size = rng.choice([len(data), rng.randrange(len(data))])
        self.send(link, data[:size] or data)
        way = rng.choice(
            ["closed", "reset", "closed in a response", "reset in a response", "ended"]
        )
        if way == "ended":
            link.sock.shutdown(socket.SHUT_WR)
            link.cut(size or len(data))
            link.check(ended=True)
            self.counts["answered"] += len(link.ids)
            sent -= len(link.ids)
        elif way.endswith("response") and size == len(data):
            link.check_part(rng.choice([1, 100, 10_000]))
        self.counts["left"] += sent
        if way.startswith("reset"):
            link.reset()
        self.drop(link, way)

    def drop(self, link: Link, how: str) -> None:
        link.sock.close()
        self.links.remove(link)
        self.counts[how] += 1

    def end(self) -> None:
        for link in list(self.links):
            self.drop(link, "closed at the end")


def run_client(
    parent: Connection, inherited: list[Connection], number: int, seed: str, requests: int
) -> None:
    """Run one client process: it reports the number of its requests, at last its result.

    inherited: ends of pipes that belong to the parent.
    """
    for each in inherited:
        each.close()
    client = Client(parent.recv(), number, seed)
    reported = time.monotonic()
    try:
        while client.counts["requests"] < requests:
            client.round()
            if time.monotonic() > reported + 1:
                reported = time.monotonic()
                parent.send(client.counts["requests"])
        client.end()
        parent.send((client.counts, client.longest))
    except Exception as err:
        parent.send(f"{type(err).__name__}: {err}")
        parent.recv()  # the connections stay open until the parent has seen the server
