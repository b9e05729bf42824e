"""A list that standbys answer, beside the same list from the primary.

    python benchmarks/http/replicas.py [--seconds 1] [--runs 5] [--json FILE]

Two processes of shop, one with two standbys and one without, all on this machine. Printed are the
ratio of the rates, the ratio of the CPU time of the processes per request, including the threads
that sample the servers, and the share of the busier standby in the transactions of both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent / "tests")]

from goals import Figure, at_most, report  # noqa: E402
from load import Client, fastest_program  # noqa: E402
from run import prepare_shop, serve_again  # noqa: E402
from sides import from_file, in_turns, measured, median_of, median_ratio  # noqa: E402
from standbys import Standby, replicated  # noqa: E402

CONNECTIONS = (4, 16)
MOST_CPU = 1.05  # times the CPU time of a list from the primary
MOST_SHARE = 0.55  # of the busier one of two standbys
EVENTUAL = "Forge-Consistency: eventual"
# A server publishes the counts of an idle session within ten seconds.
PUBLISHED = 11.0


def transactions(standby: Standby) -> int:
    """Return the transactions of the site's database on this server."""
    ((count,),) = standby.sql("select xact_commit from pg_stat_database where datname = 'app'")
    return int(count)


def figures(stack: ExitStack, options: argparse.Namespace) -> Iterator[Figure]:
    """Start the servers, and measure with few and with many connections."""
    work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forge-bench-")))
    server, standbys = stack.enter_context(replicated(work, 2, app_role="shop_app"))
    run = prepare_shop(server, work)
    urls = json.dumps([standby.url(server.app_url) for standby in standbys])
    primary = from_file(serve_again(stack, run, server, work))
    replicas = from_file(serve_again(stack, run, server, work, FORGE_DATABASE_REPLICA_URLS=urls))
    replicas.cases["list"] = replicas.cases["list"]._replace(header=EVENTUAL)
    before = list(map(transactions, standbys))
    for connections in CONNECTIONS:
        client = Client(fastest_program(), connections)
        ask = {
            name: partial(measured, side, "list", client, options.seconds)
            for name, side in (("replicas", replicas), ("primary", primary))
        }
        for warm in ask.values():
            warm()
        runs = in_turns(f"{client}, list", ask, options.runs)
        ours, theirs = runs["replicas"], runs["primary"]
        rate = median_ratio(ours, theirs, lambda run: run.figures.per_second)
        cpu = median_ratio(ours, theirs, lambda run: run.cpu_us)
        note = f"{median_of(ours, lambda run: run.figures.per_second):.0f}/s"
        failed = sum(run.figures.failed for run in ours)
        name = f"list by standbys, {connections} connections"
        yield Figure(f"{name}, rate", rate, "x", note=note + f"; {failed} failed" * bool(failed))
        yield at_most(f"{name}, CPU", cpu, "x", MOST_CPU)
    time.sleep(PUBLISHED)
    counts = [after - start for start, after in zip(before, map(transactions, standbys))]
    share = max(counts) / sum(counts)
    yield at_most("share of the busier standby", share, "", MOST_SHARE, f"{counts} transactions")


def main() -> None:
    """Run, print, and write JSON if --json is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1, help="of one measurement")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with ExitStack() as stack:
        report(figures(stack, options), options.json)


if __name__ == "__main__":
    main()
