"""Every error of the tree has a status, and its answer says what a client may know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from forge_min import auth, errors
from forge_min.errors import FieldError, ForgeError, Invalid
from forge_min.i18n import in_language
from forge_min.wsgi import HTTPProblem, MethodNotAllowed, problem_response
from forge_min.wsgi.problem import status_of

from catalogues import catalogues

GERMAN = {
    "Not Found": "Nicht gefunden",
    "Service Unavailable": "Nicht verfügbar",
    "some values are not valid": "einige Werte gelten nicht",
    "this path supports {methods}": "dieser Pfad beantwortet {methods}",
    "a required service is not available now; try again": "bitte später",
}


def problem(error: BaseException) -> dict:
    return json.loads(problem_response(error, "r-1").body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadRequest("x"), 400),
        (errors.Unauthenticated("x"), 401),
        (errors.Forbidden("x"), 403),
        (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409),
        (errors.StaleVersion("x"), 412),
        (errors.DomainError("x"), 422),
        (errors.Invalid([]), 422),
        (errors.ConstraintViolation("x", kind="check"), 422),
        (errors.PreconditionRequired("x"), 428),
        (errors.TooManyConnectionsForUser("x"), 429),
        (errors.TooManyConnections("x"), 503),
        (errors.Unavailable("x"), 503),
        (errors.DatabaseError("x"), 500),
        (errors.ConfigError("x"), 500),
        (ForgeError("x"), 500),
        (KeyError("x"), 500),
        (HTTPProblem(418), 418),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_has_the_status_of_its_meaning(error: Exception, status: int) -> None:
    answer = problem_response(error, "r-1")
    body = json.loads(answer.body)
    assert (status_of(error), answer.status, body["status"]) == (status,) * 3
    assert (body["title"], body["request_id"]) == (HTTPStatus(status).phrase, "r-1")
    assert answer.header("Content-Type") == "application/problem+json"


def test_what_the_client_can_do_stands_in_the_headers() -> None:
    def header(error: Exception, name: str) -> str | None:
        return problem_response(error, "").header(name)

    assert header(errors.Unauthenticated("x"), "WWW-Authenticate") == "Bearer"
    assert header(errors.Forbidden("x"), "WWW-Authenticate") is None
    assert header(errors.Unavailable("x", retry_after=7), "Retry-After") == "7"
    assert header(errors.TooManyConnectionsForUser("x", retry_after=2), "Retry-After") == "2"
    assert header(MethodNotAllowed(["GET", "PUT"]), "Allow") == "GET, PUT"


def test_a_missing_precondition_has_a_code_of_its_own() -> None:
    body = problem(errors.PreconditionRequired("send If-Match"))
    assert (body["code"], body["detail"]) == ("F621", "send If-Match")


@pytest.mark.parametrize("identity", [auth.ANONYMOUS, auth.Identity("ann", frozenset({"clerk"}))])
def test_who_may_not_is_told_by_code_and_not_by_hint(identity: auth.Identity) -> None:
    for error in (errors.Forbidden("no", hint="role boss"), errors.Unauthenticated("who")):
        with auth.as_identity(identity):
            body = problem(error)
        assert body["detail"] == str(error) and "boss" not in json.dumps(body)
        assert set(body) == {"type", "title", "status", "detail", "code", "request_id"}


def test_a_field_without_a_name_in_utf_8_still_makes_an_answer() -> None:
    body = problem(Invalid([FieldError("/a\ud800", "unknown", "is not a field")]))
    assert body["errors"][0]["pointer"] == "/a\ud800"


@pytest.fixture
def german(tmp_path: Path) -> Iterator[None]:
    with catalogues(tmp_path, {"de": GERMAN}), in_language("de"):
        yield


def test_titles_and_sentences_are_in_the_language_of_the_reader(german: None) -> None:
    assert problem(errors.NotFound("no such airport"))["title"] == "Nicht gefunden"
    assert problem(errors.NotFound("no such airport"))["detail"] == "no such airport"
    assert problem(Invalid([]))["detail"] == "einige Werte gelten nicht"
    assert problem(MethodNotAllowed(["GET"]))["detail"] == "dieser Pfad beantwortet GET"
    assert problem(errors.Unavailable("db1 is away"))["detail"] == "bitte später"
    assert problem(RuntimeError("secret"))["title"] == "Internal Server Error"
