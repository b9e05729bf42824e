"""Rate limits: how many requests a user, or else an address, may send in a period.

Header fields follow draft-ietf-httpapi-ratelimit-headers-10. The buckets are in the memory of this
process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from itertools import islice
from math import ceil
from time import monotonic

from ...i18n import text
from ..problem import HTTPProblem, problem_response
from ..request import Request
from ..response import Response
from ..router import Handler

DEFAULT = "default"
_MAX_BUCKETS = 65536  # buckets of one limiter
_TICK = 1e-9  # seconds: rounding errors of sums of doubles


class RateLimiter:
    """Token buckets by key: at most `limit` tokens, refilled evenly over `period` seconds.

    Exact under threads. Uses the generic cell rate algorithm of ITU-T I.371 with one timestamp for
    each bucket. With more than 65,536 keys the least recently used bucket is dropped, which refills
    it.
    """

    def __init__(self, limit: int, period: float) -> None:
        self._period, self._interval = period, period / limit
        # When each bucket is full again, in the order of the last use.
        self._times: dict[str, float] = {}
        self._lock = threading.Lock()  # LOCK: _times

    def take(self, key: str) -> tuple[bool, int, float]:
        """Take a token.

        Returns (allowed, remaining tokens, seconds). The seconds are until the bucket is full, or
        if refused until the next token.
        """
        with self._lock:
            now, full_at = monotonic(), self._times.get(key)
            used = max((full_at or now) - now, 0.0) + self._interval
            if used > self._period + _TICK:
                return False, 0, used - self._period
            if full_at is None:
                self._drop_full(now)
            else:
                del self._times[key]
            self._times[key] = now + used
        return True, int((self._period - used + _TICK) / self._interval), used

    def _drop_full(self, now: float) -> None:
        """Drop up to two full buckets, and one if there are too many."""
        for key in list(islice(self._times, 2)):
            if self._times[key] > now and len(self._times) < _MAX_BUCKETS:
                break
            del self._times[key]


class RateLimits:
    """Middleware that limits requests below a prefix, and of certain routes.

    limits: kind of caller: (requests, seconds). "default" is for kinds without an entry.
    prefix: of the limited paths.
    caller: returns kind and key of the current caller, ("session", "4711"). It returns None for
        anonymous users, which count by address.
    routes: patterns of further limited routes.

    A response above the limit is 429 with Retry-After.
    """

    def __init__(
        self,
        limits: Mapping[str, tuple[int, float]],
        prefix: str,
        caller: Callable[[], tuple[str, str] | None],
        routes: Collection[str] = (),
    ) -> None:
        self._limits = {
            kind: (RateLimiter(count, seconds), f'"{kind}";q={count};w={ceil(seconds)}')
            for kind, (count, seconds) in limits.items()
        }
        self._prefix, self._caller, self._routes = prefix + "/", caller, frozenset(routes)

    def __call__(self, request: Request, handler: Handler) -> Response:
        """Return the handler's response, or 429, with the state of the limit."""
        if not request.path.startswith(self._prefix) and request.route not in self._routes:
            return handler(request)
        fields, refused = self._take(request, self._caller())
        response = handler(request) if refused is None else problem_response(refused, request.id)
        return Response(response.status, response.body, [*response.headers, *fields])

    def count_failure(self, request: Request) -> None:
        """Count a request with invalid credentials by address. Raises HTTPProblem 429."""
        fields, refused = self._take(request, None)
        if refused is not None:
            refused.headers = (*refused.headers, *fields)
            raise refused

    def _take(
        self, request: Request, caller: tuple[str, str] | None
    ) -> tuple[Sequence[tuple[str, str]], HTTPProblem | None]:
        """Return the header fields, and the problem if the limit is exceeded."""
        kind, key = caller or (DEFAULT, network(request.environ.get("REMOTE_ADDR", "")))
        kind = kind if kind in self._limits else DEFAULT
        if kind not in self._limits:
            return [], None
        limiter, policy = self._limits[kind]
        allowed, remaining, seconds = limiter.take(f"{kind} {key}")
        wait = ceil(seconds)
        fields = [("RateLimit-Policy", policy), ("RateLimit", f'"{kind}";r={remaining};t={wait}')]
        if allowed:
            return fields, None
        message = text("too many requests; try again in {seconds} s", seconds=wait)
        headers = [("Retry-After", str(wait))]
        return fields, HTTPProblem(429, message, code="F525", headers=headers)


@lru_cache(10_000)
def network(address: str) -> str:
    """Return the key of an address: an IPv6 client has a whole /64."""
    try:
        full_at = ip_address(address.partition("%")[0])  # a zone (RFC 4007), as some servers add it
    except ValueError:
        return address
    if full_at.version == 4:
        return address
    mapped = full_at.ipv4_mapped
    return str(mapped) if mapped else full_at.exploded[:19]
