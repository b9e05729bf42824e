"""What logs and metrics say of an answer is what the client got, however it went wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from forge_min.observe import log_fields
from forge_min.wsgi import Application, Request, Response, Router


class Closing:
    """Pieces whose close fails."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"a"])

    def close(self) -> None:
        raise OSError("it cannot be closed")


def too_long() -> Response:
    return Response(200, [b"abc"], [("Content-Length", "1")])


def too_short() -> Response:
    return Response(200, [b"abc"], [("Content-Length", "9")])


def ends() -> Response:
    raise SystemExit(3)


def ends_late() -> Response:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise SystemExit(3)

    return Response(200, pieces())


CASES = {
    "a body longer than it says": (too_long, "GET", 500, 500),
    "shorter": (too_short, "GET", 200, 200),
    "an end of the process": (ends, "GET", 500, 500),
    "in a body": (ends_late, "GET", 200, 200),
    "a close that fails, of what HEAD asks for": (
        lambda: Response(200, Closing()),
        "HEAD",
        500,
        500,
    ),
    "a close that fails": (lambda: Response(200, Closing()), "GET", 200, 200),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_told_as_it_was_sent(
    serve: Any, connect: Any, eventually: Callable[..., None], case: str
) -> None:
    make, method, status, said = CASES[case]
    seen: list[Any] = []
    router = Router()
    router.add("GET", "/x/{id}", lambda request: make())
    app = Application(
        router,
        observe=lambda *row: seen.append(row[:3]),
        access=lambda *row: seen.append((*row[:3], log_fields.get().get("route"))),
    )
    answer = connect(serve(app)).get("/x/1", method=method)
    assert answer.answer(head_only=True).status == status
    eventually(lambda: len(seen) == 2 and app.in_flight == 0)
    assert seen == [(method, "/x/{id}", said), (method, "/x/1", said, "/x/{id}")]


def test_the_line_of_a_failure_has_the_fields_of_its_request(
    serve: Any, connect: Any, eventually: Callable[..., None]
) -> None:
    found: list[tuple[dict[str, Any], Any]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((dict(log_fields.get()), record))

    router = Router()
    router.add("GET", "/late/{id}", lambda request: ends_late())
    router.add("GET", "/ends", lambda request: ends())
    handler, log = Handler(), logging.getLogger("forge_min.wsgi.server")
    log.addHandler(handler)
    try:
        server = serve(Application(router))
        late = connect(server).get("/late/7").answer(head_only=True).headers["x-request-id"]
        eventually(lambda: len(found) == 1)
        ends_ = connect(server).get("/ends").answer().headers["x-request-id"]
        eventually(lambda: len(found) == 2)
    finally:
        log.removeHandler(handler)
    (fields, record), (_, second) = found
    assert fields["request_id"] == record.request_id == late
    assert fields["route"] == record.route == "/late/{id}"
    assert second.request_id == ends_ and second.route == "/ends"


def test_who_answers_outside_of_the_router_is_told_of_by_the_path() -> None:
    def preflight(request: Request, handler: Any) -> Response:
        return Response(204)

    seen: list[Any] = []
    app = Application(Router(), outer=[preflight], access=lambda *row: seen.append(row[:3]))
    for path in ("/api/items", "/caf\u00c3\u00a9", "/\u00ff", ""):
        app({"REQUEST_METHOD": "OPTIONS", "PATH_INFO": path}, lambda *told: None)  # type: ignore[arg-type,return-value]
    assert [row[1] for row in seen] == ["/api/items", "/caf\u00e9", "/%FF", "*"]


def test_a_way_that_middleware_changes_to_nowhere_leaves_no_route() -> None:
    def elsewhere(request: Request, handler: Any) -> Response:
        request.path = "/nowhere"
        return handler(request)  # type: ignore[no-any-return]

    seen: list[Any] = []
    router = Router()
    router.add("GET", "/x", lambda request: Response(200))
    app = Application(
        router, middleware=[elsewhere], access=lambda *row: seen.append(log_fields.get())
    )
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/x"}
    app(environ, lambda *told: None)  # type: ignore[arg-type,return-value]
    assert "route" not in seen[0] and not environ["forge.route"]
