"""One client's connection: its socket, requests, unsent output and deadline.

Exactly one thread owns a connection at a time: the worker that was woken for it, or the thread of
the time-outs, which took it out of the parked connections.
"""

from __future__ import annotations

import fcntl
import select
import socket
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...fanout import IoThread, receive, transmit
from ..http1 import Phase, read_requests

if TYPE_CHECKING:
    from .exchange import Exchange

CHUNK = 65536
"""Bytes read from the kernel at once."""
_MIN_RATE = 1024  # bytes a second that a peer must read


class ClientDisconnected(Exception):
    """The peer has disconnected, or has not read within the write deadline."""


class ClientConnection:
    """A socket and its two directions.

    phase: why a parked connection waits; None after a response.
    deadline: time.monotonic() until which it may wait.
    out: bytes of responses that the kernel has not accepted yet.
    last: whether the next response is the last one, because the server stops.
    closing: whether the last response has begun.
    queued: bytes that the peer had not acknowledged at the last `measure_queue`.
    deferred: whether a whole response stays in `out` until `flush` or `submit`.
    submitted: whether an IoThread owns the socket.
    received: the result of the IoThread: see `IoThread.completed`.
    exchange: an exchange with unsent parts of its body.
    parked_request: the environ of a request that waits because of `Parked`.
    """

    def __init__(
        self, sock: socket.socket, base: dict[str, Any], max_body: int, write_timeout: float
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.buffer = bytearray()
        self.requests = read_requests(self.buffer, base, max_body)
        self.out: bytes | memoryview = b""
        self.write_timeout = write_timeout
        self.deadline = 0.0
        self.phase: Phase | None = None
        self.last = False
        self.closing = False
        self.deferred = False
        self.submitted = False
        self.queued = 0
        self.received: bytes | int = 0
        self.exchange: Exchange | None = None
        self.parked_request: dict[str, Any] | None = None

    def receive(self) -> bool:
        """Read once into `buffer`. Return whether there was data. Raises ClientDisconnected."""
        try:
            # SAFETY: the number is read from the socket: a stopping server closes it, and another
            # file may get the same number.
            data = receive(self.sock.fileno(), CHUNK)
        except BlockingIOError:
            return False
        except OSError as err:
            raise ClientDisconnected from err
        if not data:
            raise ClientDisconnected
        self.buffer += data
        return True

    def send(self, data: bytes | memoryview, whole: bool = False) -> None:
        """Write to the socket; the bytes that the kernel does not accept now stay in `out`.

        Waits first for bytes that an earlier call has left there.

        whole: whether `data` is a complete response.

        Raises ClientDisconnected.
        """
        if self.out:
            self.send_rest()
        self.deferred = self.deferred and whole and len(data) <= CHUNK
        if self.deferred:
            self.out = data
            return
        try:
            # PERF: a small response is sent without releasing the GIL (benchmarks/http, row).
            fd = self.sock.fileno()
            sent = transmit(fd, data) if len(data) <= CHUNK else self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as err:
            raise ClientDisconnected from err
        if sent < len(data):
            self.out = memoryview(data)[sent:]

    def flush(self) -> None:
        """Write the content of `out` without waiting. Raises ClientDisconnected."""
        data, self.out, self.deferred = self.out, b"", False
        if data:
            self.send(data)

    def submit(self, io_thread: IoThread, parked: dict[int, ClientConnection]) -> bool:
        """Let an IoThread send `out` and then read; return False if this thread has to."""
        self.out = data = bytes(self.out)  # kept until `collect`; no copy if it is bytes already
        self.deferred, self.submitted, self.phase = False, True, Phase.IDLE
        if io_thread.submit(self.fd, data, parked, self):
            return True
        self.submitted, self.phase = False, None
        return False

    def collect(self) -> bool:
        """Take over the result of an IoThread.

        Returns True if bytes were read, False if a part of `out` is unsent. Raises
        ClientDisconnected.
        """
        data, self.out, received, self.submitted = self.out, b"", self.received, False
        if isinstance(received, int):
            if received < 0:
                raise ClientDisconnected
            self.out = memoryview(data)[received:]
            return False
        if not received:
            raise ClientDisconnected
        self.buffer += received
        return True

    def has_progressed(self) -> bool:
        """Return whether the peer has read at least 1 KiB a second over `write_timeout`.

        A socket is writable only if a third of its buffer is free, and that may be a megabyte. So
        the queue of the kernel is compared with the one at the last call.
        """
        before = self.queued
        self.measure_queue()
        return before - self.queued >= _MIN_RATE * self.write_timeout

    def measure_queue(self) -> None:
        """Set `queued`: bytes that the peer has not acknowledged yet (tcp(7), SIOCOUTQ)."""
        # SAFETY: a stopping server may have closed it.
        with suppress(OSError, ValueError):
            held = fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, bytes(4))
            self.queued = int.from_bytes(held, sys.byteorder)

    def send_rest(self) -> None:
        """Wait until the kernel has accepted `out`.

        For streamed responses, whose application holds the thread anyway. Raises
        ClientDisconnected after `write_timeout` without progress.
        """
        while self.out:
            self.measure_queue()
            writable = select.poll()
            writable.register(self.fd, select.POLLOUT)
            while not writable.poll(self.write_timeout * 1000):
                if not self.has_progressed():
                    raise ClientDisconnected
            self.flush()
