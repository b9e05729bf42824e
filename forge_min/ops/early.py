"""What the admin port answers while a process still loads what it serves with.

A supervisor that asks whether the process lives need not wait for that. Loads neither http.server
nor any room that does: only what runs before it is waited for.
"""

from __future__ import annotations

import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .. import __version__, fanout

if TYPE_CHECKING:
    from ..config import Config
    from .project import Project

_BACKLOG = 1024
_CLIENTS = 100  # of more at once the oldest is left
_MOST = 8192  # bytes of a request's head
_LAST = 0.1  # seconds that clients have when the socket is handed over
_STARTING = b'{"ready": false, "reasons": {"server": "starting"}}\n'  # as of the admin server


def has_admin(config: Config, *, worker: bool) -> bool:
    """Whether this process has an admin server. Beside `serve` on one host only one process can
    have the port: a worker must be told one.
    """
    enabled: bool = config.admin.enabled
    return enabled and not (worker and config.sources["admin.port"] == "default")


def _is_loopback(host: str) -> bool:
    # PERF: not by `ipaddress`, as the admin server, which /healthz would wait for.
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


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
    if not has_admin(project.config, worker=worker) or not (c.token or _is_loopback(c.host)):
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


class AdminSocket:
    """The admin port before there is an admin server. listener: a socket that listens already."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener, self._given = listener, False

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


class Early(AdminSocket):
    """Answers /healthz with `body` and everything else with 503, /readyz with why as JSON, on the
    thread `admin-early`, until `hand_over`.
    """

    def __init__(self, listener: socket.socket, body: bytes) -> None:
        super().__init__(listener)
        self._body = body
        self._told, self._tell = socket.socketpair()
        self._heads: dict[socket.socket, bytes] = {}  # of clients, the oldest first
        listener.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="admin-early", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """As of `AdminSocket`."""
        self._tell.close()
        self._thread.join()
        self._told.close()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._told, *self._heads], [], [])
            if self._told in ready:
                break
            for client in ready:
                if client is self._listener:
                    self._accept()
                else:
                    self._read(client)
        # Who has connected and is about to ask gets an answer; who is slow keeps nobody waiting.
        until = time.monotonic() + _LAST
        while self._heads and (left := until - time.monotonic()) > 0:
            for client in select.select([*self._heads], [], [], left)[0]:
                self._read(client)
        for client in self._heads:
            client.close()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it has gone, or there is no descriptor left
            time.sleep(0.01)
            return
        client.setblocking(False)
        self._heads[client] = b""
        if len(self._heads) > _CLIENTS:
            oldest = next(iter(self._heads))
            del self._heads[oldest]
            oldest.close()

    def _read(self, client: socket.socket) -> None:
        """What has come; with the end of the head, or of the patience for it, the answer."""
        head = self._heads.pop(client, None)
        if head is None:  # it has made room for another
            return
        with suppress(OSError):
            data = client.recv(_MOST)
            head += data
            if data and b"\r\n\r\n" not in head and len(head) < _MOST:
                self._heads[client] = head
                return
            client.send(self._answer(head))  # a few hundred bytes always find room
        client.close()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        if rest.startswith((b"/healthz ", b"/healthz?")) and method in (b"GET", b"HEAD"):
            status, kind, body = b"200 OK", b"application/json", self._body
        else:
            status, kind = b"503 Service Unavailable\r\nRetry-After: 1", b"text/plain"
            body = b"the application is starting\n"
            if rest.startswith((b"/readyz ", b"/readyz?")):
                kind, body = b"application/json", _STARTING
        return (
            b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
            b"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n%b"
            % (status, kind, len(body), b"" if method == b"HEAD" else body)
        )
