"""An application with /events for servers that are not ours.

POST /publish?id=7 publishes; GET /active says how many streams hold a place.
"""

from __future__ import annotations

from forge_min import sse
from forge_min.api.events import StreamReauthorizer, events_handler
from forge_min.fanout import Limiter, StreamWriter
from forge_min.notify import Event
from forge_min.wsgi import Application, Request, Response, Router

from memory_hub import MemoryHub

hub = MemoryHub(lambda events: lambda event, format: sse.encode_json(event))
limiter = Limiter(max_total=5, max_per_user=5)
writer = StreamWriter(heartbeat=0.2)


def publish(request: Request) -> Response:
    """An event with the id of the query."""
    hub.publish(Event("flights", "flight.updated", request.query["id"][0], 1))
    return Response(200, b"published")


def active(request: Request) -> Response:
    """Places that are taken."""
    return Response(200, b"%d" % limiter.active)


router = Router()
reauthorizer = StreamReauthorizer(writer, 0.2, lambda topic: None, lambda identity: identity)
events = events_handler(hub, limiter, reauthorizer, topics={"flights"})
router.add("GET", "/events", events)
router.add("POST", "/publish", publish)
router.add("GET", "/active", active)
app = Application(router)
hub.start()
writer.start()
