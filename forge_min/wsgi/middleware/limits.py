"""How many requests a caller may make in a time: by who it is, else by where it comes from.

Fields as of draft-ietf-httpapi-ratelimit-headers-10. The buckets are in the memory of this process.
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
_MOST_KEYS = 65536  # buckets of one limiter
_TICK = 1e-9  # seconds: rounding errors of sums of doubles


class RateLimiter:
    """Token buckets by key: at most `limit` at once, refilled evenly over `period` seconds.

    Exact under threads: the generic cell rate algorithm of ITU-T I.371, one time for each bucket.
    With more than 65,536 keys the least recently used bucket is dropped, which fills it.
    """

    def __init__(self, limit: int, period: float) -> None:
        self._period, self._interval = period, period / limit
        # When each bucket is full again, in the order of the last take.
        self._times: dict[str, float] = {}
        self._lock = threading.Lock()  # LOCK: _times

    def take(self, key: str) -> tuple[bool, int, float]:
        """(allowed, left, seconds): until the bucket is full again, or until the next token."""
        with self._lock:
            now, known = monotonic(), self._times.get(key)
            used = max((known or now) - now, 0.0) + self._interval
            if used > self._period + _TICK:
                return False, 0, used - self._period
            if known is None:
                self._forget(now)
            else:
                del self._times[key]
            self._times[key] = now + used
        return True, int((self._period - used + _TICK) / self._interval), used

    def _forget(self, now: float) -> None:
        """Drop at most two full buckets, and one of too many."""
        for key in list(islice(self._times, 2)):
            if self._times[key] > now and len(self._times) < _MOST_KEYS:
                break
            del self._times[key]


class RateLimits:
    """Middleware for what lies below `prefix`, and for the routes of these patterns.

    limits: by kind of caller, (requests, seconds); "default" is for whoever has no kind of its own.
    caller: the kind and the key of who asks, ("session", "4711"); None = nobody, who counts by
    address. An answer beyond the limit is 429 with Retry-After.
    """

    def __init__(
        self,
        limits: Mapping[str, tuple[int, float]],
        prefix: str,
        caller: Callable[[], tuple[str, str] | None],
        routes: Collection[str] = (),
    ) -> None:
        self._limiters = {
            kind: RateLimiter(count, seconds) for kind, (count, seconds) in limits.items()
        }
        self._policies = {
            kind: ("RateLimit-Policy", f'"{kind}";q={count};w={ceil(seconds)}')
            for kind, (count, seconds) in limits.items()
        }
        self._prefix, self._caller, self._routes = prefix + "/", caller, frozenset(routes)

    def __call__(self, request: Request, handler: Handler) -> Response:
        """The handler's answer with what is left, or the refusal."""
        if not request.path.startswith(self._prefix) and request.route not in self._routes:
            return handler(request)
        fields, refused = self._take(request, self._caller())
        response = handler(request) if refused is None else problem_response(refused, request.id)
        return Response(response.status, response.body, [*response.headers, *fields])

    def failed(self, request: Request) -> None:
        """Count a caller who is not believed by address. Raises HTTPProblem 429."""
        fields, refused = self._take(request, None)
        if refused is not None:
            refused.headers = (*refused.headers, *fields)
            raise refused

    def _take(
        self, request: Request, caller: tuple[str, str] | None
    ) -> tuple[Sequence[tuple[str, str]], HTTPProblem | None]:
        """The fields of the answer, and the refusal where nothing is left."""
        kind, key = caller or (DEFAULT, network(request.environ.get("REMOTE_ADDR", "")))
        if kind not in self._limiters:
            kind = DEFAULT
        limiter = self._limiters.get(kind)
        if limiter is None:
            return [], None
        allowed, left, seconds = limiter.take(f"{kind} {key}")
        wait = ceil(seconds)
        fields = [self._policies[kind], ("RateLimit", f'"{kind}";r={left};t={wait}')]
        if allowed:
            return fields, None
        message = text("too many requests; try again in {seconds} s", seconds=wait)
        headers = [("Retry-After", str(wait))]
        return fields, HTTPProblem(429, message, code="F525", headers=headers)


@lru_cache(10_000)
def network(address: str) -> str:
    """What counts as one place: an IPv6 client has a /64 of its own to choose from."""
    try:
        known = ip_address(address.partition("%")[0])  # a zone (RFC 4007), as some servers add it
    except ValueError:
        return address
    if known.version == 4:
        return address
    mapped = known.ipv4_mapped
    return str(mapped) if mapped else known.exploded[:19]
