"""The pure-Python twin of the tasks of an HTTP server's workers (`_fanout_task.pxi`)."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Any, final

from ._fanout_body_py import BodyReader

_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2


def file_of(sock: socket.socket) -> tuple[int, int]:
    """Return the identity of the open file of a socket's descriptor; zeros if it is closed."""
    with suppress(OSError):
        status = os.fstat(sock.fileno())
        return status.st_dev, status.st_ino
    return 0, 0


def wake(waker: socket.socket) -> None:
    """Wake the I/O thread that reads the other end of this socket."""
    with suppress(OSError):  # it is full, so the thread wakes anyway
        waker.send(b"x")


def network_of(address: str) -> str:
    """Return the network of a peer: its IPv4 address, also a mapped one, or its /64 of IPv6."""
    if ":" not in address:
        return address
    packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    if packed.startswith(_MAPPED):
        return socket.inet_ntoa(packed[12:])
    return packed[:8].hex()


class ClientState:
    """One connection.

    wait: why it waits: "worker" to end its task; "request", "input" or "body" of the peer; that the
        peer reads the output, and then "sent", "detach" or "close"; "closed" for the peer's end.
    network: its IPv4 address, or its /64 of IPv6; "" for a Unix socket.
    phase, since: the part of the wait that has a limit, and its beginning (time.monotonic()).
    file: the identity of the socket; another thread may close its descriptor.
    output, unsent: bytes to send, and their number.
    state: of a worker, which gets it back with the next task.
    input: received bytes that a worker has put back.
    reader, received: of a body, see `read_body`: it reads `received`.
    held: bytes of its body that have arrived.
    is_fresh: whether nothing was received yet.
    """

    def __init__(self, sock: socket.socket, address: Any, now: float) -> None:
        self.sock = sock
        self.file = file_of(sock)
        self.remote: dict[str, Any] = {}
        self.network = ""
        if sock.family != socket.AF_UNIX:
            self.network = network_of(address[0])
            self.remote = {"REMOTE_ADDR": address[0], "REMOTE_PORT": str(address[1])}
        self.wait = "request"
        self.phase = "idle"
        self.since = now
        self.output: deque[memoryview] = deque()
        self.unsent = self.in_kernel = 0
        self.state: Any = None
        self.input = b""
        self.reader: BodyReader | None = None
        self.received = bytearray()
        self.held = 0
        self.gone = False
        self.is_fresh = True
        self.interest = selectors.EVENT_READ


@final
class Task:
    """A piece of work of a worker for one connection, which waits until the worker ends the task.

    One of `respond`, `end`, `wait_sent`, `wait_input`, `wait_body` and `detach` ends it. They send
    bytes first, and return False, without effect, if the task is over: another thread has ended it,
    or the server has stopped. A task that is forgotten closes its connection.

    kind: "request": a whole request has arrived, and `value` is its environ.
        "input": bytes have arrived, `value`.
        "body": a whole body has arrived, `value`.
        "refused": the body is not accepted; `value` is the reason, see `BodyRefused`.
        "late": the rest of a request has not arrived in time; `value` is the part of its head that
            has.
        "sent": the peer has read enough to continue.
        "detached": `value` is the descriptor of the connection, which the caller owns.
        "gone": the connection has ended. The task is over.
    state: the argument of the call that ended the connection's last task, or None.
    waited: seconds for which an incomplete request has been waited for.
    """

    kind = ""
    waited = 0.0
    value: Any = None
    state: Any = None

    def __init__(
        self, io_thread: Any, client: ClientState, kind: str, value: Any, state: Any
    ) -> None:
        self._io_thread = io_thread
        self._client = client
        self.kind = kind
        self.value = value
        self.state = state
        self._over = kind in ("gone", "detached")
        self._begun = False
        if client.phase in ("head", "body") and kind in ("input", "body", "late"):
            self.waited = time.monotonic() - client.since

    def __del__(self) -> None:
        if not self._over:
            self._submit(b"", "close")

    @property
    def base_environ(self) -> dict[str, Any]:
        """A new environ with what all requests of the connection have in common."""
        return {**self._io_thread.base, **self._client.remote}

    @property
    def connected(self) -> bool:
        """Whether the peer has neither disconnected nor ended its input."""
        try:
            peeked = self._client.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return peeked != b""

    @property
    def last(self) -> bool:
        """Whether the response shall be the last of its connection."""
        return bool(self._io_thread.last)

    @property
    def unsent(self) -> int:
        """Number of bytes that the kernel has not accepted yet; -1 if the connection has ended."""
        return -1 if self._client.gone else self._client.unsent

    def exempt_network(self) -> None:
        """Lift the limit of connections of this peer's network: it is a trusted proxy."""
        self._io_thread.exempt.add(self._client.network)

    def put_back(self, size: int) -> None:
        """Leave the last bytes of `value` for the next task, as the beginning of its input."""
        self._client.input = self.value[len(self.value) - size :]

    def respond(self, data: bytes) -> bool:
        """Send the rest of a response, then wait for the next request."""
        return self._submit(data, "request")

    def end(self, data: bytes, *, unless_begun: bool = False) -> bool:
        """Send the rest of the last response, then close.

        unless_begun: do nothing and return False if a part of a response was sent.
        """
        with self._io_thread.lock:
            return not (unless_begun and self._begun) and self._submit(data, "close")

    def send(self, data: bytes) -> bool:
        """Send a part of a response. The task continues."""
        return self._submit(data, "worker")

    def wait_sent(self, data: bytes, state: object) -> bool:
        """Send a part of a response. The next task comes when the kernel has accepted it."""
        return self._submit(data, "sent", state)

    def wait_input(self, phase: str, state: object, data: bytes = b"") -> bool:
        """Wait for the rest of a head. phase: "idle" or "head", for the deadline."""
        return self._submit(data, "input", state, phase)

    def wait_body(self, length: int, state: object, data: bytes = b"") -> bool:
        """Wait for a body, which the I/O thread reads.

        The next task is "body", "refused" or "late", or "gone".

        length: bytes, or CHUNKED. Bytes that are put back are its beginning.
        """
        return self._submit(data, "body", state, "body", length)

    def detach(self, data: bytes, state: object) -> bool:
        """Send the rest of a response; the socket then leaves the I/O thread."""
        return self._submit(data, "detach", state)

    def _submit(
        self, data: bytes, then: str, state: object = None, phase: str = "", length: int = 0
    ) -> bool:
        with self._io_thread.lock:
            if self._over or self._io_thread.ended:
                return False
            self._over = then != "worker"
            self._begun = True
            self._client.unsent += len(data)
            self._io_thread.blocks.append((self._client, data, then, state, phase, length))
        wake(self._io_thread.waker)
        return True


def _pop_task(turns: dict[str, deque[Any]]) -> Any:
    """Take a task of the first network in turn. The caller holds the lock."""
    network = next(iter(turns))
    tasks = turns.pop(network)
    task = tasks.popleft()
    if tasks:
        turns[network] = tasks
    return task


@final
class ServerWorker:
    """A thread that takes tasks, see `IoThread.worker`."""

    def __init__(self, io_thread: Any) -> None:
        self._io_thread = io_thread

    def next_task(self) -> Task | None:
        """Return the next task, for which this waits; None after `stop`, when none is left."""
        io_thread = self._io_thread
        with io_thread.lock:
            while not io_thread.turns:
                if io_thread.ended:
                    return None
                io_thread.has_task.wait()
            client, kind, value = _pop_task(io_thread.turns)
        if client.gone and kind != "detached":
            kind = "gone"
            value = None
        state = client.state
        client.state = None
        return Task(io_thread, client, kind, value, state)
