"""The stream as an iterator of bytes, for servers that cannot hand a socket over."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from forge_min import sse
from forge_min.fanout import Limiter, StreamWriter, Subscription, Topic
from forge_min.notify import refresh_frame

from waiting import wait_for

DEADLINE = 10.0


@pytest.fixture
def writer() -> Iterator[StreamWriter]:
    made = StreamWriter(heartbeat=0.05)
    made.start()
    yield made
    made.stop(0.0)


@pytest.fixture
def limiter() -> Limiter:
    return Limiter(max_total=1, max_per_user=1)


def opened(
    writer: StreamWriter, limiter: Limiter, *subscriptions: Subscription, first: bytes = b""
) -> sse.ByteStream:
    lease = limiter.acquire("ann")
    return sse.ByteStream(lambda fd: writer.adopt(fd, subscriptions, lease, first))


def read_until(stream: sse.ByteStream, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        data += next(stream)
    return data


def test_first_then_frames_of_all_topics_then_heartbeats(
    writer: StreamWriter, limiter: Limiter
) -> None:
    one, other = Topic(), Topic()
    stream = opened(writer, limiter, one.subscribe(), other.subscribe(), first=b"first")
    assert next(stream) == b"first"
    one.publish(b"a")
    other.publish(b"b")
    one.publish(b"c")
    data = read_until(stream, b": hb\n\n")
    assert data.startswith(b"abc: hb\n\n")
    threading.Timer(0.02, lambda: other.publish(b"late")).start()
    read_until(stream, b"late")
    stream.close()


def test_who_falls_off_gets_one_refresh_and_goes_on(writer: StreamWriter, limiter: Limiter) -> None:
    topic = Topic(2)
    subscription = topic.subscribe()
    for _ in range(5):
        topic.publish(b"x")
    stream = opened(writer, limiter, subscription)
    assert next(stream) == refresh_frame("overflow", 5)
    topic.publish(b"y")
    assert next(stream) == b"y"
    stream.close()


def test_close_releases_also_what_was_never_begun(writer: StreamWriter, limiter: Limiter) -> None:
    topic = Topic()
    stream = opened(writer, limiter, topic.subscribe(), first=b"first")
    stream.close()
    stream.close()
    wait_for(lambda: (limiter.active, topic.subscribers) == (0, 0))
    assert list(stream) == []


def test_close_from_another_thread_ends_a_waiting_stream(limiter: Limiter) -> None:
    topic, writer = Topic(), StreamWriter(heartbeat=60)
    writer.start()
    stream = opened(writer, limiter, topic.subscribe())
    threading.Timer(0.02, stream.close).start()
    with pytest.raises(StopIteration):
        next(stream)
    wait_for(lambda: (limiter.active, topic.subscribers) == (0, 0))
    writer.stop(0.0)


def test_the_end_by_the_writer_ends_the_stream_and_releases(
    writer: StreamWriter, limiter: Limiter
) -> None:
    topic = Topic()
    stream = opened(writer, limiter, topic.subscribe())
    topic.publish(b"x")
    assert next(stream) == b"x"
    writer.stop(1.0, b"farewell")
    assert b"".join(stream).endswith(b"farewell")
    assert (limiter.active, topic.subscribers) == (0, 0)


def test_a_writer_that_does_not_run_gives_an_empty_stream(limiter: Limiter) -> None:
    topic = Topic()
    stream = opened(StreamWriter(), limiter, topic.subscribe(), first=b"first")
    assert list(stream) == []
    assert (limiter.active, topic.subscribers) == (0, 0)
