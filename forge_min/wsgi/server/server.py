"""The server's outside: binding, lifecycle and threads, on top of the stdlib's HTTPServer.

The request side of http.server is not used: its parser lets through what RFC 9112 forbids.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import threading
import time
from array import array
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ServerError
from ..contract import PARKS, OnAnswered
from ..http1 import STARTING, Phase, TrustedProxies
from .core import Core
from .timeouts import Watch

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_FIRST_PASSED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_RETURN = 0x06  # BPF_RET | BPF_K of linux/filter.h: with 0 nothing of a packet is kept


class ServerThread(threading.Thread):
    """A thread of `Server`. Nothing interrupts it, so what it calls may block."""


class Server(HTTPServer):
    """An HTTP/1.1 server for any PEP 3333 application.

    address: (host, port); port 0 takes a free one, `server_port` says which. app: may come later by
    `set_app`; until then every answer is 503. threads: workers; they hold requests, never waiting
    clients. max_body: bytes. Timeouts in seconds: header and body as a whole, write and keepalive
    since the last progress, which is 1 KiB a second of what is written. max_connections: open ones;
    what was handed over by `forge.stream` does not count. unix_socket: a path to listen on instead
    of the address. trusted_proxies: whose Forwarded and X-Forwarded-* count, as of
    `TrustedProxies`. listener: a socket that listens already, in place of both. reuse_port: other
    processes listen on the same port. gather: keep the workers on one processor while that answers
    more. handler_timeout: seconds after which a handler that has not come back is given up: 500 is
    answered, and another worker takes its worker's place; 0: never. thread_name: what they are
    called, "http-1" and so on, "http-watch" and "http-send". Raises ServerError F503 when the
    address is in use, F504 when it cannot be bound.
    """

    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        app: WSGIApplication | None = None,
        *,
        threads: int = 8,
        max_body: int = 1 << 20,
        header_timeout: float = 5.0,
        body_timeout: float = 10.0,
        write_timeout: float = 10.0,
        keepalive: float = 15.0,
        max_connections: int = 2000,
        unix_socket: str = "",
        trusted_proxies: Sequence[str] = (),
        listener: socket.socket | None = None,
        reuse_port: bool = False,
        gather: bool = False,
        handler_timeout: float = 0.0,
        thread_name: str = "http",
    ) -> None:
        proxies = TrustedProxies(trusted_proxies) if trusted_proxies else None
        self._unix = "" if listener else unix_socket
        self._write_timeout = write_timeout
        self._place = (0, 0)  # of the Unix socket: device and inode
        self.allow_reuse_port = reuse_port
        self._thread_name = thread_name
        self._count = threads
        self._workers: list[threading.Thread] = []
        self._helpers: list[threading.Thread] = []
        self._own = listener is None
        self._lock = threading.Lock()  # LOCK: start and stop exclude each other.
        self._stopped = threading.Event()
        if self._unix:
            self.address_family = socket.AF_UNIX
        elif ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, BaseHTTPRequestHandler, bind_and_activate=False)
        try:
            if listener is None:
                self.server_bind()
                self.server_activate()
            else:
                self._take_over(listener)
            self.socket.setblocking(False)
        except OSError as err:
            self.socket.close()
            raise self._cannot_bind(err) from err
        seconds = {
            Phase.IDLE: keepalive,
            Phase.HEAD: header_timeout,
            Phase.BODY: body_timeout,
            Phase.WRITE: write_timeout,
        }
        self._core = Core(
            self.socket,
            app or STARTING,
            self._environ(),
            seconds,
            max_body,
            max_connections,
            proxies,
            gather,
        )
        self._watch = Watch(self._core, handler_timeout, self._hire)

    # -- binding -----------------------------------------------------------------------------------

    def server_bind(self) -> None:
        """Bind. HTTPServer's own looks the host up in DNS and fails for Unix paths."""
        if self._unix:
            _remove_stale(self._unix)
            self.socket.bind(self._unix)
            self._place = _place(self._unix)
            self._name_after_path()
            return
        self._set_options(self.socket)
        super(HTTPServer, self).server_bind()
        self._name_after_address()

    def _take_over(self, listener: socket.socket) -> None:
        self.socket.close()
        self.socket = listener
        if listener.family == socket.AF_UNIX:
            self._name_after_path()
        else:
            self._set_options(listener)
            self.server_address = listener.getsockname()
            self._name_after_address()

    def _set_options(self, listener: socket.socket) -> None:
        """What is accepted inherits these (Linux; tcp(7)): no call for each connection."""
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # frees what waits for a network that vanished
            patience = max(1, int(3000 * self._write_timeout))
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)

    def _name_after_path(self) -> None:
        # bytes: a name in no file system (unix(7), abstract)
        self.server_address = (os.fsdecode(self.socket.getsockname()).replace("\0", "@"), 0)
        self.server_name, self.server_port = "localhost", 0

    def _name_after_address(self) -> None:
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)

    def _cannot_bind(self, err: OSError) -> ServerError:
        where = self._unix or f"{self.server_address[0]!s}:{self.server_address[1]}"
        taken = err.errno == errno.EADDRINUSE
        why = "is in use" if taken else f"cannot be listened on: {err.strerror or err}"
        keys = "FORGE_SERVER_UNIX_SOCKET" if self._unix else "FORGE_SERVER_HOST, FORGE_SERVER_PORT"
        return ServerError(
            f"{where} {why}",
            code="F503" if taken else "F504",
            hint=f"stop what is there, or choose another ({keys})",
        )

    def _environ(self) -> dict[str, Any]:
        """What is the same in every environ (PEP 3333)."""
        return {
            "SCRIPT_NAME": "",
            "SERVER_NAME": self.server_name,
            "SERVER_PORT": str(self.server_port),
            "REMOTE_ADDR": "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": self.allow_reuse_port or not self._own,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            PARKS: True,
        }

    @property
    def url(self) -> str:
        """The address as a client types it; a Unix socket's path as it is."""
        if not self.server_port:
            return str(self.server_address[0])
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{host}:{self.server_port}"

    @property
    def connections(self) -> int:
        """Open connections, without those that were handed over."""
        return len(self._core.open)

    # -- lifecycle ---------------------------------------------------------------------------------

    def set_app(self, app: WSGIApplication, on_answered: OnAnswered | None = None) -> None:
        """Answer with this application from the next request on. on_answered: hears of what this
        server answers in its place; from any thread.
        """
        self._core.app, self._core.on_answered = app, on_answered

    def start(self) -> None:
        """Start the workers. A second call does nothing."""
        with self._lock:
            if self._workers or self._stopped.is_set():
                return
            if self._core.carries:
                self._helpers.append(self._thread("io", self._core.io_thread.run))
            for _ in range(self._count):
                self._hire()
            self._helpers.append(self._thread("watch", self._watch.run))

    def _hire(self) -> None:
        self._workers.append(self._thread(str(len(self._workers) + 1), self._core.work))

    def _thread(self, name: str, run: Callable[[], None]) -> threading.Thread:
        thread = ServerThread(target=run, name=f"{self._thread_name}-{name}", daemon=True)
        thread.start()
        return thread

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Start, and return when another thread has called `stop`. poll_interval: not needed."""
        self.start()
        self._stopped.wait()

    def end_connections(self) -> None:
        """Go on accepting, and close each connection after its next response."""
        self._core.end_connections()

    def stop(self, timeout: float = 20.0) -> bool:
        """Accept nothing more, answer what was accepted, close. True when all was answered in time.

        timeout: seconds; what is not answered then is cut. A second call does nothing.
        """
        with self._lock:
            if self._stopped.is_set():
                return True
            until = time.monotonic() + timeout
            if self._own:
                _close_door(self.socket)
            done = self._core.drain(timeout) if self._workers else True
            self._watch.end()
            self._core.close(self._workers, max(until - time.monotonic(), 0.5))
            for helper in self._helpers:
                helper.join()
            self.server_close()
            self._stopped.set()
            return done

    def shutdown(self) -> None:
        """The stdlib's name for `stop`."""
        self.stop()

    def server_close(self) -> None:
        """Close the listening socket; a Unix socket's path goes with it, if it is not another's by
        now.
        """
        if self._unix and self._place == _place(self._unix):
            Path(self._unix).unlink(missing_ok=True)
        super().server_close()


def _close_door(listener: socket.socket) -> None:
    """Have the kernel drop who asks for a new connection: one that is made between the last
    accept(2) and close(2) is reset. TCP asks again, and finds another process, or is refused.

    A filter that takes nothing (socket(7), SO_ATTACH_FILTER). Never on a socket that others share.
    """
    nothing = array("B", struct.pack("=HBBI", _RETURN, 0, 0, 0))
    if listener.family != socket.AF_UNIX:
        with suppress(OSError):
            program = struct.pack("@HP", 1, nothing.buffer_info()[0])
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _place(path: str) -> tuple[int, int]:
    """Device and inode; zeros where nothing is."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return 0, 0


def _remove_stale(path: str) -> None:
    """Remove a Unix socket that nobody listens on; anything else stays and makes bind fail."""
    if Path(path).is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


def inherited_listener(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The listening socket that a supervisor such as systemd passes on, None where there is none
    (sd_listen_fds(3)).

    environ: LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES are taken out of it, so that no child
    believes them. Raises ServerError F508 for anything but one listening stream socket.
    """
    said = {name: environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if said["LISTEN_PID"] != str(os.getpid()):
        return None
    if said["LISTEN_FDS"] != "1":
        raise _wrong(f"{said['LISTEN_FDS'] or 'no'} sockets were passed on, not one")
    try:
        listener = socket.socket(fileno=_FIRST_PASSED)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as err:
        raise _wrong(f"what was passed on is no socket: {err.strerror}") from None
    if listener.type != socket.SOCK_STREAM or not listens:
        listener.detach()
        raise _wrong("the socket that was passed on does not listen for streams")
    listener.set_inheritable(False)
    return listener


def _wrong(what: str) -> ServerError:
    hint = "a systemd socket unit for this needs one ListenStream= and Accept=no"
    return ServerError(what, code="F508", hint=hint)
