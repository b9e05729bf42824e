"""Whether the caller takes what the API speaks (RFC 9110 section 12.5.1)."""

from __future__ import annotations

from functools import lru_cache, wraps

from ...text import text
from ..problem import HTTPProblem
from ..request import Request
from ..response import Response
from ..router import Handler

_RANGES = ("application/json", "application/*", "*/*")  # what JSON falls under, the closest first


@lru_cache(1000)
def accepts_json(header: str) -> bool:
    """Whether an Accept takes JSON: what it says of the closest range counts."""
    takes: dict[str, bool] = {}
    for item in header.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        weights = [p[2:] for p in parameters if p.startswith("q=")]
        takes[kind] = not weights or weights[0].strip("0.") != ""
    return next((takes[kind] for kind in _RANGES if kind in takes), False)


def json_only(handler: Handler) -> Handler:
    """The handler, which answers JSON, for who takes that; HTTPProblem 406 for others."""

    @wraps(handler)
    def accepting(request: Request) -> Response:
        header = request.header("Accept")
        if header and not accepts_json(header):
            raise HTTPProblem(406, text("answers here are application/json"), code="F526")
        return handler(request)

    return accepting
