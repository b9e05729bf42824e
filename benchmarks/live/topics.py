"""What a publish costs while 10,000 are subscribed to the topic, on both twins.

    python benchmarks/live/topics.py [--json FILE] [--readers 10000] [--runs 5]

Medians, the twins interleaved. Goal: at most 1 us. What delivery costs: bench.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

FRAMES = 1000
FRAME = b'event: product.updated\ndata: {"id":1,"t":%d}\n\n'
TWINS = {"c": "forge_min._fanout", "python": "forge_min._fanout_py"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    took: dict[str, list[float]] = {name: [] for name in TWINS}
    for _ in range(given.runs):
        for twin, name in TWINS.items():
            took[twin].append(publish(importlib.import_module(name), given.readers))
    found = {name: statistics.median(all) for name, all in took.items()}
    for name, seconds in found.items():
        print(f"{name:8} {seconds * 1e6:6.2f} us a publish with {given.readers} subscribed")
    if given.json:
        given.json.write_text(json.dumps({"publish_seconds": found}))


def publish(core: Any, readers: int) -> float:
    """Seconds of one publish."""
    topic = core.Topic(64)
    subscriptions = [topic.subscribe() for _ in range(readers)]
    frames = [FRAME % number for number in range(FRAMES)]
    began = time.perf_counter()
    for frame in frames:
        topic.publish(frame)
    ended = time.perf_counter()
    assert topic.subscribers == len(subscriptions)
    return (ended - began) / FRAMES


if __name__ == "__main__":
    main()
