"""The Python peer: uvicorn with sse-starlette, an asyncio.Queue of 32 per stream.

python ssestarlette.py asyncio|uvloop PORT
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import threading
import time
from collections.abc import AsyncIterator

import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

queues: set[asyncio.Queue[dict[str, str]]] = set()


def spin() -> None:
    """A thread that always has something to compute."""
    number = 0
    while True:
        number += 1


async def events(request: Request) -> EventSourceResponse:
    """A stream."""
    mine: asyncio.Queue[dict[str, str]] = asyncio.Queue(32)
    queues.add(mine)

    async def frames() -> AsyncIterator[dict[str, str]]:
        try:
            while True:
                yield await mine.get()
        finally:
            queues.discard(mine)

    return EventSourceResponse(frames())


def put() -> None:
    """One event to every stream; a full queue loses it."""
    data = f'{{"id":1,"t":{10**18 + time.monotonic_ns()}}}'
    for each in queues:
        if not each.full():
            each.put_nowait({"event": "product.updated", "data": data})


async def go(request: Request) -> Response:
    """Publish n events, at once or `rate` a second."""
    loop = asyncio.get_running_loop()
    count, rate = (int(request.query_params[name]) for name in ("n", "rate"))

    def publish() -> None:
        began = time.monotonic()
        for number in range(count):
            if rate:
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
            loop.call_soon_threadsafe(put)

    threading.Thread(target=publish, daemon=True).start()
    return Response("")


_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
routes = [Route("/events", events), Route("/go", go)]
loop, port = sys.argv[1], int(sys.argv[2])
if os.environ.get("BENCH_BUSY"):
    threading.Thread(target=spin, daemon=True).start()
uvicorn.run(
    Starlette(routes=routes),
    host="127.0.0.1",
    port=port,
    loop=loop,
    log_level="critical",
    backlog=4096,
)
