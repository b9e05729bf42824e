"""Limits the concurrent requests of one client; further requests wait up to a second.

Our own server parks a waiting request: it holds no thread, and runs again from the beginning. Other
servers cannot do that, so with them the request is refused at once.
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
EXPORTS = 1  # concurrent CSVs of one client: they hold the GIL, which all threads need
MAX_PARKED = 256  # requests of one client that are parked
_NO_TOTAL = 2**31 - 1


class ConcurrencyLimit:
    """Middleware inside of `Identify`. A client is a user, or else an address (see `network`).

    max_per_client: concurrent requests of one client.
    max_per_address: concurrent requests of all users of one address.
    caller: see `RateLimits`.
    exempt: routes that are not counted.

    A request counts until its body ends: then `Application` or our server calls
    `environ["forge.release"]`. Routes that end with ".csv" have a lower limit of their own. A
    request that waits too long raises HTTPProblem 429, F644, with Retry-After.
    """

    def __init__(
        self,
        max_per_client: int,
        max_per_address: int,
        caller: Callable[[], tuple[str, str] | None],
        exempt: Collection[str] = (),
    ) -> None:
        self._clients = Limiter(max_total=_NO_TOTAL, max_per_user=max_per_client)
        self._exports = Limiter(max_total=_NO_TOTAL, max_per_user=EXPORTS)
        self._addresses = Limiter(max_total=_NO_TOTAL, max_per_user=max_per_address)
        self._caller, self._exempt = caller, frozenset(exempt)
        # Functions that resume the parked requests of a client or address, in order of arrival.
        self._parked: dict[str, dict[int, Callable[[], bool]]] = {}
        self._lock = threading.Lock()  # LOCK: guards changes of _parked

    def __call__(self, request: Request, handler: Handler) -> Response:
        """Call the handler if the limits permit it. Raises Parked or HTTPProblem."""
        if request.route in self._exempt:
            return handler(request)
        environ, caller = request.environ, self._caller()
        address = network(environ.get("REMOTE_ADDR", ""))
        client = f"user {caller[1]}" if caller else f"anonymous {address}"
        clients = self._clients
        if request.route.endswith(".csv"):
            clients, client = self._exports, f"csv {client}"
        try:
            leases = self._acquire(clients, client, address)
        except TooManyConnections:
            raise self._park_or_refuse(clients, client, address, environ) from None
        environ[RELEASE] = partial(self._release, *leases)
        return handler(request)

    def _acquire(self, clients: Limiter, client: str, address: str) -> tuple[Lease, Lease]:
        lease = clients.acquire(client)
        try:
            return lease, self._addresses.acquire(address)
        except TooManyConnections:
            lease.release()
            self._resume(client)  # it may have found this lease in use
            raise

    def _release(self, client: Lease, address: Lease) -> None:
        """Release the leases of a request, and resume the next requests. Idempotent."""
        if not (client.release() and address.release()):
            return
        if self._parked:
            self._resume(client.user)
            self._resume(address.user)

    def _park_or_refuse(
        self, clients: Limiter, client: str, address: str, environ: dict[str, Any]
    ) -> Parked | HTTPProblem:
        """Return the exception for a request above a limit: wait, or refuse."""
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
            or len(self._parked.get(key, ())) >= MAX_PARKED
        ):
            message = text(
                "too many concurrent requests of one client; try again in {seconds} s", seconds=1
            )
            return HTTPProblem(429, message, code="F644", headers=[("Retry-After", "1")])
        return Parked(until, partial(self._park, limiter, key, request))

    def _park(self, limiter: Limiter, key: str, request: int, resume: Callable[[], bool]) -> None:
        """Register a parked request. Called by the server when `resume` may be called."""
        with self._lock:
            self._parked.setdefault(key, {})[request] = resume
        if limiter.active_for(key) < limiter.max_per_user:  # a request has ended since
            self._resume(key)

    def _resume(self, key: str) -> None:
        """Resume the first request that still waits for this client or address."""
        with self._lock:
            parked = self._parked.get(key, {})
            while parked:
                if parked.pop(next(iter(parked)))():
                    break
            if not parked:
                self._parked.pop(key, None)
