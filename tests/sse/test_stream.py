"""The stream as an iterator of bytes, for servers without a stream writer."""

from __future__ import annotations

import threading

import pytest
from forge_min import sse
from forge_min.fanout import Limiter, Topic


def test_first_then_frames_of_all_topics_then_heartbeats() -> None:
    one, other = Topic(), Topic()
    with_lease = Limiter(max_total=1, max_per_user=1)
    stream = sse.stream(
        [one.subscribe(), other.subscribe()], with_lease.acquire("ann"), b"first", 0.01
    )
    one.publish(b"a")
    other.publish(b"b")
    one.publish(b"c")
    assert [next(stream), next(stream), next(stream)] == [b"first", b"abc", sse.HEARTBEAT]
    threading.Timer(0.02, lambda: other.publish(b"late")).start()
    assert next(item for item in stream if item != sse.HEARTBEAT) == b"late"
    stream.close()


def test_who_falls_off_gets_one_refresh_and_goes_on() -> None:
    topic = Topic(2)
    stream = sse.stream([topic.subscribe()], heartbeat=0.01)
    for _ in range(5):
        topic.publish(b"x")
    assert next(stream) == sse.refresh("overflow", 5)
    topic.publish(b"y")
    assert next(stream) == b"y"


def test_close_releases_also_what_was_never_begun() -> None:
    topic = Topic()
    limiter = Limiter(max_total=1, max_per_user=1)
    stream = sse.stream([topic.subscribe()], limiter.acquire("ann"), b"first")
    stream.close()
    stream.close()
    assert (limiter.active, topic.subscribers) == (0, 0)
    assert list(stream) == []


def test_close_from_another_thread_ends_a_waiting_stream() -> None:
    topic = Topic()
    limiter = Limiter(max_total=1, max_per_user=1)
    stream = sse.stream([topic.subscribe()], limiter.acquire("ann"), heartbeat=60)
    threading.Timer(0.02, stream.close).start()
    with pytest.raises(StopIteration):
        next(stream)
    assert (limiter.active, topic.subscribers) == (0, 0)


def test_the_end_of_all_topics_ends_the_stream_and_releases() -> None:
    topics = [Topic(), Topic()]
    limiter = Limiter(max_total=1, max_per_user=1)
    subscriptions = [topic.subscribe() for topic in topics]
    stream = sse.stream(subscriptions, limiter.acquire("ann"), heartbeat=60)
    subscriptions[0].close()
    topics[1].publish(b"x")
    assert next(stream) == b"x"
    subscriptions[1].close()
    assert list(stream) == []
    assert limiter.active == 0
