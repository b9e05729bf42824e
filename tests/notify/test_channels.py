"""The encoding thread by itself: how much may wait for it, and what may fail on it."""

from __future__ import annotations

from typing import Any

import pytest
from forge_min.notify import Event, channels
from forge_min.notify.channels import BACKLOG, Channels


def events(count: int) -> list[Event]:
    return [Event("flights", "flight.updated", resource_id=str(n)) for n in range(count)]


def test_events_that_wait_are_bounded_and_what_is_dropped_is_a_refresh(kit: Any) -> None:
    rings = Channels(kit.encode, 64)
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
    monkeypatch.setattr(channels, "ANSWER", 0.01)
    assert Channels(kit.encode, 64).replay(kit.key(), list) is None


def test_a_replay_with_one_frame_that_failed_is_none(kit: Any) -> None:
    def picky(event: Event, audience: str, format: str) -> bytes:
        if event.resource_id == "1":
            raise RuntimeError("no such fragment")
        return bytes(kit.encode(event, audience, format))

    rings = Channels(picky, 64)
    rings.start()
    try:
        assert rings.replay(kit.key(), lambda: events(3)) is None
        assert rings.replay(kit.key(), lambda: None) is None
        frames = rings.replay(kit.key(), lambda: events(1))
    finally:
        rings.stop()
    assert frames is not None and len(frames) == 1
