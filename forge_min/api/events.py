"""GET /events?topic=a[&topic=b][&format=html]: opens a live stream and hands it over.

If the server has `environ["forge.stream"]`, the StreamWriter gets the socket as soon as the
response's head is sent, and the server thread is free. Otherwise the body is read from a socket
pair that the StreamWriter writes to.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Container
from functools import cache
from typing import NamedTuple
from uuid import UUID

from .. import sse
from ..auth import Identity, Renew, as_identity, current_identity
from ..db import DATABASE_ERRORS, DatabaseThread
from ..errors import BadRequest, Forbidden, NotFound, TooManyConnections, Unauthenticated
from ..fanout import Limiter, StreamWriter
from ..i18n import text
from ..notify import PostgresHub, TopicKey
from ..wsgi import Handler, Request, Response, client_network

log = logging.getLogger("forge_min.wsgi")  # operators filter by this name
MAX_TOPICS = 32
FORMATS = ("json", "html")
RETRY = (1000, 4000)  # milliseconds, so that clients reconnect spread out after a restart

HEADERS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),
)


class StreamGrant(NamedTuple):
    """The identity that opened a stream, and the tenant and name of each of its topics."""

    identity: Identity
    topics: tuple[tuple[UUID | None, str], ...]


class StreamReauthorizer(DatabaseThread):
    """The thread `stream-auth`, which authorises every open stream again once per heartbeat.

    It ends a stream with the event `close` and the reason "expired", "forbidden" (no longer
    permitted to receive a topic) or "changed" (other roles or tenant; its client may reconnect).
    While the database is unavailable, all streams stay open.

    writer: the writer of the streams.
    heartbeat: of the writer, in seconds.
    admit: returns the tenant of the events that the current identity receives from a topic, and
        raises if it may not.
    renew: returns the identity as it is now, None if it is no longer valid.
    """

    def __init__(
        self,
        writer: StreamWriter,
        heartbeat: float,
        admit: Callable[[str], UUID | None],
        renew: Renew,
    ) -> None:
        super().__init__("stream-auth", self._round, None)
        self.writer = writer
        self.heartbeat = heartbeat
        self.admit = admit
        self._renew = renew
        self._grants: dict[int, StreamGrant] = {}  # by stream; each operation on it is atomic

    def watch(self, stream: int, grant: StreamGrant) -> None:
        """Watch a stream of the writer, unless its number is 0."""
        if stream:
            self._grants[stream] = grant

    def close_frame(self, grant: StreamGrant) -> bytes:
        """Return the last frame of a stream that must end, b"" for a stream that may stay."""
        try:
            identity = self._renew(grant.identity)
            if identity is None:
                return sse.close_frame("expired")
            with as_identity(identity):
                topics = tuple((self.admit(name), name) for _, name in grant.topics)
        except (Unauthenticated, Forbidden, NotFound):
            return sse.close_frame("forbidden")
        except DATABASE_ERRORS as err:
            log.warning("the identity of a stream cannot be checked now: %s", err)
            return b""
        except Exception:
            # SAFETY: a stream must not outlive a check that fails.
            log.exception("the identity of a stream could not be checked")
            return sse.close_frame("forbidden")
        if topics != grant.topics or identity.roles != grant.identity.roles:
            return sse.close_frame("changed")
        return b""

    def _round(self) -> None:
        self.rest(self.heartbeat)
        close_frame = cache(self.close_frame)  # once for all streams with the same grant
        for stream, grant in list(self._grants.items()):
            if self.stopping.is_set():
                return
            if self.writer.alive(stream):
                frame = close_frame(grant)
                if not frame:
                    continue
                self.writer.drop(stream, frame)
            del self._grants[stream]


def client_key(request: Request) -> str:
    """Return the key of the per-user limit: the user, or the network of an anonymous user."""
    user = current_identity().user
    if user:
        return f"user {user}"
    return client_network(request)


def events_handler(
    hub: PostgresHub,
    limiter: Limiter,
    reauthorizer: StreamReauthorizer,
    *,
    topics: Container[str],
    on_refused: Callable[[TooManyConnections], object] = lambda error: None,
) -> Handler:
    """Return the handler of /events.

    reauthorizer: its `admit` authorises new streams too, its writer sends them, and clients are
        informed of its heartbeat.
    topics: the names of all topics; looked up at each request.
    on_refused: called with the error when a limit is reached.

    The handler raises BadRequest for no topic, too many topics or an unknown format, NotFound for
    an unknown topic, the errors of `admit`, and those of Limiter.acquire. The lease is released
    when the stream ends, or by the handler if no stream begins.
    """
    heartbeat = max(1, round(reauthorizer.heartbeat))

    def handler(request: Request) -> Response:
        names = _topics(request, topics)
        format = _format(request)
        granted = tuple((reauthorizer.admit(name), name) for name in names)
        grant = StreamGrant(current_identity(), granted)
        if request.method == "HEAD":
            return Response(200, b"", HEADERS)
        try:
            lease = limiter.acquire(client_key(request))
        except TooManyConnections as err:
            on_refused(err)
            raise
        opened = []
        try:
            last = request.header("Last-Event-ID")
            # Another server does not know it: assume that the client is still connected.
            connected = request.environ.get("forge.connected", lambda: True)
            for tenant, name in grant.topics:
                key = TopicKey(tenant, name, format)
                opened.append(hub.subscribe(key, last, connected))
            # The reconnection time, and the interval by which a client notices a dead connection.
            times = f"retry: {random.randrange(*RETRY)}\n: heartbeat {heartbeat}\n\n"
            # If several topics need a refresh, one frame is enough.
            frames = dict.fromkeys(item.first for item in opened)
            first = times.encode() + b"".join(frames)
            subscriptions = [item.subscription for item in opened]

            def adopt(fd: int) -> None:
                # If fd is -1 (the head could not be sent), adopt only releases.
                stream = reauthorizer.writer.adopt(fd, subscriptions, lease, first)
                reauthorizer.watch(stream, grant)

            handover = request.environ.get("forge.stream")
            if handover is None:
                return Response(200, sse.ByteStream(adopt), HEADERS)
            handover(adopt)
            return Response(200, b"", HEADERS)
        except BaseException:
            for item in opened:
                item.subscription.close()
            lease.release()
            raise

    return handler


def _topics(request: Request, topics: Container[str]) -> list[str]:
    names = list(dict.fromkeys(request.query.get("topic", ())))
    if not names:
        raise BadRequest(text("name a topic: /events?topic=..."))
    if len(names) > MAX_TOPICS:
        raise BadRequest(text("a stream has at most {max} topics", max=MAX_TOPICS))
    unknown = [repr(name[:64]) for name in names if name not in topics]
    if unknown:
        raise NotFound(text("topic not found: {names}", names=", ".join(unknown)))
    return names


def _format(request: Request) -> str:
    format = request.query.get("format", ["json"])[-1]
    if format not in FORMATS:
        raise BadRequest(text("format must be one of {allowed}", allowed=", ".join(FORMATS)))
    return format
