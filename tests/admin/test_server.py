"""The admin server over HTTP, on its own threads."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from forge_min.admin import server
from forge_min.admin.server import AdminServer
from forge_min.errors import ServerError

from admin_server import new_server

Get = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture
def serve() -> Iterator[Callable[..., Get]]:
    running: list[AdminServer] = []

    def start(**options: Any) -> Get:
        server = new_server(**{"alive": lambda: {"version": "1.2"}, **options})
        server.start()
        running.append(server)

        def get(
            path: str, method: str = "GET", headers: Mapping[str, str] = {}
        ) -> tuple[int, dict[str, str], bytes]:
            client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            try:
                client.request(method, path, headers=dict(headers))
                answer = client.getresponse()
                return answer.status, dict(answer.getheaders()), answer.read()
            finally:
                client.close()

        return get

    yield start
    for started in running:
        started.stop()


def test_metrics_are_given_in_the_format_that_the_scrape_takes(serve: Callable[..., Get]) -> None:
    site = serve(metrics=lambda accept: (f"text/plain; asked={accept}", b"up 1\n"))
    status, headers, body = site("/metrics", headers={"Accept": "x/y"})
    assert (status, body) == (200, b"up 1\n")
    assert headers["Content-Type"] == "text/plain; asked=x/y"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_health_says_what_runs(serve: Callable[..., Get]) -> None:
    status, headers, body = serve()("/healthz")
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"status": "ok", "version": "1.2"}


def test_readiness_is_503_with_reasons_until_it_is_good(serve: Callable[..., Get]) -> None:
    state: list[tuple[bool, dict[str, object]]] = [(False, {"database": "does not answer"})]
    get = serve(ready=lambda: state[0])
    status, _, body = get("/readyz")
    assert status == 503
    assert json.loads(body) == {"ready": False, "reasons": {"database": "does not answer"}}
    state[0] = (True, {})
    assert get("/readyz")[0] == 200


def test_the_stacks_of_all_threads_are_shown_with_their_names(serve: Callable[..., Get]) -> None:
    inside, leave = threading.Event(), threading.Event()

    def a_function_to_find() -> None:
        inside.set()
        leave.wait(10)

    thread = threading.Thread(target=a_function_to_find, name="worker-to-find")
    thread.start()
    try:
        assert inside.wait(10)
        status, _, body = serve()("/debug/pprof/threads")
    finally:
        leave.set()
        thread.join()
    text = body.decode()
    assert status == 200
    assert 'Thread "worker-to-find"' in text and "a_function_to_find" in text
    assert 'Thread "MainThread"' in text and 'Thread "admin-' in text


def test_four_threads_answer_and_end_with_stop() -> None:
    before = set(threading.enumerate())
    server = new_server()
    server.start()
    server.start()
    mine = [t for t in threading.enumerate() if t not in before]
    assert sorted(t.name for t in mine) == [
        *(f"admin-{n}" for n in range(1, 5)), "admin-io", "admin-timeouts",
    ]  # fmt: skip
    server.stop()
    server.stop()
    assert not [t for t in mine if t.is_alive()]


def test_other_paths_and_methods_are_refused(serve: Callable[..., Get]) -> None:
    get = serve()
    assert get("/nothing")[0] == 404
    assert get("/metrics/../etc/passwd")[0] == 404
    status, headers, _ = get("/metrics", "DELETE")
    assert status == 405 and headers["Allow"] == "GET, HEAD, OPTIONS"
    status, headers, body = get("/metrics", "HEAD")
    assert status == 200 and body == b"" and headers["Content-Length"] == "5"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer s3cre\xfc"]
)
@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/debug/pprof/threads", "/nothing"])
def test_without_the_token_nothing_is_shown(
    serve: Callable[..., Get], header: str | None, path: str
) -> None:
    get = serve(token="s3cret")
    status, headers, body = get(path, headers={} if header is None else {"Authorization": header})
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Bearer")
    assert b"/metrics" not in body


def test_with_the_token_everything_is_shown(serve: Callable[..., Get]) -> None:
    get = serve(token="s3cret", host="0.0.0.0")
    assert get("/metrics", headers={"Authorization": "Bearer s3cret"})[0] == 200
    assert get("/metrics", headers={"authorization": "bearer s3cret"})[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "admin.example"])
def test_off_loopback_a_token_is_required(host: str) -> None:
    with pytest.raises(ServerError) as caught:
        new_server(host=host)
    assert caught.value.code == "F507" and "FORGE_ADMIN_TOKEN" in (caught.value.hint or "")


def test_a_taken_port_is_a_coded_error() -> None:
    first = new_server()
    try:
        with pytest.raises(ServerError) as caught:
            new_server(port=first.port)
        assert caught.value.code == "F500"
        assert str(first.port) in caught.value.message
    finally:
        first.stop()


def test_a_callable_that_fails_is_one_500_and_the_next_request_is_answered(
    serve: Callable[..., Get],
) -> None:
    def broken(accept: str) -> tuple[str, bytes]:
        raise RuntimeError("secret detail")

    get = serve(metrics=broken)
    status, _, body = get("/metrics")
    assert status == 500 and b"secret" not in body
    assert get("/healthz")[0] == 200


def test_a_probe_needs_no_token_to_see_that_the_process_lives(serve: Callable[..., Get]) -> None:
    status, _, body = serve(token="s3cret")("/healthz")
    assert status == 200 and b"ok" in body


def test_the_manual_is_served_if_it_is_there(
    serve: Callable[..., Get], monkeypatch: pytest.MonkeyPatch
) -> None:
    get = serve()
    status, headers, _ = get("/docs")
    assert (status, headers["Location"]) == (303, "/docs/index.html")
    assert get("/docs/index.html")[0] == 200
    assert b'id="f500"' in get("/docs/reference/errors.html")[2]
    monkeypatch.setattr(server, "manual", lambda: None)
    status, _, body = serve()("/docs")
    assert status == 404 and b"--with-manual" in body
