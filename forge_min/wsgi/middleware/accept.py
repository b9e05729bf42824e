"""Content negotiation: which media types and codings the client accepts (RFC 9110, 12.5)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, wraps

from ...i18n import preferences, text
from ..problem import HTTPProblem
from ..request import Request
from ..response import Response
from ..router import Handler

_RANGES = ("application/json", "application/*", "*/*")  # that include JSON, the most specific first


@lru_cache(1000)
def accepts(header: str, names: tuple[str, ...]) -> bool:
    """Return whether an Accept or Accept-Encoding header accepts one of these names.

    names: for one type or coding, the most specific first. The first one in the header decides.
    """
    weights = _weights(header)
    return next((weights[name] > 0 for name in names if name in weights), False)


def accepts_gzip(request: Request) -> bool:
    """Return whether the client accepts gzip (Accept-Encoding)."""
    return accepts(request.header("Accept-Encoding") or "", ("gzip", "x-gzip", "*"))


def preferred(request: Request, kinds: Sequence[str]) -> str:
    """Return the media type that a request prefers (Accept).

    Of equal ones, and if none is accepted, the first.
    """
    weights = _weights(request.header("Accept") or "*/*")
    others = weights.get("*/*", 0.0)
    return max(kinds, key=lambda kind: weights.get(kind, weights.get(_type_range(kind), others)))


def _type_range(kind: str) -> str:
    return f"{kind.partition('/')[0]}/*"


def _weights(header: str) -> dict[str, float]:
    return {name: weight for name, _, weight in preferences(header)}


def json_only(handler: Handler) -> Handler:
    """Wrap a handler of JSON: clients that do not accept JSON get HTTPProblem 406."""

    @wraps(handler)
    def accepting(request: Request) -> Response:
        header = request.header("Accept")
        if header and not accepts(header, _RANGES):
            raise HTTPProblem(
                406, text("responses are application/json; accept that type"), code="F526"
            )
        return handler(request)

    return accepting


def prefers_html(header: str | None) -> bool:
    """Return whether an Accept header has text/html, as in browsers, and not JSON before it."""
    for name, _, weight in preferences(header or ""):
        if name in ("text/html", "application/xhtml+xml"):
            return weight > 0
        if name == "application/json" or name.endswith("+json"):
            return False
    return False
