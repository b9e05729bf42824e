"""Errors as answers: RFC 9457 problem+json, and the one map from domain errors to HTTP statuses."""

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

STATUSES: tuple[tuple[type[ForgeError], int], ...] = (
    (errors.NotFound, 404),
    (errors.StaleVersion, 412),
    (errors.PreconditionRequired, 428),
    (errors.Conflict, 409),
    (errors.BadRequest, 400),
    (Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.TooManyAttempts, 429),
    (DomainError, 422),
    (errors.TooManyConnectionsForUser, 429),
    (Unavailable, 503),
)
"""The first class that fits gives the status; whatever is not here is a defect: 500."""


class HTTPProblem(ForgeError):
    """A refusal that only HTTP knows, such as 405 or 415.

    message: shown to the client as `detail`. headers: go out with the answer.
    """

    default_code = "F520"

    def __init__(
        self, status: int, message: str = "", *, code: str | None = None, headers: Headers = ()
    ) -> None:
        super().__init__(message or HTTPStatus(status).description, code=code)
        self.status = status
        self.headers = tuple(headers)


class MethodNotAllowed(HTTPProblem):
    """The path exists, this method does not; `allow` lists those that do (RFC 9110 section
    15.5.6).
    """

    default_code = "F521"

    def __init__(self, allow: Sequence[str]) -> None:
        methods = ", ".join(allow)
        message = text("this path answers {methods}", methods=methods)
        super().__init__(405, message, headers=[("Allow", methods)])
        self.allow = tuple(allow)


def status_of(error: BaseException) -> int:
    """The HTTP status of an error; 500 for what no rule names."""
    if isinstance(error, HTTPProblem):
        return error.status
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def _detail(error: BaseException, status: int) -> str:
    """Domain errors speak to the client; the machine's troubles stay in the log."""
    if isinstance(error, DomainError | HTTPProblem) or status == 429:
        return text(str(error))  # a sentence of `later`; what was translated already stays
    if status == 503:
        return text("something that is needed does not answer now; try again")
    return text("something went wrong here; the log holds the details under this request id")


def _extra_headers(error: BaseException) -> list[tuple[str, str]]:
    if isinstance(error, HTTPProblem):
        return list(error.headers)
    if isinstance(error, Unavailable | errors.TooManyAttempts):
        return [("Retry-After", str(error.retry_after))]
    if isinstance(error, Unauthenticated):
        return [("WWW-Authenticate", "Bearer")]
    return []


def failed(request: Request, error: BaseException) -> Response:
    """As `problem_response`; the log hears of what is not the client's."""
    status = status_of(error)
    if status >= 500:
        request.environ[ERROR] = error  # for a trace
    if status == 500:
        _log.error(
            "request %s failed: %s %s", request.id, request.method, request.path, exc_info=error
        )
    elif status == 503:
        _log.warning("request %s: %s", request.id, error)
    return problem_response(error, request.id)


def problem_response(error: BaseException, request_id: str) -> Response:
    """The answer to an error: `application/problem+json` without any internal detail (RFC 9457),
    its title and sentences in the current language.
    """
    status = status_of(error)
    body: dict[str, object] = {
        "type": "about:blank",
        "title": text(HTTPStatus(status).phrase),
        "status": status,
        "detail": _detail(error, status),
        "code": error.code if isinstance(error, ForgeError) and status != 500 else "F510",
        "request_id": request_id,
    }
    if found := [e._asdict() for e in getattr(error, "errors", ()) if isinstance(e, FieldError)]:
        body["errors"] = found
    kind = ("Content-Type", "application/problem+json")
    # A field that was sent may have a name that is no text: its lone surrogates stay escapes.
    data = json.dumps(body, ensure_ascii=False).encode(errors="backslashreplace")
    return Response(status, data, [kind, *_extra_headers(error)])
