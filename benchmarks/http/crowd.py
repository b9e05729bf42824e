"""What other clients notice of one that asks for the slowest list on many connections.

    python benchmarks/http/crowd.py http://127.0.0.1:8000 --row /api/v1/products/... [--json FILE]

The flood comes from 127.0.0.1, on 16 connections; the row is asked for from 127.0.0.2, on one
connection, one request after the other. Run the application with `FORGE_API_RATE_LIMIT='{}'`, or
the rate limit answers first. See README.md for the data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

# As slow as twenty conditions can be: every name fulfils nineteen, and none the last one.
WORDS = ["product", "roduct", "oduct", "duct", "uct", "ct", "t <", "produc", "produ", "prod", "pro"]
WORDS += ["pr", "rodu", "odu", "du", "uc", "> &", "& more", "more", "zzz"]
SLOWEST = urlencode([*(("name[contains]", word) for word in WORDS), ("sort", "name")])


def flood(place: str, path: str, stop: threading.Event, seen: Counter[int]) -> None:
    """Ask for the list, again and again."""
    conn = HTTPConnection(place, timeout=60, source_address=("127.0.0.1", 0))
    while not stop.is_set():
        conn.request("GET", path)
        answer = conn.getresponse()
        answer.read()
        seen[answer.status] += 1


def rows(place: str, path: str, seconds: float) -> list[float]:
    """How long each answer took, in milliseconds."""
    conn = HTTPConnection(place, timeout=60, source_address=("127.0.0.2", 0))
    took = []
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        conn.request("GET", path)
        answer = conn.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        took.append((time.monotonic() - began) * 1000)
        time.sleep(0.005)
    return took


def main() -> None:
    """Print p50, p99 and the longest time without the flood and with it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base")
    parser.add_argument("--list", default=f"/api/v1/products?{SLOWEST}")
    parser.add_argument("--row", required=True)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    place = urlsplit(options.base).netloc
    stop, seen = threading.Event(), Counter[int]()
    crowd = [
        threading.Thread(target=flood, args=(place, options.list, stop, seen))
        for _ in range(options.connections)
    ]
    found: dict[str, dict[str, float]] = {}
    for name in ("alone", "beside the flood"):
        print(f"row {name} ...", file=sys.stderr)
        if name != "alone":
            for thread in crowd:
                thread.start()
            time.sleep(2)
        took = rows(place, options.row, options.seconds)
        cuts = statistics.quantiles(took, n=100)
        found[name] = {
            "requests": len(took), "p50_ms": cuts[49], "p99_ms": cuts[98], "longest_ms": max(took),
        }  # fmt: skip
        print(f"row {name}: {len(took)} requests", end=", ")
        print(f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, longest {max(took):.1f} ms")
    stop.set()
    for thread in crowd:
        thread.join()
    print("answers to the flood:", dict(sorted(seen.items())))
    if options.json:
        text = json.dumps(
            {"row": found, "flood": {str(k): seen[k] for k in sorted(seen)}}, indent=1
        )
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
