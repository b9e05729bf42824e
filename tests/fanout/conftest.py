"""Both twins of the core, one after the other, and clients that are plain sockets."""

from __future__ import annotations

import importlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

MODULES = {"c": "forge_min._fanout", "python": "forge_min._fanout_py"}
# Seconds that anything here may take; valgrind needs more of them (tools/sanitize.sh).
DEADLINE = 10.0 * float(os.environ.get("FORGE_TEST_PATIENCE", "1"))


def _load(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(MODULES[name])
    except ImportError:
        return None


def _required() -> bool:
    return os.environ.get("FORGE_REQUIRE_ALL", "") not in ("", "0")


@pytest.fixture(params=["c", "python"])
def core(request: pytest.FixtureRequest) -> ModuleType:
    """The module of one twin."""
    found = _load(request.param)
    if found is None:
        reason = "the compiled core is not built: python setup.py build_ext --inplace"
        pytest.fail(reason) if _required() else pytest.skip(reason)
    assert found is not None
    return found


@pytest.fixture
def twins() -> tuple[ModuleType, ModuleType]:
    """(compiled, Python)."""
    compiled, python = _load("c"), _load("python")
    if compiled is None:
        reason = "the compiled core is not built: python setup.py build_ext --inplace"
        pytest.fail(reason) if _required() else pytest.skip(reason)
    assert compiled is not None and python is not None
    return compiled, python


class Client:
    """The browser's end of a stream."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(DEADLINE)
        self.data = b""

    def wait(self) -> None:
        """Wait until something has come."""
        assert self.sock.recv(1, socket.MSG_PEEK)

    def read_until(self, end: bytes) -> bytes:
        """Everything up to and with `end`."""
        while end not in self.data:
            got = self.sock.recv(65536)
            assert got, f"closed before {end!r}; had {self.data[-200:]!r}"
            self.data += got
        head, _, self.data = self.data.partition(end)
        return head + end

    def read_all(self) -> bytes:
        """Everything until the other side closes."""
        while got := self.sock.recv(65536):
            self.data += got
        data, self.data = self.data, b""
        return data

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Vanish: the peer gets a reset instead of an end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


class Bench:
    """Makes writers and connected TCP pairs; ends all of them."""

    def __init__(self, core: ModuleType) -> None:
        self.core = core
        self.writers: list[Any] = []
        self.clients: list[Client] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def eventually(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` is true, or fail. For counters that another thread moves."""
        limit = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < limit, "it did not happen in time"
            time.sleep(0.002)

    def writer(self, **options: float) -> Any:
        made = self.core.StreamWriter(**options)
        made.start()
        self.writers.append(made)
        return made

    def pair(self, small: bool = False) -> tuple[int, Client]:
        """(fd for the writer, client). small: kernel buffers as small as they get."""
        sock = socket.socket()
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(self.listener.getsockname())
        served, _ = self.listener.accept()
        if small:
            served.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        client = Client(sock)
        self.clients.append(client)
        return served.detach(), client

    def reader(self, *subscriptions: Any) -> Client:
        """A client of these subscriptions, all of one writer."""
        if not self.writers:
            self.writer()
        fd, client = self.pair()
        assert self.writers[0].adopt(fd, subscriptions)
        return client

    def end(self) -> None:
        for writer in self.writers:
            writer.stop(timeout=1.0)
        for client in self.clients:
            client.close()
        self.listener.close()


@pytest.fixture
def bench(core: ModuleType) -> Iterator[Bench]:
    made = Bench(core)
    yield made
    made.end()
