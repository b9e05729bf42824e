"""GET /events?topic=a[&topic=b][&format=html]: opens a live stream, then lets go of it.

Where the server offers `environ["forge.stream"]`, the socket goes to the StreamWriter as soon as
the head is out, and the worker is free. Elsewhere the body is read from a socket pair that the
StreamWriter writes to.
"""

from __future__ import annotations

import logging
import random
import socket
from collections.abc import Callable, Container
from functools import cache, partial
from typing import NamedTuple
from uuid import UUID

from .. import sse
from ..auth import Identity, Renew, as_identity, current_identity
from ..db import DATABASE_ERRORS, DatabaseThread
from ..errors import BadRequest, Forbidden, NotFound, TooManyConnections, Unauthenticated
from ..fanout import Lease, Limiter, StreamWriter
from ..i18n import text
from ..notify import Opened, PostgresHub, TopicKey
from ..wsgi import Handler, Request, Response, network

log = logging.getLogger("forge_min.wsgi")
MAX_TOPICS = 32
FORMATS = ("json", "html")
RETRY = (1000, 4000)  # milliseconds: clients of a server that restarts come back spread out

HEADERS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),
)


class StreamGrant(NamedTuple):
    """What a stream was opened with: who, and of which tenant he hears which topic."""

    identity: Identity
    places: tuple[tuple[UUID | None, str], ...]


class StreamReauthorizer(DatabaseThread):
    """The thread `stream-patrol`: asks of every open stream, once a heartbeat, whether it may stay.

    heartbeat: seconds. admit: as `events_handler` takes it. A stream ends with `close` and the
    reason "expired", "forbidden" (it may not hear a topic any more) or "changed" (other roles or
    tenant: its client may come back). While a database is away all stay.
    """

    def __init__(
        self,
        writer: StreamWriter,
        heartbeat: float,
        admit: Callable[[str], UUID | None],
        renew: Renew,
    ) -> None:
        super().__init__("stream-patrol", self._round, None)
        self._writer = writer
        self._heartbeat = heartbeat
        self._admit = admit
        self._renew = renew
        self._seats: dict[int, StreamGrant] = {}  # by stream; each operation on it is atomic

    def seat(self, stream: int, seat: StreamGrant) -> None:
        """Look after the writer's stream of this number; 0 is none."""
        if stream:
            self._seats[stream] = seat

    def ended(self, seat: StreamGrant) -> bytes:
        """The last frame of a stream that may not stay, else nothing."""
        try:
            identity = self._renew(seat.identity)
            if identity is None:
                return sse.close_frame("expired")
            with as_identity(identity):
                places = tuple((self._admit(name), name) for _, name in seat.places)
        except (Unauthenticated, Forbidden, NotFound):
            return sse.close_frame("forbidden")
        except DATABASE_ERRORS as err:
            log.warning("an identity cannot be renewed now: %s", err)
            return b""
        except Exception:
            # SAFETY: who cannot be asked about may not listen on.
            log.exception("an identity could not be renewed")
            return sse.close_frame("forbidden")
        same = places == seat.places and identity.roles == seat.identity.roles
        return b"" if same else sse.close_frame("changed")

    def _round(self) -> None:
        self.rest(self._heartbeat)
        ended = cache(self.ended)  # once for all streams with the same grant
        for stream, seat in list(self._seats.items()):
            if self.stopping.is_set():
                return
            if self._writer.alive(stream):
                if not (frame := ended(seat)):
                    continue
                self._writer.drop(stream, frame)
            del self._seats[stream]


def client_key(request: Request) -> str:
    """The key of the per-user cap: the user, or the network of an anonymous user."""
    user = current_identity().user
    return f"user {user}" if user else network(request.environ.get("REMOTE_ADDR") or "")


def events_handler(
    hub: PostgresHub,
    limiter: Limiter,
    writer: StreamWriter,
    *,
    topics: Container[str],
    heartbeat: float = 15.0,
    admit: Callable[[str], UUID | None] = lambda topic: None,
    patrol: StreamReauthorizer | None = None,
    refused: Callable[[TooManyConnections], object] = lambda error: None,
) -> Handler:
    """The handler of /events.

    topics: the names that exist; looked at for each request. heartbeat: the writer's, in seconds;
    clients are told. admit: the tenant whose events of a topic the current identity hears; it
    raises for who may not; by default all hear what belongs to no tenant. patrol: who asks again
    while a stream is open; None = nobody. refused: told at a cap. The handler raises
    BadRequest for no topic, too many or an unknown format, NotFound for unknown topics, what
    `admit` raises, and what Limiter.acquire raises at its caps. The lease is released by whoever
    ends the stream, and here when none comes to be.
    """

    def handler(request: Request) -> Response:
        names, format = _topics(request, topics), _format(request)
        seat = StreamGrant(current_identity(), tuple((admit(name), name) for name in names))
        if request.method == "HEAD":
            return Response(200, b"", HEADERS)
        try:
            lease = limiter.acquire(client_key(request))
        except TooManyConnections as err:
            refused(err)
            raise
        opened: list[Opened] = []
        try:
            last = request.header("Last-Event-ID")
            wanted = partial(_is_connected, request.environ.get("forge.socket"))
            for tenant, name in seat.places:
                opened.append(hub.subscribe(TopicKey(tenant, name, format), last, wanted))
            return _answer(request, writer, opened, lease, heartbeat, patrol, seat)
        except BaseException:
            for one in opened:
                one.subscription.close()
            lease.release()
            raise

    return handler


def _is_connected(peer: socket.socket | None) -> bool:
    """Whether the client is there; True where our server does not say."""
    try:
        return peer is None or peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _topics(request: Request, known: Container[str]) -> list[str]:
    names = list(dict.fromkeys(request.query.get("topic", ())))
    if not names:
        raise BadRequest(text("name a topic: /events?topic=..."))
    if len(names) > MAX_TOPICS:
        raise BadRequest(text("a stream has at most {max} topics", max=MAX_TOPICS))
    if unknown := [name[:64] for name in names if name not in known]:
        raise NotFound(text("there is no topic {names}", names=", ".join(map(repr, unknown))))
    return names


def _format(request: Request) -> str:
    format = request.query.get("format", ["json"])[-1]
    if format not in FORMATS:
        raise BadRequest(text("format must be one of {allowed}", allowed=", ".join(FORMATS)))
    return format


def _answer(
    request: Request,
    writer: StreamWriter,
    opened: list[Opened],
    lease: Lease,
    heartbeat: float,
    patrol: StreamReauthorizer | None,
    seat: StreamGrant,
) -> Response:
    subscriptions = [one.subscription for one in opened]
    # A client knows by the second line after what silence the connection is dead.
    pace = f"retry: {random.randrange(*RETRY)}\n: heartbeat {max(1, round(heartbeat))}\n\n"
    # Topics that all need a refresh get one.
    first = pace.encode() + b"".join(dict.fromkeys(one.first for one in opened))

    def adopt(fd: int) -> None:
        # With -1 for a socket (the head could not be sent), this only releases.
        stream = writer.adopt(fd, subscriptions, lease, first)
        if patrol is not None:
            patrol.seat(stream, seat)

    handover = request.environ.get("forge.stream")
    if handover is None:
        return Response(200, sse.ByteStream(adopt), HEADERS)
    handover(adopt)
    return Response(200, b"", HEADERS)
