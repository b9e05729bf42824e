"""A stream as an iterator of bytes: the fallback where no StreamWriter can take the socket over.

It costs one thread for as long as it lives, which is what the writer is there to avoid.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from ..fanout import Lease, Subscription, take_any, wait_any
from .frames import refresh

HEARTBEAT = b": hb\n\n"


class ByteStream(Iterator[bytes]):
    """Merges subscriptions; each item is one or more whole frames. Ends when all are closed.

    A class and not a generator: close() must release the lease also when nobody asked for the first
    item (PEP 3333 lets a server do so), and may come from another thread while one waits here.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        lease: Lease | None,
        first: bytes,
        heartbeat: float,
        ended: Callable[[], bytes],
    ) -> None:
        self._subscriptions = tuple(subscriptions)
        self._lease = lease
        self._first = first
        self._heartbeat = heartbeat
        self._ended = ended
        self._ask_at = time.monotonic() + heartbeat

    def __next__(self) -> bytes:
        """The frames that are there, else the next to come, else a heartbeat comment."""
        if self._first:
            first, self._first = self._first, b""
            return first
        while waiting := [one for one in self._subscriptions if not one.closed]:
            if time.monotonic() >= self._ask_at:
                self._ask_at = time.monotonic() + self._heartbeat
                if farewell := self._ended():
                    self.close()
                    return farewell
            missed, frames = take_any(waiting)
            if missed:
                frames.append(refresh("overflow", missed))
            if frames:
                return b"".join(frames)
            if not wait_any(waiting, self._heartbeat):
                return HEARTBEAT
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Leave the topics and release the lease. Idempotent, from any thread."""
        self._first = b""
        for subscription in self._subscriptions:
            subscription.close()
        if self._lease is not None:
            self._lease.release()


def stream(
    subscriptions: Sequence[Subscription],
    lease: Lease | None = None,
    first: bytes = b"",
    heartbeat: float = 15.0,
    ended: Callable[[], bytes] = bytes,
) -> ByteStream:
    """The bytes of one client's stream: `first`, then every frame of the subscriptions.

    heartbeat: seconds of silence before a comment, and between two questions to `ended`, which
    gives the last frame of a stream that its client may have no longer, else nothing. A
    subscription that fell off its ring gives one refresh. Whoever iterates must close() it, which
    releases the lease.
    """
    return ByteStream(subscriptions, lease, first, heartbeat, ended)
