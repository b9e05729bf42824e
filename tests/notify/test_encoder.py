"""The encoding thread by itself: how much may wait for it."""

from __future__ import annotations

from typing import Any

from forge_min.notify import Event
from forge_min.notify.channels import Channels
from forge_min.notify.encoder import BACKLOG, Encoder


def test_events_that_wait_are_bounded_and_what_is_dropped_is_a_refresh(kit: Any) -> None:
    channels = Channels(64, 600.0)
    encoder = Encoder(channels, kit.encode, idle=lambda: None)
    listener = kit.Listener(channels.subscribe(kit.key())[0])
    batch = [Event("flights", "flight.updated", resource_id=str(n)) for n in range(6_000)]
    encoder.submit(batch)
    encoder.submit(batch)
    assert len(encoder._inbox) < BACKLOG
    encoder.submit(batch[:10])
    encoder.start()
    try:
        listener.count(11)
    finally:
        encoder.stop()
    assert listener.frames[0] == b'event: refresh\ndata: {"reason":"overflow","missed":null}\n\n'
    assert listener.heard == [str(n) for n in range(10)]


def test_a_returning_subscriber_does_not_wait_for_ever(kit: Any) -> None:
    encoder = Encoder(Channels(64, 600.0), kit.encode, idle=lambda: None)
    assert encoder.replay(kit.key(), [], 0.01) is None


def test_a_failing_housekeeper_does_not_end_the_thread(kit: Any) -> None:
    channels = Channels(64, 600.0)
    ticks: list[int] = []

    def idle() -> None:
        ticks.append(1)
        raise RuntimeError("no database")

    encoder = Encoder(channels, kit.encode, idle=idle, tick=0.01)
    encoder.start()
    try:
        kit.wait_for(lambda: len(ticks) > 2)
        listener = kit.Listener(channels.subscribe(kit.key())[0])
        encoder.submit([Event("flights", "flight.updated", resource_id="1")])
        listener.until(lambda me: me.heard == ["1"])
    finally:
        encoder.stop()
