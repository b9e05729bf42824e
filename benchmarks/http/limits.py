"""The built artifact beside limits: a second process, PostgreSQL, the start, and slow handlers.

    python benchmarks/http/limits.py [--seconds 2] [--runs 5] [--json FILE]
    python benchmarks/http/limits.py --seconds 1 --runs 1      a short look

* Processes: row with `server.processes` 2 beside 1. The goal is also met if the least busy
  processor works 95 % of the time, because then a second process has nothing left to use.
* PostgreSQL: row beside pgbench with 16 clients and prepared statements, which reads the same kind
  of row, and a row of its own table (`-S`).
* Start: seconds from exec until /healthz of the admin port is 200, with warm caches.
* Slow handlers: responses of a handler that sleeps 20 ms, on 16 connections and 8 threads, and the
  rate of hello beside 4 connections to that handler.

Each ratio is the median of the ratios of interleaved runs.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from forge_min.db import EmbeddedServer  # noqa: E402
from forge_min.db.embedded import binaries  # noqa: E402

from build import ready  # noqa: E402
from goals import Figure, at_least, at_most, report  # noqa: E402
from load import Client, Target, background, fastest_program  # noqa: E402
from run import peer_database, prepare_shop, serve_again  # noqa: E402
from sides import Run, Side, from_file, in_turns, measured, median_of, median_ratio  # noqa: E402

BARE_ROW = (
    "select id, name, price, status, created_at from products "
    "where id = '00000000-0000-0000-0000-000000000032';\n"
)
BUSY = 0.95
SLOW_CONNECTIONS = 4
MOST_SECONDS = 30  # for pgbench to connect


class Setting(NamedTuple):
    """What every measurement needs.

    program: of the client.
    artifact: the command that runs it.
    work: a folder for files of a run.
    """

    program: str
    seconds: float
    runs: int
    server: EmbeddedServer
    artifact: list[str]
    work: Path

    def serve(self, stack: ExitStack, **settings: str) -> Side:
        """Start the artifact until the stack ends. settings: environment variables."""
        return from_file(serve_again(stack, self.artifact, self.server, self.work, **settings))

    def row(self, side: Side, connections: int) -> Run:
        """Measure the case row."""
        return measured(side, "row", Client(self.program, connections), self.seconds)


def rate(run: Run) -> float:
    """Return the responses per second."""
    return run.figures.per_second


def processes(setting: Setting) -> list[Figure]:
    """Compare row on two processes with row on one."""
    figures = []
    with ExitStack() as stack:
        sides = {count: setting.serve(stack, FORGE_SERVER_PROCESSES=str(count)) for count in (1, 2)}
        for connections in (16, 64):
            measurements = {
                str(count): partial(setting.row, side, connections) for count, side in sides.items()
            }
            runs = in_turns(f"processes, {connections} connections", measurements, setting.runs)
            busy = median_of(runs["2"], lambda run: run.busy)
            figure = at_least(
                f"row, 2 processes beside 1, {connections} connections",
                median_ratio(runs["2"], runs["1"], rate), "x", 1.1,
                f"{median_of(runs['2'], rate):.0f}/s; least busy processor {busy:.0%}",
            )  # fmt: skip
            figures.append(figure._replace(met=figure.met or busy >= BUSY))
    return figures


def postgresql(setting: Setting) -> list[Figure]:
    """Compare row with pgbench on the same server."""
    url = peer_database(setting.server)
    script = setting.work / "row.sql"
    script.write_text(BARE_ROW)
    subprocess.run([pgbench(), "--initialize", "--quiet", url], check=True, capture_output=True)
    with ExitStack() as stack:
        side = setting.serve(stack)
        measurements: dict[str, Callable[[], float]] = {
            "row": lambda: rate(setting.row(side, 16)),
            "of the same row": partial(transactions, setting.seconds, url, "-f", str(script)),
            "-S": partial(transactions, setting.seconds, url, "-S"),
        }
        rates = in_turns("pgbench", measurements, setting.runs)
    row = rates.pop("row")
    return [
        Figure(
            f"row, share of pgbench {name}, 16 connections", median_ratio(row, other, float), "x",
            note=f"{median_of(row, float):.0f}/s of {median_of(other, float):.0f}/s",
        )
        for name, other in rates.items()
    ]  # fmt: skip


def pgbench() -> str:
    """Return the program that belongs to the embedded server."""
    return str(binaries.find().folder / "pgbench")


def transactions(seconds: float, url: str, *script: str) -> float:
    """Return the transactions per second of pgbench with 16 clients."""
    duration = max(round(seconds), 1)
    command = [pgbench(), "-n", "-M", "prepared", "-c", "16", "-j", "1", *script]
    result = subprocess.run(
        [*command, "-T", str(duration), url], check=True, capture_output=True, text=True
    )
    found = re.search(r"tps = ([0-9.]+) \(without", result.stdout)
    if found:
        return float(found[1])
    # The duration includes the time to connect, which took all of it.
    if duration > MOST_SECONDS:
        raise TimeoutError(f"pgbench did not connect in {duration} s: {result.stderr}")
    return transactions(2 * duration, url, *script)


def start(setting: Setting) -> list[Figure]:
    """Time the start of the artifact, after one start that fills the caches."""
    artifact = Path(setting.artifact[-1])
    caches = setting.work / "caches"
    starts = []
    for number in range(setting.runs + 1):
        print(f"start {number} of {setting.runs}", file=sys.stderr)
        starts.append(ready(artifact, setting.server, caches)[0])
    value = statistics.median(starts[1:])
    return [at_most("/healthz after exec", value, "ms", 100, f"first {starts[0]:.0f} ms")]


def slow_handlers(setting: Setting) -> list[Figure]:
    """Measure a handler that sleeps, and hello beside it."""
    with ExitStack() as stack:
        side = setting.serve(stack)
        sleep = partial(measured, side, "sleep", Client(setting.program, 16), setting.seconds)
        runs = in_turns("sleep", {"sleep": sleep}, setting.runs)["sleep"]
        figures = [at_least("handler of 20 ms, 16 connections", median_of(runs, rate), "/s", 360)]
        figures += [quick(setting, side, connections) for connections in (1, 16)]
    return figures


def quick(setting: Setting, side: Side, connections: int) -> Figure:
    """Compare hello beside slow requests with hello alone."""
    client = Client(setting.program, connections)
    failures: list[int] = []

    def alone() -> float:
        return rate(measured(side, "hello", client, setting.seconds))

    def beside() -> float:
        slow = Target(side.base + side.cases["sleep"].url)
        with background(slow, SLOW_CONNECTIONS) as failed:
            result = alone()
            failures.append(failed())
        return result

    rates = in_turns(f"{client}, hello", {"alone": alone, "beside": beside}, setting.runs)
    return at_least(
        f"hello of {client}, beside {SLOW_CONNECTIONS} slow requests",
        median_ratio(rates["beside"], rates["alone"], float), "x", 0.5,
        f"{median_of(rates['alone'], float):.0f}/s alone"
        + f"; {sum(failures)} slow requests failed" * bool(sum(failures)),
    )  # fmt: skip


def main() -> None:
    """Run, print, and write JSON if --json is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2, help="of one measurement")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forge-bench-")))
        server = stack.enter_context(EmbeddedServer(work / "postgres", app_role="shop_app"))
        setting = Setting(
            fastest_program(), options.seconds, options.runs, server,
            prepare_shop(server, work), work,
        )  # fmt: skip
        print(f"client: {setting.program}")
        measurements = (start, processes, postgresql, slow_handlers)
        figures = (figure for measure in measurements for figure in measure(setting))
        report(figures, options.json)


if __name__ == "__main__":
    main()
