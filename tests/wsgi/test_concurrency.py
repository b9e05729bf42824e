"""Requests of one client at once: the others wait without a thread, and no place is ever lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults

import pytest
from forge_min.auth import Identity, as_identity
from forge_min.wsgi import (
    Application,
    ConcurrencyLimit,
    Handler,
    Request,
    Response,
    Router,
    Server,
    tenant_in_path,
)
from forge_min.wsgi.middleware import limits

from waiting import wait_for
from wsgi.conftest import Connect, Peer, Serve

PLAIN = [("Content-Type", "text/plain")]


def identify(request: Request, handler: Handler) -> Response:
    """Believe "Authorization: api_key alice"."""
    via, _, user = (request.header("authorization") or "").partition(" ")
    with as_identity(Identity(user, via=via)):
        return handler(request)


class Site(NamedTuple):
    """An application whose /hold waits until `go`. running: how many of them began."""

    application: Application
    limit: ConcurrencyLimit
    go: threading.Event
    running: threading.Semaphore

    @property
    def taken(self) -> int:
        limit = self.limit
        return limit._clients.active + limit._costly.active + limit._large.active


@pytest.fixture
def new_site() -> Iterator[Callable[..., Site]]:
    """Makes one. What it holds is let go after the test."""
    made: list[Site] = []

    def new(most: int, of_address: int = 99, **options: Any) -> Site:
        go, running = threading.Event(), threading.Semaphore(0)

        def hold(request: Request) -> Response:
            running.release()
            assert go.wait(20)
            return Response(200, request.body or b"held", PLAIN)

        def broken(request: Request) -> Response:
            raise ValueError("broken")

        def pieces(request: Request) -> Response:
            return Response(200, (b"x" * 65536 for _ in range(200)), PLAIN)

        router = Router()
        for path, handler in {"/hold": hold, "/broken": broken, "/pieces": pieces}.items():
            for method in ("GET", "HEAD", "POST"):
                router.add(method, path, handler)
        router.add("GET", "/quick", lambda request: Response(200, b"quick", PLAIN))
        router.add("GET", "/hold.csv", hold)
        router.add("GET", "/rows/{id}", hold)
        router.add("GET", "/free", lambda request: Response(200, b"free", PLAIN))
        limit = ConcurrencyLimit(most, of_address, ["/free"], ["/rows/{id}"])
        application = Application(
            router, middleware=[identify, limit], outer=[tenant_in_path], **options
        )
        made.append(Site(application, limit, go, running))
        return made[-1]

    yield new
    for site in made:
        site.go.set()


def behind_proxy(serve: Serve, site: Site, threads: int, **options: Any) -> Server:
    return serve(site.application, threads=threads, trusted_proxies=["127.0.0.1"], **options)


def ask(peer: Peer, path: str, client: str = "192.0.2.1", caller: str = "") -> Peer:
    return peer.get(path, f"X-Forwarded-For: {client}\r\nAuthorization: {caller}\r\n")


def waiting(site: Site) -> int:
    return sum(map(len, site.limit._parked.values()))


@pytest.mark.parametrize("threads", [2, 4])
def test_others_are_answered_while_one_client_has_its_share_and_the_rest_of_it_waits(
    new_site: Callable[..., Site], serve: Serve, connect: Connect, threads: int
) -> None:
    site = new_site(threads // 2)
    server = behind_proxy(serve, site, threads)
    flood = [ask(connect(server), "/hold") for _ in range(threads // 2)]
    for _ in flood:
        assert site.running.acquire(timeout=10)
    flood += [ask(connect(server), "/hold") for _ in range(3 * threads)]
    wait_for(lambda: waiting(site) == len(flood) - threads // 2)
    other = connect(server)
    for path in ("/quick", "/quick", "/broken", "/quick"):
        status = ask(other, path, "192.0.2.2").answer().status
        assert status == (500 if path == "/broken" else 200)
    assert ask(connect(server), "/free").answer().status == 200
    # Who has waited for a second is refused, and the connection goes on. The others stay held.
    refused = [peer.answer() for peer in flood[threads // 2 :]]
    assert {answer.status for answer in refused} == {429}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert {json.loads(answer.body)["code"] for answer in refused} == {"F644"}
    site.go.set()
    assert {peer.answer().status for peer in flood[: threads // 2]} == {200}
    assert ask(flood[-1], "/quick").answer().status == 200
    wait_for(lambda: site.taken == 0)
    assert waiting(site) == 0 and site.application.in_flight == 0


def test_a_client_is_an_address_or_a_network_of_ipv6(
    new_site: Callable[..., Site], serve: Serve, connect: Connect
) -> None:
    site = new_site(1)
    server = behind_proxy(serve, site, 4)
    first = ask(connect(server), "/hold", "2001:db8::1")
    assert site.running.acquire(timeout=10)
    assert ask(connect(server), "/quick", "2001:db8:0:1::1").answer().status == 200
    assert ask(connect(server), "/quick", "2001:db8::2").answer().status == 429
    site.go.set()
    assert first.answer().status == 200


def test_a_user_is_one_client_whether_by_session_or_by_key(
    new_site: Callable[..., Site], serve: Serve, connect: Connect
) -> None:
    site = new_site(1)
    server = behind_proxy(serve, site, 4)
    first = ask(connect(server), "/hold", caller="session alice")
    assert site.running.acquire(timeout=10)
    assert ask(connect(server), "/quick", "192.0.2.2", "api_key alice").answer().status == 429
    assert ask(connect(server), "/quick", caller="api_key bob").answer().status == 200
    site.go.set()
    assert first.answer().status == 200


def test_one_address_leaves_a_thread_to_others_whoever_asks_from_there(
    new_site: Callable[..., Site], serve: Serve, connect: Connect
) -> None:
    site = new_site(2, of_address=3)
    server = behind_proxy(serve, site, 4)
    callers = ["", "", "session alice", "api_key alice", "session bob"]
    flood = [ask(connect(server), "/hold", caller=caller) for caller in callers]
    for _ in range(3):
        assert site.running.acquire(timeout=10)
    wait_for(lambda: waiting(site) == 2)
    assert ask(connect(server), "/quick", "192.0.2.2", "session carol").answer().status == 200
    assert ask(connect(server), "/quick", caller="session carol").answer().status == 429
    site.go.set()  # those who wait for a second go on as others end
    assert sorted(peer.answer().status for peer in flood)[:3] == [200] * 3
    wait_for(lambda: site.taken == site.limit._addresses.active == waiting(site) == 0)


def test_one_csv_of_a_client_at_a_time_is_made(
    new_site: Callable[..., Site], serve: Serve, connect: Connect
) -> None:
    site = new_site(2)
    server = behind_proxy(serve, site, 4)
    held = [ask(connect(server), "/hold.csv", caller=caller) for caller in ("", "session alice")]
    for _ in held:
        assert site.running.acquire(timeout=10)
    assert ask(connect(server), "/hold.csv").answer().status == 429
    assert ask(connect(server), "/quick").answer().status == 200
    site.go.set()
    assert [peer.answer().status for peer in held] == [200] * 2
    assert ask(connect(server), "/hold.csv").answer().status == 200


LARGE_BODY = b"Host: a\r\nContent-Length: 65537\r\n\r\n" + bytes(65537)
CHUNKED_BODY = (
    b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n" + bytes(65537) + b"\r\n0\r\n\r\n"
)


@pytest.mark.parametrize(
    ("costly", "most"),
    [
        (b"POST /hold HTTP/1.1\r\n" + LARGE_BODY, 1),
        (b"POST /hold HTTP/1.1\r\n" + CHUNKED_BODY, 1),
        (b"GET /rows/7 HTTP/1.1\r\nHost: a\r\n\r\n", 2),
    ],
    ids=["body", "chunks", "route"],
)
def test_large_bodies_and_costly_routes_leave_most_of_a_clients_share(
    new_site: Callable[..., Site],
    serve: Serve,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    costly: bytes,
    most: int,
) -> None:
    monkeypatch.setattr(limits, "WAIT", 20.0)
    site = new_site(4)
    server = serve(site.application, threads=8)
    flood = [connect(server).send(costly) for _ in range(most)]
    for _ in flood:
        assert site.running.acquire(timeout=10)
    flood += [connect(server).send(costly) for _ in range(3)]
    wait_for(lambda: waiting(site) == 3)
    # The rest is left to its small requests, also to a body of 64 KiB.
    body = f"Host: a\r\nContent-Length: 65536\r\n\r\n{'-' * 65536}"
    small = [connect(server).get("/hold"), connect(server).send(f"POST /hold HTTP/1.1\r\n{body}")]
    for _ in small:
        assert site.running.acquire(timeout=10)
    site.go.set()
    assert {peer.answer().status for peer in (*flood, *small)} == {200}
    wait_for(lambda: site.taken == site.limit._addresses.active == waiting(site) == 0)


def test_a_client_with_one_request_at_once_may_send_a_large_one(
    new_site: Callable[..., Site], serve: Serve, connect: Connect
) -> None:
    site = new_site(1)
    server = serve(site.application, threads=2)
    site.go.set()
    peer = connect(server)
    for _ in range(3):
        assert peer.send(b"POST /hold HTTP/1.1\r\n" + LARGE_BODY).answer().status == 200


@pytest.mark.parametrize("threads", [1, 3])
def test_who_waits_goes_on_when_another_ends_with_its_body_and_in_its_tenant(
    new_site: Callable[..., Site], serve: Serve, connect: Connect, threads: int
) -> None:
    site = new_site(1)
    server = serve(site.application, threads=threads)
    # A body that its client does not read holds a place and no thread.
    first, second = connect(server).get("/pieces"), connect(server)
    wait_for(lambda: site.taken == 1)
    body = "Host: a\r\nContent-Length: 4\r\n\r\nbody"
    second.send(f"POST /t/acme/hold HTTP/1.1\r\n{body}GET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: waiting(site) == 1)
    site.go.set()
    assert len(first.answer().body) == 200 * 65536
    assert second.answer().body == b"body" and second.answer().body == b"quick"
    wait_for(lambda: site.taken == 0)


@pytest.mark.parametrize("path", ["/broken", "/pieces", "/nowhere", "/quick"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_place_is_lost_whatever_becomes_of_a_request(
    new_site: Callable[..., Site], serve: Serve, connect: Connect, path: str, method: str
) -> None:
    site = new_site(1)
    server = serve(site.application, threads=2)
    for leaves in (True, False):
        peer = connect(server).get(path, method=method)
        if leaves:
            peer.close()
        else:
            peer.answer(head_only=method == "HEAD")
        wait_for(lambda: site.taken == 0 and site.application.in_flight == 0)


def test_a_handler_that_is_given_up_gives_its_place_back(
    new_site: Callable[..., Site], serve: Serve, connect: Connect
) -> None:
    site = new_site(1)
    server = serve(site.application, threads=2, handler_timeout=0.1)
    assert connect(server).get("/hold").answer().status == 500
    assert site.taken == 0 and connect(server).get("/quick").answer().status == 200
    site.go.set()
    wait_for(lambda: site.application.in_flight == 0)
    assert site.taken == 0


def test_a_server_that_stops_answers_who_waits(
    new_site: Callable[..., Site], serve: Serve, connect: Connect
) -> None:
    site = new_site(1)
    server = serve(site.application, threads=2)
    peers = [connect(server).get("/hold") for _ in range(3)]
    wait_for(lambda: waiting(site) == 2)
    stopped = threading.Thread(target=server.stop)
    stopped.start()
    site.go.set()
    assert [peer.answer().status for peer in peers] == [200] * 3
    stopped.join()


def test_another_server_refuses_a_request_over_the_cap_at_once(
    new_site: Callable[..., Site],
) -> None:
    site = new_site(2)
    statuses: list[int] = []

    def call(path: str, **more: str) -> None:
        environ: dict[str, Any] = {"PATH_INFO": path, **more}
        setup_testing_defaults(environ)
        start = lambda status, headers, exc_info=None: statuses.append(int(status[:3]))  # noqa: E731
        site.application(environ, start)  # type: ignore[arg-type]

    # A body of unknown length counts as a large one, of which there is one here.
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked"}
    held = [threading.Thread(target=call, args=("/hold",), kwargs=e) for e in (chunked, {})]
    held[0].start()
    assert site.running.acquire(timeout=20)
    call("/quick", **chunked)
    assert statuses == [429]
    held[1].start()
    assert site.running.acquire(timeout=20)
    call("/quick")
    assert statuses == [429] * 2
    site.go.set()
    for thread in held:
        thread.join()
    assert sorted(statuses) == [200, 200, 429, 429] and site.taken == 0
