"""The product's stream beside the peers: our server, router, metrics, access log, limiter, hub and
writer, with 50 routes. Events go through the MemoryHub, so that no database is measured; with the
address of one they are committed there, one by one, and come back through PostgresHub.

    python ours.py PORT [URL]          FORGE_IMPL=c or python chooses the core
"""

from __future__ import annotations

import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from forge_min import db, observe, sse
from forge_min.api.events import StreamReauthorizer, events_handler
from forge_min.fanout import Counter, Histogram, Limiter, StreamWriter
from forge_min.notify import Encode, Event, Nudger, PostgresHub, publish_tx
from forge_min.wsgi import Application, Request, Response, Router, Server

from memory_hub import MemoryHub

BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)


def main() -> None:
    """Serve until killed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    url = sys.argv[2] if len(sys.argv) > 2 else ""
    nudger = Nudger(lambda: db.connect(url))
    hub: Any = (
        PostgresHub(lambda: db.connect(url), begin, nudger=nudger) if url else MemoryHub(begin)
    )
    waker = nudger if url else None
    if url:
        nudger.start()
    limiter = Limiter(max_total=20_000, max_per_user=20_000)
    writer = StreamWriter()
    requests, seconds = Counter(), Histogram(BOUNDS)

    def go(request: Request) -> Response:
        events, rate = (int(request.query[name][0]) for name in ("n", "rate"))
        threading.Thread(target=publish, args=(hub, events, rate, url, waker), daemon=True).start()
        return Response(200, b"")

    def count(method: str, route: str, status: int, took: float) -> None:
        requests.inc()
        seconds.observe(took)

    router = Router()
    for number in range(50):
        router.add("GET", f"/page{number}/{{id}}", go)
    router.add("GET", "/go", go)
    reauthorizer = StreamReauthorizer(writer, 15.0, lambda topic: None, lambda identity: identity)
    router.add("GET", "/events", events_handler(hub, limiter, reauthorizer, topics={"products"}))
    logging.disable()
    access = observe.AccessLog(format="json", level="error")
    app = Application(router, observe=count, access=access)
    server = Server(("127.0.0.1", int(sys.argv[1])), app, threads=8)
    if os.environ.get("BENCH_BUSY"):
        threading.Thread(target=spin, daemon=True).start()
    hub.start()
    writer.start()
    server.start()
    threading.Event().wait()


def begin(events: Sequence[Event]) -> Encode:
    """The encoder of a batch."""
    return lambda event, format: sse.encode_json(event)


def spin() -> None:
    """A thread that always has something to compute."""
    number = 0
    while True:
        number += 1


def publish(hub: Any, events: int, rate: int, url: str, nudger: Nudger | None) -> None:
    """`events` of them, at once or `rate` a second. With a database the time that an event carries
    is taken right before its commit, so the commit is part of what its readers measure.
    """
    began = time.monotonic()
    conn = db.connect(url, nudger=nudger) if url else None
    for number in range(events):
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        stamp = {"t": 10**18 + time.monotonic_ns()}
        event = Event("products", "product.updated", payload=stamp)
        if conn is None:
            hub.publish(event)
        else:
            publish_tx(conn, event)


if __name__ == "__main__":
    main()
