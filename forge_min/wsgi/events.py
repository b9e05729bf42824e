"""GET /events?topic=a[&topic=b][&format=html]: opens a live stream, then lets go of it.

Where the server offers `environ["forge.stream"]`, the socket goes to the StreamWriter as soon as
the head is out, and the worker is free. Elsewhere the same stream is the answer's body.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container
from typing import NamedTuple
from uuid import UUID

from .. import sse
from ..auth import current_identity
from ..errors import BadRequest, NotFound
from ..fanout import Lease, Limiter, StreamWriter
from ..notify import Hub, Opened, TopicKey
from ..text import text
from .request import Request
from .response import Response
from .router import Handler

MAX_TOPICS = 32
FORMATS = ("json", "html")
RETRY = (1000, 4000)  # milliseconds: clients of a server that restarts come back spread out

HEADERS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),
)


class Viewer(NamedTuple):
    """Whose stream it is. user: the key of the per-user cap. audience: which frames."""

    user: str
    audience: str = ""


def by_identity(request: Request) -> Viewer:
    """Everybody sees the same; the cap counts by user, and nobody by network address."""
    user = current_identity().user
    return Viewer(f"user {user}" if user else str(request.environ.get("REMOTE_ADDR") or ""))


def events_handler(
    hub: Hub,
    limiter: Limiter,
    writer: StreamWriter,
    *,
    topics: Container[str],
    heartbeat: float = 15.0,
    viewer: Callable[[Request], Viewer] = by_identity,
    admit: Callable[[str], UUID | None] = lambda topic: None,
) -> Handler:
    """The handler of /events.

    topics: the names that exist; looked at for each request. heartbeat: seconds, for the fallback
    (the writer has its own). admit: the tenant whose events of a topic the current identity hears;
    it raises for who may not; by default all hear what belongs to no tenant. The handler raises
    BadRequest for no topic, too many or an unknown format, NotFound for unknown topics, what
    `admit` raises, and what Limiter.acquire raises at its caps. The lease is released by whoever
    ends the stream, and here when none comes to be.
    """

    def handler(request: Request) -> Response:
        names, format = _topics(request, topics), _format(request)
        places = [(admit(name), name) for name in names]
        if request.method == "HEAD":
            return Response(200, b"", HEADERS)
        who = viewer(request)
        keys = [TopicKey(tenant, name, who.audience, format) for tenant, name in places]
        lease = limiter.acquire(who.user)
        opened: list[Opened] = []
        try:
            last = request.header("Last-Event-ID")
            opened.extend(hub.subscribe(key, last) for key in keys)
            return _answer(request, writer, opened, lease, heartbeat)
        except BaseException:
            for one in opened:
                one.subscription.close()
            lease.release()
            raise

    return handler


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
    request: Request, writer: StreamWriter, opened: list[Opened], lease: Lease, heartbeat: float
) -> Response:
    subscriptions = [one.subscription for one in opened]
    retry = f"retry: {random.randrange(*RETRY)}\n\n".encode()
    # Topics that all need a refresh get one.
    first = retry + b"".join(dict.fromkeys(one.first for one in opened))
    handover = request.environ.get("forge.stream")
    if handover is None:
        return Response(200, sse.stream(subscriptions, lease, first, heartbeat), HEADERS)
    # With -1 for a socket (the head could not be sent), adopt only releases.
    handover(lambda fd: writer.adopt(fd, subscriptions, lease, first))
    return Response(200, b"", HEADERS)
