"""What metrics cost: microseconds of a request, milliseconds of a scrape, on both twins.

    python benchmarks/observe/metrics.py [--json FILE]

The peer in the same run is prometheus_client: its histogram and gauge for the same request, its
`generate_latest` for the same series. request: what the application does for each request, in
flight and duration; statement: what a connection does after each statement; sampled: a request
whose span is an exemplar. 180 and 10,000 series: one scrape as text 0.0.4 and as OpenMetrics, and
of four processes aggregated, from their pickled snapshots on. Medians of seven rounds, contenders
interleaved, the least of each round's three. Goals, compiled: a request at most 1 µs, 180 series
at most 2 ms, 10,000 at most 60 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import prometheus_client as peer
from forge_min.app.telemetry import Metrics
from forge_min.fanout import Counter
from forge_min.observe import (
    MetricRegistry,
    aggregate,
    render_metrics,
    snapshot,
    span,
)
from prometheus_client.openmetrics.exposition import generate_latest as peer_openmetrics

ROUNDS, REPEATS = 7, 3
SAMPLED = f"00-{'a' * 32}-{'b' * 16}-01"
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PER_HISTOGRAM = len(BOUNDS) + 3
GOALS = {"request": 1.0, "180": 2.0, "10000": 60.0}
LABELS = ("method", "route", "status")
PROCESSES = 4

Contenders = dict[str, dict[str, tuple[Callable[[], object], int, float]]]
"""measure → who → (call, how often in a round, units in a second)."""


def requests() -> Contenders:
    """Calls that do what one request does, in microseconds."""
    metrics, begun, ended = Metrics(MetricRegistry(), {}), Counter(), Counter()
    began, done, over = begun.inc, metrics.request_done, ended.inc

    def ours() -> None:
        began()
        done("GET", "/api/v1/products/{id}", 200, 0.003)
        over()

    def sampled() -> None:
        with span("GET", parent=SAMPLED):
            ours()

    def bare() -> None:
        with span("GET", parent=SAMPLED):
            pass

    registry = peer.CollectorRegistry()
    times = peer.Histogram("h", "", LABELS, registry=registry, buckets=BOUNDS)
    gauge = peer.Gauge("g", "", registry=registry)

    def theirs() -> None:
        gauge.inc()
        times.labels("GET", "/api/v1/products/{id}", "200").observe(0.003)
        gauge.dec()

    statements = peer.Histogram("q", "", ("operation",), registry=registry, buckets=BOUNDS)
    micro = 1e6
    return {
        "request": {"ours": (ours, 20_000, micro), "prometheus_client": (theirs, 20_000, micro)},
        "statement": {
            "ours": (lambda: metrics.query_done("select", 0.003), 20_000, micro),
            "prometheus_client": (
                lambda: statements.labels("select").observe(0.003), 20_000, micro,
            ),
        },
        "sampled": {"ours": (sampled, 5_000, micro), "the span alone": (bare, 5_000, micro)},
    }  # fmt: skip


def scrapes(series: int) -> Contenders:
    """Calls that render about so many series, in milliseconds; half of them are histograms'."""
    ours, theirs = MetricRegistry(), peer.CollectorRegistry()
    times = ours.histogram("forge_http_request_duration_seconds", "Takes.", LABELS, BOUNDS)
    counts = ours.counter("forge_jobs_inserted_total", "Counted.", LABELS)
    their_times = peer.Histogram(
        "http_request_duration_seconds", "Takes.", LABELS, registry=theirs, buckets=BOUNDS
    )
    their_counts = peer.Counter("jobs_inserted", "Counted.", LABELS, registry=theirs)
    for n in range(series // 2 // PER_HISTOGRAM):
        values = ("GET", f"/api/v1/resources-{n}/{{id}}", "200")
        for seconds in (0.001, 0.003, 0.2):
            times.observe(values, seconds)
            their_times.labels(*values).observe(seconds)
    for n in range(min(series - series // 2, 1000)):
        counts.count(("POST", f"/api/v1/resources-{n}", "201"))
        their_counts.labels("POST", f"/api/v1/resources-{n}", "201").inc()
    for m in range((series - series // 2) // 1000 - 1):
        more = ours.counter(f"forge_more_{m}_total", "Counted.", LABELS)
        their_more = peer.Gauge(f"more_{m}", "Stands.", LABELS, registry=theirs)
        for n in range(1000):
            more.count(("POST", f"/api/v1/resources-{n}", "201"), 1.5 * n)
            their_more.labels("POST", f"/api/v1/resources-{n}", "201").set(1.5 * n)
    taken = [pickle.dumps(snapshot(ours)) for _ in range(PROCESSES)]
    turns, milli = max(1, 20_000 // series), 1e3
    # The peer's _created series are not ours: without them both write the same.
    peer.disable_created_metrics()
    return {
        f"{series} text": {
            "ours": (lambda: render_metrics(ours), turns, milli),
            "prometheus_client": (lambda: peer.generate_latest(theirs), turns, milli),
        },
        f"{series} openmetrics": {
            "ours": (lambda: render_metrics(ours, openmetrics=True), turns, milli),
            "prometheus_client": (lambda: peer_openmetrics(theirs), turns, milli),
        },
        f"{series} of {PROCESSES} processes": {
            "ours": (
                lambda: render_metrics(aggregate([pickle.loads(t) for t in taken])), turns, milli,
            ),
        },
    }  # fmt: skip


def lines(contenders: Contenders) -> dict[str, dict[str, int]]:
    """How many series each scrape has."""
    found: dict[str, dict[str, int]] = {}
    for measure, of in contenders.items():
        for who, (call, _, _) in of.items():
            body = call()
            if isinstance(body, bytes):
                count = sum(not line.startswith(b"#") for line in body.splitlines())
                found.setdefault(measure, {})[who] = count
    return found


def measure() -> dict[str, dict[str, float]]:
    """measure → who → median."""
    contenders = requests() | scrapes(180) | scrapes(10_000)
    for name, of in lines(contenders).items():
        wanted = int(name.split()[0])
        assert all(0.9 * wanted <= n <= 1.1 * wanted for n in of.values()), (name, of)
    rounds: dict[str, dict[str, list[float]]] = {}
    for _ in range(ROUNDS):
        for name, of in contenders.items():
            for who, (call, turns, unit) in of.items():
                least = min(timeit.repeat(call, number=turns, repeat=REPEATS)) / turns * unit
                rounds.setdefault(name, {}).setdefault(who, []).append(least)
    return {
        name: {who: round(statistics.median(all_), 3) for who, all_ in of.items()}
        for name, of in rounds.items()
    }


def of_twin(twin: str) -> dict[str, dict[str, float]] | None:
    """The figures of one twin, in a process of its own; None where it is not there."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure"],
        env=os.environ | {"FORGE_IMPL": twin},
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def table(result: dict[str, dict[str, dict[str, float]]]) -> str:
    rows = [f"{'measure':24} {'twin':7} {'ours':>10} {'peer':>12} {'of the peer':>12}  peer"]
    for twin, of in result.items():
        for name, figures in of.items():
            unit = "ms" if name[0].isdigit() else "us"
            peers = [(who, value) for who, value in figures.items() if who != "ours"]
            who, value = peers[0] if peers else ("", 0.0)
            right = f"{value:>9.2f} {unit} {figures['ours'] / value:>11.2f}x  {who}" if who else ""
            rows.append(f"{name:24} {twin:7} {figures['ours']:>7.2f} {unit} {right}")
    for name, figures in result.get("c", {}).items():
        goal = GOALS.get(name.split()[0])
        if goal is not None and "processes" not in name:
            verdict = "met" if figures["ours"] <= goal else "MISSED"
            rows.append(f"goal: c, {name}, at most {goal:g}: {verdict}")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="a file for the figures as well")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure()))
        return 0
    result = {twin: of for twin in ("c", "python") if (of := of_twin(twin)) is not None}
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps({"units": "us, ms", "metrics": result}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
