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
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any

from ...fanout import IoThread, ready, rearm
from ..contract import OnAnswered, Parked
from ..http1 import (
    Phase,
    ProtocolError,
    TrustedProxies,
    problem,
    warn_of_untrusted,
)
from .connection import ClientDisconnected, Connection
from .exchange import Exchange, WorkerState
from .poll_policy import PollPolicy

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_log = logging.getLogger("forge_min.wsgi.server")
_READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_WRITE = select.EPOLLOUT | select.EPOLLONESHOT
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_UNREAD = {"REQUEST_METHOD": "-", "SERVER_PROTOCOL": "HTTP/1.1", "PATH_INFO": "-"}
_IN_A_ROW = 16  # pipelined requests that are answered before others get their turn
_AT_ONCE = 16  # connections that one worker accepts before it looks for requests again
_LINGER = 1.0  # seconds to wait for the peer's end after a last answer (RFC 9112 section 9.6)
_TICK = 0.5
_FEW = 8  # connections that are looked after the plain way, however busy they are
_TURNS = 16  # connections that one worker serves before it lets another thread run
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_IDLE = (Phase.IDLE, Phase.LINGER)
_SLOW = (Phase.HEAD, Phase.BODY, Phase.WRITE)
_AT_LEAST = 1.0  # seconds that one of these may last before it makes way for others


class Core:
    """Accepts, reads, answers and closes; knows nothing of binding and of processes.

    listener: bound, listening, non-blocking. environ: the constant part of every request's.
    seconds: how long each phase may last. max_body: bytes. max_connections: open ones. proxies:
    None = nobody's word of a request's client counts. gather: see PollPolicy.
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
        self._listener = listener
        self._environ = environ
        self._seconds = {**seconds, Phase.LINGER: _LINGER}
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
        self.app = app
        self.on_answered: OnAnswered | None = None
        self._proxies, self._warns = proxies, True
        self.stopping = False
        self.turns: set[WorkerState] = set()  # LOCK: none, its operations are atomic
        self._crew = PollPolicy(gather)
        self._idle_until = inf
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self.io_thread = IoThread()
        self.carries = bool(self._crew.gathers and self.io_thread.most)
        if self.carries:
            self._epoll.register(self.io_thread.fileno(), select.EPOLLIN)

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

    # -- the workers -------------------------------------------------------------------------------

    def work(self) -> None:
        """The life of one worker thread."""
        turn = WorkerState()
        self.turns.add(turn)
        self._crew.join()
        try:
            self._poll(turn)
        finally:
            self._crew.leave()
            self.turns.discard(turn)

    def _poll(self, turn: WorkerState) -> None:
        crew, turns, me = self._crew, 0, threading.get_ident()
        while not (self.stopping or turn.given_up):
            if crew.alone and crew.alone != me:
                crew.rest()
                continue
            conn, turns = self._next(turns)
            if conn is not None:
                began = time.perf_counter()
                self._serve(conn, turn)
                turn.exchange = turn.environ = None
                try:
                    crew.answered(me, began)
                except Exception:  # SAFETY: it decides of nothing but speed
                    _log.exception("who polls could not be decided")

    def _next(self, turns: int) -> tuple[Connection | None, int]:
        """A connection that something can be done for, or None, and how often the next one may be
        looked for without letting another thread run.
        """
        # PERF: each time it lets others run it waits for its own turn (benchmarks/http, row).
        if turns:
            conn = self._brought()
            if conn is not None:
                return conn, turns - 1
            fd = ready(self._epoll)
            if fd >= 0:
                return self._found(fd), turns - 1
        rests = self.io_thread.rest()
        self._crew.polls += 1
        fd = next((found for found, _ in self._epoll.poll(_TICK if rests else 0, 1)), -1)
        if rests and fd != self.io_thread.fileno():
            self.io_thread.rise()
        return (self._found(fd) if fd >= 0 else self._brought()), _TURNS

    def _brought(self) -> Connection | None:
        """A connection for which the io_thread brings something."""
        found = self.io_thread.fetch(self._parked)
        if found is None:
            return None
        conn: Connection = found[0]
        conn.came = found[1]
        return conn

    def _found(self, fd: int) -> Connection | None:
        """The connection that epoll says is ready; None where it is the listener that is."""
        if fd == self._listener.fileno():
            for _ in range(_AT_ONCE):
                # At the cap the next one costs another its place: only if it is there.
                if not self._accept() or len(self.open) >= self._max_connections:
                    break
            self._listen()
        elif fd == self.io_thread.fileno():
            self.io_thread.hush()
            return self._brought()
        return self._recalled(fd)

    def _recalled(self, fd: int) -> Connection | None:
        """What is parked there, if it is not on its way, for this thread alone."""
        conn: Connection | None = self.io_thread.recall(fd, self._parked)
        if conn is not None and conn.given:
            conn.given, conn.out = False, b""
        return conn

    def _serve(self, conn: Connection, turn: WorkerState) -> None:
        """Do for a connection what can be done now, then park or close it."""
        try:
            self._progress(conn, turn)
        except ClientDisconnected:
            self._close(conn)
        except ProtocolError as err:
            self._refuse(conn, err)
        except BaseException:  # SAFETY: whatever it is, the worker stays
            _log.exception("a connection failed")
            self._close(conn)

    def _progress(self, conn: Connection, turn: WorkerState) -> None:
        """Write what is left, read what is there, answer what is complete."""
        if conn.given:
            if not conn.collect():
                self._park(conn, Phase.WRITE if conn.out else Phase.IDLE)
                return
        elif conn.waiting is not None:
            pass  # it is its turn
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
        for _ in range(_IN_A_ROW):
            if conn.out:
                break
            exchange = conn.answering
            if exchange is not None:
                turn.began, turn.exchange = time.perf_counter(), exchange
                exchange.resume()
            elif conn.closing:
                self._end(conn)
                return
            else:
                request, conn.waiting = conn.waiting, None
                if request is None:
                    arrived = next(conn.requests)
                    if isinstance(arrived, Phase):
                        self._park(conn, arrived)
                        return
                    request = arrived
                    if self._proxies is not None:
                        self._proxies.apply(request)
                    elif "HTTP_X_FORWARDED_FOR" in request and self._warns:
                        self._warns = False
                        warn_of_untrusted(request["REMOTE_ADDR"])
                try:
                    exchange = self._answer(conn, request, turn)
                except Parked as parked:
                    self._keep(conn, request, parked)
                    return
            conn.phase = None
            if conn.answering is not None:
                break
            if exchange.streams:
                self._epoll.unregister(conn.fd)
                self.open.discard(conn)
                exchange.hand_over(conn.sock.detach())
                return
            if conn.held:
                if not conn.closing and not conn.buffer:
                    conn.deadline = time.monotonic() + self._seconds[Phase.IDLE]
                    if conn.give(self.io_thread, self._parked):
                        return
                conn.flush()
        self._park(conn, Phase.WRITE)

    def _answer(self, conn: Connection, request: dict[str, Any], turn: WorkerState) -> Exchange:
        conn.held = (
            self.carries
            and self._crew.spares
            and len(self.open) > _FEW
            and conn.fd < self.io_thread.most
        )
        exchange = Exchange(conn, request)
        # SAFETY: in this order: who sees this exchange sees when it began (Watch).
        turn.began, turn.environ, turn.exchange = time.perf_counter(), request, exchange
        exchange.run(self.app, request)
        return exchange

    def _owns(self, fd: int, seen: Connection) -> bool:
        """Take out of the parked ones what was seen there; False where it is gone, or goes on."""
        conn = self._recalled(fd)
        if conn is not None and conn is not seen:  # another one has its number by now
            self._arm(conn, _events(conn))
        return conn is seen

    # -- waiting -----------------------------------------------------------------------------------

    def _park(self, conn: Connection, phase: Phase) -> None:
        """Wait for the peer. A head and a body have one deadline each, from the first byte on."""
        if phase is Phase.EXPECT:
            conn.send(_CONTINUE)
            phase = Phase.BODY
        if phase is not conn.phase:
            conn.phase = phase
            conn.deadline = time.monotonic() + self._seconds[phase]
            if phase is Phase.WRITE:
                conn.look()
        self._arm(conn, _WRITE if phase is Phase.WRITE else _READ)

    def _keep(self, conn: Connection, request: dict[str, Any], parked: Parked) -> None:
        """Keep a request until its turn, without a thread and without an event of epoll."""
        request["wsgi.input"].seek(0)
        conn.waiting, conn.held = request, False
        conn.phase, conn.deadline = Phase.TURN, parked.until
        self._parked[conn.fd] = conn
        parked.wait(partial(self._resume, conn, conn.fd))

    def _resume(self, conn: Connection, fd: int) -> bool:
        """Have a worker run a kept request again; False when it does not wait any more."""
        if conn.waiting is None or not self._owns(fd, conn):
            return False
        self._arm(conn, _WRITE)  # it can be written to, so a worker is woken at once
        return True

    def _arm(self, conn: Connection, events: int) -> None:
        """Give the connection up and let epoll wake somebody for it."""
        # SAFETY: parked before armed, or the woken thread would find nobody to serve.
        self._parked[conn.fd] = conn
        try:
            rearm(self._epoll, conn.fd, events)
        except (OSError, ValueError):
            pass  # the sweeper took it between these two lines, and closed it; or all is closed

    def sweep(self) -> None:
        """End what is past its deadline, and accept again after a pause. Called now and then."""
        now = time.monotonic()
        idle_ends = now >= self._idle_until
        for fd, conn in list(self._parked.items()):
            late = now >= conn.deadline or (idle_ends and conn.phase is Phase.IDLE)
            if not late or not self._owns(fd, conn):
                continue
            if conn.phase is Phase.TURN:
                self._arm(conn, _WRITE)
                continue
            if conn.phase is Phase.WRITE and now >= conn.deadline and conn.takes():
                conn.deadline = now + conn.write_timeout
            if now < conn.deadline and not (idle_ends and conn.phase is Phase.IDLE):
                self._arm(conn, _events(conn))
            elif conn.phase in (Phase.HEAD, Phase.BODY):
                slow = ProtocolError(408, "the request did not arrive in time")
                with suppress(ProtocolError):
                    conn.requests.throw(slow)  # which tells what is known of it
                self._refuse(conn, slow)
            else:
                self._close(conn)
        self._listen(after_pause=True)
        self._crew.settle()

    # -- the end of a connection -------------------------------------------------------------------

    def _refuse(self, conn: Connection, why: ProtocolError) -> None:
        """Answer with an error, read no further request, close."""
        conn.last, waited = True, 0.0
        if conn.phase in (Phase.HEAD, Phase.BODY):
            waited = time.monotonic() - conn.deadline + self._seconds[conn.phase]
        environ = {**_UNREAD, **why.environ}
        try:
            Exchange(conn, environ).run(problem(why.status, why.detail), environ)
        except ClientDisconnected:
            self._close(conn)
        else:
            self._end(conn)
        self.tell(environ, why.status, why.detail, waited)

    def tell(self, environ: dict[str, Any], status: int, detail: str, seconds: float) -> None:
        """Have it told what this server has answered by itself."""
        if self.on_answered is None:
            return
        try:
            self.on_answered(environ, status, detail, seconds)
        except Exception:
            _log.exception("an answer of the server's own could not be told of")

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
        if conn.answering is not None:
            conn.answering.abandon()
        conn.sock.close()
        self._listen(after_pause=True)

    # -- the end -----------------------------------------------------------------------------------

    def end_connections(self) -> None:
        """Close each connection after its next response, those that are still to come too."""
        with self._accepting:
            self.draining = True
            for conn in list(self.open):
                conn.last = True

    def drain(self, timeout: float) -> bool:
        """Answer what was accepted, and nothing new; True when all is done in time (seconds)."""
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
        """End the workers, waiting for them so many seconds, and cut what is left."""
        self.stopping = True
        os.eventfd_write(self._wake, 1)
        until = time.monotonic() + timeout
        lost = {turn.thread for turn in list(self.turns) if turn.given_up}
        for worker in workers:
            if worker not in lost:
                worker.join(max(until - time.monotonic(), 0))
        self.io_thread.stop()
        self._crew.end()
        for conn in list(self.open):
            self._close(conn)
        self._epoll.close()
        os.close(self._wake)


def _events(conn: Connection) -> int:
    """What epoll waits for; a request that is kept is only resumed earlier."""
    return _WRITE if conn.phase in (Phase.WRITE, Phase.TURN) else _READ
