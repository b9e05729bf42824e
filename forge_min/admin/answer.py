"""What a route of the admin server is asked, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html; charset=utf-8"
SVG = "image/svg+xml"
_NONE = "default-src 'none'; frame-ancestors 'none'"
_POLICIES = {
    HTML: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    SVG: f"{_NONE}; style-src 'self'",
}


class Answer(NamedTuple):
    """status: number and phrase. headers: beside those that every answer has."""

    status: str
    kind: str
    body: bytes
    headers: Sequence[tuple[str, str]] = ()

    def all_headers(self) -> list[tuple[str, str]]:
        """Those to be sent; the policy fits what the body is."""
        return [
            ("Content-Type", self.kind),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", _POLICIES.get(self.kind, _NONE)),
            *self.headers,
        ]


Route = Callable[[Mapping[str, Sequence[str]], str], Answer]
"""Takes the decoded query, or the form of a POST, and the Accept header ("" where there is none).
Raises BadRequest for what cannot be meant.
"""

Routes = dict[str, dict[str, Route]]
"""path → method → route."""


def reads(route: Route) -> dict[str, Route]:
    """The methods of what may be asked for at any time."""
    return {"GET": route, "HEAD": route}


def text(body: str, status: str = "200 OK") -> Answer:
    """Plain text, UTF-8."""
    return Answer(status, TEXT, body.encode("utf-8", "replace"))


def json_text(value: object, status: str = "200 OK") -> Answer:
    """JSON; what it has no word for as str() says it."""
    return Answer(status, JSON, json.dumps(value, default=str).encode() + b"\n")


def html(body: str, status: str = "200 OK") -> Answer:
    """A page."""
    return Answer(status, HTML, body.encode("utf-8", "replace"))


def see(place: str, *headers: tuple[str, str]) -> Answer:
    """303: GET that instead (RFC 9110 section 15.4.4)."""
    return Answer("303 See Other", TEXT, b"", [("Location", place), *headers])


def preferred(accept: str, kinds: Sequence[str]) -> str:
    """Which of the media types the header likes most (RFC 9110 section 12.5.1); the first of equal
    ones, and where it takes none.
    """
    weights = dict(map(_weight, accept.lower().split(",")))
    everything = weights.get("*/*", 0.0 if accept else 1.0)

    def liked(kind: str) -> float:
        return weights.get(kind, weights.get(f"{kind.partition('/')[0]}/*", everything))

    return max(kinds, key=liked)


def _weight(item: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in item.split(";"))
    said = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    digits = said.replace(".", "", 1)
    return name, float(said) if digits.isascii() and digits.isdigit() else 0.0
