"""The costs of a request, a delivery and a job; the processors and the memory that a goal needs.

    python benchmarks/capacity.py [--seconds 5] [--runs 5] [--json FILE]

Processor time comes from /proc, of the application and of PostgreSQL separately, so it hardly
depends on what else the machine does. The requests are those of http/bench.py, by wrk with 16
connections to the built shop; deliveries and memory are those of live/bench.py; jobs those of
jobs/ours.py. Medians of the runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "live"), str(HERE / "http"), str(HERE)]

from forge_min import db  # noqa: E402
from forge_min.db import FORGE_MIGRATIONS, EmbeddedServer  # noqa: E402

import load  # noqa: E402
import usage  # noqa: E402
from bench import CASES as STREAMS  # noqa: E402
from bench import IDLE, built, measure  # noqa: E402
from run import serve_shop  # noqa: E402

REQUESTS = ("row", "list", "create", "html")
JOBS = 20_000
REQUESTS_PER_SECOND, STREAMS_OPEN, JOBS_PER_SECOND = 10_000, 100_000, 10_000
SHARES = {"row": 0.6, "list": 0.3, "create": 0.1}  # of the requests per second
EVENTS_PER_SECOND = 1.0  # that each stream receives

Costs = dict[str, float]


def main() -> None:
    """Measure and print the costs, and the needs of the goals."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5, help="of each case")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    runs: list[Costs] = []
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forge-capacity-")))
        client, servers = built(work)
        server = stack.enter_context(EmbeddedServer(work / "postgres", app_role="shop_app"))
        shop = json.loads(serve_shop(stack, server, work).read_text())
        (pid_file,) = (work / "postgres").rglob("postmaster.pid")
        postgres = int(pid_file.read_text().split()[0])
        url = database_of_jobs(server)
        for _ in range(given.runs):
            costs = requests(shop, postgres, given.seconds)
            costs |= jobs(url, postgres)
            steady = measure(client, servers["ours"], "ours", *STREAMS["steady"])
            idle = measure(client, servers["ours"], "ours", *IDLE)
            costs["delivery"] = steady["cpu_us"]
            costs["stream_kb"] = idle["bytes_per_stream"] / 1000
            runs.append(costs)
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    for name, cost in medians.items():
        print(f"{name:24} {cost:8.1f} {'kB' if name.endswith('_kb') else 'us of CPU'}")
    print_needs(medians)
    if given.json:
        given.json.write_text(json.dumps(medians, indent=1))


def requests(shop: dict[str, object], postgres: int, seconds: float) -> Costs:
    """Return microseconds of processor time per request, of the application and of PostgreSQL."""
    client, costs = load.Client(load.fastest_program(), 16), Costs()
    cases: dict[str, str | list[object]] = shop["cases"]  # type: ignore[assignment]
    for name in REQUESTS:
        case = cases[name]
        path, body = (case, "") if isinstance(case, str) else (case[0], json.dumps(case[1]))
        target = load.Target(f"{shop['base']}{path}", body)

        def ask(target: load.Target = target) -> int:
            figures = load.load(target, client, seconds)
            assert not figures.failed, f"{figures.failed} responses of {target.url} failed"
            return figures.requests

        load.load(target, client, 1)
        costs |= per_operation(name, int(str(shop["pid"])), postgres, ask)
    return costs


def jobs(url: str, postgres: int) -> Costs:
    """Return microseconds of processor time per job that is inserted in bulk and run."""

    def drain() -> int:
        for verb in ("bulk", "drain"):
            command = [sys.executable, str(HERE / "jobs" / "ours.py"), url, verb, "50", str(JOBS)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return JOBS

    before = children_seconds()
    costs = per_operation("job", 0, postgres, drain)
    costs["job"] = 1e6 * (children_seconds() - before) / JOBS
    return costs


def per_operation(name: str, pid: int, postgres: int, work: Callable[[], int]) -> Costs:
    """Return the costs of `work`, which returns the number of its operations."""
    before = usage.usage(pid).cpu_seconds, postgres_seconds(postgres)
    count = work()
    after = usage.usage(pid).cpu_seconds, postgres_seconds(postgres)
    own, server = (1e6 * (end - begin) / count for begin, end in zip(before, after))
    return {name: own, f"{name}, PostgreSQL": server}


def postgres_seconds(postmaster: int) -> float:
    """Return the processor time of the server; that of backends that have ended is the parent's."""
    fields = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
    ended = int(fields[13]) + int(fields[14])
    return usage.usage(postmaster).cpu_seconds + ended / os.sysconf("SC_CLK_TCK")


def children_seconds() -> float:
    """Return the processor time of the children of this process that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def database_of_jobs(server: EmbeddedServer) -> str:
    """Create a database for jobs/ours.py, whose role is its owner; return its URL."""
    with db.connect(server.admin_url) as conn:
        conn.execute("create database jobs")
    url = server.admin_url.rpartition("/")[0] + "/jobs"
    with db.connect(url) as conn:
        db.migrate(conn, FORGE_MIGRATIONS)
    return url


def print_needs(costs: Costs) -> None:
    """Print the processors and the memory for the goals, by multiplication."""
    print(f"\n{REQUESTS_PER_SECOND:,} requests/s ({SHARES}):")
    for whose in ("", ", PostgreSQL"):
        cores = REQUESTS_PER_SECOND * sum(n * costs[c + whose] for c, n in SHARES.items()) / 1e6
        print(f"  {cores:.1f} processors{whose or ' of the application'}")
    print(f"{STREAMS_OPEN:,} streams, {EVENTS_PER_SECOND:g} event/s each:")
    print(f"  {STREAMS_OPEN * EVENTS_PER_SECOND * costs['delivery'] / 1e6:.1f} processors")
    print(f"  {STREAMS_OPEN * costs['stream_kb'] / 1000:.0f} MB")
    print(f"{JOBS_PER_SECOND:,} jobs/s:")
    print(f"  {JOBS_PER_SECOND * costs['job'] / 1e6:.1f} processors of the application")
    print(f"  {JOBS_PER_SECOND * costs['job, PostgreSQL'] / 1e6:.1f} processors, PostgreSQL")


if __name__ == "__main__":
    main()
