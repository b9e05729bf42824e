"""What the admin port answers while a process still loads what it serves with.

A supervisor that asks whether the process lives need not wait for that. Loads neither http.server
nor any room that does: only what runs before it is waited for.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .. import __version__, fanout

if TYPE_CHECKING:
    from ..config import Config
    from .project import Project

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_BACKLOG = 64
_MOST = 8192  # bytes of a request's head
_PATIENCE = 0.5  # seconds without a byte after which a client is left


def has_admin(config: Config, *, worker: bool) -> bool:
    """Whether this process has an admin server. Beside `serve` on one host only one process can
    have the port: a worker must be told one.
    """
    enabled: bool = config.admin.enabled
    return enabled and not (worker and config.sources["admin.port"] == "default")


def alive(build: Mapping[str, Any]) -> dict[str, Any]:
    """The body of /healthz. build: build-info.json of an artifact, or {}."""
    return {
        "status": "ok",
        "version": build.get("version", __version__),
        "commit": build.get("commit", "unknown"),
        "built": build.get("date"),
        "impl": fanout.IMPL,
    }


@contextmanager
def answering(project: Project, *, worker: bool = False) -> Iterator[Early | None]:
    """Answers on admin.port from here on. None where there is no admin server, or where only that
    can say what is wrong with its address.
    """
    c = project.config.admin
    if not has_admin(project.config, worker=worker) or not (c.token or c.host in _LOOPBACK):
        yield None
        return
    listener = socket.socket(socket.AF_INET6 if ":" in c.host else socket.AF_INET)
    try:
        # As of the server that takes it over.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((c.host, c.port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        yield None
        return
    early = Early(listener, json.dumps(alive(project.build)).encode())
    try:
        yield early
    finally:
        early.close()


class Early:
    """Answers /healthz with `body` and everything else with 503, one client after the other, on the
    thread `admin-early`, until `hand_over`. listener: a socket that listens already.
    """

    def __init__(self, listener: socket.socket, body: bytes) -> None:
        self._listener, self._body = listener, body
        self._told, self._tell = socket.socketpair()
        self._given = False
        self._thread = threading.Thread(target=self._run, name="admin-early", daemon=True)
        self._thread.start()

    def hand_over(self) -> socket.socket:
        """The listening socket, whose clients are answered by the caller from now on."""
        self.end()
        self._given = True
        return self._listener

    def close(self) -> None:
        """End, and close the socket unless it was handed over. Idempotent."""
        self.end()
        if not self._given:
            self._listener.close()

    def end(self) -> None:
        """Answer no more: who asks waits for the one that the socket is handed over to.
        Idempotent.
        """
        self._tell.close()
        self._thread.join()
        self._told.close()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._told], [], [])
            if self._told in ready:
                return
            with suppress(OSError):
                client, _ = self._listener.accept()
                with client:
                    self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        client.settimeout(_PATIENCE)
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MOST:
            if not (data := client.recv(_MOST)):
                return
            head += data
        method, _, rest = head.partition(b" ")
        if rest.startswith((b"/healthz ", b"/healthz?")) and method in (b"GET", b"HEAD"):
            status, kind, body = b"200 OK", b"application/json", self._body
        else:
            status, kind = b"503 Service Unavailable\r\nRetry-After: 1", b"text/plain"
            body = b"the application is starting\n"
        client.sendall(
            b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
            b"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n%b"
            % (status, kind, len(body), b"" if method == b"HEAD" else body)
        )
