"""Large answers as gzip, for whoever takes it (RFC 9110 section 8.4.1)."""

from __future__ import annotations

import gzip
import re
from functools import lru_cache

from ..request import Request
from ..response import Response
from ..router import Handler

SMALLEST = 1400  # bytes: what fits one packet gains nothing
LEVEL = 4  # PERF: of a list of 25 rows, 6 gains two in a hundred and costs twice (benchmarks/http)
_TEXTUAL = re.compile(r"text/(?!event-stream)|application/(?:[a-z.+-]+\+)?(?:json|xml|javascript)")


@lru_cache(1000)
def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding takes gzip (RFC 9110 section 12.5.3)."""
    takes = {}
    for item in header.lower().split(","):
        coding, _, weight = item.partition(";")
        takes[coding.strip()] = not weight or weight.strip().removeprefix("q=").strip("0.") != ""
    return takes.get("gzip", takes.get("x-gzip", takes.get("*", False)))


class Compress:
    """Middleware. What has an entity tag stays as it is: with another coding it would be another
    representation, whose tag no If-Match could name (RFC 9110 section 8.8.3).
    """

    def __call__(self, request: Request, handler: Handler) -> Response:
        """The handler's answer, smaller."""
        response, body = handler(request), b""
        if isinstance(response.body, bytes):
            body = response.body
        if len(body) < SMALLEST or response.header("ETag") or response.header("Content-Encoding"):
            return response
        if not _TEXTUAL.match(response.header("Content-Type") or ""):
            return response
        headers = [*response.headers, ("Vary", "Accept-Encoding")]
        if accepts_gzip(request.header("Accept-Encoding") or ""):
            body = gzip.compress(body, LEVEL, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        return Response(response.status, body, headers)
