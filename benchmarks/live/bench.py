"""The stream beside its peers, each a server of its own that one C client opens streams to.

    python benchmarks/live/bench.py [--json FILE] [--runs 5]

ours and ours.py: the product with the compiled core and with its Python twin (ours.py here).
sse-starlette: on uvicorn; sse-uvloop: with that event loop. go: net/http, where there is a Go
compiler (Debian: golang-go). floor: C that sends every frame with a call of its own. Buffers of 32
frames each. Cases: a burst of 30 events to 1,000 streams; 20 events a second to 1,000; 5,000
streams opened; of ours alone 10,000 that are idle. Medians, servers interleaved. Needs a C
compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE.parents[1] / ".venv-peers" / "bin" / "python"
CASES = {"burst": (1000, 30, 0), "steady": (1000, 100, 20), "many": (5000, 1, 0)}
# Ours beside the floor, each on one processor, the client on another: on loopback the kernel likes
# to run a client where its server just sent to it, and then both wait for each other.
APART = (1000, 100, 20)
# Beside a thread of Python that never rests, as a request that computes is one. Neither our twin
# nor asyncio's own loop: they let the GIL go at every send, so that an event to 200 streams takes a
# second and they fall behind.
BUSY = (200, 100, 20)
IDLE = (10_000, 1, 0)  # ours alone: one process, so many browsers, nothing happens
# (case, figure, peer) → our goal: how often the peer's figure
GOALS = {
    ("burst", "per_second", "go"): (">=", 3.0),
    ("burst", "per_second", "sse-starlette"): (">=", 12.0),
    ("burst", "per_second", "sse-uvloop"): (">=", 12.0),
    ("steady", "cpu_us", "go"): ("<=", 0.75),
    ("apart", "cpu_us", "floor"): ("<=", 1.1),
    ("steady", "p99_ms", "sse-starlette"): ("<=", 1.0),
    ("many", "accept_seconds", "go"): ("<=", 2.0),
    ("steady", "p99_ms", "sse-uvloop"): ("<=", 1.0),
    ("busy", "p99_ms", "sse-uvloop"): ("<=", 1.0),
}
MEMORY = 2048.0  # bytes a stream, at most
IDLE_MEMORY = 20e6  # bytes that 10,000 idle streams may take
SHOWN = ("per_second", "cpu_us", "p50_ms", "p99_ms", "accept_seconds", "bytes_per_stream")


def main() -> int:
    """0 when every delivery came; the ratios are printed, and judged by whoever reads them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="forge-live-") as folder:
        client, servers = built(Path(folder))
        for _ in range(given.runs):
            for name, command in servers.items():
                for case in CASES:
                    figures = measure(client, command, name, *CASES[case])
                    found.setdefault(case, {}).setdefault(name, []).append(figures)
            for name in ("ours", "floor"):
                figures = measure(client, servers[name], name, *APART, apart=True)
                found.setdefault("apart", {}).setdefault(name, []).append(figures)
            for name in ("ours", "sse-uvloop"):
                with busy():
                    figures = measure(client, servers[name], name, *BUSY)
                found.setdefault("busy", {}).setdefault(name, []).append(figures)
            idle = measure(client, servers["ours"], "ours", *IDLE)
            found.setdefault("idle", {}).setdefault("ours", []).append(idle)
    medians = {
        case: {
            name: {each: statistics.median(run[each] for run in runs) for each in runs[0]}
            for name, runs in by_name.items()
        }
        for case, by_name in found.items()
    }
    report(medians)
    if given.json:
        given.json.write_text(json.dumps(medians, indent=1))
    lost = [
        f"{case} {name}"
        for case, by_name in medians.items()
        for name, row in by_name.items()
        if name.startswith("ours") and row["deliveries"] < row["expected"]
    ]
    print(*[f"LOST: {each}" for each in lost], sep="\n", end="")
    return 1 if lost else 0


def built(folder: Path) -> tuple[Path, dict[str, list[str]]]:
    """The client and the commands of the servers, each of which takes a port."""
    for name in ("client", "floor"):
        source, program = HERE / f"{name}.c", folder / name
        subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    servers = {
        "ours": [sys.executable, str(HERE / "ours.py")],
        "ours.py": [sys.executable, str(HERE / "ours.py")],
        "floor": [str(folder / "floor")],
        "sse-starlette": [str(PEERS), str(HERE / "ssestarlette.py"), "asyncio"],
        "sse-uvloop": [str(PEERS), str(HERE / "ssestarlette.py"), "uvloop"],
    }
    if shutil.which("go"):
        program = folder / "gopeer"
        environ = os.environ | {"GOCACHE": str(folder / "cache"), "GOFLAGS": "-mod=mod"}
        command = ["go", "build", "-o", str(program), str(HERE / "gopeer.go")]
        subprocess.run(command, check=True, env=environ)
        servers["go"] = [str(program)]
    else:
        print("SKIPPED: go, which needs a compiler (Debian: golang-go)", file=sys.stderr)
    return folder / "client", servers


def measure(
    client: Path,
    command: list[str],
    name: str,
    streams: int,
    events: int,
    rate: int,
    *more: str,
    apart: bool = False,
) -> dict[str, float]:
    """The client's figures of one fresh server. more: the server's further arguments. apart: it and
    the client keep to different processors, where there are two.
    """
    first, *others = sorted(os.sched_getaffinity(0))
    with serving(command, name, *more) as (port, pid):
        numbers = [str(each) for each in (port, streams, events, rate, pid)]
        if apart and others:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {first})
            os.sched_setaffinity(0, others)  # the client inherits it
        try:
            asked = [str(client), *numbers]
            done = subprocess.run(asked, capture_output=True, text=True, timeout=120)
        finally:
            os.sched_setaffinity(0, {first, *others})
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr}")
        figures: dict[str, float] = json.loads(done.stdout)
        return figures


@contextmanager
def busy() -> Iterator[None]:
    """Servers of Python that start meanwhile have a thread that spins."""
    os.environ["BENCH_BUSY"] = "1"
    try:
        yield
    finally:
        del os.environ["BENCH_BUSY"]


@contextmanager
def serving(command: list[str], name: str, *more: str) -> Iterator[tuple[int, int]]:
    """(port, process) of a server that answers. more: arguments behind the port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    environ = os.environ | {"FORGE_IMPL": "python" if name == "ours.py" else "c"}
    process = subprocess.Popen([*command, str(port), *more], env=environ)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        time.sleep(0.3)
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def report(medians: dict[str, dict[str, dict[str, float]]]) -> None:
    """A table a case, and our figure as a multiple of each peer's."""
    for case, by_name in medians.items():
        streams, events, rate = (CASES | {"apart": APART, "busy": BUSY, "idle": IDLE})[case]
        print(f"-- {case}: {events} events, {rate or 'no'} a second, {streams} streams")
        for name, row in by_name.items():
            print(f"{name:14}", *(f"{each} {row[each]:.6g}" for each in SHOWN), sep="  ")
    for (case, figure, peer), (sign, goal) in GOALS.items():
        if peer in medians[case]:
            times = medians[case]["ours"][figure] / medians[case][peer][figure]
            print(f"{case} {figure} beside {peer}: {times:.2f}x (goal {sign} {goal:g})")
    for case in ("burst", "many"):
        size = medians[case]["ours"]["bytes_per_stream"]
        print(f"{case} bytes a stream: {size:.0f} (goal <= {MEMORY:.0f})")
    all = medians["idle"]["ours"]["bytes_per_stream"] * IDLE[0]
    print(f"10,000 idle streams: {all / 1e6:.1f} MB (goal <= {IDLE_MEMORY / 1e6:.0f})")


if __name__ == "__main__":
    sys.exit(main())
