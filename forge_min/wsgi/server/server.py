"""Binding, lifecycle and threads of the server."""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
import sys
import threading
import time
from array import array
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

from ...errors import ServerError
from ...fanout import IoThread
from ..contract import PARKS, OnServerResponse
from ..http1 import STARTING, TrustedProxies
from .dispatcher import Dispatcher

_log = logging.getLogger("forge_min.wsgi.server")
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_RETURN = 0x06  # BPF_RET | BPF_K of linux/filter.h: with 0 the whole packet is dropped
_TICK = 0.5  # seconds between two checks of deadlines
_BACKLOG = 1024  # connections that wait to be accepted
_MIN_PER_NETWORK = 64  # connections of one client address, however few all are
MAX_GIVEN_UP = 64
"""Given-up workers that have not returned, up to which each one is replaced by a new worker."""


class ServerThread(threading.Thread):
    """A thread of `Server`. No signal interrupts it, so its calls may block."""


class Server(AbstractContextManager["Server"]):
    """An HTTP/1.1 server for any PEP 3333 application. As a context manager, it closes its socket.

    address: (host, port); port 0 chooses a free port.
    app: the application; None: every response is 503 until `set_app`.
    threads: number of workers; they hold requests, never waiting clients.
    max_body: bytes of a request's body.
    max_pending_bodies: bytes of all bodies that have not arrived as a whole; above it the largest
        wait, except one.
    header_timeout, body_timeout: seconds for a head or a body to arrive as a whole.
    write_timeout, keepalive: seconds since the last progress; for a write that is 1 KiB a second.
    max_connections: open connections, without those that were handed over by `forge.stream`. A
        quarter of them, and at least 64, may be of one IPv4 address or one /64 of IPv6 that is
        no trusted proxy.
    unix_socket: path to listen on instead of the address.
    trusted_proxies: the peers that may set Forwarded and X-Forwarded-*, see `TrustedProxies`.
    listener: a listening socket instead of both.
    reuse_port: whether other processes may listen on the same port.
    handler_timeout: seconds after which a handler that has not returned is given up: the response
        is 500, and another worker replaces its worker; 0: never.
    thread_name: prefix of the threads' names: "http-1" and so on, "http-timeouts" and "http-io".

    Attributes:

    socket: the listening socket.
    server_name, server_port: its address; "localhost" and 0 for a Unix socket.
    url: the address as clients write it; a Unix socket's path as it is.

    Raises ServerError F500 if the address is in use, or cannot be bound.
    """

    def __init__(
        self,
        address: tuple[str, int],
        app: WSGIApplication | None = None,
        *,
        threads: int = 8,
        max_body: int = 1 << 20,
        max_pending_bodies: int = 64 << 20,
        header_timeout: float = 5.0,
        body_timeout: float = 10.0,
        write_timeout: float = 10.0,
        keepalive: float = 15.0,
        max_connections: int = 2000,
        unix_socket: str = "",
        trusted_proxies: Sequence[str] = (),
        listener: socket.socket | None = None,
        reuse_port: bool = False,
        handler_timeout: float = 0.0,
        thread_name: str = "http",
    ) -> None:
        proxies = TrustedProxies(trusted_proxies)
        self._unix = "" if listener else unix_socket
        self._socket_file = (0, 0)  # device and inode of the Unix socket
        self._thread_name = thread_name
        self._count = threads
        self._workers: list[threading.Thread] = []
        self._numbers = count(1)  # of workers
        self._helpers: list[threading.Thread] = []
        self._is_bound_here = listener is None
        self._lock = threading.Lock()  # LOCK: start and stop exclude each other.
        family = socket.AF_INET
        if self._unix:
            family = socket.AF_UNIX
        elif ":" in address[0]:
            family = socket.AF_INET6
        self.socket = listener or socket.socket(family)
        try:
            if self._is_bound_here:
                self._bind(address, reuse_port)
            self._configure_socket(write_timeout)
            if self._is_bound_here:
                self.socket.listen(_BACKLOG)
        except OSError as err:
            self.socket.close()
            raise self._cannot_bind(address, err) from err
        self._io_thread = IoThread(
            self.socket.fileno(),
            self._environ(multiprocess=reuse_port or not self._is_bound_here),
            max_body=max_body,
            max_pending=max_pending_bodies,
            max_connections=max_connections,
            max_per_network=max(max_connections // 4, _MIN_PER_NETWORK),
            idle=keepalive,
            head=header_timeout,
            body=body_timeout,
            write=write_timeout,
        )
        self._dispatcher = Dispatcher(self._io_thread, app or STARTING, max_body, proxies)
        self._handler_timeout = handler_timeout
        self._ending = threading.Event()

    # -- binding -----------------------------------------------------------------------------------

    def _bind(self, address: tuple[str, int], reuse_port: bool) -> None:
        """Bind to the Unix socket's path, else to the address."""
        if self._unix:
            _remove_stale(self._unix)
            self.socket.bind(self._unix)
            self._socket_file = _file_identity(self._unix)
            return
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
        self.socket.bind(address)

    def _configure_socket(self, write_timeout: float) -> None:
        """Set the options of the listening socket, and the server's name after its address.

        Accepted sockets inherit the options (Linux; tcp(7)), without a call for each.
        """
        self.socket.setblocking(False)
        address = self.socket.getsockname()
        if self.socket.family == socket.AF_UNIX:
            self.server_name = "localhost"
            self.server_port = 0
            # bytes: an abstract name, outside of the file system (unix(7))
            self.url = os.fsdecode(address).replace("\0", "@")
            return
        self.server_name, self.server_port = address[:2]
        host = self.server_name
        if ":" in host:
            host = f"[{host}]"
        self.url = f"http://{host}:{self.server_port}"
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        milliseconds = max(1, int(3000 * write_timeout))  # for a network that has vanished
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def _cannot_bind(self, address: tuple[str, int], err: OSError) -> ServerError:
        name = self._unix or "{}:{}".format(*address)
        why = f"cannot be listened on: {err.strerror or err}"
        if err.errno == errno.EADDRINUSE:
            why = "is in use"
        keys = "FORGE_SERVER_HOST, FORGE_SERVER_PORT"
        if self._unix:
            keys = "FORGE_SERVER_UNIX_SOCKET"
        hint = f"stop the program that uses it, or choose another one ({keys})"
        return ServerError(f"{name} {why}", hint=hint)

    def _environ(self, *, multiprocess: bool) -> dict[str, Any]:
        """Return the constant part of every environ (PEP 3333)."""
        return {
            "SCRIPT_NAME": "",
            "SERVER_NAME": self.server_name,
            "SERVER_PORT": str(self.server_port),
            "REMOTE_ADDR": "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            PARKS: True,
        }

    @property
    def connections(self) -> int:
        """Number of open connections, without those that were handed over."""
        return self._io_thread.connections

    # -- lifecycle ---------------------------------------------------------------------------------

    def set_app(
        self, app: WSGIApplication, on_server_response: OnServerResponse | None = None
    ) -> None:
        """Use this application from the next request on.

        on_server_response: called for each response that the server sends itself, from any thread.
        """
        self._dispatcher.app = app
        self._dispatcher.on_server_response = on_server_response

    def start(self) -> None:
        """Start the workers. A second call does nothing."""
        with self._lock:
            if self._helpers:
                return
            self._helpers.append(self._thread("io", self._io_thread.run))
            self._start_workers()
            self._helpers.append(self._thread("timeouts", self._check_regularly))

    def _start_workers(self) -> None:
        """Start the workers that are missing: all at first, later one for each given-up one."""
        self._workers = [worker for worker in self._workers if worker.is_alive()]
        given_up = min(len(self._dispatcher.stuck_workers()), MAX_GIVEN_UP)
        while len(self._workers) < self._count + given_up:
            number = str(next(self._numbers))
            self._workers.append(self._thread(number, self._dispatcher.work))

    def _check_regularly(self) -> None:
        """Run the thread of the time-outs, separate from the workers: all may be busy."""
        while not self._ending.wait(_TICK):
            try:
                self._dispatcher.check(self._handler_timeout)
                self._start_workers()
            except Exception:
                _log.exception("the check of deadlines failed")

    def _thread(self, name: str, run: Callable[[], None]) -> threading.Thread:
        thread = ServerThread(target=run, name=f"{self._thread_name}-{name}", daemon=True)
        thread.start()
        return thread

    def end_connections(self) -> None:
        """Close each connection after its next response, and accept further ones."""
        self._io_thread.end_connections()

    def stop(self, timeout: float = 20.0) -> bool:
        """Accept no further connections, serve the accepted ones, close.

        timeout: seconds; connections that are then still open are closed.

        Returns whether all requests were served in time. A second call does nothing.
        """
        with self._lock:
            if self._ending.is_set():
                return True
            until = time.monotonic() + timeout
            if self._is_bound_here:
                _drop_new_connections(self.socket)
            if not self._helpers:  # it never started; the I/O thread has to release its files
                self._helpers.append(self._thread("io", self._io_thread.run))
            done = self._drain(until)
            self._ending.set()
            self._io_thread.stop()
            for helper in self._helpers:
                helper.join()
            self._dispatcher.join(self._workers, max(until - time.monotonic(), 0.5))
            self.close()
            return done

    def _drain(self, until: float) -> bool:
        """Serve accepted connections only; return whether all have ended in time."""
        self._io_thread.end_connections()
        self._io_thread.drain()
        if self._is_bound_here:
            with suppress(OSError):  # close() does not suffice: a child process may hold a copy
                self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        while self.connections and time.monotonic() < until:
            time.sleep(0.01)
        return not self.connections

    def close(self) -> None:
        """Close the listening socket, and remove its path unless another socket has it now."""
        if self._unix and self._socket_file == _file_identity(self._unix):
            Path(self._unix).unlink(missing_ok=True)
        self.socket.close()

    def __exit__(self, *error: object) -> None:
        self.close()


def _drop_new_connections(listener: socket.socket) -> None:
    """Let the kernel drop requests for new connections.

    A connection that is made between the last accept(2) and close(2) would be reset. A dropped
    request is sent again by TCP, and reaches another process or is refused. Uses a filter that
    accepts nothing (socket(7), SO_ATTACH_FILTER). Never call it for a socket that others share.
    """
    drop_all = array("B", struct.pack("=HBBI", _RETURN, 0, 0, 0))
    if listener.family != socket.AF_UNIX:
        with suppress(OSError):
            program = struct.pack("@HP", 1, drop_all.buffer_info()[0])
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _file_identity(path: str) -> tuple[int, int]:
    """Return device and inode; zeros if it does not exist."""
    with suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return 0, 0


def _remove_stale(path: str) -> None:
    """Remove a Unix socket without a listener; any other file stays and makes bind fail."""
    if Path(path).is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


def inherited_listener(environ: MutableMapping[str, str]) -> socket.socket | None:
    """Return the listening socket that systemd passes on (sd_listen_fds(3)), or None.

    environ: LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES are removed, so that no child uses them.

    Raises ServerError F508 for anything but one listening stream socket.
    """
    pid = environ.pop("LISTEN_PID", "")
    sockets = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", "")
    if pid != str(os.getpid()):
        return None
    if sockets != "1":
        raise _not_usable(f"{sockets or 'no'} sockets were passed on, not one")
    try:
        listener = socket.socket(fileno=_FIRST_PASSED)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as err:
        message = f"the descriptor that was passed on is not a socket: {err.strerror}"
        raise _not_usable(message) from None
    if listener.type != socket.SOCK_STREAM or not listens:
        listener.detach()
        raise _not_usable("the socket that was passed on does not listen for streams")
    listener.set_inheritable(False)
    return listener


def _not_usable(message: str) -> ServerError:
    hint = "a systemd socket unit for this needs one ListenStream= and Accept=no"
    return ServerError(message, code="F508", hint=hint)
