"""The encoding thread by itself: how much may wait for it, and what may fail on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from forge_min.notify import Encode, Event, channels, refresh_frame
from forge_min.notify.channels import BACKLOG, Channels

REFRESH = refresh_frame("resume")


def always() -> bool:
    return True


def events(count: int, first: int = 1) -> list[Event]:
    return [
        Event("flights", "flight.updated", resource_id=str(n), id=first + n) for n in range(count)
    ]


def test_events_that_wait_are_bounded_and_what_is_dropped_is_a_refresh(kit: Any) -> None:
    rings = Channels(kit.begin(kit.encode), 64)
    listener = kit.Listener(rings.subscribe(kit.key())[0])
    rings.submit(events(6_000))
    rings.submit(events(6_000))
    assert len(rings._inbox) < BACKLOG
    rings.submit(events(10))
    rings.start()
    try:
        listener.count(11)
    finally:
        rings.stop()
    assert listener.frames[0] == b'event: refresh\ndata: {"reason":"overflow","missed":null}\n\n'
    assert listener.heard == [str(n) for n in range(10)]


def test_a_returning_subscriber_does_not_wait_for_ever(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "REPLAY_TIMEOUT", 0.01)
    rings = Channels(kit.begin(kit.encode), 64)
    rings.subscribe(kit.key())
    assert rings.replay(kit.key(), list, always) == REFRESH


def test_a_replay_with_one_frame_that_failed_is_none(kit: Any) -> None:
    def picky(event: Event, format: str) -> bytes:
        if event.resource_id == "1":
            raise RuntimeError("no such fragment")
        return bytes(kit.encode(event, format))

    rings = Channels(kit.begin(picky), 64)
    rings.subscribe(kit.key())
    rings.start()
    try:
        assert rings.replay(kit.key(), lambda _: events(3), always) == REFRESH
        assert rings.replay(kit.key(), lambda _: None, always) == REFRESH
        frames = rings.replay(kit.key(), lambda _: events(1), always)
    finally:
        rings.stop()
    assert frames == kit.encode(events(1)[0], "json")


@pytest.mark.parametrize("trouble", [SystemExit(1), KeyboardInterrupt(), "text", None, 7])
def test_an_encoder_may_do_anything_and_the_thread_goes_on(kit: Any, trouble: object) -> None:
    def odd(event: Event, format: str) -> Any:
        if event.resource_id == "0":
            if isinstance(trouble, BaseException):
                raise trouble
            return trouble
        return kit.encode(event, format)

    rings = Channels(kit.begin(odd), 64)
    listener = kit.Listener(rings.subscribe(kit.key())[0])
    rings.start()
    try:
        rings.submit(events(2))
        listener.until(lambda me: me.heard == ["1"])
        assert listener.refreshes == 1 and not rings.stuck
    finally:
        rings.stop()


def test_clients_that_come_back_for_an_event_that_hangs_cost_nobody_anything(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "STUCK_AFTER", 0.1)
    gate = threading.Event()

    def hanging(event: Event, format: str) -> bytes:
        if event.resource_id == "poison":
            gate.wait(60)
        return bytes(kit.encode(event, format))

    poison = Event("flights", "flight.updated", resource_id="poison")
    rings = Channels(kit.begin(hanging), 64)
    other = kit.Listener(rings.subscribe(kit.key(topic="airports"))[0])
    rings.start()
    try:
        rings.subscribe(kit.key())
        rings.submit([poison])
        kit.wait_for(lambda: rings.stuck)
        began = time.monotonic()
        assert rings.replay(kit.key(), lambda _: [poison], always) == REFRESH, (
            "asked of a stuck encoder"
        )
        rings.replace_stuck()
        for _ in range(channels.MAX_LOST_THREADS + 1):
            assert rings.replay(kit.key(), lambda _: [poison], always) == REFRESH
        assert time.monotonic() - began < channels.REPLAY_TIMEOUT * channels.MAX_LOST_THREADS, (
            "each would wait"
        )
        rings.submit([Event("airports", "airport.updated", resource_id="after")])
        other.until(lambda me: me.heard == ["after"])
        assert not rings.stuck
    finally:
        gate.set()
        rings.stop()


def test_one_late_answer_is_waited_for_and_those_behind_it_are_not(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "REPLAY_TIMEOUT", 1.0)
    rings = Channels(kit.begin(kit.encode), 64)  # not started: it never answers
    keys = [kit.key(topic=f"t{number}") for number in range(60)]
    for key in keys:
        rings.subscribe(key)
    began = time.monotonic()
    for key in keys:
        assert rings.replay(key, list, always) == REFRESH
    assert time.monotonic() - began < 30, "each would wait, together for a minute"


def test_a_replay_is_bounded_in_bytes(kit: Any) -> None:
    rings = Channels(kit.begin(lambda event, format: b"x" * 1000), 64)
    rings.subscribe(kit.key())
    rings.start()
    try:
        assert rings.replay(kit.key(), lambda _: events(1000), always) == b"x" * 1_000_000
        assert rings.replay(kit.key(), lambda _: events(1100), always) == REFRESH
        assert rings.replay(kit.key(), lambda _: None, always) == REFRESH
    finally:
        rings.stop()
    assert rings.refreshes["resume"] == 2


def test_live_events_arrive_while_a_replay_is_held_up(kit: Any) -> None:
    gate, held = threading.Event(), threading.Event()

    def slow(event: Event, format: str) -> bytes:
        if event.resource_id == "missed":
            held.set()
            gate.wait(60)
        return bytes(kit.encode(event, format))

    rings = Channels(kit.begin(slow), 64)
    rings.subscribe(kit.key())
    listener = kit.Listener(rings.subscribe(kit.key(topic="airports"))[0])
    missed = [Event("flights", "flight.updated", resource_id="missed")]
    returning = threading.Thread(target=rings.replay, args=(kit.key(), lambda _: missed, always))
    rings.start()
    try:
        returning.start()
        assert held.wait(10)
        rings.submit([Event("airports", "airport.updated", resource_id="live")])
        listener.until(lambda me: me.heard == ["live"])
        assert returning.is_alive()
    finally:
        gate.set()
        returning.join(10)
        rings.stop()


def test_a_replay_is_encoded_in_batches_and_dropped_when_its_client_is_gone(kit: Any) -> None:
    batches: list[int] = []

    def begin(events: Sequence[Event]) -> Encode:
        batches.append(len(events))
        return kit.encode  # type: ignore[no-any-return]

    last = events(121)[-1], "json"
    rings = Channels(begin, 64)
    rings.subscribe(kit.key())
    rings.start()
    try:
        frames = rings.replay(kit.key(), lambda _: events(120), always)
        assert frames.count(b"id: ") == 120 and batches == [50, 50, 20]
        again = rings.replay(kit.key(), lambda _: events(121), always)
        assert again == frames + kit.encode(*last)
        assert batches.pop() == 1, "what another client has just missed is not encoded again"
        stays = iter([True, True, False])
        assert rings.replay(kit.key(), lambda _: events(120, 500), lambda: next(stays)) == REFRESH
        assert batches == [50, 50, 20, 50, 50]
        assert rings.replay(kit.key(), lambda _: events(120, 500), lambda: False) == REFRESH
        assert len(batches) == 5
    finally:
        rings.stop()
