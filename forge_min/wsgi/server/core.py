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
from typing import TYPE_CHECKING, Any, NamedTuple

from .answer import date_text
from .connection import Connection, Gone
from .crew import Crew
from .exchange import Exchange
from .reader import Phase
from .refusal import Refused, refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_log = logging.getLogger("forge_min.wsgi.server")
_READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_WRITE = select.EPOLLOUT | select.EPOLLONESHOT
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_IN_A_ROW = 16
"""Pipelined requests that one connection may have answered before others get their turn."""
_LINGER = 1.0
"""Seconds to wait for the peer's end after a last answer (RFC 9112 section 9.6)."""
_ACCEPTS = 64
_TICK = 0.5
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Limits(NamedTuple):
    """What a server grants. Times in seconds, max_body in bytes."""

    max_body: int
    header_timeout: float
    body_timeout: float
    write_timeout: float
    keepalive: float
    max_connections: int


class Core:
    """Accepts, reads, answers and closes; knows nothing of binding and of processes.

    listener: bound, listening, non-blocking. environ: the constant part of every request's.
    """

    def __init__(
        self, listener: socket.socket, app: WSGIApplication, limits: Limits, environ: dict[str, Any]
    ) -> None:
        self.app = app
        self.draining = False
        self.stopping = False
        self._listener = listener
        self._limits = limits
        self._environ = environ
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._open: set[Connection] = set()
        # LOCK: none. dict.pop is atomic, and whoever popped a connection owns it.
        self._parked: dict[int, Connection] = {}
        self._accepting = False
        self._paused = False
        self._seconds = {
            Phase.IDLE: limits.keepalive,
            Phase.HEAD: limits.header_timeout,
            Phase.BODY: limits.body_timeout,
        }
        self._crew = Crew()
        self._next_sweep = 0.0
        self._emptied = threading.Event()
        self._epoll.register(self._wake, select.EPOLLIN)

    @property
    def connections(self) -> int:
        """Open connections; those that were handed over do not count."""
        return len(self._open)

    # -- the workers -------------------------------------------------------------------------------

    def listen(self) -> None:
        """Let the workers see the listening socket."""
        self._accepting = True
        self._epoll.register(self._listener.fileno(), select.EPOLLIN | select.EPOLLONESHOT)

    def work(self) -> None:
        """The life of one worker thread."""
        poll = self._epoll.poll
        take = self._parked.pop
        listener = self._listener.fileno()
        crew = self._crew
        me = threading.get_ident()
        while not self.stopping:
            if crew.alone and crew.alone != me:
                crew.rest()
                continue
            for fd, _ in poll(_TICK, 1):
                conn = take(fd, None)
                if conn is not None:
                    began = crew.begin()
                    self._serve(conn)
                    crew.end(me, began)
                elif fd == listener:
                    self._accept()
            now = time.monotonic()
            if now >= self._next_sweep:
                self._next_sweep = now + _TICK
                self._sweep(now)

    def _serve(self, conn: Connection) -> None:
        """Do for a connection what can be done now, then park or close it."""
        try:
            if conn.lingering:
                self._linger(conn)
            else:
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
        if conn.out:
            conn.flush()
        elif conn.pending:
            conn.pending = False
        elif not conn.receive():
            self._park(conn)
            return
        for _ in range(_IN_A_ROW):
            if conn.out:
                self._park_writing(conn)
                return
            if conn.closing:
                self._finish(conn)
                return
            environ = conn.reader.take()
            if environ is None:
                self._park(conn)
                return
            exchange = Exchange(conn, environ, self)
            exchange.run(self.app)
            conn.phase = Phase.FRESH
            if exchange.streams:
                self._hand_over(conn, exchange)
                return
        conn.pending = True
        self._park_writing(conn)

    # -- waiting -----------------------------------------------------------------------------------

    def _park(self, conn: Connection) -> None:
        """Wait for bytes. Each head and each body has one deadline, from its first byte on."""
        reader = conn.reader
        phase = reader.phase
        if phase is not conn.phase:
            conn.phase = phase
            conn.deadline = time.monotonic() + self._seconds[phase]
        if reader.expects:
            reader.expects = False
            conn.try_send(_CONTINUE)
        self._arm(conn, _READ)

    def _park_writing(self, conn: Connection) -> None:
        """Wait until the peer has read something."""
        conn.phase = Phase.WRITE
        conn.deadline = time.monotonic() + conn.write_timeout
        self._arm(conn, _WRITE)

    def _arm(self, conn: Connection, events: int) -> None:
        """Give the connection up and let epoll wake somebody for it."""
        # SAFETY: parked before armed, or the woken thread would find nobody to serve.
        self._parked[conn.fd] = conn
        try:
            self._epoll.modify(conn.fd, events)
        except OSError:
            pass  # the sweeper took it between these two lines, and closed it

    def _sweep(self, now: float) -> None:
        """End what is past its deadline, and accept again after a pause."""
        idle = self._limits.keepalive - _LINGER if self.draining else 0.0
        for fd, conn in list(self._parked.items()):
            late = now >= conn.deadline - (idle if conn.phase is Phase.IDLE else 0.0)
            if late and self._parked.pop(fd, None) is not None:
                self._expire(conn)
        if self._paused:
            self._resume()

    def _expire(self, conn: Connection) -> None:
        if conn.phase in (Phase.HEAD, Phase.BODY) and not conn.lingering:
            self._refuse(conn, 408, "the request did not arrive in time")
        else:
            self._close(conn)

    # -- the end of a connection -------------------------------------------------------------------

    def _refuse(self, conn: Connection, status: int, detail: str) -> None:
        """Answer with an error, read no further request, close."""
        conn.try_send(refusal(status, detail, date_text()))
        self._half_close(conn)

    def _finish(self, conn: Connection) -> None:
        """Close after a last answer; gently where the peer may have sent more."""
        if conn.reader.buffer or self.draining:
            self._half_close(conn)
        else:
            self._close(conn)

    def _half_close(self, conn: Connection) -> None:
        """End our side and wait a moment: a reset would take the answer from the peer's hands."""
        conn.closing = conn.lingering = True
        conn.reader.buffer.clear()
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        conn.phase = Phase.IDLE
        conn.deadline = time.monotonic() + _LINGER
        self._arm(conn, _READ)

    def _linger(self, conn: Connection) -> None:
        """Throw away what still comes. Raises Gone at the peer's end."""
        if conn.receive():
            conn.reader.buffer.clear()
        self._arm(conn, _READ)

    def _close(self, conn: Connection) -> None:
        self._open.discard(conn)
        conn.sock.close()
        self._left()

    def _left(self) -> None:
        """One connection less."""
        if self._paused:
            self._resume()
        if self.draining and not self._open:
            self._emptied.set()

    def _hand_over(self, conn: Connection, exchange: Exchange) -> None:
        """Give the socket to a stream's owner; this thread is free at once."""
        self._epoll.unregister(conn.fd)
        self._open.discard(conn)
        exchange.hand_over(conn.sock.detach())
        self._left()

    # -- new connections ---------------------------------------------------------------------------

    def _accept(self) -> None:
        """Take in who waits, as far as the cap and the file limit allow."""
        for turn in range(_ACCEPTS):
            if len(self._open) >= self._limits.max_connections:
                if turn:
                    break  # epoll tells whether one more waits: nobody is evicted for no one
                if not self._evict():
                    self._paused = True
                    return
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                break
            except OSError as err:
                if err.errno in _NO_ROOM:
                    _log.warning("no connection can be accepted now: %s", err)
                    self._paused = not self._evict()
                    break
                if self.draining:
                    return
                continue
            self._admit(sock, address)
        if not self._paused and not self.draining:
            self._resume()

    def _admit(self, sock: socket.socket, address: Any) -> None:
        """Make a connection of an accepted socket and wait for its first bytes."""
        sock.setblocking(False)
        environ = self._environ
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            environ = {**environ, "REMOTE_ADDR": address[0], "REMOTE_PORT": str(address[1])}
        limits = self._limits
        conn = Connection(sock, environ, limits.max_body, limits.write_timeout)
        conn.phase = Phase.IDLE
        conn.deadline = time.monotonic() + limits.keepalive
        self._open.add(conn)
        self._parked[conn.fd] = conn
        self._epoll.register(conn.fd, _READ)

    def _evict(self) -> bool:
        """Close the connection that is idle for the longest time; False when none is."""
        for fd, conn in list(self._parked.items()):
            if conn.phase is Phase.IDLE and self._parked.pop(fd, None) is not None:
                self._close(conn)
                return True
        return False

    def _resume(self) -> None:
        """Let epoll wake somebody for the next connection."""
        self._paused = False
        try:
            self._epoll.modify(self._listener.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
        except (OSError, ValueError):
            pass  # the listener is closed: a drain began

    # -- the end -----------------------------------------------------------------------------------

    def drain(self, timeout: float) -> bool:
        """Take nothing new in and answer what was accepted; True when all is done in time
        (seconds).
        """
        self.draining = True
        self._paused = False
        if self._accepting:
            self._accepting = False
            self._epoll.unregister(self._listener.fileno())
            self._accept()
        self._listener.close()
        if not self._open:
            return True
        return self._emptied.wait(timeout)

    def wake(self) -> None:
        """Make every worker look at `stopping`."""
        os.eventfd_write(self._wake, 1)
        self._crew.gather_all()

    def close(self) -> None:
        """Cut what is left. The workers have ended, or will never."""
        for conn in list(self._open):
            self._close(conn)
        self._epoll.close()
        os.close(self._wake)
