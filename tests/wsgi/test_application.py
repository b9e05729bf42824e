"""Every answer of an application is logged, measured and safe, whatever the handler does."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager, suppress
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from forge_min import errors
from forge_min.observe import Span, current_traceparent, log_fields
from forge_min.wsgi import Application, HTTPProblem, Response, Router, json_response


def ask(app, path="/x", method="GET", **environ):
    """Calls an application as a strict PEP 3333 server does."""
    given = {
        "PATH_INFO": path,
        "REQUEST_METHOD": method,
        "QUERY_STRING": "",
        "SCRIPT_NAME": "",
        **environ,
    }
    setup_testing_defaults(given)
    got = {}

    def start(status, headers, exc_info=None):
        got["status"], got["headers"] = status, dict(headers)
        return lambda data: None

    body = validator(app)(given, start)
    got["body"] = b"".join(body)
    body.close()
    return got


def application(handler, **options):
    router = Router()
    for method in ("GET", "POST"):
        router.add(method, "/x", handler)
        router.add(method, "/x/{id}", handler)
    return Application(router, **options)


def plain(request):
    return Response(200, b"hi", [("Content-Type", "text/plain")])


def raising(error):
    def handler(request):
        raise error

    return handler


def test_an_answer_to_head_has_no_body_and_ends_it():
    """PEP 3333 leaves that to the application: waitress sends what it gets."""
    ended = []

    class Body:
        def __iter__(self):
            yield b"a"

        def close(self):
            ended.append(1)

    told = []
    kind = [("Content-Type", "text/plain")]
    streamed = application(
        lambda _: Response(200, Body(), kind), observe=lambda *of: told.append(of)
    )
    assert ask(streamed, "/x", "HEAD")["body"] == b"" and ended == [1]
    assert [(method, status) for method, _, status, _ in told] == [("HEAD", 200)]
    got = ask(application(plain), "/x", "HEAD")
    assert got["body"] == b"" and got["headers"]["Content-Length"] == "2"


def test_options_of_the_whole_server_tells_all_methods():
    got = ask(application(plain), "", "OPTIONS")  # OPTIONS * has no path (PEP 3333)
    assert got["status"] == "204 No Content"
    assert got["headers"]["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert ask(application(plain), "/", "OPTIONS")["status"] == "404 Not Found"


def test_every_answer_has_the_headers_of_the_contract():
    app = application(plain)
    for path in ("/x", "/nope"):
        headers = ask(app, path)["headers"]
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert "frame-ancestors" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["X-Request-ID"]
        assert int(headers["Content-Length"]) > 0
        assert "Strict-Transport-Security" not in headers


def test_strict_transport_is_asked_for_behind_tls():
    answer = ask(application(plain), **{"wsgi.url_scheme": "https"})
    assert "Strict-Transport-Security" in answer["headers"]


def test_a_handler_may_set_a_policy_of_its_own():
    kind = [("content-security-policy", "default-src 'none'"), ("Content-Type", "text/plain")]
    answer = ask(application(lambda request: Response(200, b"", kind)))
    assert answer["headers"]["content-security-policy"] == "default-src 'none'"
    assert "Content-Security-Policy" not in answer["headers"]


def test_a_request_id_and_a_transport_policy_of_a_handler_come_once():
    own = [("x-request-id", "mine"), ("strict-transport-security", "max-age=0")]
    app = application(lambda request: Response(200, b"", own))
    got: list[tuple[str, str]] = []
    environ = {"wsgi.url_scheme": "https", "PATH_INFO": "/x"}
    setup_testing_defaults(environ)
    list(app(environ, lambda status, headers, exc_info=None: got.extend(headers)))
    names = [name.lower() for name, _ in got]
    assert names.count("x-request-id") == names.count("strict-transport-security") == 1
    assert ("x-request-id", "mine") in got


def test_a_request_id_is_taken_over_when_it_is_well_formed():
    app = application(plain)
    assert ask(app, HTTP_X_REQUEST_ID="abc-1.2_3")["headers"]["X-Request-ID"] == "abc-1.2_3"
    for bad in ("", "a b", "a" * 65, 'a"b', "\xe9"):
        assert ask(app, HTTP_X_REQUEST_ID=bad)["headers"]["X-Request-ID"] != bad
    ids = {ask(app)["headers"]["X-Request-ID"] for _ in range(50)}
    assert len(ids) == 50


FIELD = errors.FieldError("/price", "min", "too low")
CASES = [
    (errors.NotFound("gone"), 404, "gone"),
    (errors.Conflict("taken", errors=[FIELD]), 409, "taken"),
    (errors.StaleVersion("changed"), 412, "changed"),
    (errors.Invalid([FIELD]), 422, "some values are not valid"),
    (errors.ConstraintViolation("refused", kind="check"), 422, "refused"),
    (errors.BadRequest("what"), 400, "what"),
    (errors.Unauthenticated("who"), 401, "who"),
    (errors.Forbidden("no"), 403, "no"),
    (errors.DomainError("closed"), 422, "closed"),
    (errors.TooManyConnectionsForUser("ten at most"), 429, "ten at most"),
    (HTTPProblem(415, "send json"), 415, "send json"),
]


@pytest.mark.parametrize(
    ("error", "status", "detail"), CASES, ids=[type(c[0]).__name__ for c in CASES]
)
def test_domain_errors_become_problems(error, status, detail):
    answer = ask(application(raising(error)))
    problem = json.loads(answer["body"])
    assert answer["status"].startswith(f"{status} ")
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert answer["status"] == f"{status} {problem['title']}"
    assert (problem["detail"], problem["code"]) == (detail, error.code)
    assert problem["request_id"] == answer["headers"]["X-Request-ID"]
    wanted = [{"pointer": "/price", "code": "min", "message": "too low"}]
    assert problem.get("errors", wanted) == wanted
    assert ("errors" in problem) == bool(getattr(error, "errors", ()))


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (errors.Unavailable("password of db1 is wrong", retry_after=7), 503, "7"),
        (errors.TooManyConnections("cap"), 503, "1"),
        (errors.TooManyConnectionsForUser("cap"), 429, "1"),
    ],
)
def test_what_passes_says_when_to_come_again(error, status, after):
    answer = ask(application(raising(error)))
    assert answer["headers"]["Retry-After"] == after
    assert answer["status"].startswith(str(status))
    assert b"password" not in answer["body"]


@pytest.mark.parametrize(
    "error", [RuntimeError("secret"), errors.DatabaseError("secret"), KeyError("secret")]
)
def test_a_defect_says_nothing_but_its_request_id(error, caplog):
    answer = ask(application(raising(error)))
    problem = json.loads(answer["body"])
    assert answer["status"] == "500 Internal Server Error"
    assert b"secret" not in answer["body"]
    assert problem["code"] == "F510"
    assert problem["request_id"] in caplog.text
    assert "Traceback" in caplog.text
    assert "secret" in caplog.text


@pytest.mark.parametrize("garbage", [None, "text", b"bytes", 200, ("200 OK", [])])
def test_a_handler_that_gives_garbage_is_a_defect(garbage, caplog):
    assert ask(application(lambda request: garbage))["status"].startswith("500 ")
    assert "not a Response" in caplog.text


def test_a_middleware_that_fails_or_gives_garbage_is_a_defect(caplog):
    for middleware in (lambda r, h: 1 / 0, lambda r, h: None):
        answer = ask(application(plain, middleware=[middleware]))
        assert answer["status"].startswith("500 ")
        assert answer["headers"]["X-Content-Type-Options"] == "nosniff"


def test_a_header_that_the_server_refuses_is_a_500_with_the_request_id(serve, connect, caplog):
    def handler(request):
        return Response(200, b"", [("Location", "/a\r\nSet-Cookie: b=c")])

    got = connect(serve(application(handler))).get("/x").answer()
    assert got.status == 500
    assert "set-cookie" not in got.headers
    assert json.loads(got.body)["request_id"] in caplog.text


def test_middleware_stands_in_order_and_sees_errors_as_answers():
    seen = []

    def named(name):
        def middleware(request, handler):
            seen.append(f"{name} in")
            response = handler(request)
            seen.append(f"{name} out {response.status} {request.route}")
            return response

        return middleware

    ask(application(raising(errors.NotFound("x")), middleware=[named("a"), named("b")]), "/x/1")
    assert seen == ["a in", "b in", "b out 404 /x/{id}", "a out 404 /x/{id}"]


def test_a_middleware_may_answer_itself_before_routing():
    app = application(plain, middleware=[lambda request, handler: Response(204)])
    assert ask(app, "/nope", "OPTIONS")["status"] == "204 No Content"


def test_metrics_get_the_pattern_and_never_the_path():
    seen = []
    app = application(plain, observe=lambda *row: seen.append(row))
    for path, method in (("/x/7", "GET"), ("/nope", "GET"), ("/x", "DELETE"), ("/x", "TRACE")):
        ask(app, path, method)
    assert [row[:3] for row in seen] == [
        ("GET", "/x/{id}", 200),
        ("GET", "", 404),
        ("DELETE", "", 405),
        ("OTHER", "", 405),
    ]
    assert all(0 < row[3] < 5 for row in seen)


def test_one_span_stands_around_each_request():
    seen = []

    @contextmanager
    def around(request):
        seen.append(request.id)
        yield seen.append
        seen.append(request.route)

    answer = ask(application(raising(errors.Forbidden("no")), instrument=around), "/x/1")
    assert seen == [answer["headers"]["X-Request-ID"], 403, "/x/{id}"]


def test_the_access_log_is_told_of_every_request_within_its_span():
    seen = []

    @contextmanager
    def around(request):
        seen.append("in")
        yield seen.append
        seen.append("out")

    app = application(
        plain, access=lambda *row: seen.append((row, log_fields.get())), instrument=around
    )
    answer = ask(app, "/x/7", "GET")
    (row, fields) = seen[1]
    assert row[:3] == ("GET", "/x/7", 200) and 0 < row[3] < 60
    assert fields == {"request_id": answer["headers"]["X-Request-ID"], "route": "/x/{id}"}
    assert seen[0] == "in" and seen[2:] == [200, "out"]


def test_the_access_log_has_the_status_that_was_sent(caplog):
    seen = []

    def start(status, headers, exc_info=None):
        if exc_info is None:
            raise ValueError("a bad header")

    app = application(plain, access=lambda *row: seen.append(row))
    app({"REQUEST_METHOD": "GET", "PATH_INFO": "/x"}, start)
    assert seen[0][2] == 500


@pytest.mark.parametrize(
    "body", ["text", None, 5, bytearray(b"x"), memoryview(b"x"), [1, 2], ("a",), {"a": 1}.get]
)
def test_a_body_that_is_none_is_a_500_in_the_answer_the_log_and_the_metrics(body):
    told, seen = [], []
    app = application(
        lambda request: Response(200, body),
        access=lambda *row: seen.append(row),
        observe=lambda *row: told.append(row),
    )
    assert ask(app)["status"].startswith("500")
    assert seen[0][2] == told[0][2] == 500


def raised(request):
    raise RuntimeError("at once")
    yield b""


def raised_late(request):
    yield b"a piece"
    raise RuntimeError("late")


def no_bytes(request):
    yield "text"


@pytest.mark.parametrize(("pieces", "status"), [
    (raised, 500), (no_bytes, 500), (raised_late, 200), (lambda request: iter([b"a"]), 200),
])  # fmt: skip
def test_a_body_of_pieces_is_told_of_when_it_is_over(pieces, status):
    """With the status that a server has sent: 500 where no piece came."""
    told, seen, fields = [], [], []

    def access(*row):
        seen.append(row)
        fields.append(dict(log_fields.get()))

    app = application(
        lambda request: Response(200, pieces(request)),
        access=access,
        observe=lambda *row: told.append(row),
    )
    body = app({"REQUEST_METHOD": "GET", "PATH_INFO": "/x"}, lambda *given: None)
    assert seen == []
    with suppress(RuntimeError, TypeError):
        list(body)
    body.close()
    body.close()
    assert [row[2] for row in seen] == [row[2] for row in told] == [status]
    assert "request_id" in fields[0] and "request_id" not in log_fields.get()


def test_the_line_of_a_body_of_pieces_is_of_its_requests_trace():
    inside, told = [], []

    class Instrumentation(Span):
        def __init__(self, request):
            super().__init__("a request", kind="server")

        def __enter__(self):
            super().__enter__()
            inside.append(current_traceparent())
            return lambda status: None

    app = application(
        lambda request: Response(200, iter([b"a"]), [("Content-Type", "text/plain")]),
        instrument=Instrumentation,
        access=lambda *row: told.append(current_traceparent()),
    )
    assert ask(app)["body"] == b"a"
    assert told == inside and told[0]


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
def test_what_is_no_exception_is_a_500_too(error):
    def handler(request):
        raise error

    seen = []
    answer = ask(application(handler, access=lambda *row: seen.append(row)))
    assert answer["status"].startswith("500") and seen[0][2] == 500


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_process_goes_on_to_its_server(error):
    def handler(request):
        raise error

    with pytest.raises(error):
        ask(application(handler))


def test_log_fields_hold_the_request_id_for_as_long_as_the_request():
    inside = []

    def handler(request):
        inside.append((dict(log_fields.get()), request.id))
        return plain(request)

    ask(application(handler))
    ((fields, request_id),) = inside
    assert fields["request_id"] == request_id
    assert dict(log_fields.get()) == {}


def test_an_iterable_body_goes_through_and_is_closed():
    closed = []

    class Body:
        def __iter__(self):
            return iter([b"a", b"b"])

        def close(self):
            closed.append(True)

    answer = ask(application(lambda request: Response(200, Body(), [("Content-Type", "x/y")])))
    assert answer["body"] == b"ab"
    assert "Content-Length" not in answer["headers"]
    assert closed == [True]


def test_a_path_that_is_not_utf8_is_a_bad_request_and_logged_as_it_was_asked_for():
    seen = []
    app = application(plain, access=lambda *row: seen.append(row))
    assert ask(app, "/x/\xff\n")["status"] == "400 Bad Request"
    assert seen[0][1] == "/x/%FF%0A"


def test_what_middleware_refuses_is_told_of_by_its_route():
    def refuse(request, handler):
        raise errors.Forbidden("no")

    def elsewhere(request, handler):
        request.path = "/y"
        return handler(request)

    told = []
    ask(application(plain, observe=lambda *row: told.append(row), middleware=[refuse]), "/x/1")
    ask(application(plain, observe=lambda *row: told.append(row), middleware=[refuse]), "/none")
    ask(application(plain, observe=lambda *row: told.append(row), middleware=[elsewhere]), "/x/1")
    assert [row[1:3] for row in told] == [("/x/{id}", 403), ("", 403), ("", 404)]


def test_values_of_the_database_have_a_json_form():
    import datetime
    import decimal
    import enum
    import uuid

    class Colour(enum.Enum):
        RED = "red"

    now = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    value = [uuid.UUID(int=1), decimal.Decimal("1.10"), now, now.date(), Colour.RED, "ä"]
    assert json.loads(json_response(value).body) == [
        "00000000-0000-0000-0000-000000000001",
        "1.10",
        "2026-01-02T00:00:00+00:00",
        "2026-01-02",
        "red",
        "ä",
    ]
    for bad in (object(), float("nan")):
        with pytest.raises((TypeError, ValueError)):
            json_response(bad)


def test_the_package_loads_neither_psycopg_nor_opentelemetry():
    import subprocess

    code = "import sys, forge_min.wsgi; print({'psycopg', 'opentelemetry'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
