"""What the built artifact keeps: memory and the log over a million requests, and the cost of a
thousand idle connections to the other clients.

    python benchmarks/http/endurance.py [--requests 1000000] [--runs 5] [--seconds 3] [--json FILE]
    python benchmarks/http/endurance.py --requests 50000 --runs 1 --seconds 1     a short look

A million requests take under a minute if wrk is installed, otherwise some minutes. Idle connections
are measured in turns: to the artifact, to another socket that only listens, and none. The kernel
pays for a thousand sockets of any process, so the second is not a cost of the server.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import urlopen

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from forge_min.db import EmbeddedServer  # noqa: E402

from goals import Figure, at_least, at_most, report  # noqa: E402
from load import PYTHON, Client, fastest_program  # noqa: E402
from run import prepare_shop, serve_again  # noqa: E402
from sides import Run, Side, from_file, in_turns, measured, median_of, median_ratio  # noqa: E402
from usage import rss_mib, threads  # noqa: E402

IDLE = 1000
WARM = 10_000  # requests before the first look at the memory
CHUNK = 5.0  # seconds of load between two looks at the memory
SETTLED = 1.0  # seconds after opening and after closing a thousand


class Idle(NamedTuple):
    """A measurement of hello. mib: memory added by the idle connections; threads: of the server."""

    run: Run
    mib: float = 0.0
    threads: int = 0


def endurance(side: Side, requests: int, program: str, admin: str) -> list[Figure]:
    """Ask for hello and row in turns, and compare the memory after WARM with that at the end."""
    done = failed = 0

    def ask(client: Client, seconds: float) -> float:
        nonlocal done, failed
        for case in ("hello", "row"):
            figures = measured(side, case, client, seconds).figures
            done, failed = done + figures.requests, failed + figures.failed
        print(f"{done:>9} requests, {rss_mib(side.pid):.1f} MiB", file=sys.stderr)
        return rss_mib(side.pid)

    size = 0.0
    while done < WARM:
        # wrk runs for a second or more, in which it asks for more than that.
        size = ask(Client(PYTHON, 16), 0.25)
    first, warm = done, size
    while done < requests:
        size = ask(Client(program, 16), CHUNK)
    lost = lost_lines(admin)
    return [
        at_most(
            f"memory after {done} requests, of that after {first}", size / warm, "x", 1.05,
            f"{warm:.1f} MiB, then {size:.1f} MiB",
        ),
        at_most("failed requests", failed, "", 0),
        Figure("lost lines of the log", lost, ""),
    ]  # fmt: skip


def lost_lines(admin: str) -> int:
    """Return the lines of the log that were not written, from the application's metrics."""
    with urlopen(f"{admin}/metrics", timeout=10) as response:
        text = response.read().decode()
    found = re.findall(r"^forge_log_dropped_total\{[^}]*\} ([0-9.e+]+)$", text, re.MULTILINE)
    assert found, "the metric forge_log_dropped_total is missing"
    return int(sum(map(float, found)))


def idle(side: Side, runs: int, seconds: float, program: str) -> list[Figure]:
    """Measure hello beside IDLE open connections to the server, to another socket, and none."""
    hello = partial(measured, side, "hello", Client(program, 16), seconds)

    def without() -> Idle:
        time.sleep(SETTLED)
        return Idle(hello())

    def beside(base: str, ask: bool) -> Idle:
        before = rss_mib(side.pid)
        with connections(base, ask):
            time.sleep(SETTLED)
            added = rss_mib(side.pid) - before
            return Idle(hello(), added, threads(side.pid))

    with socket.create_server(("127.0.0.1", 0), backlog=IDLE) as listener:
        url = "http://{}:{}".format(*listener.getsockname())

        def beside_others() -> Idle:
            result = beside(url, ask=False)
            while select.select([listener], [], [], 0)[0]:
                listener.accept()[0].close()
            return result

        without()  # warm
        measurements: dict[str, Callable[[], Idle]] = {
            "none": without,
            "own": partial(beside, side.base, ask=True),
            "others": beside_others,
        }
        none, own, others = in_turns("idle connections", measurements, runs).values()
    return [
        at_least(f"hello beside {IDLE} idle connections", ratio(own, none), "x", 0.97),
        Figure("hello beside as many to another socket", ratio(others, none), "x"),
        Figure(
            f"CPU per hello beside {IDLE} idle connections",
            median_ratio(own, none, lambda each: each.run.cpu_us), "x",
            note=f"{median_of(none, lambda each: each.run.cpu_us):.1f} µs without",
        ),
        at_most(
            f"memory of {IDLE} idle connections", max(each.mib for each in own), "MiB", 5,
            f"{max(each.threads for each in own)} threads",
        ),
    ]  # fmt: skip


def ratio(ours: list[Idle], theirs: list[Idle]) -> float:
    """Return the median of the ratios of their rates."""
    return median_ratio(ours, theirs, lambda each: each.run.figures.per_second)


@contextmanager
def connections(base: str, ask: bool) -> Iterator[None]:
    """Hold IDLE connections open. ask: one request on each of them first."""
    place = urlsplit(base)
    with ExitStack() as stack:
        for _ in range(IDLE):
            address = (place.hostname or "", place.port or 80)
            sock = stack.enter_context(socket.create_connection(address))
            if ask:
                sock.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
                sock.recv(65536)
        yield
    time.sleep(SETTLED)


def main() -> None:
    """Run, print, and write JSON if --json is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5, help="rounds beside idle connections")
    parser.add_argument("--seconds", type=float, default=3, help="of one measurement")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # also of the server
    program = fastest_program()
    print(f"client: {program}")
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        with EmbeddedServer(Path(folder, "postgres"), app_role="shop_app") as server:
            report(measure(server, Path(folder), options, program), options.json)


def measure(
    server: EmbeddedServer, work: Path, options: argparse.Namespace, program: str
) -> Iterator[Figure]:
    """Start the artifact twice: idle connections are measured before any load adds memory."""
    command = prepare_shop(server, work)
    with ExitStack() as stack:
        description = serve_again(stack, command, server, work)
        admin = json.loads(description.read_text())["admin"]
        yield from endurance(from_file(description), options.requests, program, admin)
    with ExitStack() as stack:
        # Idle connections must outlive a measurement.
        description = serve_again(stack, command, server, work, FORGE_SERVER_KEEPALIVE="10m")
        yield from idle(from_file(description), options.runs, options.seconds, program)


if __name__ == "__main__":
    main()
