"""Which pages of other origins may call: the CORS protocol (Fetch standard, section 3.3).

Cookies are nobody's from another origin: an answer never allows credentials, so a foreign page acts
as nobody, or with the token that it has.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..request import Request
from ..response import Response, no_content
from ..router import Handler

ANY = "*"
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS = (
    "Accept, Accept-Language, Authorization, Content-Type, Idempotency-Key, If-Match,"
    " If-None-Match, Last-Event-ID, Traceparent, X-Request-ID"
)
EXPOSED = (
    "ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After,"
    " X-Request-ID"
)
_MAX_AGE = "600"  # seconds that a browser remembers a preflight


class CORS:
    """Middleware that answers preflights before anything is routed, and marks all answers.

    origins: as browsers send them ("https://shop.example"), or "*" for all. headers: request fields
    that may be sent beside the usual ones.
    """

    def __init__(self, origins: Sequence[str], headers: Sequence[str] = ()) -> None:
        self._origins = frozenset(origins)
        self._headers = ", ".join([HEADERS, *headers])

    def __call__(self, request: Request, handler: Handler) -> Response:
        """A preflight's answer, or the handler's with what the origin may do with it."""
        origin = request.header("Origin")
        allowed = origin is not None and not self._origins.isdisjoint((origin, ANY))
        asks = request.method == "OPTIONS" and request.header("Access-Control-Request-Method")
        if allowed and asks:
            response = no_content(
                [
                    ("Access-Control-Allow-Methods", METHODS),
                    ("Access-Control-Allow-Headers", self._headers),
                    ("Access-Control-Max-Age", _MAX_AGE),
                ]
            )
        else:
            response = handler(request)
        more = []
        if ANY not in self._origins:  # then what one origin gets is not for another
            more.append(("Vary", "Origin"))
        if allowed:
            given = ANY if ANY in self._origins else str(origin)
            more.append(("Access-Control-Allow-Origin", given))
            if not asks:
                more.append(("Access-Control-Expose-Headers", EXPOSED))
        # A new one: a handler may give the same to every request.
        return Response(response.status, response.body, [*response.headers, *more])
