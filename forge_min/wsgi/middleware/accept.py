"""What the caller takes (RFC 9110 section 12.5), and whether the API speaks that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, wraps

from ...i18n import preferences, text
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
    weights = _weights(header)
    return next((weights[name] > 0 for name in names if name in weights), False)


def preferred(request: Request, kinds: Sequence[str]) -> str:
    """The media type that a request prefers (Accept); the first of equal ones, and of those that it
    does not take.
    """
    weights = _weights(request.header("Accept") or "*/*")
    others = weights.get("*/*", 0.0)
    return max(kinds, key=lambda kind: weights.get(kind, weights.get(_family(kind), others)))


def _family(kind: str) -> str:
    return f"{kind.partition('/')[0]}/*"


def _weights(header: str) -> dict[str, float]:
    return {name: weight for name, _, weight in preferences(header)}


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
    for name, _, weight in preferences(header or ""):
        if name in ("text/html", "application/xhtml+xml"):
            return weight > 0
        if name == "application/json" or name.endswith("+json"):
            return False
    return False
