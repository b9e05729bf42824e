"""A stream as an iterator of bytes: a response body where the socket cannot be handed over."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

_CHUNK = 65536  # bytes read at once


class ByteStream(Iterator[bytes]):
    """Reads what a StreamWriter sends to one end of a socket pair; ends when the writer closes it.

    It costs one thread for as long as it lives, which `environ["forge.stream"]` avoids. A class and
    not a generator: close() must end the stream also when no item was read (PEP 3333 lets a server
    do so).

    adopt: called with the writer's end, as `environ["forge.stream"]` calls it. Raises what it
    raises.
    """

    def __init__(self, adopt: Callable[[int], object]) -> None:
        self._socket, other = socket.socketpair()
        adopt(other.detach())

    def __next__(self) -> bytes:
        """The next bytes, of one or several frames. Waits for them."""
        data = b""
        with suppress(OSError):  # closed by another thread
            data = self._socket.recv(_CHUNK)
        if not data:
            self.close()
            raise StopIteration
        return data

    def close(self) -> None:
        """End the stream; the writer then releases its lease. Idempotent, from any thread."""
        with suppress(OSError):  # closed before; else it wakes the thread that waits in recv
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
