"""What the built artifact holds on to: memory and the log over a million requests, and what a
thousand idle connections cost the others.

python benchmarks/http/endurance.py [--requests 1000000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from forge_min.db import EmbeddedServer  # noqa: E402

from bench import Figures, Side, from_file, measured, rss_mib, tree  # noqa: E402
from run import serve_shop  # noqa: E402

IDLE, ROUNDS = 1000, 9
CHUNK = 5.0  # seconds of load between two looks at the memory
SETTLED = 1.0  # seconds after opening and after closing a thousand


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


def lost_lines(admin: str) -> int:
    """Lines of the log that were not written, as the application's metrics count them."""
    with urlopen(f"{admin}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r"^forge_log_dropped_total\{[^}]*\} ([0-9.e+]+)$", text, re.MULTILINE)
    assert found, "no such metric"
    return int(sum(map(float, found)))


def idle(side: Side) -> dict[str, Any]:
    """Hello beside IDLE open connections, of the server's own and of nobody's, in turns: medians of
    how fast each is without them, and of the CPU time. What the kernel pays for a thousand sockets
    anywhere is no cost of the server.
    """
    runs: dict[str, list[tuple[Figures, float]]] = {"none": [], "own": [], "nobody's": []}
    memory, threads = 0.0, 0
    with socket.create_server(("127.0.0.1", 0), backlog=IDLE) as nobody:
        other = "http://{}:{}".format(*nobody.getsockname())
        for turn in range(ROUNDS):
            for whose in list(runs)[turn % 3 :] + list(runs)[: turn % 3]:
                before = rss_mib(side.pid)
                opened = []
                if whose != "none":
                    base = side.base if whose == "own" else other
                    opened = [_opened(base, whose == "own") for _ in range(IDLE)]
                if whose == "own":
                    memory = max(memory, rss_mib(side.pid) - before)
                time.sleep(SETTLED)
                runs[whose].append(measured(side, "hello", 16, 3))
                if whose == "own":
                    tasks = (Path(f"/proc/{pid}/task") for pid in tree(side.pid))
                    threads = sum(len(list(task.iterdir())) for task in tasks)
                for sock in opened:
                    sock.close()
                while whose == "nobody's" and select.select([nobody], [], [], 0)[0]:
                    nobody.accept()[0].close()
                time.sleep(SETTLED)
    found: dict[str, Any] = {"idle": IDLE, "more_mib": round(memory, 2), "threads": threads}
    for whose, against in (("own", "none"), ("nobody's", "none"), ("own", "nobody's")):
        pairs = list(zip(runs[whose], runs[against]))
        found[f"{whose} of {against}"] = {
            "ratio": round(
                statistics.median(a.per_second / b.per_second for (a, _), (b, _) in pairs), 3
            ),
            "cpu": round(statistics.median(a / b for (_, a), (_, b) in pairs), 3),
        }
    return found


def _opened(base: str, ask: bool) -> socket.socket:
    place = urlsplit(base)
    sock = socket.create_connection((place.hostname or "", place.port or 80))
    if ask:
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
        told = serve_shop(stack, server, work, FORGE_SERVER_KEEPALIVE="10m")
        side = from_file(told)
        found = {"idle": idle(side), "endurance": endurance(side, arguments.requests)}
        found["endurance"]["lost_lines"] = lost_lines(json.loads(told.read_text())["admin"])
    one, more = found["idle"], found["endurance"]
    print(f"{one['idle']} idle connections: {one['more_mib']} MiB more, {one['threads']} threads")
    for name in ("own of none", "nobody's of none", "own of nobody's"):
        ratio = one[name]
        print(f"  {name:17}{ratio['ratio']:.3f}x as fast, {ratio['cpu']:.3f}x the CPU time")
    grown = more["end_mib"] - more["warm_mib"]
    print(f"{more['requests']} requests: {more['end_mib']} MiB, {grown:+.2f} after the first tenth")
    print(f"  {more['failed']} failed, {more['lost_lines']} lines of the log lost")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
