"""The event core: worker threads that poll one epoll, and the rules of who owns a connection when.

Every connection is armed with EPOLLONESHOT: one thread is woken for it, and nobody else until it is
armed again. Whoever waits for bytes waits here and holds no thread.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...fanout import Sender, ready, rearm
from ..message import Phase, Refused, TrustedProxies, problem
from .connection import Connection, Gone
from .crew import Crew
from .exchange import Exchange

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_log = logging.getLogger("forge_min.wsgi.server")
_READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_WRITE = select.EPOLLOUT | select.EPOLLONESHOT
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_UNREAD = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1", "PATH_INFO": ""}  # a refused one
_IN_A_ROW = 16  # pipelined requests that are answered before others get their turn
_AT_ONCE = 16  # connections that one worker accepts before it looks for requests again
_LINGER = 1.0  # seconds to wait for the peer's end after a last answer (RFC 9112 section 9.6)
_TICK = 0.5
_SOON = 1.0  # seconds until an answer that the sender has is looked after
_FEW = 8  # connections that are looked after the plain way, however busy they are
_TURNS = 16  # connections that one worker serves before it lets another thread run
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


def _first(queue: deque[Connection]) -> Connection | None:
    """Whoever waits there for the longest time; None where another thread was faster."""
    try:
        return queue.popleft()
    except IndexError:
        return None


class Core:
    """Accepts, reads, answers and closes; knows nothing of binding and of processes.

    listener: bound, listening, non-blocking. environ: the constant part of every request's.
    seconds: how long each phase may last. max_body: bytes. max_connections: open ones. proxies:
    None = nobody's word of a request's client counts. gather: see Crew.
    """

    def __init__(
        self,
        listener: socket.socket,
        app: WSGIApplication,
        environ: dict[str, Any],
        seconds: Mapping[Phase, float],
        max_body: int,
        max_connections: int,
        proxies: TrustedProxies | None = None,
        gather: bool = False,
    ) -> None:
        self.app = app
        self._proxies = proxies
        self.stopping = False
        self._listener = listener
        self._environ = environ
        self._seconds = {**seconds, Phase.LINGER: _LINGER}
        self._max_body = max_body
        self._max_connections = max_connections
        self.open: set[Connection] = set()  # without those that were handed over
        # LOCK: none. dict.pop is atomic, and whoever popped a connection owns it.
        self._parked: dict[int, Connection] = {}
        # LOCK: none, as above. Of one thread that serves all: those whose next request is near.
        self._recent: deque[Connection] = deque()
        self._crew = Crew(gather)
        self._next_sweep, self._idle_until = 0.0, float("inf")
        self._paused = False
        self._accepting = threading.Lock()  # LOCK: a drain sees every connection that was accepted.
        self._epoll = select.epoll()
        self._epoll.register(listener.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self.sender = Sender(self._epoll)
        self.sends = bool(self._crew.gathers and self.sender.most)
        self._patience = min(_SOON, *seconds.values())

    # -- the workers -------------------------------------------------------------------------------

    def work(self) -> None:
        """The life of one worker thread."""
        self._crew.join()
        try:
            self._poll()
        finally:
            self._crew.leave()

    def _poll(self) -> None:
        crew, recent, turns, me = self._crew, self._recent, 0, threading.get_ident()
        while not self.stopping:
            if crew.alone and crew.alone != me:
                crew.rest()
                continue
            # PERF: of many, the one that was answered the longest time ago has probably sent again,
            # and epoll need not be asked (benchmarks/http, hello).
            many = crew.alone and turns and len(recent) > _FEW
            conn = _first(recent) if many or not crew.alone else None
            if conn is None:
                conn, turns = self._ready(turns)
            turns = max(turns - 1, 0)
            if conn is not None:
                began = time.perf_counter()
                self._serve(conn)
                crew.answered(me, began)
            now = time.monotonic()
            if now >= self._next_sweep:
                self._next_sweep = now + _TICK
                self._sweep(now)

    def _ready(self, turns: int) -> tuple[Connection | None, int]:
        """A connection that epoll says is ready, and how often that may be asked without letting
        another thread run: until `turns` are over.
        """
        # PERF: each time it lets others run it waits for its own turn (benchmarks/http, row).
        fd = ready(self._epoll) if turns else -1
        if fd >= 0:
            return self._found(fd), turns
        if self._recent:
            found = [self._found(fd) for fd, _ in self._epoll.poll(0, _TURNS)]
            self._recent.extend(filter(None, found))
            return _first(self._recent), _TURNS
        fd = next((found for found, _ in self._epoll.poll(_TICK, 1)), -1)
        return self._found(fd) if fd >= 0 else None, _TURNS

    def _found(self, fd: int) -> Connection | None:
        """The connection that epoll says is ready; None where it is the listener that is."""
        if fd == self._listener.fileno():
            for _ in range(_AT_ONCE):
                # At the cap the next one costs another its place: only if it is there.
                if not self._accept() or len(self.open) >= self._max_connections:
                    break
            self._listen()
        return self._parked.pop(fd, None)

    def _serve(self, conn: Connection) -> None:
        """Do for a connection what can be done now, then park or close it."""
        try:
            self._progress(conn)
        except Gone:
            self._close(conn)
        except Refused as err:
            self._refuse(conn, err.status, err.detail)
        except Exception:
            _log.exception("a connection failed")
            self._close(conn)

    def _progress(self, conn: Connection) -> None:
        """Write what is left, read what is there, answer what is complete."""
        if conn.given and not self._collect(conn):
            return
        if conn.phase is Phase.WRITE or conn.out:
            conn.flush()
            conn.phase = None
        elif not conn.receive():
            self._arm(conn, _READ)
            return
        if conn.phase is Phase.LINGER:
            conn.buffer.clear()
            self._arm(conn, _READ)
            return
        for _ in range(_IN_A_ROW):
            if conn.out:
                break
            if conn.closing:
                self._end(conn)
                return
            request = next(conn.requests)
            if isinstance(request, Phase):
                self._park(conn, request)
                return
            if self._proxies is not None:
                self._proxies.apply(request)
            exchange = Exchange(conn, request)
            conn.held = self._crew.crowded and len(self.open) > _FEW and conn.fd < self.sender.most
            exchange.run(self.app, request)
            conn.phase = None
            if exchange.streams:
                self.sender.settle()
                self._epoll.unregister(conn.fd)
                self.open.discard(conn)
                exchange.hand_over(conn.sock.detach())
                return
            if conn.held:
                if not conn.closing and not conn.buffer and self._give(conn):
                    return
                conn.flush()
        self._park(conn, Phase.WRITE)

    def _give(self, conn: Connection) -> bool:
        """Have its answer sent while this thread goes on; False where this thread has to."""
        near = self._near()
        conn.deadline = time.monotonic() + self._patience
        given = conn.give(self.sender, 0 if near else _READ, self._parked)
        if given and near:
            self._recent.append(conn)
        return given

    def _collect(self, conn: Connection) -> bool:
        """Whether its answer is sent, as far as the kernel takes it. Raises Gone."""
        if not conn.collect(self.sender):
            if self._near():
                self._recent.append(conn)
                return False
            self.sender.settle()
            conn.collect(self.sender)
        conn.deadline += self._seconds[Phase.IDLE] - self._patience
        return True

    def _owns(self, fd: int, seen: Connection) -> bool:
        """Take out of the parked ones what was seen there; False where it is gone, or goes on."""
        conn = self._parked.pop(fd, None)
        if conn is None:
            return False
        try:
            if conn.given:
                self.sender.settle()
                self._collect(conn)
        except Gone:
            self._close(conn)
            return False
        if conn.out and conn.phase is Phase.IDLE:
            self._park(conn, Phase.WRITE)
        elif conn is not seen:  # another one has its number by now
            self._arm(conn, _WRITE if conn.phase is Phase.WRITE else _READ)
        else:
            return True
        return False

    # -- waiting -----------------------------------------------------------------------------------

    def _park(self, conn: Connection, phase: Phase) -> None:
        """Wait for the peer. A head and a body have one deadline each, from the first byte on."""
        if phase is Phase.EXPECT:
            conn.send(_CONTINUE)
            phase = Phase.BODY
        if phase is not conn.phase:
            conn.phase = phase
            conn.deadline = time.monotonic() + self._seconds[phase]
        if phase is Phase.IDLE and self._near():
            self._recent.append(conn)
        else:
            if phase is Phase.WRITE:
                self.sender.settle()  # SAFETY: it may be about to wait for the next request here
            self._arm(conn, _WRITE if phase is Phase.WRITE else _READ)

    def _near(self) -> bool:
        """Whether nobody waits for the next request by epoll."""
        return self._crew.alone != 0 and len(self.open) > _FEW

    def _arm(self, conn: Connection, events: int) -> None:
        """Give the connection up and let epoll wake somebody for it."""
        # SAFETY: parked before armed, or the woken thread would find nobody to serve.
        self._parked[conn.fd] = conn
        try:
            rearm(self._epoll, conn.fd, events)
        except (OSError, ValueError):
            pass  # the sweeper took it between these two lines, and closed it; or all is closed

    def _sweep(self, now: float) -> None:
        """End what is past its deadline, and accept again after a pause."""
        idle_ends = now >= self._idle_until
        for fd, conn in list(self._parked.items()):
            late = now >= conn.deadline or (idle_ends and conn.phase is Phase.IDLE)
            if not late or not self._owns(fd, conn):
                continue
            if now < conn.deadline and not idle_ends:
                self._arm(conn, _READ)
            elif conn.phase in (Phase.HEAD, Phase.BODY):
                self._refuse(conn, 408, "the request did not arrive in time")
            else:
                self._close(conn)
        self._listen(after_pause=True)
        self._crew.settle()

    # -- the end of a connection -------------------------------------------------------------------

    def _refuse(self, conn: Connection, status: int, detail: str) -> None:
        """Answer with an error, read no further request, close."""
        conn.last = True
        environ = dict(_UNREAD)
        try:
            Exchange(conn, environ).run(problem(status, detail), environ)
        except Gone:
            self._close(conn)
        else:
            self._end(conn)

    def _end(self, conn: Connection) -> None:
        """End our side and wait a moment: a reset would take the answer from the peer's hands."""
        conn.buffer.clear()
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
        else:
            self._park(conn, Phase.LINGER)

    def _close(self, conn: Connection) -> None:
        self.open.discard(conn)
        self.sender.settle()  # SAFETY: its number may be another's at once
        conn.sock.close()
        self._listen(after_pause=True)

    # -- new connections ---------------------------------------------------------------------------

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
                if err.errno in _NO_ROOM:
                    _log.warning("no connection can be accepted now: %s", err)
                    self._paused = not self._evict()
                    return False
            return True

    def _admit(self, sock: socket.socket, address: Any) -> None:
        """Make a connection of an accepted socket and wait for its first bytes."""
        sock.setblocking(False)
        environ = self._environ
        if sock.family != socket.AF_UNIX:
            environ = {**environ, "REMOTE_ADDR": address[0], "REMOTE_PORT": str(address[1])}
        conn = Connection(sock, environ, self._max_body, self._seconds[Phase.WRITE])
        self._epoll.register(conn.fd, select.EPOLLONESHOT)
        self.open.add(conn)
        self._park(conn, Phase.IDLE)

    def _evict(self) -> bool:
        """Close the connection that is idle for the longest time; False when none is."""
        for fd, conn in list(self._parked.items()):
            if conn.phase in (Phase.IDLE, Phase.LINGER) and self._owns(fd, conn):
                self._close(conn)
                return True
        return False

    # -- the end -----------------------------------------------------------------------------------

    def drain(self, timeout: float) -> bool:
        """Answer what was accepted, and nothing new; True when all is done in time (seconds)."""
        until = time.monotonic() + timeout
        self._idle_until = time.monotonic() + _LINGER
        while self._accept():
            pass
        self._epoll.unregister(self._listener.fileno())
        self._listener.close()
        with self._accepting:
            for conn in list(self.open):
                conn.last = True
        while self.open and time.monotonic() < until:
            time.sleep(0.01)
        return not self.open

    def close(self, workers: list[threading.Thread], timeout: float) -> None:
        """End the workers, waiting for them so many seconds, and cut what is left."""
        self.stopping = True
        os.eventfd_write(self._wake, 1)
        until = time.monotonic() + timeout
        for worker in workers:
            worker.join(max(until - time.monotonic(), 0))
        self.sender.stop()
        self._crew.end()
        for conn in list(self.open):
            self._close(conn)
        self._epoll.close()
        os.close(self._wake)
