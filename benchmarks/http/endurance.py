"""What the built artifact holds on to: memory over a million requests, and what a thousand idle
connections cost the others.

python benchmarks/http/endurance.py [--requests 1000000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from forge_min.db import EmbeddedServer  # noqa: E402

from bench import Side, from_file, measured, rss_mib, tree  # noqa: E402
from run import serve_shop  # noqa: E402

IDLE = 1000
CHUNK = 5.0  # seconds of load between two looks at the memory


def endurance(side: Side, requests: int) -> dict[str, Any]:
    """Hello and row in turns until so many were answered. The memory after the first tenth, which
    warms up, and at the end, in MiB.
    """
    done, failed, sizes = 0, 0, []
    while done < requests:
        for case in ("hello", "row"):
            figures, _ = measured(side, case, 16, CHUNK)
            done, failed = done + figures.requests, failed + figures.failed
        sizes.append((done, round(rss_mib(side.pid), 2)))
        print(f"\r{done:>9} requests, {sizes[-1][1]:.1f} MiB", end="", file=sys.stderr)
    print(file=sys.stderr)
    warm = next(size for count, size in sizes if count >= requests / 10)
    return {"requests": done, "failed": failed, "warm_mib": warm, "end_mib": sizes[-1][1]}


def idle(side: Side) -> dict[str, Any]:
    """Hello with and without IDLE open connections, in turns: the median of the ratios."""
    ratios, memory = [], 0.0
    for _ in range(5):
        alone = measured(side, "hello", 16, 3)[0].per_second
        before = rss_mib(side.pid)
        opened = [_opened(side) for _ in range(IDLE)]
        memory = max(memory, rss_mib(side.pid) - before)
        beside = measured(side, "hello", 16, 3)[0].per_second
        threads = sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in tree(side.pid))
        for sock in opened:
            sock.close()
        ratios.append(beside / alone)
    ratio = round(statistics.median(ratios), 3)
    return {"idle": IDLE, "ratio": ratio, "more_mib": round(memory, 2), "threads": threads}


def _opened(side: Side) -> socket.socket:
    place = urlsplit(side.base)
    sock = socket.create_connection((place.hostname or "", place.port or 80))
    sock.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    sock.recv(65536)
    return sock


def main() -> None:
    """Run, print, and write JSON where --json says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forge-bench-")))
        server = stack.enter_context(EmbeddedServer(work / "postgres", app_role="shop_app"))
        # Idle connections must outlive a measurement.
        side = from_file(serve_shop(stack, server, work, FORGE_SERVER_KEEPALIVE="10m"))
        found = {"idle": idle(side), "endurance": endurance(side, arguments.requests)}
    one, more = found["idle"], found["endurance"]
    print(
        f"{one['idle']} idle connections: {one['ratio']:.3f}x as fast, {one['more_mib']} MiB more"
    )
    grown = more["end_mib"] - more["warm_mib"]
    print(f"{more['requests']} requests: {more['end_mib']} MiB, {grown:+.2f} after the first tenth")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
