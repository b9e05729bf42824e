"""The kinds of requests of `make storm`: its application, and the responses that clients expect."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from forge_min.wsgi.contract import Parked

BIG = random.Random(1).randbytes(2 << 20)

# Kind of a request → its share. The first character of a path is the kind, the rest is the id. One
# kind more is sent alone: "e", with Expect: 100-continue and an id of 11 characters.
SHARES = {
    "l": 400,  # a list
    "q": 300,  # a list, with a query and fields
    "p": 120,  # a body with Content-Length, which the response repeats
    "h": 40,  # HEAD
    "n": 40,  # 204
    "g": 30,  # a generator: chunks
    "w": 8,  # the `write` of start_response
    "k": 20,  # a body in chunks, which the response repeats
    "o": 10,  # a Host in capitals after an absolute target: not plain
    "s": 6,  # sleeps up to 2 ms
    "z": 2,  # sleeps between two parts
    "b": 1,  # a large body
    "B": 1,  # a large body in parts
    "r": 1,  # the application waits without a worker (`Parked`)
    "c": 1,  # Connection: close
    "d": 1,  # the socket is handed over (`forge.stream`)
    "x": 1,  # an exception
    "y": 1,  # an exception after the first part
}
LAST = "cdxy"  # the connection ends after the response


# -- the application -------------------------------------------------------------------------------


class Body:
    """A body in parts that counts its calls of `close`."""

    def __init__(self, application: Application, parts: Iterator[bytes]) -> None:
        self._application, self._parts = application, parts
        application.opened[threading.get_ident()] += 1

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        self._application.closed[threading.get_ident()] += 1


class Application:
    """Responds as the path requests; see SHARES.

    handled, opened, closed: by thread: requests, and bodies in parts or sockets.
    parked: functions that resume a request.
    """

    def __init__(self) -> None:
        self.handled, self.opened, self.closed = Counter[int](), Counter[int](), Counter[int]()
        self.parked: deque[Callable[[], bool]] = deque()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        kind, id = path[1], path[2:].encode()
        if self.parked:
            self.resume()
        if kind == "r" and "storm.parked" not in environ:
            environ["storm.parked"] = True
            raise Parked(time.monotonic() + 0.1, self.park)
        self.handled[threading.get_ident()] += 1
        if kind in "lqohcr":
            start_response("200 OK", [])
            return [id]
        if kind in "pke":
            start_response("200 OK", [])
            return [id, environ["wsgi.input"].read()]
        if kind == "n":
            start_response("204 No Content", [("X-Id", path[2:])])
            return []
        return self.unusual(kind, id, start_response, environ["forge.stream"])

    def park(self, resume: Callable[[], bool]) -> None:
        """Resume a request in one of the next calls."""
        self.parked.append(resume)

    def resume(self) -> None:
        with suppress(IndexError):
            self.parked.popleft()()

    def adopt(self, fd: int) -> None:
        """Write the rest of a response, and close; -1: there is no client."""
        self.closed[threading.get_ident()] += 1
        if fd >= 0:
            with socket.socket(fileno=fd) as sock, suppress(OSError):
                sock.settimeout(10)
                sock.sendall(b"end")

    def unusual(self, kind: str, id: bytes, start_response: Any, stream: Any) -> Any:
        if kind == "x":
            raise Intended
        write = start_response("200 OK", [])
        if kind == "d":
            stream(self.adopt)
            self.opened[threading.get_ident()] += 1
            return [id]
        if kind == "s":
            time.sleep(int(id) % 8 / 4000)
            return [id]
        if kind == "b":
            return [id, large(id)]
        if kind == "w":
            write(id)
            return [b"end"]
        return Body(self, parts_of(kind, id))


class Intended(Exception):
    """An exception of the application."""


def large(id: bytes) -> bytes:
    """Return the large body of a request; one of 16 is larger than what is sent at once."""
    number = int(id)
    return BIG if number % 16 == 0 else BIG[: 1000 + number * 7919 % (1 << 19)]


def parts_of(kind: str, id: bytes) -> Iterator[bytes]:
    """Return the parts of a body."""
    yield id
    if kind == "z":
        time.sleep(int(id) % 8 / 4000)
    elif kind == "y":
        raise Intended
    elif kind == "B":
        whole = large(id)
        yield from (whole[at : at + 50_000] for at in range(0, len(whole), 50_000))
    yield b"end"


# -- requests and responses ------------------------------------------------------------------------


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def response(body: bytes, head: bytes = b"", size: int | None = None) -> bytes:
    """Return a response without its Date."""
    length = len(body) if size is None else size
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (length, head, body)


def in_parts(*parts: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(map(chunk, parts)) + b"0\r\n\r\n"


def exchange(kind: str, id: bytes, rng: random.Random) -> tuple[bytes, bytes]:
    """Return a request, and its response without Date."""
    if kind == "l":
        return b"GET /l%b HTTP/1.1\r\nHost: a\r\n\r\n" % id, response(id)
    if kind == "q":
        fields = b"Accept: text/html\r\nCookie: a=b\r\nUser-Agent: storm\r\n"
        return b"GET /q%b?a=%b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (id, id, fields), response(id)
    if kind == "p":
        size = int(rng.random() ** 4 * (40_000 if rng.random() < 0.05 else 500))
        body = BIG[size : 2 * size]
        head = b"POST /p%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (id, size)
        return head + body, response(id + body)
    if kind == "h":
        return b"HEAD /h%b HTTP/1.1\r\nHost: a\r\n\r\n" % id, response(b"", size=len(id))
    if kind == "n":
        head = b"HTTP/1.1 204 No Content\r\nX-Id: %b\r\n\r\n" % id
        return b"GET /n%b HTTP/1.1\r\nHost: a\r\n\r\n" % id, head
    if kind == "e":
        head = (
            b"POST /e%b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n"
        )
        return head % id + id, response(id + id)
    if kind == "k":
        size = int(rng.random() * 200)
        body = BIG[size : 2 * size + 1]
        head = b"POST /k%b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % id
        cut = int(rng.random() * size) + 1
        parts = [part for part in (body[:cut], body[cut:]) if part]
        return head + b"".join(map(chunk, parts)) + b"0\r\n\r\n", response(id + body)
    if kind == "o":
        return b"GET http://A/o%b HTTP/1.1\r\nHost: A\r\nX-A: 1\r\nX-A: 2\r\n\r\n" % id, response(
            id
        )
    if kind == "c":
        head = b"GET /c%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        return head % id, response(id, b"Connection: close\r\n")
    return b"GET /%b%b HTTP/1.1\r\nHost: a\r\n\r\n" % (kind.encode(), id), unusual(kind, id)


def unusual(kind: str, id: bytes) -> bytes:
    """Return the response of a kind that has its own form."""
    if kind in "sr":
        return response(id)
    if kind == "b":
        return response(id + large(id))
    if kind == "d":
        return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + id + b"end"
    if kind == "B":
        return in_parts(*parts_of(kind, id))
    if kind == "y":
        return in_parts(id)[: -len(b"0\r\n\r\n")]
    return b"" if kind == "x" else in_parts(id, b"end")
