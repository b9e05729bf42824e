"""Limits: requests of a client in a period, and its concurrent requests.

Header fields follow draft-ietf-httpapi-ratelimit-headers-10. The buckets are in the memory of this
process. A concurrent request over the limit waits up to a second: forge_min's server parks it
without a thread, and runs it again from the beginning; other servers refuse it at once.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial
from ipaddress import ip_address
from itertools import islice
from math import ceil
from typing import Any

from ...auth import SESSION, current_identity
from ...errors import TooManyConnections
from ...fanout import Lease, Limiter
from ...i18n import text
from ..contract import PARKS, RELEASE, Parked
from ..problem import HTTPProblem, problem_response
from ..request import Request
from ..response import Response
from ..router import Handler

DEFAULT = "default"
_MAX_BUCKETS = 65536  # buckets of one limiter
_TICK = 1e-9  # seconds: rounding errors of sums of doubles
# Seconds after which a thread that computes leaves the interpreter to another one, while requests
# are refused. PERF: with Python's 5 ms a row takes 58 ms beside a client with 2,000 refused
# requests a second (benchmarks/http/attacks.py, Accept); with less, other responses cost 5 % more.
_SWITCH_INTERVAL = 0.0005
_USUAL_INTERVAL = sys.getswitchinterval()
_HURRY = 1.0  # seconds since the last refused request


class RateLimiter:
    """Token buckets by key: at most `limit` tokens, refilled evenly over `period` seconds.

    Exact under threads. Uses the generic cell rate algorithm of ITU-T I.371 with one timestamp for
    each bucket. With more than 65,536 keys the least recently used bucket is dropped, which refills
    it.
    """

    def __init__(self, limit: int, period: float) -> None:
        self._period = period
        self._interval = period / limit
        # When each bucket is full again, in the order of the last use.
        self._times: dict[str, float] = {}
        self._lock = threading.Lock()  # LOCK: _times

    def take(self, key: str, tokens: int = 1) -> tuple[bool, int, float]:
        """Take a token. tokens: 0 only looks.

        Returns (allowed, remaining tokens, seconds). The seconds are until the bucket is full, or
        if refused until the next token.
        """
        with self._lock:
            now = time.monotonic()
            full_at = self._times.get(key)
            cost = min(tokens * self._interval, self._period)  # so that it is possible at all
            used = cost
            if full_at is not None:
                used += max(full_at - now, 0.0)
            if used > self._period + _TICK:
                return False, 0, used - self._period
            if full_at is None:
                self._drop_full(now)
            else:
                del self._times[key]
            self._times[key] = now + used
        remaining = (self._period - used + _TICK) / self._interval
        return True, int(remaining), used

    def _drop_full(self, now: float) -> None:
        """Drop up to two full buckets, and one if there are too many."""
        for key in list(islice(self._times, 2)):
            if self._times[key] > now and len(self._times) < _MAX_BUCKETS:
                break
            del self._times[key]


class RateLimits:
    """Middleware that limits requests of certain paths.

    limits: how users are identified (`Identity.via`): (requests, seconds). "default" is for ways
        without an entry, and for anonymous users, which count by address.
    paths: that are limited, with all paths below them.

    A body counts as one more request for each 64 KiB. A response above the limit is 429 with
    Retry-After.
    """

    def __init__(self, limits: Mapping[str, tuple[int, float]], *paths: str) -> None:
        self._limits: dict[str, tuple[RateLimiter, str]] = {}
        for kind, (count, seconds) in limits.items():
            policy = f'"{kind}";q={count};w={ceil(seconds)}'
            self._limits[kind] = (RateLimiter(count, seconds), policy)
        self._paths = tuple(f"{path}/" for path in paths)
        self._hurries_until = 0.0

    def __call__(self, request: Request, handler: Handler) -> Response:
        """Return the handler's response, or 429, with the state of the limit."""
        if not f"{request.path}/".startswith(self._paths):
            return handler(request)
        fields, problem = self._take(request)
        if problem is None:
            response = handler(request)
        else:
            response = problem_response(problem, request.id)
        return response.with_headers(fields)

    def count_failure(self, request: Request) -> None:
        """Count a request with invalid credentials by address. Raises HTTPProblem 429."""
        fields, problem = self._take(request)
        if problem is not None:
            problem.headers = (*problem.headers, *fields)
            raise problem

    def _take(self, request: Request) -> tuple[Sequence[tuple[str, str]], HTTPProblem | None]:
        """Return the header fields, and the problem if the limit is exceeded."""
        identity = current_identity()
        kind = DEFAULT
        if identity.user:
            kind = identity.via or SESSION
        if kind not in self._limits:
            kind = DEFAULT
        if kind not in self._limits:
            return [], None
        limiter, policy = self._limits[kind]
        key = identity.user or client_network(request)
        tokens = 1 + _body_length(request.environ) // LARGE
        allowed, remaining, seconds = limiter.take(f"{kind} {key}", tokens)
        wait = ceil(seconds)
        fields = [("RateLimit-Policy", policy), ("RateLimit", f'"{kind}";r={remaining};t={wait}')]
        if allowed:
            if self._hurries_until and time.monotonic() > self._hurries_until:
                self._hurries_until = 0.0
                sys.setswitchinterval(_USUAL_INTERVAL)
            return fields, None
        self._hurries_until = time.monotonic() + _HURRY
        sys.setswitchinterval(_SWITCH_INTERVAL)
        message = text("too many requests; try again in {seconds} s", seconds=wait)
        headers = [("Retry-After", str(wait))]
        return fields, HTTPProblem(429, message, code="F525", headers=headers)


def client_network(request: Request) -> str:
    """Return the network of a request's client: its address, or the /64 of an IPv6 client."""
    return _network(request.environ.get("REMOTE_ADDR") or "")


@lru_cache(10_000)
def _network(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])  # a zone (RFC 4007), as some servers add it
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return parsed.exploded[:19]


# -- concurrent requests of one client -------------------------------------------------------------


WAIT = 1.0  # seconds
LARGE = 65536  # bytes of a body
EXPORTS = 1  # concurrent CSVs of one client: they hold the GIL, which all threads need
MAX_PARKED = 256  # requests of one client that are parked
MAX_LARGE_PARKED = 8  # of those with a large body, which holds memory


class ConcurrencyLimit:
    """Middleware inside of `Identify`. A client is a user, or else a network.

    max_per_client: concurrent requests of one client.
    max_per_address: concurrent requests of all users of one address.
    exempt: routes that are not counted.
    costly: routes of which a client may have half as many.

    Of requests with a body of more than 64 KiB it may have a quarter as many, but always one.

    A request counts until its response ends: then `Application` or our server calls
    `environ["forge.release"]`. Routes that end with ".csv" have a lower limit of their own. A
    request that waits too long raises HTTPProblem 429, F644, with Retry-After.
    """

    def __init__(
        self,
        max_per_client: int,
        max_per_address: int,
        exempt: Collection[str] = (),
        costly: Collection[str] = (),
    ) -> None:
        self._clients = _limiter(max_per_client)
        self._costly = _limiter(max(1, max_per_client // 2))
        # PERF: decoding JSON holds the GIL; with half instead of a quarter, rows of other clients
        # took 3.5 times as long (benchmarks/http/attacks.py, bodies).
        self._large = _limiter(max(1, max_per_client // 4))
        self._exports = _limiter(EXPORTS)
        self._addresses = _limiter(max_per_address)
        self._exempt = frozenset(exempt)
        self._costly_routes = frozenset(costly)
        # Functions that resume the parked requests of a client or address, in order of arrival.
        self._parked: dict[str, dict[int, Callable[[], bool]]] = {}
        self._lock = threading.Lock()  # LOCK: guards changes of _parked

    def __call__(self, request: Request, handler: Handler) -> Response:
        """Call the handler if the limits permit it. Raises Parked or HTTPProblem."""
        if request.route in self._exempt:
            return handler(request)
        environ = request.environ
        user = current_identity().user
        address = client_network(request)
        client = f"anonymous {address}"
        if user:
            client = f"user {user}"
        limits = [(self._clients, client), (self._addresses, address)]
        if request.route.endswith(".csv"):
            limits[0] = (self._exports, f"csv {client}")
        # After the client's own limit: a request that fails here wakes the next one there.
        if _is_large(environ):
            limits.insert(1, (self._large, f"large {client}"))
        elif request.route in self._costly_routes:
            limits.insert(1, (self._costly, f"costly {client}"))
        leases = []
        for limiter, key in limits:
            try:
                leases.append(limiter.acquire(key))
            except TooManyConnections:
                self._release(*leases)
                raise self._park_or_refuse(limiter, key, environ) from None
        environ[RELEASE] = partial(self._release, *leases)
        return handler(request)

    def _release(self, *leases: Lease) -> None:
        """Release the leases of a request, and resume the next requests. Idempotent."""
        for lease in leases:
            if lease.release() and self._parked:
                self._resume(lease.user)

    def _park_or_refuse(
        self, limiter: Limiter, key: str, environ: dict[str, Any]
    ) -> Parked | HTTPProblem:
        """Return the exception for a request above a limit: wait, or refuse."""
        request = id(environ)
        with self._lock:
            self._parked.get(key, {}).pop(request, None)
        now = time.monotonic()
        until = environ.setdefault("forge.wait_until", now + WAIT)
        capacity = MAX_PARKED
        if _is_large(environ):
            capacity = MAX_LARGE_PARKED
        has_room = len(self._parked.get(key, ())) < capacity
        if PARKS in environ and now < until and has_room:
            return Parked(until, partial(self._park, limiter, key, request))
        message = text(
            "too many concurrent requests of one client; try again in {seconds} s", seconds=1
        )
        return HTTPProblem(429, message, code="F644", headers=[("Retry-After", "1")])

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
                first = next(iter(parked))
                resume = parked.pop(first)
                if resume():
                    break
            if not parked:
                self._parked.pop(key, None)


def _limiter(max_per_client: int) -> Limiter:
    return Limiter(max_total=2**31 - 1, max_per_user=max_per_client)


def _is_large(environ: Mapping[str, Any]) -> bool:
    return _body_length(environ) > LARGE


def _body_length(environ: Mapping[str, Any]) -> int:
    """Return the bytes of a body; an unknown length, as some servers pass it on, is large."""
    length: str = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        return int(length)
    if "HTTP_TRANSFER_ENCODING" in environ:
        return LARGE + 1
    return 0
