"""A hub that nobody listens to reads nothing between its polls, and nothing is lost or told twice
when somebody comes.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from forge_min import db
from forge_min.notify import Event, postgres

pytestmark = pytest.mark.db


def event(name: str) -> Event:
    return Event("flights", "flight.updated", resource_id=name, version=1)


def silent(factory: Any, kit: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """A hub that hears no nudge any more, and the times of its reads."""
    monkeypatch.setattr(postgres, "GRACE", 0.05)
    hub = factory.hub(**options)
    reads: list[float] = []
    read = hub._reader.read

    def counting(conn: db.Connection) -> Any:
        reads.append(time.monotonic())
        return read(conn)

    monkeypatch.setattr(hub._reader, "read", counting)
    time.sleep(0.1)
    hub._listener.set()  # one look more, after the grace
    kit.wait_for(lambda: reads and not hub._listener.payloads and not hub._listener.is_set())
    reads.clear()
    return hub, reads


@pytest.mark.parametrize("own", [True, False])
def test_commits_wake_no_hub_that_nobody_listens_to(
    factory: Any, kit: Any, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    nudger = factory.nudger()
    long = {"poll_interval": 60.0, "heartbeat": 60.0, "nudger": nudger if own else None}
    hub, reads = silent(factory, kit, monkeypatch, **long)
    conn = factory.conn(nudger)
    for n in range(50):
        hub.publish_tx(conn, event(f"before {n}"))
        time.sleep(0.005)
    assert reads == [] and hub.lag_seconds == 0
    # Who comes hears what is committed from then on, at once, and nothing of before.
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    hub.publish_tx(conn, event("after"))
    listener.count(1)
    assert listener.heard == ["after"] and listener.refreshes == 0


def test_it_still_polls_and_is_ready(
    factory: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, reads = silent(factory, kit, monkeypatch, poll_interval=0.2)
    kit.wait_for(lambda: len(reads) > 3)
    assert hub.ready == (True, "") and not hub._listener.payloads


def test_a_first_subscriber_resumes_from_the_log(
    factory: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = {"poll_interval": 60.0, "heartbeat": 60.0, "resume_window": 600.0}
    nudger = factory.nudger()
    hub, _ = silent(factory, kit, monkeypatch, **long)
    other = factory.hub(**long)
    conn = factory.conn(nudger)
    listener = kit.Listener(other.subscribe(kit.key())[0])
    hub.publish_tx(conn, event("one"))
    listener.count(1)
    hub.publish_tx(conn, event("two"))
    listener.count(2)
    opened = hub.subscribe(kit.key(), listener.ids[0])
    assert b"data: two|" in opened[1] and b"refresh" not in opened[1]
    resumed = kit.Listener(opened[0])
    hub.publish_tx(conn, event("three"))
    resumed.count(1)
    assert resumed.heard == ["three"]


def test_no_event_is_lost_or_told_twice_while_many_come_and_the_hub_falls_silent(
    factory: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread comes, commits, must hear its own commit once, and goes; between them the hub
    hears nothing.
    """
    monkeypatch.setattr(postgres, "GRACE", 0.0)
    nudger = factory.nudger()
    # No channel outlives its subscriber, and no poll finds what was not heard.
    long = {"poll_interval": 60.0, "heartbeat": 60.0, "resume_window": -1.0}
    hub = factory.hub(nudger=nudger, **long)
    stop = threading.Event()
    silences = 0

    def sweeping() -> None:
        nonlocal silences
        while not stop.is_set():
            hub._channels.sweep()
            silences += not hub._listener.payloads
            time.sleep(0.001)

    def visiting(visitor: int) -> None:
        conn = db.connect(factory.database.app_url, nudger=nudger)
        with conn:
            for turn in range(20):
                name = f"{visitor}.{turn}"
                listener = kit.Listener(hub.subscribe(kit.key(f"topic{visitor}"))[0])
                hub.publish_tx(conn, Event(f"topic{visitor}", "flight.updated", name, 1))
                listener.count(1)
                assert listener.heard == [name] and listener.refreshes == 0
                listener.subscription.close()
                time.sleep(0.002 * (turn % 7))

    sweeper = threading.Thread(target=sweeping)
    sweeper.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(visiting, range(4)))
    finally:
        stop.set()
        sweeper.join()
    assert silences


def test_who_comes_while_the_first_one_waits_hears_nothing_of_before_either(
    factory: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nudger = factory.nudger()
    long = {"poll_interval": 60.0, "heartbeat": 60.0, "resume_window": -1.0}
    hub, _ = silent(factory, kit, monkeypatch, nudger=nudger, **long)
    conn = factory.conn(nudger)
    for turn in range(20):
        hub._channels.sweep()
        time.sleep(0.06)
        hub._listener.set()
        kit.wait_for(lambda: not hub._listener.payloads)
        for n in range(5):
            hub.publish_tx(conn, event(f"old {turn} {n}"))
        time.sleep(0.02)

        def coming(after: float) -> Any:
            time.sleep(after)
            return kit.Listener(hub.subscribe(kit.key())[0])

        with ThreadPoolExecutor(2) as pool:
            listeners = list(pool.map(coming, (0.0, 0.0005 * (turn % 8))))
        hub.publish_tx(conn, event("now"))
        for listener in listeners:
            listener.until(lambda me: "now" in me.heard)
            assert listener.heard == ["now"]
            listener.subscription.close()


def test_who_could_not_wait_for_the_read_gets_a_refresh_and_nothing_of_before(
    factory: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nudger = factory.nudger()
    long = {"poll_interval": 60.0, "heartbeat": 60.0}
    hub, _ = silent(factory, kit, monkeypatch, nudger=nudger, **long)
    conn, owner = factory.conn(nudger), factory.owner()
    hub.publish_tx(conn, event("old"))
    with owner.transaction():
        owner.execute("lock table forge_event in access exclusive mode")
        listener = kit.Listener(hub.subscribe(kit.key())[0])
        others = [kit.Listener(hub.subscribe(kit.key(f"t{n}"))[0]) for n in range(20)]
        # One wait for all of them: 20 would be 5 s, and the lock is given up after 2.
        time.sleep(0.1)
    listener.until(lambda me: me.refreshes == 1)
    hub.publish_tx(conn, event("now"))
    listener.until(lambda me: "now" in me.heard)
    assert listener.heard == ["now"] and listener.refreshes == 1
    assert all(other.heard == [] for other in others)


@pytest.mark.parametrize("after", [0.0, 0.03, 0.08, 0.2])
def test_who_resumes_right_after_a_start_gets_what_was_missed(
    factory: Any, kit: Any, after: float
) -> None:
    earlier = factory.hub()
    listener = kit.Listener(earlier.subscribe(kit.key())[0])
    earlier.publish(event("one"))
    listener.count(1)
    earlier.publish(event("two"))
    listener.count(2)
    hub = kit.PublishingHub(factory.open, kit.begin())
    factory.hubs.append(hub)
    hub.start(0.1)
    time.sleep(after)
    opened = hub.subscribe(kit.key(), listener.ids[0])
    assert b"data: two|" in opened.first and b"refresh" not in opened.first
    resumed = kit.Listener(opened.subscription)
    hub.publish(event("three"))
    resumed.count(1)
    assert resumed.heard == ["three"] and resumed.refreshes == 0
