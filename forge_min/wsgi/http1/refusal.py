"""What is answered without an application: refusals of a request, and 503 while there is none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..contract import SECURITY_HEADERS, request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication


class ProtocolError(Exception):
    """What a client sent cannot be answered otherwise than by `status`; the connection closes
    after it. environ: what is known of the request by then.
    """

    environ: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


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
        body = row | {"request_id": id}
        return [json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()]

    return answer


STARTING = problem(503, "the application is starting", "F506", [("Retry-After", "1")])
"""The application of a server that has none yet: come again in a second."""
FAILED = problem(500, "something went wrong here; the log holds the details", "F510")
