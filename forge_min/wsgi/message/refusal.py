"""What is answered without an application: refusals of a request, and 503 while there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...expression import expression
from ..response import SECURITY_HEADERS, to_json

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication


REQUEST_ID = expression(r"[A-Za-z0-9._-]{1,64}")
"""What a client may call its request (X-Request-ID)."""


class Refused(Exception):
    """What a client sent cannot be answered otherwise than by `status`; the connection closes
    after it. environ: what is known of the request by then.
    """

    environ: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Parked(BaseException):
    """A request waits for its turn without a thread: its server keeps it, and runs it again.

    until: time.monotonic() at which that is due. wait: takes a function that resumes the request
    earlier, and says whether it still waited. The server calls it when the request is kept.
    """

    def __init__(self, until: float, wait: Callable[[Callable[[], bool]], None]) -> None:
        super().__init__("parked")
        self.until = until
        self.wait = wait


OnAnswered = Callable[[dict[str, Any], int, str, float], None]
"""Told (environ, status, detail, seconds) of every request that the server answers by itself, as it
is refused or its handler is given up. Its method and path are "-" where they are not known.
"""


def request_id(environ: dict[str, Any]) -> str:
    """The id of a request: the application's; where it came to none, the client's if that is well
    formed, else a new one.
    """
    if "forge.request_id" not in environ:
        sent = environ.get("HTTP_X_REQUEST_ID", "")
        environ["forge.request_id"] = sent if REQUEST_ID.fullmatch(sent) else os.urandom(8).hex()
    id: str = environ["forge.request_id"]
    return id


def problem(
    status: int, detail: str, code: str = "F524", headers: Sequence[tuple[str, str]] = ()
) -> WSGIApplication:
    """An application that always answers this, as RFC 9457 has it."""
    phrase = HTTPStatus(status).phrase
    row = {"type": "about:blank", "title": phrase, "status": status, "detail": detail, "code": code}
    fields = [("Content-Type", "application/problem+json"), *headers, *SECURITY_HEADERS]

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        id = request_id(environ)
        start_response(f"{status} {phrase}", [*fields, ("X-Request-ID", id)])
        return [to_json(row | {"request_id": id})]

    return answer


STARTING = problem(503, "the application is starting", "F506", [("Retry-After", "1")])
"""The application of a server that has none yet: come again in a second."""
FAILED = problem(500, "something went wrong here; the log holds the details", "F510")
