"""An HTTP connection whose exchanges end in time, however the other side sends.

The timeout of a socket bounds one read: who sends a byte now and then holds its reader for good.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable
from typing import Any


class Bounded(http.client.HTTPConnection):
    """Between `begin` and the answer's last byte lie at most the seconds that it is given: then
    whatever is under way raises TimeoutError. A TLS handshake may take as long again.
    """

    _until = 0.0

    def begin(self, seconds: float) -> None:
        """The time of one exchange runs from now."""
        self._until = time.monotonic() + seconds

    def connect(self) -> None:
        """As of the base; as long as there is time left."""
        self.timeout = self._left()
        super().connect()

    def send(self, data: Any) -> None:
        """Bytes only."""
        if self.sock is None:
            self.connect()
        rest = memoryview(data)
        while rest:
            self.sock.settimeout(self._left())
            rest = rest[self.sock.send(rest) :]

    def response_class(self, sock: socket.socket, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        """What the base makes of an answer, read in time."""
        return _Final(_Reading(sock, self._left), *args, **options)  # type: ignore[arg-type]

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class BoundedTLS(Bounded, http.client.HTTPSConnection):
    """The same by https."""


class _Final(http.client.HTTPResponse):
    """Reads past the heads that come before an answer; the base knows 100 alone.

    Source: RFC 9110 section 15.2. 101 is asked for, and ends HTTP.
    """

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 101 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _Reading(io.RawIOBase):
    """A socket to read from, and the file of it that HTTPResponse asks for."""

    def __init__(self, sock: socket.socket, left: Callable[[], float]) -> None:
        self._sock, self._left = sock, left
        self._raw = sock.makefile("rb", buffering=0)  # keeps it open until the answer is read

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
