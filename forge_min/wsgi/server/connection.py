"""One client's connection: its socket, what is read of it, what is still to be written, its
deadline.

Exactly one thread owns a connection at a time: the worker that was woken for it, or the sweeper
that took it out of the parked ones.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from .reader import Phase, Reader

CHUNK = 65536
"""Bytes asked of the kernel at once."""


class Gone(Exception):
    """The peer is not there any more, or does not read within the write deadline."""


class Connection:
    """A socket and its two directions.

    deadline: on the monotonic clock, of `phase`, which says what a parked connection waits for.
    closing: no further request is read. lingering: only waiting for the peer's end. pending: the
    reader's buffer may hold whole requests.
    """

    __slots__ = (
        "closing",
        "deadline",
        "fd",
        "lingering",
        "out",
        "pending",
        "phase",
        "reader",
        "sock",
        "write_timeout",
    )

    def __init__(
        self, sock: socket.socket, base: dict[str, Any], max_body: int, write_timeout: float
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.reader = Reader(base, max_body)
        self.out: bytes | memoryview = b""
        self.deadline = 0.0
        self.phase = Phase.FRESH
        self.pending = False
        self.closing = False
        self.lingering = False
        self.write_timeout = write_timeout

    def receive(self) -> bool:
        """Read once into the reader's buffer; False when nothing was there. Raises Gone at the
        end.
        """
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return False
        except OSError as err:
            raise Gone from err
        if not data:
            raise Gone
        self.reader.buffer += data
        return True

    def send(self, data: bytes | memoryview) -> None:
        """Write what the kernel takes now and keep the rest in `out`. Raises Gone."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as err:
            raise Gone from err
        if sent < len(data):
            self.out = memoryview(data)[sent:]

    def flush(self) -> None:
        """Write on what `out` holds. Raises Gone."""
        data, self.out = self.out, b""
        self.send(data)

    def send_all(self, data: bytes) -> None:
        """Write everything, waiting for the peer. Raises Gone after `write_timeout` without
        progress.

        For answers that are made piece by piece, whose application holds the thread anyway.
        """
        self.send(data)
        if self.out:
            writable = select.poll()
            writable.register(self.fd, select.POLLOUT)
            while self.out:
                if not writable.poll(self.write_timeout * 1000):
                    raise Gone
                self.flush()

    def try_send(self, data: bytes) -> None:
        """Write a last word if the peer takes it at once."""
        try:
            self.sock.send(data)
        except OSError:
            pass
