"""What the caller takes (RFC 9110 section 12.5), and whether the API speaks that."""

from __future__ import annotations

from functools import lru_cache, wraps

from ...text import text
from ..problem import HTTPProblem
from ..request import Request
from ..response import Response
from ..router import Handler

_RANGES = ("application/json", "application/*", "*/*")  # what JSON falls under, the closest first


@lru_cache(1000)
def takes(header: str, names: tuple[str, ...]) -> bool:
    """Whether an Accept, or Accept-Encoding, takes what has these names, the closest first: what it
    says of the first that is there counts.
    """
    said: dict[str, bool] = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weights = [p[2:] for p in parameters if p.startswith("q=")]
        said[name] = not weights or weights[0].strip("0.") != ""
    return next((said[name] for name in names if name in said), False)


def json_only(handler: Handler) -> Handler:
    """The handler, which answers JSON, for who takes that; HTTPProblem 406 for others."""

    @wraps(handler)
    def accepting(request: Request) -> Response:
        header = request.header("Accept")
        if header and not takes(header, _RANGES):
            raise HTTPProblem(406, text("answers here are application/json"), code="F526")
        return handler(request)

    return accepting


def prefers_html(header: str | None) -> bool:
    """Whether an Accept names text/html, as browsers do, and not JSON before it."""
    for item in (header or "").lower().split(","):
        name = item.partition(";")[0].strip()
        if name in ("text/html", "application/xhtml+xml"):
            return takes(header or "", (name,))
        if name == "application/json" or name.endswith("+json"):
            return False
    return False
