"""Which pages of other origins may send requests: the CORS protocol (Fetch standard, section 3.3).

A response never allows credentials. So a page of another origin cannot use cookies: it is
anonymous, or authenticated by a token that it has.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..request import Request
from ..response import Response, no_content
from ..router import Handler

ANY = "*"
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS = (
    "Accept, Accept-Language, Authorization, Content-Type, Forge-Consistency, Forge-Position,"
    " Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Traceparent, X-Request-ID"
)
EXPOSED = (
    "ETag, Forge-Position, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy,"
    " Retry-After, X-Request-ID"
)
_MAX_AGE = "600"  # seconds for which a browser caches a preflight


class CORS:
    """Middleware that responds to preflights before routing, and adds the headers of CORS.

    origins: as browsers send them ("https://shop.example"), or "*" for all.
    headers: further request headers that are permitted.
    """

    def __init__(self, origins: Sequence[str], headers: Sequence[str] = ()) -> None:
        self._origins = frozenset(origins)
        allowed_headers = ", ".join([HEADERS, *headers])
        self._preflight = [
            ("Access-Control-Allow-Methods", METHODS),
            ("Access-Control-Allow-Headers", allowed_headers),
            ("Access-Control-Max-Age", _MAX_AGE),
        ]

    def __call__(self, request: Request, handler: Handler) -> Response:
        """Return the response to a preflight, or the handler's with the headers for its origin."""
        origin = request.header("Origin")
        is_allowed = origin is not None and not self._origins.isdisjoint((origin, ANY))
        requested = request.header("Access-Control-Request-Method")
        is_preflight = request.method == "OPTIONS" and requested
        if is_allowed and is_preflight:
            response = no_content(self._preflight)
        else:
            response = handler(request)
        headers = []
        if ANY in self._origins:
            origin = ANY
        else:  # a response is for one origin only
            headers.append(("Vary", "Origin"))
        if is_allowed:
            headers.append(("Access-Control-Allow-Origin", str(origin)))
            if not is_preflight:
                headers.append(("Access-Control-Expose-Headers", EXPOSED))
        return response.with_headers(headers)
