"""Responses without an application: refused requests, and 503 until there is an application."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from ..contract import SECURITY_HEADERS, request_id


class ProtocolError(Exception):
    """A request is refused with `status`, and the connection closes.

    environ: the part of the request that was read.
    """

    environ: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem(
    status: int, detail: str, code: str = "F524", headers: Sequence[tuple[str, str]] = ()
) -> WSGIApplication:
    """Return an application that always responds with this problem (RFC 9457)."""
    phrase = HTTPStatus(status).phrase
    row = {"type": "about:blank", "title": phrase, "status": status, "detail": detail, "code": code}
    fields = [("Content-Type", "application/problem+json"), *headers, *SECURITY_HEADERS]

    def respond(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        id = request_id(environ)
        start_response(f"{status} {phrase}", [*fields, ("X-Request-ID", id)])
        body = row | {"request_id": id}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return [text.encode()]

    return respond


STARTING = problem(503, "the application is starting", "F506", [("Retry-After", "1")])
"""The application of a server until `set_app`; clients retry after a second."""
FAILED = problem(500, "the server failed; its log has the details", "F510")
