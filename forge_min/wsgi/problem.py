"""Errors as RFC 9457 problem+json, and the only map from domain errors to HTTP statuses."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from .. import errors
from ..errors import DomainError, FieldError, ForgeError, Unauthenticated, Unavailable
from ..i18n import text
from .contract import ERROR
from .response import Headers, Response

if TYPE_CHECKING:
    from .request import Request

_log = logging.getLogger("forge_min.wsgi")

STATUSES: dict[type[ForgeError], int] = {
    errors.NotFound: 404,
    errors.StaleVersion: 412,
    errors.PreconditionRequired: 428,
    errors.Conflict: 409,
    errors.BadRequest: 400,
    Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.TooManyAttempts: 429,
    DomainError: 422,
    errors.TooManyConnectionsForUser: 429,
    Unavailable: 503,
}
"""The first matching class gives the status; any other exception is a defect: 500."""


class HTTPProblem(ForgeError):
    """A refusal without a domain error, such as 405 or 415.

    status: the HTTP status.
    message: shown to the client as `detail`; default: the standard description of the status.
    code: error code; default: F520.
    headers: added to the response.
    """

    default_code = "F520"

    def __init__(
        self, status: int, message: str = "", *, code: str | None = None, headers: Headers = ()
    ) -> None:
        super().__init__(message or HTTPStatus(status).description, code=code)
        self.status = status
        self.headers = tuple(headers)


class MethodNotAllowed(HTTPProblem):
    """The path does not support the method (RFC 9110 section 15.5.6).

    allow: the supported methods.
    """

    default_code = "F521"

    def __init__(self, allow: Sequence[str]) -> None:
        methods = ", ".join(allow)
        message = text("this path supports {methods}", methods=methods)
        super().__init__(405, message, headers=[("Allow", methods)])


def status_of(error: BaseException) -> int:
    """Return the HTTP status of an exception; 500 for a defect."""
    if isinstance(error, HTTPProblem):
        return error.status
    for kind, status in STATUSES.items():
        if isinstance(error, kind):
            return status
    return 500


def _detail(error: BaseException, status: int) -> str:
    """Return the text for the client; internal causes are only logged."""
    code = getattr(error, "code", "")
    # After F409 the client must know how to repeat its write.
    if isinstance(error, DomainError | HTTPProblem) or status == 429 or code == "F409":
        return text(str(error))  # translates a message of `gettext_noop`
    if code == "F656":
        return text("another change of the same data has not ended: try again")
    if isinstance(error, errors.ReadTimeout):
        return text("this took too long: try again with fewer conditions or a narrower range")
    if status == 503:
        return text("a required service is not available now; try again")
    return text("the server failed; its log has the details under this request id")


def _extra_headers(error: BaseException) -> list[tuple[str, str]]:
    if isinstance(error, HTTPProblem):
        return list(error.headers)
    if isinstance(error, Unavailable | errors.TooManyAttempts):
        return [("Retry-After", str(error.retry_after))]
    if isinstance(error, Unauthenticated):
        return [("WWW-Authenticate", "Bearer")]
    return []


def error_response(request: Request, error: BaseException) -> Response:
    """Return `problem_response`, and log errors that the client did not cause."""
    status = status_of(error)
    if status >= 500:
        request.environ[ERROR] = error  # for a trace
    if status == 500:
        message = "request %s failed: %s %s"
        _log.error(message, request.id, request.method, request.path, exc_info=error)
    elif status == 503:
        _log.warning("request %s: %s", request.id, error)
    return problem_response(error, request.id)


def problem_response(error: BaseException, request_id: str) -> Response:
    """Return an error as `application/problem+json` in the current language (RFC 9457).

    It has no internal details.
    """
    status = status_of(error)
    code = "F510"
    if isinstance(error, ForgeError) and status != 500:
        code = error.code
    body = {
        "type": "about:blank",
        "title": text(HTTPStatus(status).phrase),
        "status": status,
        "detail": _detail(error, status),
        "code": code,
        "request_id": request_id,
    }
    parts = getattr(error, "errors", ())
    field_errors = [part._asdict() for part in parts if isinstance(part, FieldError)]
    if field_errors:
        body["errors"] = field_errors
    if isinstance(error, errors.ReadTimeout) and error.hint:
        body["hint"] = error.hint
    kind = ("Content-Type", "application/problem+json")
    # A sent field name may have lone surrogates, which are not text: they stay escaped.
    data = json.dumps(body, ensure_ascii=False).encode(errors="backslashreplace")
    return Response(status, data, [kind, *_extra_headers(error)])
