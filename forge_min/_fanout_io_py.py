"""The pure-Python twin of the I/O thread of an HTTP server (`_fanout_io.pxi`)."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import selectors
import socket
import sys
import termios
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from typing import Any, final

from ._fanout_body_py import BodyRefused, read_body
from ._fanout_task_py import ClientState, ServerWorker, file_of, wake

_RECEIVED = 65536  # bytes of one system call
_TICK = 0.5  # seconds between two checks of deadlines
_LINGER = 1.0  # seconds to wait for the peer's end after the last response (RFC 9112, 9.6)
_EVICT_AFTER = 1.0  # seconds after which a slow connection may be closed for a new one
_MIN_RATE = 1024  # bytes a second that a peer must read
_SENT_AT_ONCE = 1 << 20  # bytes of one connection, before others have their turn
_LEAST_SHARE = 8191  # bytes that each connection may hold
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


@final
class IoThread:
    """Owns the sockets of an HTTP server, from accept to close, in one thread.

    It accepts connections, reads requests, sends responses, and keeps deadlines. Workers take tasks
    (`Task`). A connection waits either for its peer or for one worker, so no two tasks of one
    connection exist at a time. No other thread reads or writes a socket.

    The compiled core reads plain requests itself, see `try_read_request`. Of other requests, and of
    all in this twin, workers get the bytes.

    listener: descriptor of a listening socket that does not block.
    base: the constant part of every environ.
    max_body: bytes of a request's body.
    max_pending: bytes of all requests that no worker has read. Above it each network with such
        requests, and each connection of it, has an equal share, and those with more have to wait,
        except one.
    max_connections: open connections. For a further one the longest idle one is closed, or one
        that has been slow for more than a second, also to begin its first request; if there is
        none, it has to wait. It is one of the network with most connections, if possible.
    max_per_network: connections of one IPv4 address or one /64 of IPv6; beyond, one of them is
        closed in the same way, or else the new one. See `Task.exempt_network`.
    idle, head, body: seconds until a request must begin, and until its head and body are complete.
    write: seconds within which the peer must read 1 KiB a second of the output.
    """

    def __init__(
        self,
        listener: int,
        base: dict[str, Any],
        *,
        max_body: int,
        max_pending: int,
        max_connections: int,
        max_per_network: int,
        idle: float,
        head: float,
        body: float,
        write: float,
    ) -> None:
        self._listener = socket.socket(fileno=os.dup(listener))
        self.base = base
        self._max_body = max_body
        self._max_pending = max_pending
        self._max_connections = max_connections
        self._max_per_network = max_per_network
        self._networks: Counter[str] = Counter()  # connections
        self._holders: Counter[str] = Counter()  # connections with a part of a body
        self._held = 0  # bytes of bodies
        # The connection that is read above the budget: if all waited, all would be late.
        self._favored: ClientState | None = None
        self.exempt = {""}  # networks without a limit
        self._limits = {"idle": idle, "head": head, "body": body, "write": write}
        self._limits |= {"linger": _LINGER, "": body}
        self.last = self.ended = self._stopped = self._drains = self._paused = False
        self._is_drained = threading.Event()
        self._idle_until = self._now = self._swept = 0.0
        self._accept_error = 0
        self._clients: dict[int, ClientState] = {}  # by descriptor
        self._wakeup, self.waker = socket.socketpair()
        self._wakeup.setblocking(False)
        self.waker.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        # RLock: the collector may delete a Task while it is held.
        self.lock = threading.RLock()  # LOCK: guards blocks, turns, ended and `unsent` of clients
        self.has_task = threading.Condition(self.lock)
        self.blocks: deque[tuple[ClientState, bytes, str, Any, str, int]] = deque()
        # The tasks of each network that has some, in the order of their turns: each turn is one
        # task, so that a client with a thousand connections delays others by one.
        self.turns: dict[str, deque[tuple[ClientState, str, Any]]] = {}

    @property
    def connections(self) -> int:
        """Number of open connections, without those that were detached."""
        return len(self._clients)

    def worker(self) -> ServerWorker:
        """Return the source of tasks of one worker thread."""
        return ServerWorker(self)

    def take_accept_error(self) -> int:
        """Return the errno of the last connection that could not be accepted, once; else 0."""
        error = self._accept_error
        self._accept_error = 0
        return error

    def end_connections(self) -> None:
        """Let each connection end after its next response (`Task.last`)."""
        self.last = True

    def drain(self) -> None:
        """Accept the connections that wait, and no more; close each that is idle for a second.

        Returns when the listener is not used any more.
        """
        self._drains = True
        wake(self.waker)
        self._is_drained.wait()

    def stop(self) -> None:
        """End the thread: it closes all connections. Tasks in the queue become "gone"."""
        self._stopped = True
        wake(self.waker)

    def run(self) -> None:
        """Run the thread. Returns after `stop`."""
        while not self._stopped:
            with suppress(MemoryError):
                self._turn()
        self._end()

    def _turn(self) -> None:
        """Wait for events; handle them and the responses that workers have submitted."""
        events = self._selector.select(0 if self.blocks else _TICK)
        self._now = time.monotonic()
        for key, _ in events:
            if key.fileobj is self._wakeup:
                self._wakeup.recv(_RECEIVED)
            elif key.data is None:
                self._accept()
            else:
                self._progress(key.data)
        self._take_blocks()
        if self._now - self._swept >= _TICK or (self._drains and not self._is_drained.is_set()):
            self._sweep()

    def _take_blocks(self) -> None:
        """Take over what workers have submitted, in order."""
        while self.blocks:
            client, data, then, state, phase, length = self.blocks.popleft()
            if then != "worker":
                client.wait = then
                client.state = state
                self._set_phase(client, phase)
            if then == "body":
                client.received = bytearray()
                client.reader = read_body(client.received, length, self._max_body)
            if client.gone:
                self._notify_gone(client)
                continue
            if data:
                client.output.append(memoryview(data))
            if client.phase != "write":
                self._progress(client)

    def _progress(self, client: ClientState) -> None:
        """Send the output, then continue as the connection has to."""
        if not client.gone and self._send_output(client):
            if client.wait == "sent":
                self._give(client, "sent")
            elif client.wait == "detach" and file_of(client.sock) == client.file:
                self._unlink(client)
                self._give(client, "detached", client.sock.detach())
            elif client.wait == "detach":
                self._close(client)
            elif client.wait == "close":
                client.wait = "closed"
                self._set_phase(client, "linger")
                with suppress(OSError):
                    client.sock.shutdown(socket.SHUT_WR)
            elif client.wait != "worker":
                self._read(client)
        if not client.gone:
            self._listen(client)

    def _send_output(self, client: ClientState) -> bool:
        """Send until nothing is left. Returns False if something is, or the peer is gone."""
        budget = _SENT_AT_ONCE
        while client.output:
            try:
                sent = client.sock.send(client.output[0][:budget]) if budget else 0
            except BlockingIOError:
                sent = budget = 0
            except OSError:
                self._close(client)
                return False
            if not budget:
                client.phase = "write"
                client.since = self._now
                client.in_kernel = _in_kernel(client.sock)
                return False
            budget -= sent
            with self.lock:
                client.unsent -= sent
            client.output[0] = client.output[0][sent:]
            if not client.output[0]:
                client.output.popleft()
        if client.phase == "write":
            self._set_phase(client, "")
        return True

    def _read(self, client: ClientState) -> None:
        data = client.input
        client.input = b""
        room = self._room_for(client)
        if not room and self._favored is None:
            self._favored = client
            room = _RECEIVED
        if not data and not room:
            return
        try:
            data = data or client.sock.recv(room)
        except BlockingIOError:
            if client is self._favored:
                self._favored = None
            return
        except OSError:
            data = b""
        if not data:
            self._close(client)
        elif client.wait == "body":
            client.received += data
            self._hold(client, client.held + len(data))
            self._read_body(client)
        elif client.wait != "closed":
            client.is_fresh = False
            is_late = client.phase == "head" and self._is_late(client)
            self._give(client, "late" if is_late else "input", data)

    def _read_body(self, client: ClientState) -> None:
        """Give a body to a worker if it is complete or refused."""
        assert client.reader is not None
        try:
            next(client.reader)
        except StopIteration as end:
            client.input = bytes(client.received)
            self._give(client, "body", end.value)
        except BodyRefused as refused:
            self._give(client, "refused", refused.reason)

    def _room_for(self, client: ClientState) -> int:
        """Return how many bytes a connection may receive now."""
        has_room = client is self._favored or self._held + _RECEIVED <= self._max_pending
        if client.wait != "body" or has_room:
            return _RECEIVED
        holders = self._holders[client.network] + 1
        share = self._max_pending // ((len(self._holders) + 1) * holders)
        return max(min(_RECEIVED, max(share, _LEAST_SHARE) - client.held), 0)

    def _hold(self, client: ClientState, size: int) -> None:
        """Count the bytes of a body that a connection holds."""
        network = client.network
        if size and not client.held:
            self._holders[network] += 1
        elif client.held and not size:
            self._holders[network] -= 1
            if not self._holders[network]:
                del self._holders[network]
        self._held += size - client.held
        client.held = size
        if not size and client is self._favored:
            self._favored = None
            self._swept = 0.0  # another one has its turn at once

    def _listen(self, client: ClientState) -> None:
        """Let the selector report the events that the connection waits for."""
        interest = 0
        if client.phase == "write":
            interest = selectors.EVENT_WRITE
        elif client.wait == "body" and not self._room_for(client):
            interest = 0  # `_sweep` lets it continue
        elif client.wait in ("request", "input", "body", "closed"):
            interest = selectors.EVENT_READ
            self._set_phase(client, client.phase or "idle")
        if interest != client.interest:
            try:
                if client.interest:
                    self._selector.unregister(client.sock)
                if interest:
                    self._selector.register(client.sock, interest, client)
                client.interest = interest
            except OSError:  # another thread has closed its descriptor
                self._close(client)

    def _set_phase(self, client: ClientState, phase: str) -> None:
        if phase != client.phase:
            client.phase = phase
            client.since = self._now

    def _give(self, client: ClientState, kind: str, value: Any = None) -> None:
        """Put a task into the queue. From here on the connection waits for a worker."""
        client.wait = "worker"
        client.reader = None
        client.received = bytearray()
        self._hold(client, 0)
        with self.lock:
            self.turns.setdefault(client.network, deque()).append((client, kind, value))
            self.has_task.notify()

    def _notify_gone(self, client: ClientState) -> None:
        """Give the state of a closed connection back."""
        if client.wait != "worker" and client.state is not None:
            self._give(client, "gone")

    def _accept(self) -> bool:
        """Accept one connection. Returns False if none waits, or none can be accepted."""
        full = len(self._clients) >= self._max_connections and not self._drains
        if full and not self._make_room():
            self._pause(True)
            return False
        try:
            sock, address = self._listener.accept()
        except BlockingIOError:
            return False
        except OSError as err:
            if err.errno in _EXHAUSTED:
                self._accept_error = err.errno or 0
                if not self._make_room():
                    self._pause(True)
                return False
            return True
        sock.setblocking(False)
        if sock.fileno() in self._clients:
            self._close(self._clients[sock.fileno()])  # another thread has closed its descriptor
        client = ClientState(sock, address, self._now)
        if not self._may_connect(client.network) and not self._evict(client.network):
            sock.close()
            return True
        self._clients[sock.fileno()] = client
        self._networks[client.network] += 1
        try:
            self._selector.register(sock, client.interest, client)
        except OSError:  # epoll_ctl(2): ENOMEM, ENOSPC
            self._close(client)
        return True

    def _pause(self, paused: bool) -> None:
        """Accept nothing until a connection ends or deadlines are checked; False: accept again."""
        if paused != self._paused and not self._is_drained.is_set():
            self._paused = paused
            if paused:
                self._selector.unregister(self._listener)
            else:
                self._selector.register(self._listener, selectors.EVENT_READ)

    def _may_connect(self, network: str) -> bool:
        """Return whether a network may have one more connection."""
        if network in self.exempt or self._drains:
            return True
        return self._networks[network] < self._max_per_network

    def _make_room(self) -> bool:
        """Close a connection of the largest network, else any; return False for none."""
        largest = max(self._networks, key=self._networks.__getitem__, default="")
        return self._evict(largest) or self._evict()

    def _evict(self, network: str | None = None) -> bool:
        """Close one connection for a new one; return False if none may be closed.

        network: of the connection; None: any.
        """
        clients = [c for c in self._clients.values() if c.wait != "worker" or c.phase == "write"]
        if network is not None:
            clients = [c for c in clients if c.network == network]
        ended = [
            c for c in clients if c.phase == "linger" or (c.phase == "idle" and not c.is_fresh)
        ]
        found = ended or [c for c in clients if c.since < self._now - _EVICT_AFTER]
        for client in sorted(found, key=lambda client: client.since):
            if client.phase == "idle":
                self._progress(client)  # its request may have just arrived
                if client.wait == "worker":
                    continue
            if not client.gone:
                self._close(client)
            return True
        return False

    def _unlink(self, client: ClientState) -> None:
        if client.interest:
            with suppress(KeyError, OSError, ValueError):  # closed by another thread
                self._selector.unregister(client.sock)
        client.gone = True
        self._clients.pop(client.sock.fileno(), None)
        self._networks[client.network] -= 1
        if not self._networks[client.network]:
            del self._networks[client.network]
        self._hold(client, 0)
        self._pause(False)

    def _close(self, client: ClientState) -> None:
        """Close a connection. Every one ends here, or is detached."""
        self._unlink(client)
        if file_of(client.sock) == client.file:
            with suppress(OSError):
                client.sock.shutdown(socket.SHUT_RDWR)
            client.sock.close()
        else:
            client.sock.detach()
        client.output.clear()
        self._notify_gone(client)

    def _sweep(self) -> None:
        """End connections past their deadline, accept again after a pause, begin a drain."""
        self._swept = self._now
        if self._drains and not self._is_drained.is_set():
            waiting = select.poll()
            waiting.register(self._listener, select.POLLIN)
            while waiting.poll(0) and self._accept():
                pass
            if not self._paused:
                self._selector.unregister(self._listener)
            self._idle_until = self._now + _LINGER
            self._listener.close()
            self._is_drained.set()
        self._pause(False)
        for client in list(self._clients.values()):
            if client.wait != "worker" or client.phase == "write":
                self._check_phase(client)
            if client.wait == "body" and not client.gone:
                self._progress(client)  # it has waited for room

    def _check_phase(self, client: ClientState) -> None:
        """End a phase that has taken too long, or an idle connection of a drain."""
        ends = client.phase == "idle" and self._now >= self._idle_until > 0
        if not self._is_late(client) and not ends:
            return
        if client.phase in ("head", "body"):
            self._give(client, "late", b"")
            self._listen(client)
        elif client.phase != "write" or not self._has_progressed(client):
            self._close(client)

    def _is_late(self, client: ClientState) -> bool:
        return self._now - client.since >= self._limits[client.phase]

    def _has_progressed(self, client: ClientState) -> bool:
        """Return whether the peer has read at least 1 KiB a second, and begin the phase again."""
        before = client.in_kernel
        client.in_kernel = _in_kernel(client.sock)
        client.since = self._now
        return before - client.in_kernel >= _MIN_RATE * self._limits["write"]

    def _end(self) -> None:
        """Close all connections. Their tasks, also those in the queue, become "gone"."""
        with self.lock:
            self.ended = True  # no further block comes
        self._take_blocks()
        for client in list(self._clients.values()):
            self._close(client)
        with self.lock:
            self.has_task.notify_all()
        self._selector.close()
        self._wakeup.close()
        self.waker.close()
        if not self._is_drained.is_set():
            self._listener.close()
            self._is_drained.set()


def _in_kernel(sock: socket.socket) -> int:
    """Return how many bytes the peer has not acknowledged yet (tcp(7), SIOCOUTQ)."""
    with suppress(OSError):
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return 0
