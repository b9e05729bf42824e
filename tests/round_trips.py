"""A TCP proxy in front of PostgreSQL that counts round trips: each time the client speaks after
the server did.

    with counting_proxy(database.app_url) as proxy, db.connect(proxy.url) as conn:
        with proxy.counted() as trips:
            conn.execute("select 1")
        assert trips() == 1
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo

# libpq sends one after the Sync of a pipeline and waits for nothing because of it; it may arrive
# when the server has answered already (PostgreSQL manual, section 54.7, "Flush").
FLUSH = b"H\0\0\0\4"


class CountingProxy:
    """Listens at `url`; `trips` counts over all its connections."""

    def __init__(self, url: str) -> None:
        self._target = conninfo_to_dict(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = make_conninfo(url, host="127.0.0.1", port=port, sslmode="disable")
        self.trips = 0
        self._flows = threading.Event()
        self._flows.set()
        self._lock = threading.Lock()  # LOCK: guards trips and _socks
        self._socks: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def close(self) -> None:
        """End every connection, and take no new one."""
        self.drop(0)

    def freeze(self) -> None:
        """Forward nothing more on the connections that there are; new ones work."""
        old, self._flows = self._flows, threading.Event()
        self._flows.set()
        old.clear()

    def drop(self, first: int = 1) -> None:
        """End the connections that there are; new ones work."""
        with self._lock:
            ended, self._socks = self._socks[first:], self._socks[:first]
            for sock in ended:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block in which nothing gets through, and nobody is told."""
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    @contextmanager
    def counted(self) -> Iterator[Callable[[], int]]:
        """A block; the function says how many round trips began in it so far."""
        before = self.trips
        yield lambda: self.trips - before

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(
                        (str(self._target["host"]), int(str(self._target["port"])))
                    )
                except OSError:  # it is down
                    client.close()
                    continue
                with self._lock:
                    self._socks += [client, server]
                # Nagle would hold back what the client's own socket sent at once.
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                spoke = [True]  # whether the server spoke last
                for source, target, up in ((client, server, True), (server, client, False)):
                    args = (source, target, up, spoke, self._flows)
                    threading.Thread(target=self._pump, args=args, daemon=True).start()

    def _pump(
        self,
        source: socket.socket,
        target: socket.socket,
        up: bool,
        spoke: list[bool],
        flows: threading.Event,
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                flows.wait()
                with self._lock:
                    if data != FLUSH:
                        self.trips += up and spoke[0]
                        spoke[0] = not up
                target.sendall(data)
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def counting_proxy(url: str) -> Iterator[CountingProxy]:
    """A proxy in front of the server of `url`, closed at the end of the block."""
    proxy = CountingProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
