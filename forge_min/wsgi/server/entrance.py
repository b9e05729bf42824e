"""The door: connections are taken in, as many as there is room for."""

from __future__ import annotations

import errno
import logging
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from math import inf
from typing import Any

from ..message import Phase
from .connection import Connection

_log = logging.getLogger("forge_min.wsgi.server")
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_IDLE = (Phase.IDLE, Phase.LINGER)
_SLOW = (Phase.HEAD, Phase.BODY, Phase.WRITE)
_AT_LEAST = 1.0  # seconds that one of these may last before it makes way for others


class Entrance:
    """The listener, the epoll, and the connections that are open. What happens on those is Core's.

    listener: bound, listening, non-blocking. environ: the constant part of every request's.
    seconds: how long each phase may last. max_body: bytes. max_connections: open ones.
    """

    def __init__(
        self,
        listener: socket.socket,
        environ: dict[str, Any],
        seconds: Mapping[Phase, float],
        max_body: int,
        max_connections: int,
    ) -> None:
        self._listener = listener
        self._environ = environ
        self._seconds = seconds
        self._max_body = max_body
        self._max_connections = max_connections
        self.open: set[Connection] = set()  # without those that were handed over
        # LOCK: none. dict.pop is atomic, and whoever popped a connection owns it.
        self._parked: dict[int, Connection] = {}
        self._paused = False
        self.draining = False  # each connection's next response is its last
        self._accepting = threading.Lock()  # LOCK: a drain sees every connection that was accepted.
        self._epoll = select.epoll()
        self._epoll.register(listener.fileno(), select.EPOLLIN | select.EPOLLONESHOT)

    def _listen(self, after_pause: bool = False) -> None:
        """Let epoll wake somebody for the next connection."""
        if self._paused == after_pause:
            self._paused = False
            try:
                self._epoll.modify(self._listener.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
            except (OSError, ValueError):
                pass  # the listener is closed: a drain began

    def _accept(self) -> bool:
        """Take one connection in; False when none waits, or when there is no room for it."""
        with self._accepting:
            try:
                if len(self.open) >= self._max_connections and not self._evict():
                    self._paused = True
                    return False
                self._admit(*self._listener.accept())
            except BlockingIOError:
                return False
            except OSError as err:
                # With no descriptor free accept(2) says so though nobody waits.
                if err.errno in _NO_ROOM and self._waits():
                    _log.warning("no connection can be accepted now: %s", err)
                    self._paused = not self._evict()
                    return False
            return True

    def _waits(self) -> bool:
        """Whether somebody waits to be accepted."""
        door = select.poll()
        door.register(self._listener.fileno(), select.POLLIN)
        return bool(door.poll(0))

    def _admit(self, sock: socket.socket, address: Any) -> None:
        """Make a connection of an accepted socket and wait for its first bytes."""
        sock.setblocking(False)
        environ = self._environ
        if sock.family != socket.AF_UNIX:
            environ = {**environ, "REMOTE_ADDR": address[0], "REMOTE_PORT": str(address[1])}
        conn = Connection(sock, environ, self._max_body, self._seconds[Phase.WRITE])
        conn.last = self.draining
        self._epoll.register(conn.fd, select.EPOLLONESHOT)
        self.open.add(conn)
        self._park(conn, Phase.IDLE)

    def _evict(self) -> bool:
        """Close the connection that is idle for the longest time, or that has kept us waiting for
        the longest time, above a second, in a head, in a body, or taking nothing of an answer;
        False when there is none.
        """
        parked = list(self._parked.items())
        idle = (pair for pair in parked if pair[1].phase in _IDLE)
        for fd, conn in chain(idle, self._slow(parked)):
            if self._owns(fd, conn):
                self._close(conn)
                return True
        return False

    def _slow(self, parked: list[tuple[int, Connection]]) -> Iterator[tuple[int, Connection]]:
        def since(conn: Connection) -> float:
            phase = conn.phase  # once: another thread may serve it by now
            return conn.deadline - self._seconds[phase] if phase in _SLOW else inf

        late = time.monotonic() - _AT_LEAST
        slow = [(began, pair) for pair in parked if (began := since(pair[1])) < late]
        yield from (pair for _, pair in sorted(slow, key=lambda found: found[0]))

    # -- what Core knows -------------------------------------------------------------------------

    def _park(self, conn: Connection, phase: Phase) -> None:
        raise NotImplementedError

    def _owns(self, fd: int, seen: Connection) -> bool:
        raise NotImplementedError

    def _close(self, conn: Connection) -> None:
        raise NotImplementedError
