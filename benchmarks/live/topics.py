"""Frames handed out inside one process: 10,000 readers of one topic, each takes its frames and
joins them to what a server would send, whose length is summed.

    python benchmarks/live/topics.py [--json FILE] [--readers 10000] [--runs 5]

Peer: an asyncio.Queue of 32 per reader. Million deliveries a second, medians, the three
interleaved; and how long one publish takes while all of them are subscribed. Goals: 20 times
asyncio, 1.3 times the Python twin; a publish in at most 1 us.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

FRAMES = 30
FRAME = b'event: product.updated\ndata: {"id":1,"t":%d}\n\n'
TWINS = {"c": "forge_min._fanout", "python": "forge_min._fanout_py"}


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    rates: dict[str, list[float]] = {"c": [], "python": [], "asyncio": []}
    took: dict[str, list[float]] = {"c": [], "python": []}
    for _ in range(given.runs):
        for twin, name in TWINS.items():
            rate, publish = topic(importlib.import_module(name), given.readers)
            rates[twin].append(rate)
            took[twin].append(publish)
        rates["asyncio"].append(asyncio.run(queues(given.readers)))
    found = {name: statistics.median(all) for name, all in rates.items()}
    for name, rate in found.items():
        times = found["c"] / rate
        print(f"{name:8} {rate / 1e6:6.2f} M deliveries/s   compiled: {times:5.1f}x")
    publish = {name: statistics.median(all) for name, all in took.items()}
    for name, seconds in publish.items():
        print(f"{name:8} {seconds * 1e6:6.2f} us a publish with {given.readers} subscribed")
    if given.json:
        given.json.write_text(json.dumps({"per_second": found, "publish_seconds": publish}))


def topic(core: Any, readers: int) -> tuple[float, float]:
    """Deliveries a second, and the seconds of one publish."""
    made = core.Topic(64)
    subscriptions = [made.subscribe() for _ in range(readers)]
    frames = [FRAME % number for number in range(FRAMES)]
    began = time.perf_counter()
    for frame in frames:
        made.publish(frame)
    published = time.perf_counter()
    total = 0
    for subscription in subscriptions:
        missed, taken = subscription.take()
        total += len(b"".join(taken)) + missed
    ended = time.perf_counter()
    assert total == readers * sum(map(len, frames))
    return readers * FRAMES / (ended - began), (published - began) / FRAMES


async def queues(readers: int) -> float:
    """The same by a queue per reader."""
    made: list[asyncio.Queue[bytes]] = [asyncio.Queue(32) for _ in range(readers)]
    frames = [FRAME % number for number in range(FRAMES)]
    began = time.perf_counter()
    for frame in frames:
        for queue in made:
            queue.put_nowait(frame)
    total = 0
    for queue in made:
        taken = []
        while not queue.empty():
            taken.append(queue.get_nowait())
        total += len(b"".join(taken))
    ended = time.perf_counter()
    assert total == readers * sum(map(len, frames))
    return readers * FRAMES / (ended - began)


if __name__ == "__main__":
    main()
