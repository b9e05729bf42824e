"""GET /events, over real sockets through our own server, and as a plain WSGI answer elsewhere."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid4
from wsgiref.util import setup_testing_defaults

import pytest
from forge_min import sse
from forge_min.api.events import MAX_TOPICS, StreamReauthorizer, client_key, events_handler
from forge_min.auth import Identity, as_identity
from forge_min.errors import (
    Forbidden,
    TooManyConnections,
    TooManyConnectionsForUser,
    Unauthenticated,
)
from forge_min.fanout import Limiter, StreamWriter
from forge_min.notify import Event, Opened, TopicKey
from forge_min.wsgi import Application, Request, Response, Router, Server

from memory_hub import MemoryHub
from waiting import wait_for

DEADLINE = 10.0


class Site:
    """A running server with /events on two topics, and everything behind it."""

    def __init__(self) -> None:
        self.hub = MemoryHub(lambda events: lambda event, format: sse.encode_json(event))
        self.limiter = Limiter(max_total=4, max_per_user=2)
        self.writer = StreamWriter(heartbeat=0.5)
        self.user = "ann"
        self.refused: list[Exception] = []
        self.known = ["flights", "gates"]
        self.admit: Callable[[str], UUID | None] = lambda topic: None
        self.renew: Callable[[Identity], Identity | None] = lambda identity: identity
        self.reauthorizer = StreamReauthorizer(
            self.writer, 0.05, lambda topic: self.admit(topic), lambda who: self.renew(who)
        )
        handler = events_handler(
            self.hub,
            self.limiter,
            self.reauthorizer,
            topics=self.known,
            on_refused=self.refused.append,
        )
        router = Router()

        def as_user(request: Request) -> Response:
            with as_identity(Identity(self.user)):
                return handler(request)

        router.add("GET", "/events", as_user)
        self.app = Application(router)
        self.server = Server(("127.0.0.1", 0), self.app, threads=2)
        self.socks: list[socket.socket] = []

    def ask(self, target: str, extra: str = "", method: str = "GET") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.server.server_port), timeout=DEADLINE)
        self.socks.append(sock)
        sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode())
        return sock

    def publish(self, topic: str, kind: str, id: str = "1", tenant: UUID | None = None) -> None:
        self.hub.publish(Event(topic, kind, id, 1, tenant_id=tenant))


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    made.hub.start()
    made.writer.start()
    made.reauthorizer.start()
    made.server.start()
    yield made
    for sock in made.socks:
        sock.close()
    made.server.stop(5)
    made.reauthorizer.stop()
    made.writer.stop(1.0)
    made.hub.stop()


def read_until(sock: socket.socket, mark: bytes) -> bytes:
    data = b""
    end = time.monotonic() + DEADLINE
    while mark not in data:
        assert time.monotonic() < end, data  # heartbeats may come for ever
        got = sock.recv(65536)
        assert got, data
        data += got
    return data


def test_events_of_several_topics_reach_the_client(site: Site) -> None:
    sock = site.ask("/events?topic=flights&topic=gates&topic=flights")
    head = read_until(sock, b"retry: ").lower()
    assert head.startswith(b"http/1.1 200 ")
    for line in (
        b"content-type: text/event-stream\r\n",
        b"cache-control: no-store\r\n",
        b"x-accel-buffering: no\r\n",
        b"connection: close\r\n",
    ):
        assert line in head
    assert b"content-length" not in head and b"transfer-encoding" not in head
    site.publish("flights", "flight.updated")
    site.publish("gates", "gate.created")
    assert read_until(sock, b"gate.created").count(b"flight.updated") == 1
    assert (site.limiter.active, site.writer.connections) == (1, 1)
    sock.close()
    wait_for(lambda: site.limiter.active == 0)


def test_a_stream_holds_no_worker(site: Site) -> None:
    for user in ("ann", "bob"):  # two workers, four streams, and still an answer
        site.user = user
        for _ in range(2):
            read_until(site.ask("/events?topic=flights"), b"retry: ")
    sock = site.ask("/nothing")
    assert b" 404 " in read_until(sock, b"\r\n")


def test_caps_are_answered_before_anything_is_subscribed(site: Site) -> None:
    for _ in range(2):
        read_until(site.ask("/events?topic=flights"), b"retry: ")
    refused = read_until(site.ask("/events?topic=flights"), b"}")
    assert b" 429 " in refused and b"application/problem+json" in refused
    assert b"retry-after: " in refused.lower() and b'"F501"' in refused
    site.user = "bob"
    for _ in range(2):
        read_until(site.ask("/events?topic=flights"), b"retry: ")
    refused = read_until(site.ask("/events?topic=flights"), b"}")
    assert b" 503 " in refused and b"retry-after: " in refused.lower() and b'"F501"' in refused
    assert site.limiter.active == 4
    assert [type(error) for error in site.refused] == [
        TooManyConnectionsForUser,
        TooManyConnections,
    ]


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("/events", 400, "name a topic"),
        ("/events?topic=", 404, "''"),
        ("/events?topic=flights&topic=secrets", 404, "'secrets'"),
        ("/events?topic=flights&format=xml", 400, "format"),
        ("/events?" + "&".join(f"topic=t{n}" for n in range(MAX_TOPICS + 1)), 400, "at most"),
        ("/events?topic=%0d%0aX-Evil:1", 404, "topic not found"),
        ("/events?topic=" + "x" * 5000, 404, "topic not found"),
    ],
)
def test_bad_questions_get_a_problem_and_take_nothing(
    site: Site, target: str, status: int, words: str
) -> None:
    answer = read_until(site.ask(target), b"}")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) and b"X-Evil" not in head
    problem = json.loads(body)
    assert problem["status"] == status and words in problem["detail"]
    assert len(body) < 1000
    assert (site.limiter.active, site.writer.connections) == (0, 0)


@pytest.mark.parametrize(
    ("error", "status"), [(Unauthenticated("somebody is needed"), 401), (Forbidden("no"), 403)]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_may_not_hear_of_one_topic_gets_no_stream_at_all(
    site: Site, error: Exception, status: int, method: str
) -> None:
    def admit(topic: str) -> UUID | None:
        if topic == "gates":
            raise error
        return None

    site.admit = admit
    answer = read_until(site.ask("/events?topic=flights&topic=gates", method=method), b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (site.limiter.active, site.writer.connections) == (0, 0)


def test_a_topic_of_tenants_is_heard_in_ones_own_tenant_only(site: Site) -> None:
    mine, yours = uuid4(), uuid4()
    site.admit = lambda topic: mine if topic == "flights" else None
    sock = site.ask("/events?topic=flights&topic=gates")
    read_until(sock, b"retry: ")
    site.publish("flights", "flight.updated", "yours", yours)
    site.publish("flights", "flight.updated", "nobodys")
    site.publish("gates", "gate.updated", "shared")
    site.publish("flights", "flight.updated", "mine", mine)
    heard = read_until(sock, b'"mine"')
    assert b"shared" in heard and b"yours" not in heard and b"nobodys" not in heard


def test_the_cap_counts_by_user_and_nobody_by_address() -> None:
    environ: dict[str, Any] = {"REMOTE_ADDR": "10.0.0.7"}
    setup_testing_defaults(environ)
    request = Request(environ)
    assert client_key(request) == "10.0.0.7"
    with as_identity(Identity("10.0.0.7")):
        assert client_key(request) not in ("10.0.0.7", "")


def test_the_addresses_that_one_client_has_count_as_one() -> None:
    """An IPv6 client has a /64 of its own (RFC 4291 section 2.5.4)."""
    places = []
    for address in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"):
        environ: dict[str, Any] = {"REMOTE_ADDR": address}
        setup_testing_defaults(environ)
        places.append(client_key(Request(environ)))
    assert places[0] == places[1] != places[2]


def test_topics_are_looked_up_for_each_request(site: Site) -> None:
    site.known.append("late")
    assert b" 200 " in read_until(site.ask("/events?topic=late"), b"retry: ")


def test_head_opens_no_stream(site: Site) -> None:
    sock = site.ask("/events?topic=flights", "Connection: close\r\n", "HEAD")
    data = b""
    while got := sock.recv(65536):
        data += got
    assert b" 200 " in data and data.endswith(b"\r\n\r\n")
    assert (site.limiter.active, site.writer.connections) == (0, 0)


def test_an_unknown_last_event_id_gets_one_refresh_for_all_topics(site: Site) -> None:
    extra = "Last-Event-ID: 1.1\r\n"
    sock = site.ask("/events?topic=flights&topic=gates", extra)
    read_until(sock, b'"reason":"resume","missed":null}\n\n')
    site.publish("flights", "flight.updated")
    assert b"refresh" not in read_until(sock, b"flight.updated")


def test_a_client_resumes_after_its_last_id(site: Site) -> None:
    sock = site.ask("/events?topic=flights")
    read_until(sock, b"retry: ")
    site.publish("flights", "flight.updated", "first")
    data = read_until(sock, b'"first"')
    found = re.search(rb"id: (\S+)", data)
    assert found
    sock.close()
    site.publish("flights", "flight.updated", "second")
    again = site.ask("/events?topic=flights", f"Last-Event-ID: {found[1].decode()}\r\n")
    data = read_until(again, b'"second"')
    assert b"refresh" not in data and b'"first"' not in data


def test_a_hub_that_works_for_a_client_learns_that_it_is_gone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    subscribe, asked = site.hub.subscribe, threading.Event()

    def slow(key: TopicKey, last: str | None, wanted: Callable[[], bool]) -> Opened:
        asked.wait(DEADLINE)
        seen.append(wanted())
        sock.close()
        wait_for(lambda: not wanted())
        seen.append(wanted())
        return subscribe(key, last, wanted)

    monkeypatch.setattr(site.hub, "subscribe", slow)
    sock = site.ask("/events?topic=flights", "Last-Event-ID: 1.1\r\n")
    asked.set()
    wait_for(lambda: len(seen) == 2 and site.limiter.active == 0)
    assert seen == [True, False]


def test_clients_that_vanish_around_the_head_leave_no_lease(site: Site) -> None:
    site.user = "ann"
    for turn in range(2000):
        sock = site.ask("/events?topic=flights")
        if turn % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
        wait_for(lambda: site.limiter.active < 2)
    wait_for(lambda: site.limiter.active == 0 and site.writer.connections == 0)


def test_shutdown_says_close(site: Site) -> None:
    sock = site.ask("/events?topic=flights")
    read_until(sock, b"retry: ")
    site.server.stop(5)
    site.writer.stop(farewell=sse.close_frame("shutdown"))
    assert b'event: close\ndata: {"reason":"shutdown"}\n\n' in read_until(sock, b'shutdown"}\n\n')
    assert site.limiter.active == 0


class BrokenHub(MemoryHub):
    """Fails at the second topic."""

    def subscribe(self, key: TopicKey, *options: Any) -> Opened:
        if key.topic == "gates":
            raise OSError("no more")
        return super().subscribe(key, *options)


def _call(app: Application, query: str) -> tuple[str, dict[str, str], Any]:
    environ: dict[str, Any] = {"PATH_INFO": "/events", "QUERY_STRING": query}
    setup_testing_defaults(environ)
    seen: list[Any] = []
    body = app(environ, lambda status, headers, exc_info=None: seen.extend((status, headers)))  # type: ignore[arg-type,func-returns-value]
    return seen[0], dict(seen[1]), body


def test_without_our_server_the_answer_is_the_stream(site: Site) -> None:
    status, headers, body = _call(site.app, "topic=flights")
    assert status.startswith("200") and headers["Content-Type"] == "text/event-stream"
    assert "Connection" not in headers and "Content-Length" not in headers
    items = iter(body)
    assert next(items).startswith(b"retry: ")
    site.publish("flights", "flight.updated")
    assert b"flight.updated" in next(item for item in items if item != b": hb\n\n")
    assert next(items) == b": hb\n\n"
    assert site.limiter.active == 1
    body.close()
    wait_for(lambda: (site.limiter.active, site.writer.connections) == (0, 0))


def test_a_hub_that_fails_gives_the_lease_back() -> None:
    limiter = Limiter(max_total=1, max_per_user=1)
    router = Router()
    hub = BrokenHub(lambda events: lambda event, format: sse.encode_json(event))
    reauthorizer = StreamReauthorizer(StreamWriter(), 15.0, lambda topic: None, lambda who: who)
    handler = events_handler(hub, limiter, reauthorizer, topics={"flights", "gates"})
    router.add("GET", "/events", handler)
    status, _, _ = _call(Application(router), "topic=flights&topic=gates")
    assert status.startswith("500")
    assert limiter.active == 0


def test_threads_that_open_at_once_never_pass_the_cap(site: Site) -> None:
    answers: list[bytes] = []

    def open_one() -> None:
        answers.append(read_until(site.ask("/events?topic=flights"), b"\r\n"))

    threads = [threading.Thread(target=open_one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(answer[9:12] for answer in answers) == [b"200"] * 2 + [b"429"] * 10


@pytest.mark.parametrize("name", ["live.js", "stream.js"])
def test_the_scripts_stay_small_and_evaluate_nothing(name: str) -> None:
    text = (files("forge_min.html") / "assets" / name).read_text("utf-8")
    assert len(text.splitlines()) <= 200
    for word in ("eval(", "Function(", "import(", 'setTimeout("', "document.write", "http://"):
        assert word not in text


def refuse(topic: str) -> UUID | None:
    raise Forbidden("no more")


def fail(identity: Identity) -> Identity | None:
    raise ValueError("a defect")


def away(identity: Identity) -> Identity | None:
    raise OSError("the database is away")


# The reason of the last frame, and what has changed.
ENDS: dict[str, tuple[str, Any]] = {
    "expired": ("renew", lambda identity: None),
    "forbidden": ("admit", refuse),
    "changed roles": ("renew", lambda identity: Identity("ann", roles=frozenset({"other"}))),
    "changed tenant": ("admit", lambda topic: UUID(int=7)),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_stream_ends_at_a_heartbeat_when_its_viewer_may_have_it_no_longer(
    site: Site, end: str
) -> None:
    sock = site.ask("/events?topic=flights")
    read_until(sock, b"retry: ")
    site.publish("flights", "flight.updated")
    read_until(sock, b"flight.updated")
    wait_for(lambda: site.limiter.active == 1)
    reason = end.split()[0]
    name, change = ENDS[end]
    setattr(site, name, change)
    read_until(sock, b'event: close\ndata: {"reason":"%s"}\n\n' % reason.encode())
    assert sock.recv(1000) == b""
    wait_for(lambda: (site.limiter.active, site.writer.connections) == (0, 0))
    wait_for(lambda: not site.reauthorizer._grants)


def test_others_stay_while_one_is_signed_out(site: Site) -> None:
    socks = [site.ask("/events?topic=flights"), site.ask("/events?topic=flights&topic=gates")]
    for sock in socks:
        read_until(sock, b"retry: ")
    site.admit = lambda topic: refuse(topic) if topic == "gates" else None
    read_until(socks[1], b'"forbidden"')
    site.publish("flights", "flight.updated")
    read_until(socks[0], b"flight.updated")
    wait_for(lambda: site.writer.connections == 1)


def test_a_database_that_is_away_ends_no_stream_and_a_defect_does(site: Site) -> None:
    sock = site.ask("/events?topic=flights")
    read_until(sock, b"retry: ")
    site.renew = away
    time.sleep(0.3)
    site.publish("flights", "flight.updated")
    read_until(sock, b"flight.updated")
    site.renew = fail
    read_until(sock, b'"forbidden"')


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_under_another_server_too_however_many_events_come(site: Site, end: str) -> None:
    environ: dict[str, Any] = {"QUERY_STRING": "topic=flights", "PATH_INFO": "/events"}
    setup_testing_defaults(environ)
    body = iter(site.app(environ, lambda *_: lambda data: None))
    next(body)
    reason = end.split()[0]
    name, change = ENDS[end]
    setattr(site, name, change)
    limit = time.monotonic() + DEADLINE
    frames = []
    for frame in body:
        assert time.monotonic() < limit
        frames.append(frame)
        site.publish("flights", "flight.updated")
    assert frames[-1].endswith(b'event: close\ndata: {"reason":"%s"}\n\n' % reason.encode())
    wait_for(lambda: site.limiter.active == 0)
