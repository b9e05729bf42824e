"""How many requests of one client run at once; further ones wait for their turn, for a second.

Our own server parks a waiting request: it holds no thread, and the server runs it again from the
beginning. Another server cannot, so there the request is refused at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from ...errors import TooManyConnections
from ...fanout import Lease, Limiter
from ...i18n import text
from ..contract import PARKS, RELEASE, Parked
from ..problem import HTTPProblem
from ..request import Request
from ..response import Response
from ..router import Handler
from .limits import network

WAIT = 1.0  # seconds
EXPORTS = 1  # CSVs of one client: to make them costs the interpreter, in which all threads run
MOST_WAITING = 256  # requests of one client that are parked
_NO_TOTAL = 2**31 - 1


class ConcurrencyLimit:
    """Middleware behind `Identify`. A client is a user, however he is known, else an address as
    `network` has it. A request that gets no turn is HTTPProblem 429, F644, with Retry-After.

    most: requests of one client. of_address: requests of all users of one address. caller: as of
    `RateLimits`. free: routes that are not counted. A request counts until its body is over;
    `Application` and our server call `environ["forge.release"]` then. Routes that end with ".csv"
    have places of their own, fewer.
    """

    def __init__(
        self,
        most: int,
        of_address: int,
        caller: Callable[[], tuple[str, str] | None],
        free: Collection[str] = (),
    ) -> None:
        self._clients = Limiter(max_total=_NO_TOTAL, max_per_user=most)
        self._exports = Limiter(max_total=_NO_TOTAL, max_per_user=EXPORTS)
        self._addresses = Limiter(max_total=_NO_TOTAL, max_per_user=of_address)
        self._caller, self._free = caller, frozenset(free)
        # What resumes the parked requests of each client or address, in the order of their arrival.
        self._parked: dict[str, dict[int, Callable[[], bool]]] = {}
        self._lock = threading.Lock()  # LOCK: guards changes of _parked

    def __call__(self, request: Request, handler: Handler) -> Response:
        """The handler's response, when it is this request's turn."""
        if request.route in self._free:
            return handler(request)
        environ, caller = request.environ, self._caller()
        address = network(environ.get("REMOTE_ADDR", ""))
        client = f"user {caller[1]}" if caller else f"nobody {address}"
        clients = self._clients
        if request.route.endswith(".csv"):
            clients, client = self._exports, f"csv {client}"
        try:
            places = self._acquire(clients, client, address)
        except TooManyConnections:
            raise self._postponed(clients, client, address, environ) from None
        environ[RELEASE] = partial(self._release, *places)
        return handler(request)

    def _acquire(self, clients: Limiter, client: str, address: str) -> tuple[Lease, Lease]:
        place = clients.acquire(client)
        try:
            return place, self._addresses.acquire(address)
        except TooManyConnections:
            place.release()
            self._resume(client)  # who found it taken
            raise

    def _release(self, client: Lease, address: Lease) -> None:
        """Give the places of a request to the next ones. Idempotent."""
        if not (client.release() and address.release()):
            return
        if self._parked:
            self._resume(client.user)
            self._resume(address.user)

    def _postponed(
        self, clients: Limiter, client: str, address: str, environ: dict[str, Any]
    ) -> Parked | HTTPProblem:
        """What a request that finds no place is answered with: later, or never."""
        request = id(environ)
        with self._lock:
            for key in (client, address):
                self._parked.get(key, {}).pop(request, None)
        until = environ.setdefault("forge.wait_until", time.monotonic() + WAIT)
        limiter, key = clients, client
        if limiter.active_for(client) < limiter.max_per_user:
            limiter, key = self._addresses, address
        if (
            PARKS not in environ
            or time.monotonic() >= until
            or len(self._parked.get(key, ())) >= MOST_WAITING
        ):
            return _too_many()
        return Parked(until, partial(self._park, limiter, key, request))

    def _park(self, limiter: Limiter, key: str, request: int, resume: Callable[[], bool]) -> None:
        """The server calls it when it can resume the request."""
        with self._lock:
            self._parked.setdefault(key, {})[request] = resume
        if limiter.active_for(key) < limiter.max_per_user:  # one has ended meanwhile
            self._resume(key)

    def _resume(self, key: str) -> None:
        """Resume the first request that still waits for a place of this client or address."""
        with self._lock:
            parked = self._parked.get(key, {})
            while parked:
                if parked.pop(next(iter(parked)))():
                    break
            if not parked:
                self._parked.pop(key, None)


def _too_many() -> HTTPProblem:
    message = text("too many requests of one client at once; try again in {seconds} s", seconds=1)
    return HTTPProblem(429, message, code="F644", headers=[("Retry-After", "1")])
