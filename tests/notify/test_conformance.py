"""What every hub promises, run on each of them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from forge_min import db, notify
from forge_min.notify import Event, channels

from memory_hub import MemoryHub

pytestmark = pytest.mark.db
Make = Callable[..., Any]


@pytest.fixture(params=["memory", "postgres"])
def make(request: pytest.FixtureRequest, factory: Any, kit: Any) -> Iterator[Make]:
    """Makes started hubs of one sort."""

    def memory(encoder: notify.Encode = kit.encode, **options: Any) -> MemoryHub:
        hub = MemoryHub(kit.begin(encoder), **options)
        factory.hubs.append(hub)
        hub.start()
        return hub

    yield memory if request.param == "memory" else factory.hub


def event(number: int, topic: str = "flights", **more: Any) -> Event:
    return Event(topic, "flight.updated", resource_id=str(number), version=1, **more)


def test_an_event_reaches_every_subscriber_of_its_topic_and_nobody_else(
    make: Make, kit: Any
) -> None:
    hub = make()
    one, two = kit.Listener(hub.subscribe(kit.key())[0]), kit.Listener(hub.subscribe(kit.key())[0])
    other = kit.Listener(hub.subscribe(kit.key(topic="airports"))[0])
    hub.publish(event(1))
    hub.publish(event(2, topic="airports"))
    for listener, wanted in ((one, ["1"]), (two, ["1"]), (other, ["2"])):
        listener.until(lambda me, wanted=wanted: me.heard == wanted)


def test_another_tenants_events_never_arrive(make: Make, kit: Any) -> None:
    hub = make()
    mine, yours = uuid.uuid4(), uuid.uuid4()
    listener = kit.Listener(hub.subscribe(kit.key(tenant=mine))[0])
    nobody = kit.Listener(hub.subscribe(kit.key())[0])
    hub.publish(event(1, tenant_id=yours))
    hub.publish(event(2))
    hub.publish(event(3, tenant_id=mine))
    listener.until(lambda me: "3" in me.heard)
    nobody.until(lambda me: "2" in me.heard)
    assert listener.heard == ["3"] and nobody.heard == ["2"]


def test_each_format_is_encoded_once_however_many_listen(make: Make, kit: Any) -> None:
    calls: list[str] = []

    def counting(event: Event, format: str) -> bytes:
        calls.append(format)
        return bytes(kit.encode(event, format))

    hub = make(counting)
    keys = [kit.key(), kit.key(format="text"), kit.key(format="html")]
    listeners = [kit.Listener(hub.subscribe(k)[0]) for k in keys for _ in range(5)]
    hub.publish(event(1))
    for listener in listeners:
        listener.until(lambda me: me.heard == ["1"])
    assert sorted(calls) == ["html", "json", "text"]


def test_a_payload_may_be_large_and_frames_are_made_on_the_thread_for_it(
    make: Make, kit: Any
) -> None:
    threads: set[str] = set()

    def telling(event: Event, format: str) -> bytes:
        threads.add(threading.current_thread().name)
        return b"event: x\ndata: %d\n\n" % len((event.payload or {})["text"])

    hub = make(telling)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    hub.publish(event(1, payload={"text": "é" * 500_000}))
    listener.until(lambda me: me.heard == ["500000"])
    assert threads == {"hub-encode"}


def test_nothing_is_encoded_for_a_topic_without_subscribers(make: Make, kit: Any) -> None:
    calls: list[str] = []

    def counting(event: Event, format: str) -> bytes:
        calls.append(event.topic)
        return bytes(kit.encode(event, format))

    hub = make(counting)
    listener = kit.Listener(hub.subscribe(kit.key(topic="airports"))[0])
    hub.publish(event(1))
    hub.publish(event(2, topic="airports"))
    listener.count(1)
    assert calls == ["airports"]


def test_an_encoder_that_raises_costs_its_own_key_a_refresh(make: Make, kit: Any) -> None:
    def picky(event: Event, format: str) -> bytes:
        if format == "staff":
            raise RuntimeError("no such fragment")
        return bytes(kit.encode(event, format))

    hub = make(picky)
    good = kit.Listener(hub.subscribe(kit.key())[0])
    bad = kit.Listener(hub.subscribe(kit.key(format="staff"))[0])
    hub.publish(event(1))
    good.until(lambda me: me.heard == ["1"])
    bad.until(lambda me: me.refreshes == 1)
    assert good.refreshes == 0 and bad.heard == []


def work(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("spend", [lambda: work(0.06), lambda: time.sleep(0.3)])
def test_an_encoder_that_works_or_waits_too_long_costs_a_refresh(
    make: Make, kit: Any, spend: Callable[[], None]
) -> None:
    def slow(event: Event, format: str) -> bytes:
        spend()
        return bytes(kit.encode(event, format))

    hub = make(slow)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    hub.publish(event(1))
    listener.until(lambda me: me.refreshes == 1)
    assert listener.heard == []


def test_an_encoder_that_does_not_return_costs_its_own_key_and_nobody_else(
    make: Make, kit: Any
) -> None:
    gate = threading.Event()

    def hanging(event: Event, format: str) -> bytes:
        if format == "staff":
            gate.wait(60)
        return bytes(kit.encode(event, format))

    hub = make(hanging)
    bad = kit.Listener(hub.subscribe(kit.key(format="staff"))[0])
    good = kit.Listener(hub.subscribe(kit.key())[0])
    other = kit.Listener(hub.subscribe(kit.key(topic="airports"))[0])
    try:
        hub.publish(event(1))
        time.sleep(channels.STUCK_AFTER + 0.3)
        hub.publish(event(2, topic="airports"))
        bad.until(lambda me: me.refreshes >= 1)
        good.until(lambda me: me.heard == ["1"])
        other.until(lambda me: me.heard == ["2"])
        assert hub.ready[0]
        hub.publish(event(3))  # not tried again at once
        good.until(lambda me: me.heard == ["1", "3"])
        bad.until(lambda me: me.refreshes >= 2)
        assert good.refreshes == 0 and bad.heard == [] and hub.refreshes["overflow"] >= 2
    finally:
        gate.set()


def test_a_hub_whose_encoder_never_returns_is_not_ready_until_it_does(
    make: Make, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "STUCK_AFTER", 0.05)
    gate = threading.Event()

    def hanging(event: Event, format: str) -> bytes:
        gate.wait(60)
        return bytes(kit.encode(event, format))

    hub = make(hanging)
    listener = kit.Listener(hub.subscribe(kit.key(topic="late"))[0])
    held = [hub.subscribe(kit.key(topic=f"t{n}"))[0] for n in range(channels.MAX_LOST_THREADS)]
    try:
        for n in range(channels.MAX_LOST_THREADS):
            hub.publish(event(n, topic=f"t{n}"))
        hub.publish(event(9, topic="late"))

        def given_up() -> bool:
            hub.publish(event(10, topic="nobody"))
            time.sleep(0.05)
            return hub.ready[1].startswith("F453")

        kit.wait_for(given_up)
    finally:
        gate.set()
    kit.wait_for(lambda: hub.ready[0])
    monkeypatch.setattr(channels, "STUCK_AFTER", 1.0)
    hub.publish(event(11, topic="late"))
    listener.until(lambda me: "11" in me.heard)
    assert len(held) == channels.MAX_LOST_THREADS


def test_a_subscriber_that_comes_back_gets_exactly_what_it_missed(make: Make, kit: Any) -> None:
    hub = make()
    first = kit.Listener(hub.subscribe(kit.key())[0])
    for n in range(5):
        hub.publish(event(n))
    first.count(5)
    first.subscription.close()
    hub.publish(event(5))
    opened = hub.subscribe(kit.key(), first.ids[2])
    again = kit.Listener(opened.subscription)
    again.count(3)
    assert opened.first == b"" and again.heard == ["3", "4", "5"]


@pytest.mark.parametrize(
    "wrong",
    ["", "x", "1", "1.2", "-1.5", "9" * 31 + ".1", "١.٢", "1.2.3", "1.2\n", "0." + "9" * 19],
)
def test_an_id_that_is_not_ours_is_a_refresh(make: Make, kit: Any, wrong: str) -> None:
    hub = make()
    opened = hub.subscribe(kit.key(), wrong)
    assert opened.first == b'event: refresh\ndata: {"reason":"resume","missed":null}\n\n'


def test_a_rolled_back_event_is_never_delivered_and_a_committed_one_is(
    make: Make, kit: Any, factory: Any
) -> None:
    hub = make()
    conn = factory.conn()
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    with pytest.raises(ZeroDivisionError), db.transaction(conn):
        hub.publish_tx(conn, event(1))
        raise ZeroDivisionError
    with db.transaction(conn):
        hub.publish_tx(conn, event(2))
        with pytest.raises(ZeroDivisionError), db.transaction(conn):
            hub.publish_tx(conn, event(3))
            raise ZeroDivisionError
        with db.transaction(conn):
            hub.publish_tx(conn, event(4))
    listener.until(lambda me: len(me.heard) == 2)
    hub.publish(event(5))
    listener.until(lambda me: "5" in me.heard)
    assert listener.heard == ["2", "4", "5"]


@pytest.mark.slow
def test_a_subscriber_that_is_too_slow_learns_how_much_it_missed(make: Make, kit: Any) -> None:
    hub = make(ring=8)
    slow = hub.subscribe(kit.key()).subscription
    quick = kit.Listener(hub.subscribe(kit.key())[0])
    for n in range(30):
        hub.publish(event(n))
        quick.until(lambda me, n=n: str(n) in me.heard)
    listener = kit.Listener(slow)
    listener.count(1)
    assert listener.frames == [b'event: refresh\ndata: {"reason":"overflow","missed":30}\n\n']


def test_a_topic_without_subscribers_goes_away_after_the_window(make: Make, kit: Any) -> None:
    hub: Any = make(resume_window=0.05)
    subscription = hub.subscribe(kit.key()).subscription
    kept = hub.subscribe(kit.key(topic="airports")).subscription
    subscription.close()
    kit.wait_for(lambda: len(hub._channels.groups) == 1)
    kept.close()


def test_starting_and_stopping_twice_is_harmless(make: Make, kit: Any) -> None:
    hub = make()
    hub.start()
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    hub.publish(event(1))
    listener.until(lambda me: me.heard == ["1"])
    hub.stop()
    hub.stop()
    assert not hub.ready[0]
    names = [t.name for t in threading.enumerate()]
    assert not {"hub", "hub-encode", "hub-replay"} & set(names)
    hub.start()
    kit.wait_for(lambda: hub.ready[0])
    hub.publish(event(2))
    listener.until(lambda me: "2" in me.heard)
