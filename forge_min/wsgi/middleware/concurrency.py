"""How many requests of one client run at once; further ones wait for their turn, for a second.

Our own server parks a waiting request: it holds no thread, and the server runs it again from the
beginning. Under another server it waits in its thread, and few may do that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

from ...errors import TooManyConnections
from ...fanout import Lease, Limiter
from ...text import text
from ..message import Parked
from ..problem import HTTPProblem
from ..request import Request
from ..response import Response
from ..router import Handler
from .limits import network

WAIT = 1.0  # seconds
MOST_WAITING = 256  # requests of one client that are parked
_NO_TOTAL = 2**31 - 1


class ConcurrencyLimit:
    """Middleware behind `Identify`. A client is a user or an API key, else an address as `network`
    has it. A request that gets no turn is HTTPProblem 429, F644, with Retry-After.

    most: requests of one client. caller: as of `RateLimits`. free: routes that are not counted.
    A request counts until its body is over; `Application` and our server call
    `environ["forge.release"]` then.
    """

    def __init__(
        self,
        most: int,
        caller: Callable[[], tuple[str, str] | None],
        free: Collection[str] = (),
    ) -> None:
        self._limiter = Limiter(max_total=_NO_TOTAL, max_per_user=most)
        self._most, self._caller, self._free = most, caller, frozenset(free)
        # What resumes the parked requests of each client, in the order of their arrival.
        self._parked: dict[str, dict[int, Callable[[], bool]]] = {}
        # LOCK: guards changes of _parked and _blocked, the threads that wait under other servers.
        self._freed = threading.Condition()
        self._blocked = 0

    def __call__(self, request: Request, handler: Handler) -> Response:
        """The handler's response, when it is this request's turn."""
        if request.route in self._free:
            return handler(request)
        environ, caller = request.environ, self._caller()
        client = " ".join(caller) if caller else network(environ.get("REMOTE_ADDR", ""))
        try:
            lease = self._limiter.acquire(client)
        except TooManyConnections:
            lease = self._wait(client, environ)
        environ["forge.release"] = partial(self._release, lease)
        return handler(request)

    def _release(self, lease: Lease) -> None:
        """Give the place of a request to the next one. Idempotent."""
        if not lease.release():
            return
        if self._parked:
            self._resume(lease.user)
        if self._blocked:
            with self._freed:
                self._freed.notify_all()

    def _wait(self, client: str, environ: dict[str, Any]) -> Lease:
        """A place, for a server without parking; else raises Parked. Raises HTTPProblem 429."""
        key, parked = id(environ), self._parked.get(client, {})
        with self._freed:
            parked.pop(key, None)
        until = environ.setdefault("forge.wait_until", time.monotonic() + WAIT)
        if time.monotonic() >= until or len(parked) >= MOST_WAITING:
            raise _too_many()
        if "forge.parks" in environ:
            raise Parked(until, partial(self._park, client, key))
        return self._block(client, until)

    def _park(self, client: str, key: int, resume: Callable[[], bool]) -> None:
        """The server calls it when it can resume the request."""
        with self._freed:
            self._parked.setdefault(client, {})[key] = resume
        if self._limiter.active_for(client) < self._most:  # one has ended meanwhile
            self._resume(client)

    def _resume(self, client: str) -> None:
        """Resume the first parked request of a client that still waits."""
        with self._freed:
            parked = self._parked.get(client, {})
            while parked:
                if parked.pop(next(iter(parked)))():
                    break
            if not parked:
                self._parked.pop(client, None)

    def _block(self, client: str, until: float) -> Lease:
        with self._freed:
            if self._blocked >= max(1, self._most // 2):
                raise _too_many()
            self._blocked += 1
            try:
                while True:
                    with suppress(TooManyConnections):
                        return self._limiter.acquire(client)
                    if not self._freed.wait(until - time.monotonic()):
                        raise _too_many()
            finally:
                self._blocked -= 1


def _too_many() -> HTTPProblem:
    message = text("too many requests of one client at once; try again in {seconds} s", seconds=1)
    return HTTPProblem(429, message, code="F644", headers=[("Retry-After", "1")])
