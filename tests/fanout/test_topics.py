"""Topic rings and subscriptions, read as a client does."""

from __future__ import annotations

import gc
import threading
import time
from types import ModuleType
from typing import Any

import pytest


def refresh(missed: int) -> bytes:
    return b'event: refresh\ndata: {"reason":"overflow","missed":%d}\n\n' % missed


def test_frames_are_numbered_from_one_and_come_in_order(core: ModuleType, bench: Any) -> None:
    topic = core.Topic(8)
    client = bench.reader(topic.subscribe())
    assert [topic.publish(b"a"), topic.publish(b"b")] == [1, 2]
    assert client.read_until(b"b") == b"ab"


def test_a_subscription_sees_only_what_comes_next_unless_it_names_a_number(
    core: ModuleType, bench: Any
) -> None:
    topic = core.Topic(4)
    for letter in (b"a", b"b", b"c", b"d", b"e", b"f"):
        topic.publish(letter)
    assert bench.reader(topic.subscribe(after=4)).read_until(b"f") == b"ef"
    assert bench.reader(topic.subscribe(after=0)).read_until(b"f") == b"cdef"  # what the ring has
    late = [bench.reader(topic.subscribe(after)) for after in (None, 6, 99)]
    topic.publish(b"g")
    assert [client.read_until(b"g") for client in late] == [b"g"] * 3


def test_who_falls_off_is_told_once_with_the_exact_number(core: ModuleType, bench: Any) -> None:
    topic = core.Topic(4)
    subscription, first = topic.subscribe(), topic.subscribe(0)
    for _ in range(4):
        topic.publish(b"x")
    assert bench.reader(first).read_until(b"xxxx") == b"xxxx"
    topic.publish(b"y")
    client = bench.reader(subscription)
    assert client.read_until(b"\n\n") == refresh(5)
    topic.publish(b"z")
    assert client.read_until(b"z") == b"z"


def test_closing_is_counted_once_and_ends_the_frames(core: ModuleType, bench: Any) -> None:
    topic, last = core.Topic(), core.Topic()
    one, other = topic.subscribe(), topic.subscribe()
    assert topic.subscribers == 2
    topic.publish(b"x")
    one.close()
    one.close()
    assert topic.subscribers == 1
    client = bench.reader(one, last.subscribe())
    last.publish(b"y")
    assert client.read_until(b"y") == b"y"
    del other
    gc.collect()
    assert topic.subscribers == 0


def test_a_subscription_keeps_its_topic(core: ModuleType, bench: Any) -> None:
    topic = core.Topic()
    topic.publish(b"x")
    subscription = topic.subscribe(0)
    del topic
    gc.collect()
    assert bench.reader(subscription).read_until(b"x") == b"x"


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


def test_many_threads_publish_and_every_reader_accounts_for_every_frame(
    core: ModuleType, bench: Any
) -> None:
    topic = core.Topic(64)
    total = 8 * 500
    started = threading.Barrier(8)
    clients = [bench.reader(topic.subscribe()) for _ in range(4)]

    def publish(name: int) -> None:
        started.wait(10)
        for turn in range(500):
            topic.publish(b"%d %d\n\n" % (name, turn))

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for client in clients:
        seen, last = 0, [-1] * 8
        while seen < total:
            frame = client.read_until(b"\n\n")
            if frame.startswith(b"event: refresh"):
                seen += int(frame.rpartition(b":")[2].rstrip(b"}\n"))
            else:
                name, turn = map(int, frame.split())
                assert turn > last[name]
                last[name] = turn
                seen += 1
        assert seen == total
    for thread in threads:
        thread.join(30)
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
