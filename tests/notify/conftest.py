"""What the tests of notify share: an encoder, a listener with a deadline, and a hub with its
database.
"""

from __future__ import annotations

import re
import socket
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from forge_min import db, notify
from forge_min.fanout import StreamWriter, Subscription
from forge_min.testing import TestDatabase

ID = re.compile(rb"^id: (\S+)$", re.M)
DATA = re.compile(rb"^data: (.*)$", re.M)
DEADLINE = 15.0


def encode(event: notify.Event, format: str) -> bytes:
    """A frame that says everything a test wants to know."""
    text = f"{event.resource_id}|{format}"
    return f"id: {event.sse_id}\nevent: {event.kind}\ndata: {text}\n\n".encode()


def begin(encoder: notify.Encode = encode) -> notify.BeginBatch:
    """Encode each batch by the same function."""
    return lambda events: encoder


class PublishingHub(notify.PostgresHub):
    """A hub that publishes events, as the MemoryHub does."""

    def __init__(self, connect: Callable[[], db.Connection], *args: Any, **options: Any) -> None:
        super().__init__(connect, *args, **options)
        self.connect = connect

    def publish(self, event: notify.Event) -> None:
        """Publish at once, on a connection opened for it."""
        with self.connect() as conn:
            notify.publish_tx(conn, event, wake="notify")

    def publish_tx(self, conn: db.Connection, event: notify.Event) -> None:
        """Publish when the caller's transaction commits."""
        notify.publish_tx(conn, event)


_writer = StreamWriter(heartbeat=3600.0, write_timeout=3600.0, buffer_size=65536)


@dataclass
class Listener:
    """Reads one subscription as a client does. frames: all so far."""

    subscription: Subscription
    frames: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        served, self._client = socket.socketpair()
        self._client.setblocking(False)
        weakref.finalize(self, self._client.close)
        self._rest = b""
        _writer.start()
        assert _writer.adopt(served.detach(), [self.subscription])

    def until(self, done: Callable[[Listener], bool], seconds: float = DEADLINE) -> None:
        """Read until `done`; fails when that takes too long."""
        end = time.monotonic() + seconds
        while not done(self):
            late = time.monotonic() > end
            assert not late, f"heard only {self.frames[-5:]} ({len(self.frames)} frames)"
            try:
                self._rest += self._client.recv(65536)
            except BlockingIOError:
                time.sleep(0.002)
            *frames, self._rest = self._rest.split(b"\n\n")
            self.frames += [frame + b"\n\n" for frame in frames]

    def count(self, number: int) -> None:
        """Read until `number` frames are there, refreshes included."""
        self.until(lambda me: len(me.frames) >= number)

    @property
    def heard(self) -> list[str]:
        """The resource ids of the events, in order."""
        others = (b"event: refresh", b"event: status")
        found = [DATA.search(f) for f in self.frames if not f.startswith(others)]
        return [m[1].decode().split("|")[0] for m in found if m]

    @property
    def refreshes(self) -> int:
        """Refresh frames so far."""
        return sum(b"event: refresh" in f for f in self.frames)

    @property
    def states(self) -> list[str]:
        """What status frames said, in order."""
        return [f.split(b'"')[-2].decode() for f in self.frames if f.startswith(b"event: status")]

    @property
    def ids(self) -> list[str]:
        """The ids of the frames that have one."""
        return [m[1].decode() for f in self.frames if (m := ID.search(f))]


@dataclass
class HubFactory:
    """Makes hubs, nudgers and connections over one fresh database, as the app's role."""

    database: TestDatabase
    hubs: list[Any] = field(default_factory=list)
    nudgers: list[notify.Nudger] = field(default_factory=list)
    conns: list[db.Connection] = field(default_factory=list)

    def open(self) -> db.Connection:
        """What a hub gets as `connect`: the hub closes it."""
        return db.connect(self.database.app_url)

    def conn(self, nudger: notify.Nudger | None = None) -> db.Connection:
        """A connection as the app's role, closed at the end of the test."""
        self.conns.append(db.connect(self.database.app_url, nudger=nudger))
        return self.conns[-1]

    def owner(self) -> db.Connection:
        """A connection as the owner of the tables."""
        self.conns.append(db.connect(self.database.owner_url))
        return self.conns[-1]

    def nudger(self) -> notify.Nudger:
        """A started nudger."""
        self.nudgers.append(notify.Nudger(self.open))
        self.nudgers[-1].start()
        return self.nudgers[-1]

    def hub(self, encoder: notify.Encode = encode, **options: object) -> PublishingHub:
        """A started hub that is ready."""
        hub = PublishingHub(self.open, begin(encoder), **options)
        self.hubs.append(hub)
        hub.start()
        wait_for(lambda: hub.ready[0])
        return hub

    def close(self) -> None:
        """Stop and close everything."""
        for part in (*self.hubs, *self.nudgers):
            part.stop()
        for conn in self.conns:
            conn.close()


def wait_for(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Until `condition` holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def key(topic: str = "flights", format: str = "json", tenant: object = None) -> notify.TopicKey:
    """A topic key with the usual values."""
    return notify.TopicKey(tenant, topic, format)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Kit:
    """The helpers above, for tests: they cannot import a conftest."""

    Listener = Listener
    PublishingHub = PublishingHub
    begin = staticmethod(begin)
    encode = staticmethod(encode)
    wait_for = staticmethod(wait_for)
    key = staticmethod(key)


@pytest.fixture
def kit() -> Kit:
    """The helpers."""
    return Kit()


@pytest.fixture
def factory(fresh_database: TestDatabase) -> Iterator[HubFactory]:
    """Hubs, nudgers and connections over a fresh database."""
    factory = HubFactory(fresh_database)
    try:
        yield factory
    finally:
        factory.close()
