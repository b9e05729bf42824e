"""The event core: worker threads that poll one epoll, and the ownership of connections.

Every connection is armed with EPOLLONESHOT: one thread is woken for it, and no other thread until
it is armed again. A connection that waits for bytes is parked here and holds no thread.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from math import inf
from typing import Any
from wsgiref.types import WSGIApplication

from ...fanout import IoThread, ready, rearm
from ..contract import OnServerResponse, Parked
from ..http1 import Phase, ProtocolError, TrustedProxies, problem
from .connection import ClientConnection, ClientDisconnected
from .exchange import Exchange, WorkerState
from .poll_policy import PollPolicy

_log = logging.getLogger("forge_min.wsgi.server")
_READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_WRITE = select.EPOLLOUT | select.EPOLLONESHOT
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_UNREAD = {"REQUEST_METHOD": "-", "SERVER_PROTOCOL": "HTTP/1.1", "PATH_INFO": "-"}
_PIPELINED = 16  # pipelined requests that are served before other connections
_ACCEPTED_AT_ONCE = 16  # connections that one worker accepts before it polls again
_LINGER = 1.0  # seconds to wait for the peer's end after the last response (RFC 9112, 9.6)
_TICK = 0.5
_DIRECT_UP_TO = 8  # open connections up to which the I/O thread is not used
_BEFORE_YIELD = 16  # connections that one worker serves before it releases the GIL to poll
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_IDLE = (Phase.IDLE, Phase.LINGER)
_SLOW = (Phase.HEAD, Phase.BODY, Phase.WRITE)
_EVICT_AFTER = 1.0  # seconds in a slow phase after which a connection may be evicted


class Core:
    """Accepts connections, reads requests, runs the application, sends responses and closes.

    listener: bound, listening, non-blocking.
    app: the application; may be replaced while running.
    environ: the constant part of every request's environ.
    seconds: how long each phase may last.
    max_body: bytes of a request's body.
    max_connections: open connections.
    proxies: whose forwarding headers count.
    pin_threads: see PollPolicy.
    """

    def __init__(
        self,
        listener: socket.socket,
        app: WSGIApplication,
        environ: dict[str, Any],
        seconds: Mapping[Phase, float],
        max_body: int,
        max_connections: int,
        proxies: TrustedProxies,
        pin_threads: bool,
    ) -> None:
        self._listener = listener
        self._environ = environ
        self._seconds = {**seconds, Phase.LINGER: _LINGER}
        self._max_body = max_body
        self._max_connections = max_connections
        self.open: set[ClientConnection] = set()  # without those that were handed over
        # LOCK: none. dict.pop is atomic, and the thread that popped a connection owns it.
        self._parked: dict[int, ClientConnection] = {}
        self._paused = False
        self.draining = False  # each connection's next response is its last
        self._accepting = threading.Lock()  # LOCK: a drain sees every accepted connection.
        self._epoll = select.epoll()
        self._epoll.register(listener.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
        self.app = app
        self.on_server_response: OnServerResponse | None = None
        self._proxies = proxies
        self.stopping = False
        self.worker_states: set[WorkerState] = set()  # LOCK: none, its operations are atomic
        self._policy = PollPolicy(pin_threads)
        self._idle_until = inf
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self.io_thread = IoThread()
        self.uses_io_thread = bool(self._policy.may_pin and self.io_thread.most)
        if self.uses_io_thread:
            self._epoll.register(self.io_thread.fileno(), select.EPOLLIN)

    # -- new connections ---------------------------------------------------------------------------

    def _rearm_listener(self, after_pause: bool = False) -> None:
        """Let epoll wake a worker for the next connection."""
        if self._paused == after_pause:
            self._paused = False
            try:
                self._epoll.modify(self._listener.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
            except (OSError, ValueError):
                pass  # the listener is closed: a drain began

    def _accept(self) -> bool:
        """Accept one connection; return False if none waits or the limit is reached."""
        with self._accepting:
            try:
                if len(self.open) >= self._max_connections and not self._evict():
                    self._paused = True
                    return False
                self._admit(*self._listener.accept())
            except BlockingIOError:
                return False
            except OSError as err:
                # Without a free descriptor accept(2) fails even if no connection waits.
                if err.errno in _EXHAUSTED and self._has_pending():
                    _log.warning("no connection can be accepted now: %s", err)
                    self._paused = not self._evict()
                    return False
            return True

    def _has_pending(self) -> bool:
        """Whether a connection waits to be accepted."""
        poll = select.poll()
        poll.register(self._listener.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _admit(self, sock: socket.socket, address: Any) -> None:
        """Register an accepted socket as a connection, and wait for its first bytes."""
        sock.setblocking(False)
        environ = self._environ
        if sock.family != socket.AF_UNIX:
            environ = {**environ, "REMOTE_ADDR": address[0], "REMOTE_PORT": str(address[1])}
        conn = ClientConnection(sock, environ, self._max_body, self._seconds[Phase.WRITE])
        conn.last = self.draining
        self._epoll.register(conn.fd, select.EPOLLONESHOT)
        self.open.add(conn)
        self._park(conn, Phase.IDLE)

    def _evict(self) -> bool:
        """Close one connection for a new one; return False if none may be closed.

        The longest idle one is closed first, then the one that has been slowest for more than a
        second: to send a head or a body, or to read a response.
        """
        parked = list(self._parked.items())
        idle = (pair for pair in parked if pair[1].phase in _IDLE)
        for fd, conn in chain(idle, self._slowest(parked)):
            if self._claim(fd, conn):
                self._close(conn)
                return True
        return False

    def _slowest(
        self, parked: list[tuple[int, ClientConnection]]
    ) -> Iterator[tuple[int, ClientConnection]]:
        def since(conn: ClientConnection) -> float:
            phase = conn.phase  # once: another thread may serve it by now
            return conn.deadline - self._seconds[phase] if phase in _SLOW else inf

        late = time.monotonic() - _EVICT_AFTER
        slow = [(began, pair) for pair in parked if (began := since(pair[1])) < late]
        yield from (pair for _, pair in sorted(slow, key=lambda entry: entry[0]))

    # -- the workers -------------------------------------------------------------------------------

    def work(self) -> None:
        """Run one worker thread until the server stops or the worker is given up."""
        state = WorkerState()
        self.worker_states.add(state)
        self._policy.join()
        try:
            self._poll(state)
        finally:
            self._policy.leave()
            self.worker_states.discard(state)

    def _poll(self, state: WorkerState) -> None:
        policy, budget, me = self._policy, 0, threading.get_ident()
        while not (self.stopping or state.given_up):
            if policy.sole_poller and policy.sole_poller != me:
                policy.wait()
                continue
            conn, budget = self._next(budget)
            if conn is not None:
                began = time.perf_counter()
                self._serve(conn, state)
                state.exchange = state.environ = None
                try:
                    policy.record_response(me, began)
                except Exception:  # SAFETY: only speed depends on it
                    _log.exception("the poll policy failed")

    def _next(self, budget: int) -> tuple[ClientConnection | None, int]:
        """Return a connection that is ready, or None, and the new budget.

        budget: connections that may still be served without releasing the GIL.
        """
        # PERF: after each release of the GIL this thread waits for it again (benchmarks/http, row).
        if budget:
            conn = self._next_completed()
            if conn is not None:
                return conn, budget - 1
            fd = ready(self._epoll)
            if fd >= 0:
                return self._ready_connection(fd), budget - 1
        armed = self.io_thread.arm()
        self._policy.polls += 1
        fd = next((ready_fd for ready_fd, _ in self._epoll.poll(_TICK if armed else 0, 1)), -1)
        if armed and fd != self.io_thread.fileno():
            self.io_thread.disarm()
        return (self._ready_connection(fd) if fd >= 0 else self._next_completed()), _BEFORE_YIELD

    def _next_completed(self) -> ClientConnection | None:
        """Return a connection whose operation in the I/O thread is complete, or None."""
        completed = self.io_thread.completed(self._parked)
        if completed is None:
            return None
        conn: ClientConnection
        conn, conn.received = completed
        return conn

    def _ready_connection(self, fd: int) -> ClientConnection | None:
        """Return the connection of a ready descriptor; None for the listener."""
        if fd == self._listener.fileno():
            for _ in range(_ACCEPTED_AT_ONCE):
                # At the limit the next connection would evict another one.
                if not self._accept() or len(self.open) >= self._max_connections:
                    break
            self._rearm_listener()
        elif fd == self.io_thread.fileno():
            self.io_thread.acknowledge()
            return self._next_completed()
        return self._reclaim(fd)

    def _reclaim(self, fd: int) -> ClientConnection | None:
        """Take over a parked connection, or return None if another thread has it."""
        conn: ClientConnection | None = self.io_thread.reclaim(fd, self._parked)
        if conn is not None and conn.submitted:
            conn.submitted, conn.out = False, b""
        return conn

    def _serve(self, conn: ClientConnection, state: WorkerState) -> None:
        """Process a connection as far as possible now, then park or close it."""
        try:
            self._progress(conn, state)
        except ClientDisconnected:
            self._close(conn)
        except ProtocolError as err:
            self._refuse(conn, err)
        except BaseException:  # SAFETY: the worker survives any error
            _log.exception("a connection failed")
            self._close(conn)

    def _progress(self, conn: ClientConnection, state: WorkerState) -> None:
        """Write pending output, read available input, and run complete requests."""
        if conn.submitted:
            if not conn.collect():
                self._park(conn, Phase.WRITE if conn.out else Phase.IDLE)
                return
        elif conn.parked_request is not None:
            pass  # resumed: the request is complete
        elif conn.phase is Phase.WRITE or conn.out:
            conn.flush()
            conn.phase = None
        elif not conn.receive():
            self._arm(conn, _READ)
            return
        if conn.phase is Phase.LINGER:
            conn.buffer.clear()
            self._arm(conn, _READ)
            return
        for _ in range(_PIPELINED):
            if conn.out:
                break
            exchange = conn.exchange
            if exchange is not None:
                state.began, state.exchange = time.perf_counter(), exchange
                exchange.resume()
            elif conn.closing:
                self._linger(conn)
                return
            else:
                request, conn.parked_request = conn.parked_request, None
                if request is None:
                    arrived = next(conn.requests)
                    if isinstance(arrived, Phase):
                        self._park(conn, arrived)
                        return
                    request = arrived
                    # PERF: most requests come directly (benchmarks/http, hello).
                    if self._proxies.are_set or "HTTP_X_FORWARDED_FOR" in request:
                        self._proxies.apply(request)
                try:
                    exchange = self._run(conn, request, state)
                except Parked as parked:
                    self._park_request(conn, request, parked)
                    return
            conn.phase = None
            if conn.exchange is not None:
                break
            if exchange.streams:
                self._epoll.unregister(conn.fd)
                self.open.discard(conn)
                exchange.hand_over(conn.sock.detach())
                return
            if conn.deferred:
                if not conn.closing and not conn.buffer:
                    conn.deadline = time.monotonic() + self._seconds[Phase.IDLE]
                    if conn.submit(self.io_thread, self._parked):
                        return
                conn.flush()
        self._park(conn, Phase.WRITE)

    def _run(self, conn: ClientConnection, request: dict[str, Any], state: WorkerState) -> Exchange:
        conn.deferred = (
            self.uses_io_thread
            and self._policy.has_sole_poller
            and len(self.open) > _DIRECT_UP_TO
            and conn.fd < self.io_thread.most
        )
        exchange = Exchange(conn, request)
        # SAFETY: in this order: a thread that sees this exchange sees its start (TimeoutMonitor).
        state.began, state.environ, state.exchange = time.perf_counter(), request, exchange
        exchange.run(self.app, request)
        return exchange

    def _claim(self, fd: int, seen: ClientConnection) -> bool:
        """Take over the parked connection `seen`; return False if another thread has it."""
        conn = self._reclaim(fd)
        if conn is not None and conn is not seen:  # another connection has got its descriptor
            self._arm(conn, _events(conn))
        return conn is seen

    # -- waiting -----------------------------------------------------------------------------------

    def _park(self, conn: ClientConnection, phase: Phase) -> None:
        """Wait for the peer. A head and a body have one deadline each, from their first byte."""
        if phase is Phase.EXPECT:
            conn.send(_CONTINUE)
            phase = Phase.BODY
        if phase is not conn.phase:
            conn.phase = phase
            conn.deadline = time.monotonic() + self._seconds[phase]
            if phase is Phase.WRITE:
                conn.measure_queue()
        self._arm(conn, _WRITE if phase is Phase.WRITE else _READ)

    def _park_request(
        self, conn: ClientConnection, request: dict[str, Any], parked: Parked
    ) -> None:
        """Keep a parked request without a thread and without an event of epoll."""
        request["wsgi.input"].seek(0)
        conn.parked_request, conn.deferred = request, False
        conn.phase, conn.deadline = Phase.QUEUED, parked.until
        self._parked[conn.fd] = conn
        parked.wait(partial(self._resume, conn, conn.fd))

    def _resume(self, conn: ClientConnection, fd: int) -> bool:
        """Let a worker run a parked request again; return False if it no longer waits."""
        if conn.parked_request is None or not self._claim(fd, conn):
            return False
        self._arm(conn, _WRITE)  # the socket is writable, so a worker is woken at once
        return True

    def _arm(self, conn: ClientConnection, events: int) -> None:
        """Give up the ownership, and let epoll wake a worker for the connection."""
        # SAFETY: parked before armed, or the woken thread would not find the connection.
        self._parked[conn.fd] = conn
        with suppress(OSError, ValueError):  # `sweep` has closed it by now, or all is closed
            rearm(self._epoll, conn.fd, events)

    def sweep(self) -> None:
        """End connections past their deadline; accept again after a pause. Called regularly."""
        now = time.monotonic()
        idle_ends = now >= self._idle_until
        for fd, conn in list(self._parked.items()):
            late = now >= conn.deadline or (idle_ends and conn.phase is Phase.IDLE)
            if not late or not self._claim(fd, conn):
                continue
            if conn.phase is Phase.QUEUED:
                self._arm(conn, _WRITE)
                continue
            if conn.phase is Phase.WRITE and now >= conn.deadline and conn.has_progressed():
                conn.deadline = now + conn.write_timeout
            if now < conn.deadline and not (idle_ends and conn.phase is Phase.IDLE):
                self._arm(conn, _events(conn))
            elif conn.phase in (Phase.HEAD, Phase.BODY):
                slow = ProtocolError(408, "the request did not arrive in time")
                with suppress(ProtocolError):
                    conn.requests.throw(slow)  # sets the environ of `slow`
                self._refuse(conn, slow)
            else:
                self._close(conn)
        self._rearm_listener(after_pause=True)
        self._policy.unpin_if_idle()

    # -- the end of a connection -------------------------------------------------------------------

    def _refuse(self, conn: ClientConnection, why: ProtocolError) -> None:
        """Send a response for a protocol error, then close without reading another request."""
        conn.last, waited = True, 0.0
        if conn.phase in (Phase.HEAD, Phase.BODY):
            waited = time.monotonic() - conn.deadline + self._seconds[conn.phase]
        environ = {**_UNREAD, **why.environ}
        try:
            Exchange(conn, environ).run(problem(why.status, why.detail), environ)
        except ClientDisconnected:
            self._close(conn)
        else:
            self._linger(conn)
        self.report(environ, why.status, why.detail, waited)

    def report(self, environ: dict[str, Any], status: int, detail: str, seconds: float) -> None:
        """Report a response of the server itself to `on_server_response`."""
        if self.on_server_response is None:
            return
        try:
            self.on_server_response(environ, status, detail, seconds)
        except Exception:
            _log.exception("a response of the server itself could not be reported")

    def _linger(self, conn: ClientConnection) -> None:
        """Shut down our side and wait a moment: a reset would destroy the unread response."""
        conn.buffer.clear()
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
        else:
            self._park(conn, Phase.LINGER)

    def _close(self, conn: ClientConnection) -> None:
        self.open.discard(conn)
        if conn.exchange is not None:
            conn.exchange.abandon()
        conn.sock.close()
        self._rearm_listener(after_pause=True)

    # -- the end -----------------------------------------------------------------------------------

    def end_connections(self) -> None:
        """Close each connection after its next response, also connections accepted later."""
        with self._accepting:
            self.draining = True
            for conn in list(self.open):
                conn.last = True

    def drain(self, timeout: float) -> bool:
        """Serve accepted connections only; return whether all ended within `timeout` seconds."""
        until = time.monotonic() + timeout
        self._idle_until = time.monotonic() + _LINGER
        while self._accept():
            pass
        self._epoll.unregister(self._listener.fileno())
        self._listener.close()
        self.end_connections()
        while self.open and time.monotonic() < until:
            time.sleep(0.01)
        return not self.open

    def close(self, workers: list[threading.Thread], timeout: float) -> None:
        """Stop the workers, wait up to `timeout` seconds, then close all connections."""
        self.stopping = True
        os.eventfd_write(self._wake, 1)
        until = time.monotonic() + timeout
        given_up = {state.thread for state in list(self.worker_states) if state.given_up}
        for worker in workers:
            if worker not in given_up:
                worker.join(max(until - time.monotonic(), 0))
        self.io_thread.stop()
        self._policy.end()
        for conn in list(self.open):
            self._close(conn)
        self._epoll.close()
        os.close(self._wake)


def _events(conn: ClientConnection) -> int:
    """Return the events to wait for; a queued request is only resumed earlier by them."""
    return _WRITE if conn.phase in (Phase.WRITE, Phase.QUEUED) else _READ
