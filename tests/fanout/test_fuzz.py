"""Random frames, readers and interleavings: whatever happens, a client gets whole frames in order,
a refresh for what it missed, and everything is given back. `make fuzz` has many more of them.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FAREWELL = b"event: close\n\n"
PIECE = re.compile(
    rb"data: (\d+)/(\d+)/(\d+) (x*)\n\n"
    rb"|event: refresh\ndata: {\"reason\":\"overflow\",\"missed\":(\d+)}\n\n"
    rb"|(: hb\n\n)|(event: close\n\n)|(retry: 1\n\n)"
)
sizes = st.one_of(st.integers(0, 200), st.integers(0, 70_000), st.sampled_from([4095, 4096, 65536]))


def frame(topic: int, number: int, size: int) -> bytes:
    return b"data: %d/%d/%d %s\n\n" % (topic, number, size, b"x" * size)


class Peer:
    """What one client got, checked piece by piece."""

    def __init__(self, client: Any, starts: dict[int, int]) -> None:
        self.client = client
        self.client.sock.setblocking(False)
        self.next = dict(starts)  # topic → the number that must come
        self.frames = self.refreshes = 0
        self.lost = 0  # told of, without a word of which topic
        self.skipped = 0
        self.said_farewell = False
        self.ended = False
        self.buffer = b""

    def read(self, most: int) -> None:
        if self.ended:
            return
        try:
            got = self.client.sock.recv(most)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        self.ended = not got
        self.buffer += got
        end = 0
        while found := PIECE.match(self.buffer, end):
            end = found.end()
            self.take(found)
        self.buffer = self.buffer[end:]

    def take(self, found: re.Match[bytes]) -> None:
        assert not self.said_farewell, "something follows the farewell"
        if found[1]:
            topic, number = int(found[1]), int(found[2])
            assert len(found[4]) == int(found[3]), "bytes of a frame are missing"
            assert number >= self.next[topic], "a frame came twice or out of order"
            self.skipped += number - self.next[topic]
            assert self.skipped <= self.lost, "frames are missing, and no refresh said so"
            self.next[topic] = number + 1
            self.frames += 1
        elif found[5]:
            self.lost += int(found[5])
            self.refreshes += 1
        self.said_farewell = bool(found[7])

    def end(self, bench: Any) -> None:
        """Read to the end of the stream; half a frame at a close after the deadline is none."""

        def done() -> bool:
            self.read(1 << 20)  # nothing where this client has gone already
            return self.ended

        bench.eventually(done)


@SLOW
@given(
    frames=st.lists(sizes, min_size=1, max_size=60),
    reads=st.lists(st.integers(1, 20_000), max_size=60),
    first=st.booleans(),
    small=st.booleans(),
    buffer=st.integers(1, 4),
)
def test_frames_stay_whole_however_a_client_reads(
    core: ModuleType,
    bench: Any,
    frames: list[int],
    reads: list[int],
    first: bool,
    small: bool,
    buffer: int,
) -> None:
    topic = core.Topic(4)
    writer = core.StreamWriter(buffer_size=buffer, write_timeout=30.0)
    writer.start()
    fd, client = bench.pair(small)
    peer = Peer(client, {0: 1})
    try:
        writer.adopt(fd, [topic.subscribe()], None, b"retry: 1\n\n" if first else b"")
        turns = iter(reads)
        for number, size in enumerate(frames, 1):
            topic.publish(frame(0, number, size))
            for most in (next(turns, 0), next(turns, 0)):
                if most:
                    peer.read(most)

        def all_there() -> bool:
            peer.read(1 << 20)
            return peer.next[0] - 1 + peer.lost - peer.skipped >= len(frames)

        bench.eventually(all_there)
        assert peer.buffer == b"" and not peer.ended
    finally:
        writer.stop(2.0, FAREWELL)
        peer.end(bench)
        client.close()
        bench.clients.remove(client)
    assert peer.said_farewell and peer.buffer == b""
    assert (topic.subscribers, writer.connections) == (0, 0)


steps = st.one_of(
    st.tuples(st.just("adopt"), st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)),
    st.tuples(st.just("publish"), st.integers(0, 2), sizes),
    st.tuples(st.just("burst"), st.integers(0, 2), st.integers(1, 200)),
    st.tuples(st.just("read"), st.integers(0, 9), st.integers(1, 100_000)),
    st.tuples(st.just("drop"), st.integers(0, 9), st.sampled_from([b"", FAREWELL])),
    st.tuples(st.just("vanish"), st.integers(0, 9), st.sampled_from(["close", "reset", "half"])),
    st.tuples(st.just("leave"), st.integers(0, 9)),
)


@SLOW
@given(plan=st.lists(steps, min_size=1, max_size=40))
def test_any_interleaving_keeps_the_promises(
    core: ModuleType, bench: Any, plan: list[tuple[Any, ...]]
) -> None:
    topics = [core.Topic(16) for _ in range(3)]
    heads = [0, 0, 0]
    limiter = core.Limiter(max_total=100, max_per_user=100)
    writer = core.StreamWriter(buffer_size=4)
    writer.start()
    peers: list[tuple[Peer, int, list[Any]]] = []
    vanished = False

    def publish(topic: int, size: int) -> None:
        heads[topic] += 1
        assert topics[topic].publish(frame(topic, heads[topic], size)) == heads[topic]

    try:
        for step in plan:
            what, values = step[0], step[1:]
            if what == "adopt":
                fd, client = bench.pair(small=len(peers) % 2 == 0)
                subscriptions = [topics[n].subscribe() for n in values[0]]
                peer = Peer(client, {n: heads[n] + 1 for n in values[0]})
                stream = writer.adopt(fd, subscriptions, limiter.acquire("ann"), b"retry: 1\n\n")
                assert stream
                peers.append((peer, stream, subscriptions))
            elif what == "publish":
                publish(*values)
            elif what == "burst":
                for _ in range(values[1]):
                    publish(values[0], 50)
            elif values[0] < len(peers):
                peer, stream, subscriptions = peers[values[0]]
                if what == "read":
                    peer.read(values[1])
                elif what == "drop":
                    writer.drop(stream, values[1])
                elif what == "leave":
                    subscriptions[0].close()
                elif not peer.ended:
                    peer.ended = vanished = True
                    with suppress(OSError):
                        if values[1] == "half":
                            peer.client.sock.shutdown(socket.SHUT_WR)
                        else:
                            peer.client.reset() if values[1] == "reset" else peer.client.close()
    finally:
        writer.stop(2.0, FAREWELL)
        for peer, _, _ in peers:
            peer.end(bench)
            peer.client.close()
            bench.clients.remove(peer.client)
    assert (limiter.active, limiter.users, writer.connections) == (0, 0, 0)
    assert [topic.subscribers for topic in topics] == [0, 0, 0]
    frames = sum(peer.frames for peer, _, _ in peers)
    assert frames == writer.frames_sent or (vanished and frames < writer.frames_sent)
    # A refresh is counted when it begins, and its stream may end before it is whole.
    assert sum(peer.refreshes for peer, _, _ in peers) <= writer.refreshes
