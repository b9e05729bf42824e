"""What is answered without an application: refusals of a request, and 503 while there is none."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..response import SECURITY_HEADERS, to_json

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_HEADERS = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS)


class Refused(Exception):
    """What a client sent cannot be answered otherwise than by `status`; the connection closes
    after it.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def _problem(status: int, detail: str, code: str) -> bytes:
    """RFC 9457."""
    phrase = HTTPStatus(status).phrase
    row = {"type": "about:blank", "title": phrase, "status": status, "detail": detail}
    return to_json({**row, "code": code})


def refusal(status: int, detail: str, date: str, code: str = "F524") -> bytes:
    """A whole answer that closes the connection, as problem+json."""
    body = _problem(status, detail, code)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{_HEADERS}Date: {date}\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body


def starting(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """The application of a server that has none yet (PEP 3333): come again in a second."""
    kind = ("Content-Type", "application/problem+json")
    headers = [kind, ("Retry-After", "1"), *SECURITY_HEADERS]
    start_response("503 Service Unavailable", headers)
    return [_problem(503, "the application is starting", "F506")]
