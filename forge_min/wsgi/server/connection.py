"""One client's connection: its socket, the requests on it, what is still to be written, its
deadline.

Exactly one thread owns a connection at a time: the worker that was woken for it, or the sweeper
that took it out of the parked ones.
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
"""Bytes asked of the kernel at once."""
_SLOWEST = 1024  # bytes a second that a peer takes at least


class ClientDisconnected(Exception):
    """The peer is not there any more, or does not read within the write deadline."""


class Connection:
    """A socket and its two directions.

    phase: what a parked connection waits for, until `deadline` on the monotonic clock; None after
    an answer. last: the next answer is the last one, the server stops. closing: the last answer is
    given. queued: how much the kernel held at the last look. held: a whole answer stays in `out`
    until `flush`, or for an IoThread; given: it has the socket. came: what it brought. answering:
    the exchange of which pieces are left. waiting: the request that is parked until its turn.
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
        self.held = False
        self.given = False
        self.queued = 0
        self.came: bytes | int = 0
        self.answering: Exchange | None = None
        self.waiting: dict[str, Any] | None = None

    def receive(self) -> bool:
        """Read once into `buffer`. Return whether there was data. Raises ClientDisconnected."""
        try:
            # SAFETY: asked of the socket: a server that is cut closes it, and another's may get its
            # number.
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
        """Write what the kernel takes now and keep the rest in `out`, after waiting for what an
        earlier call has left there. whole: nothing of the answer follows.
        Raises ClientDisconnected.
        """
        if self.out:
            self.send_rest()
        self.held = self.held and whole and len(data) <= CHUNK
        if self.held:
            self.out = data
            return
        try:
            # PERF: a small answer leaves without a turn for somebody else (benchmarks/http, row).
            fd = self.sock.fileno()
            sent = transmit(fd, data) if len(data) <= CHUNK else self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as err:
            raise ClientDisconnected from err
        if sent < len(data):
            self.out = memoryview(data)[sent:]

    def flush(self) -> None:
        """Write on what `out` holds, without waiting. Raises ClientDisconnected."""
        data, self.out, self.held = self.out, b"", False
        if data:
            self.send(data)

    def give(self, io_thread: IoThread, parked: dict[int, Connection]) -> bool:
        """Have `out` sent, and what follows read, while this thread goes on (see IoThread); False
        where this thread has to.
        """
        self.out = data = bytes(self.out)  # as it is already, and kept until it is collected
        self.held, self.given, self.phase = False, True, Phase.IDLE
        if io_thread.give(self.fd, data, parked, self):
            return True
        self.given, self.phase = False, None
        return False

    def collect(self) -> bool:
        """Take what `came`; False where it is not the next bytes, but that some of `out` is left.
        Raises ClientDisconnected.
        """
        data, self.out, came, self.given = self.out, b"", self.came, False
        if isinstance(came, int):
            if came < 0:
                raise ClientDisconnected
            self.out = memoryview(data)[came:]
            return False
        if not came:
            raise ClientDisconnected
        self.buffer += came
        return True

    def takes(self) -> bool:
        """Whether the peer has taken enough of what the kernel holds since the last look, within
        `write_timeout`.

        Only when a third of a socket's buffer is free is it writable, and that may be a megabyte.
        """
        before = self.queued
        self.look()
        return before - self.queued >= _SLOWEST * self.write_timeout

    def look(self) -> None:
        """See how much the kernel holds that the peer has not taken yet (tcp(7), SIOCOUTQ)."""
        # SAFETY: a server that is cut may have closed it.
        with suppress(OSError, ValueError):
            held = fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, bytes(4))
            self.queued = int.from_bytes(held, sys.byteorder)

    def send_rest(self) -> None:
        """Wait until the client has taken `out`.

        Raises ClientDisconnected after `write_timeout` without progress.

        For answers that are made piece by piece, whose application holds the thread anyway.
        """
        while self.out:
            self.look()
            writable = select.poll()
            writable.register(self.fd, select.POLLOUT)
            while not writable.poll(self.write_timeout * 1000):
                if not self.takes():
                    raise ClientDisconnected
            self.flush()
