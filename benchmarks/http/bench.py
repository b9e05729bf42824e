"""The HTTP table: forge_min beside its peers, in one run, as a table and as JSON.

    python benchmarks/http/bench.py                        hello only, with helloapp.py
    python benchmarks/http/bench.py --forge forge.json     all cases, against a running application
    python benchmarks/http/bench.py --forge forge.json --database postgresql://...   with the peers'
    python benchmarks/http/bench.py --peers granian --clients wrk:16 --runs 1    a short look

The sides run in turns. Each figure is the median of the runs, each ratio the median of the ratios
in the same rounds. granian and Litestar are compared with every client, the other peers only with
the first one.

forge.json: {"base": "http://127.0.0.1:8000", "pid": 123, "cases": {"hello": "/hello",
"row": "/api/v1/products/...", "list": "...", "create": ["/api/v1/products", {"name": ...}],
"html": "..."}}
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from load import PYTHON, WRK, Client, fastest_program
from sides import (
    COMMANDS,
    Run,
    Side,
    from_file,
    hello_only,
    in_turns,
    measured,
    median_of,
    median_ratio,
    peer,
)
from usage import rss_mib

CASES = ("hello", "row", "list", "create", "html")
CLIENTS = "wrk:16,wrk:64,python:16"
WITH_EVERY_CLIENT = ("granian", "litestar")
GOALS = {
    "flask": (8.0, 3.0, 1.8, 1.8, 2.2),
    "django": (8.0, 4.5, 4.0, 3.0, 6.0),
    "fastapi": (3.0, 1.8, 1.3, 1.4, 1.6),
    "litestar": (1.5, 1.8, 1.4, 1.2, 1.5),
    "granian": (1.0, 1.15, 1.15, 1.15, 1.5),
}
"""Peer → how many times as fast forge_min must be, in the order of CASES."""
GOALS |= {name: GOALS[name.partition("-")[0]] for name in COMMANDS}
P99_GOAL = 1.25  # of granian's
CPU_GOALS = {"hello": 20 / 23, "row": 95 / 124}  # of granian's CPU time per request
MEMORY_GOAL = 50.0  # MiB after all cases
COLUMNS = (
    "req/s", "p50 ms", "p99 ms", "CPU µs", "volunt.", "involunt.", "ratio", "goal", "p99 ratio",
    "CPU ratio",
)  # fmt: skip


def summary(runs: list[Run]) -> dict[str, float]:
    """Return the medians over the runs, and the sum of the failures."""
    return {
        "per_second": round(median_of(runs, lambda run: run.figures.per_second)),
        "p50_ms": round(median_of(runs, lambda run: run.figures.p50), 3),
        "p99_ms": round(median_of(runs, lambda run: run.figures.p99), 3),
        "cpu_us": round(median_of(runs, lambda run: run.cpu_us), 1),
        "voluntary": round(median_of(runs, lambda run: run.voluntary), 3),
        "involuntary": round(median_of(runs, lambda run: run.involuntary), 3),
        "failed": sum(run.figures.failed for run in runs),
    }


def ratios(case: str, name: str, ours: list[Run], theirs: list[Run]) -> dict[str, float]:
    """Return the ratios of forge_min to a peer, and their goals."""
    result = {
        "ratio": round(median_ratio(ours, theirs, lambda run: run.figures.per_second), 2),
        "goal": GOALS[name][CASES.index(case)],
        "p99_ratio": round(median_ratio(ours, theirs, lambda run: run.figures.p99), 2),
        "cpu_ratio": round(median_ratio(ours, theirs, lambda run: run.cpu_us), 2),
    }
    if name == "granian":
        result["p99_goal"] = P99_GOAL
        if case in CPU_GOALS:
            result["cpu_goal"] = round(CPU_GOALS[case], 2)
    return result


def compare(
    case: str, sides: list[Side], client: Client, runs: int, seconds: float
) -> dict[str, dict[str, float]]:
    """Measure one case of all sides in turns; the first side is forge_min."""
    for side in sides:
        measured(side, case, client, 1)  # warm
    measurements = {side.name: partial(measured, side, case, client, seconds) for side in sides}
    results = in_turns(f"{client}, {case}", measurements, runs)
    rows = {name: summary(done) for name, done in results.items()}
    ours = sides[0].name
    for side in sides[1:]:
        rows[side.name] |= ratios(case, side.name, results[ours], results[side.name])
    return rows


def missed(row: dict[str, float]) -> list[str]:
    """Return the goals that a row does not meet."""
    found = []
    if row.get("ratio", 0) < row.get("goal", 0):
        found.append("below")
    if row.get("p99_ratio", 0) > row.get("p99_goal", float("inf")):
        found.append(f"p99 above {row['p99_goal']:.2f}x")
    if row.get("cpu_ratio", 0) > row.get("cpu_goal", float("inf")):
        found.append(f"CPU above {row['cpu_goal']:.2f}x")
    return found + [f"{row['failed']} failed"] * bool(row["failed"])


def show(case: str, table: dict[str, dict[str, float]]) -> None:
    """Print one case: forge_min, and below it each peer with the ratios and what they must be."""
    for name, row in table.items():
        line = f"{case:8}{name:17}{row['per_second']:10.0f}{row['p50_ms']:10.2f}"
        line += f"{row['p99_ms']:10.2f}{row['cpu_us']:10.1f}"
        line += f"{row['voluntary']:10.2f}{row['involuntary']:10.2f}"
        if "ratio" in row:
            line += f"{row['ratio']:9.2f}x{row['goal']:9.2f}x"
            line += f"{row['p99_ratio']:9.2f}x{row['cpu_ratio']:9.2f}x"
        print("  ".join([line, *missed(row)]), flush=True)


def memory(sides: list[Side]) -> dict[str, float]:
    """Print and return the resident memory of each side, in MiB."""
    sizes = {side.name: round(rss_mib(side.pid), 1) for side in sides}
    print("\nresident after all cases")
    for number, (name, size) in enumerate(sizes.items()):
        goal = f" (goal {MEMORY_GOAL:g}){'  above' * (size > MEMORY_GOAL)}" if not number else ""
        print(f"{name:25}{size:10.1f} MiB{goal}")
    return sizes


def available(clients: str) -> list[Client]:
    """Return the clients of a list like CLIENTS; those of wrk only if it is installed."""
    chosen = [Client.parse(text) for text in clients.split(",")]
    if any(client.program == WRK for client in chosen) and fastest_program() == PYTHON:
        chosen = [client for client in chosen if client.program == PYTHON]
    return chosen


def tables(sides: list[Side], options: argparse.Namespace) -> dict[str, Any]:
    """Measure and print every case that all sides have, with every client."""
    found: dict[str, Any] = {}
    for number, client in enumerate(options.clients):
        near = [side for side in sides[1:] if not number or side.name in WITH_EVERY_CLIENT]
        print(f"\n{str(client):25}" + "".join(f"{name:>10}" for name in COLUMNS), flush=True)
        for case in CASES:
            if all(case in side.cases for side in sides):
                rows = compare(case, [sides[0], *near], client, options.runs, options.seconds)
                show(case, rows)
                found.setdefault(str(client), {})[case] = rows
    return found


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--forge", type=Path, help="JSON file that describes a running application")
    parser.add_argument(
        "--database", default="", help="URL of a database with schema.sql, for the peers"
    )
    parser.add_argument("--peers", default=",".join(GOALS), help="peers, default: %(default)s")
    parser.add_argument("--clients", default=CLIENTS, help="clients, default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2, help="of one measurement")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    try:
        options.clients = available(options.clients)
    except ValueError as err:
        parser.error(f"--clients: {err}")
    return options


def main() -> None:
    """Run, print, and write JSON if --json is given."""
    options = arguments()
    with ExitStack() as stack:
        ours = from_file(options.forge) if options.forge else hello_only(stack)
        peers = [peer(stack, name, options.database) for name in options.peers.split(",")]
        found = {"cases": tables([ours, *peers], options), "memory_mib": memory([ours, *peers])}
    print(
        "\nvolunt., involunt.: context switches per request. "
        f"Goals beside granian: p99 <= {P99_GOAL:g}x, CPU <= "
        + ", ".join(f"{goal:.2f}x ({case})" for case, goal in CPU_GOALS.items())
    )
    if options.json:
        text = json.dumps(found | {"memory_goal_mib": MEMORY_GOAL}, indent=1)
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
