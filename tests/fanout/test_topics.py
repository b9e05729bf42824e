"""Topic rings and subscriptions, read by pulling."""

from __future__ import annotations

import gc
import threading
import time
from types import ModuleType

import pytest


def test_frames_are_numbered_from_one_and_come_in_order(core: ModuleType) -> None:
    topic = core.Topic(8)
    subscription = topic.subscribe()
    assert [topic.publish(b"a"), topic.publish(b"b")] == [1, 2]
    assert subscription.take() == (0, [b"a", b"b"])
    assert subscription.take() == (0, [])


def test_a_subscription_sees_only_what_comes_next_unless_it_names_a_number(
    core: ModuleType,
) -> None:
    topic = core.Topic(4)
    for letter in (b"a", b"b", b"c", b"d", b"e", b"f"):
        topic.publish(letter)
    assert topic.subscribe().take() == (0, [])
    assert topic.subscribe(after=4).take() == (0, [b"e", b"f"])
    assert topic.subscribe(after=0).take() == (0, [b"c", b"d", b"e", b"f"])  # what the ring has
    assert topic.subscribe(after=6).take() == (0, [])
    ahead = topic.subscribe(after=99)
    topic.publish(b"g")
    assert ahead.take() == (0, [b"g"])


def test_who_falls_off_is_told_once_with_the_exact_number(core: ModuleType) -> None:
    topic = core.Topic(4)
    subscription = topic.subscribe()
    for _ in range(4):
        topic.publish(b"x")
    assert topic.subscribe(0).take() == (0, [b"x"] * 4)
    topic.publish(b"y")
    assert subscription.take() == (5, [])
    assert subscription.take() == (0, [])
    topic.publish(b"z")
    assert subscription.take() == (0, [b"z"])


def test_take_gives_at_most_limit(core: ModuleType) -> None:
    topic = core.Topic(1000)
    subscription = topic.subscribe()
    for number in range(1000):
        topic.publish(b"%d" % number)
    assert subscription.take(3) == (0, [b"0", b"1", b"2"])
    missed, frames = subscription.take(700)
    assert (missed, len(frames), frames[-1]) == (0, 700, b"702")
    assert len(subscription.take(2**31 - 1)[1]) == 297


def test_closing_is_counted_once_and_ends_the_frames(core: ModuleType) -> None:
    topic = core.Topic()
    one, other = topic.subscribe(), topic.subscribe()
    assert topic.subscribers == 2
    topic.publish(b"x")
    one.close()
    one.close()
    assert (one.closed, other.closed, topic.subscribers) == (True, False, 1)
    assert one.take() == (0, [])
    del other
    gc.collect()
    assert topic.subscribers == 0


def test_a_subscription_keeps_its_topic(core: ModuleType) -> None:
    topic = core.Topic()
    topic.publish(b"x")
    subscription = topic.subscribe(0)
    del topic
    gc.collect()
    assert subscription.take() == (0, [b"x"])


def test_wrong_values_are_refused(core: ModuleType) -> None:
    for size in (0, -1, 65537):
        with pytest.raises(ValueError):
            core.Topic(size)
    with pytest.raises(TypeError):
        core.Topic("4")
    topic = core.Topic()
    for frame in ("text", None, bytearray(b"x"), 5):
        with pytest.raises(TypeError):
            topic.publish(frame)
    with pytest.raises(ValueError):
        topic.publish(b"")
    assert topic.publish(b"first") == 1
    with pytest.raises(ValueError):
        topic.subscribe(-1)
    with pytest.raises(ValueError):
        topic.subscribe().take(0)


def test_many_threads_publish_and_every_reader_accounts_for_every_frame(core: ModuleType) -> None:
    topic = core.Topic(64)
    total = 8 * 500
    accounts: list[int] = []
    orders: list[bool] = []
    started = threading.Barrier(8 + 4)

    def publish(name: int) -> None:
        started.wait(10)
        for turn in range(500):
            topic.publish(b"%d %d" % (name, turn))

    def read() -> None:
        subscription = topic.subscribe()
        started.wait(10)
        limit = time.monotonic() + 30
        seen, last, ordered = 0, [-1] * 8, True
        while seen < total:
            missed, frames = subscription.take(7)
            seen += missed + len(frames)
            if not missed + len(frames):
                assert time.monotonic() < limit
                time.sleep(0.001)
            for frame in frames:
                name, turn = map(int, frame.split())
                ordered = ordered and turn > last[name]
                last[name] = turn
        accounts.append(seen)
        orders.append(ordered)

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
    threads += [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert accounts == [total] * 4
    assert orders == [True] * 4
    assert topic.publish(b"last") == total + 1


def test_publishing_does_not_depend_on_the_number_of_subscribers(core: ModuleType) -> None:
    def cost(subscribers: int) -> float:
        topic = core.Topic()
        kept = [topic.subscribe() for _ in range(subscribers)]
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(300):
                topic.publish(b"x")
            best = min(best, time.perf_counter() - began)
        assert len(kept) == subscribers
        return best

    assert cost(20_000) < 20 * cost(1)
