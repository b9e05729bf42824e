"""Fragments: what is pushed to pages is what everybody may see, in the event's tenant only."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4
from wsgiref.util import setup_testing_defaults

import pytest
from forge_min.app import Runtime
from forge_min.app.encoder import Encoder
from forge_min.auth import Identity, as_identity, current_identity
from forge_min.notify import Event
from forge_min.testing import (
    Client,
    Factory,
    TestDatabase,
    event_position,
    read_events,
    running_app,
)

pytestmark = pytest.mark.db

OURS = Identity("ann", frozenset({"manager", "admin"}), uuid4())


def lines_of(frame: bytes) -> list[str]:
    """The data lines of a patch."""
    head, *rest = frame.decode().removesuffix("\n\n").split("\n")
    assert head == "event: datastar-patch-elements" and rest[0].startswith("id: ")
    assert all(line.startswith("data: ") for line in rest[1:])
    return [line[6:] for line in rest[1:]]


def show(row: Any) -> str:
    return f"<p id=x>\n{row.name}\r{row.notes}</p>"


@pytest.fixture
def encoder(site: Runtime) -> Encoder:
    def number(row: Any) -> str:
        return f'<p id="stations-{row.number}">{row.name}</p>'

    return Encoder(site.registry, {"accounts": show, "stations": number})


def test_a_write_becomes_a_patch_of_the_rows_element(site: Runtime, encoder: Encoder) -> None:
    stations = site.registry.actions["stations"]
    with site.database.open() as conn:
        start = event_position(conn)
        stations.create({"number": 7, "name": "Here"})
        stations.update(7, {"name": "There"})
        created, updated = read_events(conn, start)
        assert lines_of(encoder.begin([created])(created, "html")) == [
            "mode append",
            "selector #stations",
            'elements <p id="stations-7">There</p>',
        ]
        assert lines_of(encoder.begin([updated])(updated, "html")) == [
            'elements <p id="stations-7">There</p>'
        ]
        stations.delete(7)
        (deleted,) = read_events(conn, start)[2:]
    for event in (deleted, updated):
        assert lines_of(encoder.begin([event])(event, "html")) == [
            "mode remove",
            "selector #stations-7",
        ]
    assert b'"changed":["name"]' in encoder.begin([updated])(updated, "json")


def test_the_rows_of_a_batch_are_read_at_once_and_by_tenant(
    site: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, reads = site.registry.actions["accounts"], []
    encoder = Encoder(site.registry, {"accounts": show})
    theirs = Identity("eve", OURS.roles, uuid4())
    with site.database.open() as conn:
        start = event_position(conn)
        for who in (OURS, theirs):
            with as_identity(who):
                rows: list[Any] = [Factory.of(site, "accounts").create() for _ in range(10)]
                accounts.delete(rows[3].id)
        events = read_events(conn, start)
    many = type(accounts).public_many

    def counting(self: Any, ids: Any) -> Any:
        reads.append(len(ids := list(ids)))
        return many(self, ids)

    monkeypatch.setattr(type(accounts), "public_many", counting)
    encode = encoder.begin(events)
    frames = [lines_of(encode(event, "html")) for event in events]
    assert reads == [10, 10] and len(frames) == 22
    assert sum(lines[0] == "mode append" for lines in frames) == 18
    assert sum(lines[0] == "mode remove" for lines in frames) == 4


def test_an_event_whose_id_is_no_key_costs_the_others_of_its_batch_nothing(
    site: Runtime, encoder: Encoder
) -> None:
    stations = site.registry.actions["stations"]
    with site.database.open() as conn:
        start = event_position(conn)
        stations.create({"number": 7, "name": "Here"})
        (good,) = read_events(conn, start)
    odd = [Event("stations", "station.opened", id, 1, id=10**9) for id in ("everything", "", None)]
    encode = encoder.begin([*odd, good])
    assert b"Here" in encode(good, "html")


def test_a_thread_that_comes_back_late_leaves_its_rows_to_its_own_batch() -> None:
    gate, asked = threading.Event(), threading.Event()

    class Slow:
        def read_key(self, key: str) -> str:
            return key

        def public_many(self, keys: set[str]) -> dict[str, str]:
            if "1" in keys:
                asked.set()
                gate.wait(10)
            return {key: f"<p id=t-{key}>" for key in keys}

    registry: Any = SimpleNamespace(fill=lambda made, skip: made, actions={"t": Slow()})
    encoder = Encoder(registry, {"t": lambda row: row})
    one, two = (Event("t", "t.updated", str(n), 1, id=n) for n in (1, 2))
    late = threading.Thread(target=encoder.begin([one]), args=(one, "html"))
    late.start()
    asked.wait(10)
    encode = encoder.begin([two])
    gate.set()
    late.join(10)
    assert lines_of(encode(two, "html")) == ["elements <p id=t-2>"]


def test_a_deleted_row_that_is_restored_is_added_again(site: Runtime, encoder: Encoder) -> None:
    accounts = site.registry.actions["accounts"]
    with as_identity(OURS), site.database.open() as conn:
        row: Any = Factory.of(site, "accounts").create(name="Fjord")
        start = event_position(conn)
        accounts.delete(row.id)
        accounts.restore(row.id)
        gone, back = read_events(conn, start)
    assert (gone.kind, back.kind) == ("account.deleted", "account.restored")
    assert lines_of(encoder.begin([gone])(gone, "html"))[0] == "mode remove"
    assert lines_of(encoder.begin([back])(back, "html"))[:2] == [
        "mode append",
        "selector #accounts",
    ]


def test_a_patch_shows_what_nobody_in_particular_may_see(site: Runtime) -> None:
    seen: list[Identity] = []

    def fragment(row: Any) -> str:
        seen.append(current_identity())
        return show(row)

    encoder = Encoder(site.registry, {"accounts": fragment})
    with as_identity(OURS):
        row: Any = Factory.of(site, "accounts").create(name="Fjord", notes="secret")
        event = Event("accounts", "account.updated", str(row.id), 1, tenant_id=OURS.tenant)
        frame = encoder.begin([event])(event, "html")
    assert lines_of(frame) == ["elements <p id=x>", "elements Fjord", "elements None</p>"]
    assert seen == [Identity("hub", tenant=OURS.tenant)]


@pytest.mark.parametrize("tenant", [UUID(int=7)])
def test_another_tenants_row_is_never_read(site: Runtime, encoder: Encoder, tenant: UUID) -> None:
    with as_identity(OURS):
        row: Any = Factory.of(site, "accounts").create(name="Fjord")
    event = Event("accounts", "account.updated", str(row.id), 1, tenant_id=tenant)
    assert b"Fjord" not in encoder.begin([event])(event, "html")


def test_a_stream_needs_the_permission_to_read_and_a_tenant(site: Runtime) -> None:
    tenant = {"X-Test-Tenant": str(OURS.tenant)}
    for headers, status in (
        ({}, 401),
        ({"X-Test-User": "sam", **tenant}, 403),
        ({"X-Test-User": "sam", "X-Test-Roles": "admin", **tenant}, 403),
        ({"X-Test-User": "ann", "X-Test-Roles": "member"}, 403),
        ({"X-Test-User": "ann", "X-Test-Roles": "member", **tenant}, 200),
    ):
        for topics in ("topic=accounts", "topic=lines&topic=accounts"):
            answer = Client(site).request("HEAD", f"/events?{topics}", headers=headers)
            assert answer.status == status, (headers, topics)


def stream(site: Runtime, who: Identity, last: str | None = None) -> Iterator[bytes]:
    """The frames that a page of this identity gets from /events."""
    environ: dict[str, Any] = {"QUERY_STRING": "topic=accounts&format=html", "PATH_INFO": "/events"}
    environ["HTTP_X_TEST_USER"], environ["HTTP_X_TEST_TENANT"] = who.user, str(who.tenant)
    environ["HTTP_X_TEST_ROLES"] = ",".join(who.roles)
    if last:
        environ["HTTP_LAST_EVENT_ID"] = last
    setup_testing_defaults(environ)
    return iter(site.application(environ, lambda *head: lambda data: None))


def until(frames: Iterator[bytes], word: bytes) -> bytes:
    """All that comes up to the frame with this word."""
    seen = b""
    while word not in seen:
        seen += next(frames)
    return seen


def test_a_page_hears_of_its_own_tenant_only_now_and_when_it_comes_back(
    wide_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app import app  # type: ignore[import-not-found]

    monkeypatch.setitem(app.fragments, "accounts", show)
    theirs = Identity("eve", OURS.roles, uuid4())
    with running_app(wide_database) as site:
        while not site.hub.ready[0]:
            threading.Event().wait(0.01)
        ours, others = stream(site, OURS), stream(site, theirs)
        assert b"retry" in next(ours) and b"retry" in next(others)
        for who, name in ((theirs, "Theirs"), (OURS, "Ours"), (theirs, "Again"), (OURS, "More")):
            with as_identity(who):
                Factory.of(site, "accounts").create(name=name)
        heard = until(ours, b"More"), until(others, b"Again")
        assert b"Ours" in heard[0] and b"Theirs" not in heard[0] and b"Again" not in heard[0]
        assert b"Theirs" in heard[1] and b"Ours" not in heard[1] and b"More" not in heard[1]
        # An id of the other tenant's stream gives one's own events, or a refresh.
        foreign = re.findall(rb"id: (\S+)", heard[1])[0].decode()
        back = stream(site, OURS, foreign)
        first = next(back)
        assert b"More" in first or b"event: refresh" in first
        assert b"Theirs" not in first and b"Again" not in first
        for one in (ours, others, back):
            one.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", ["a b", 'x"]\ndata: evil', "é.#", "\\0", "\u2028\r\n\n"])
def test_a_key_of_text_cannot_leave_its_selector(encoder: Encoder, key: str) -> None:
    event = Event("accounts", "account.deleted", key)
    mode, selector = lines_of(encoder.begin([event])(event, "html"))
    inside = re.fullmatch(r'selector \[id="((?:\w|\\[0-9a-f]+ )*)"\]', selector)
    assert mode == "mode remove" and inside is not None
    meant = re.sub(r"\\([0-9a-f]+) ", lambda found: chr(int(found[1], 16)), inside[1])
    assert meant == f"accounts-{key}"


@pytest.mark.thorough
def test_a_page_that_signed_out_hears_no_more(
    wide_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app import app

    out: set[str] = set()
    monkeypatch.setattr(app, "renew", lambda who: None if who.user in out else who)
    with running_app(wide_database, FORGE_SSE_HEARTBEAT="1s") as site:
        staying = stream(site, Identity("eve", OURS.roles, OURS.tenant))
        leaving = stream(site, OURS)
        assert b"retry" in next(leaving) and b"retry" in next(staying)
        out.add(OURS.user)
        assert until(leaving, b"event: close").endswith(b'{"reason":"expired"}\n\n')
        assert list(leaving) == []
        assert b"close" not in next(staying)
        staying.close()  # type: ignore[attr-defined]
