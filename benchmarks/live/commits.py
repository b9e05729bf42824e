"""What an event costs its commit, and how long it takes from there to a browser.

    python benchmarks/live/commits.py [--json FILE] [--runs 5] [--seconds 3]

Throughput: pgbench with 16 clients runs one INSERT ... RETURNING, then the same in one statement
with its event, as actions write it; a hub reads the log meanwhile and is nudged every 2 ms. The
clients cost next to nothing, so the ratio is the database's own. Latency: ours.py with 1,000
streams, 20 commits a second, from before the commit to the frame in the client, which has a
processor of its own. On one embedded
PostgreSQL with its usual durability; medians, the two statements interleaved.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forge_min import db, notify, sse
from forge_min.db import EmbeddedServer
from forge_min.db.embedded.binaries import find

import bench

CLIENTS = 16
TABLE = """
create table items (id bigint generated always as identity primary key, name text not null,
  price int not null, version bigint not null default 1, created_at timestamptz default now())
"""
INSERT = "insert into items (name, price) values ('Thing one', 12) returning *"
EVENT = notify.event_fragment("row", "items", "item.created")
STATEMENTS = {
    "without": INSERT + ";",
    "with": f"with row as ({INSERT}), event as ({EVENT}) select * from row;",
}
GOALS = {"throughput": 0.8, "p50_ms": 5.0, "p99_ms": 25.0}


def main() -> None:
    """Measure, and print each figure with its goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="forge-live-") as name:
        folder = Path(name)
        settings = {"max_connections": "100"}
        with EmbeddedServer(folder / "pg", app_role="bench_app", settings=settings) as server:
            with db.connect(server.owner_url) as conn:
                conn.execute(TABLE)
                db.migrate(conn, db.FORGE_MIGRATIONS)
                db.ensure_app_role(conn, "bench_app", password=None)
            for sync in ("on", "off"):
                with db.connect(server.admin_url) as conn:
                    conn.execute(f"alter system set synchronous_commit = {sync}")
                    conn.execute("select pg_reload_conf()")
                found |= throughput(server, folder, given, sync)
            with db.connect(server.admin_url) as conn:
                conn.execute("alter system reset synchronous_commit")
                conn.execute("select pg_reload_conf()")
            found |= latency(server, folder, given.runs)
    if given.json:
        given.json.write_text(json.dumps(found))


def throughput(
    server: EmbeddedServer, folder: Path, given: argparse.Namespace, sync: str
) -> dict[str, float]:
    """Statements per second of both, and their ratio, run by run."""
    rates: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    with listening(server):
        for _ in range(given.runs):
            for name, text in STATEMENTS.items():
                script = folder / f"{name}.sql"
                script.write_text(text)
                rates[name].append(pgbench(server, script, given.seconds))
    ratio = statistics.median(w / wo for w, wo in zip(rates["with"], rates["without"], strict=True))
    without, with_ = (statistics.median(rates[name]) for name in ("without", "with"))
    print(
        f"sync commit {sync}, {CLIENTS} clients: {without:.0f} commits/s without an event,"
        f" {with_:.0f} with: {ratio:.2f}x (goal >= {GOALS['throughput']})"
    )
    return {f"without, sync {sync}": without, f"with, sync {sync}": with_, f"ratio, {sync}": ratio}


def pgbench(server: EmbeddedServer, script: Path, seconds: int) -> float:
    command = [str(find().folder / "pgbench"), "-n", "-M", "prepared", "-f", str(script)]
    command += ["-c", str(CLIENTS), "-j", "1", "-T", str(seconds), server.app_url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"tps = ([0-9.]+) \(without", done.stdout)
    assert found, done.stdout
    return float(found[1])


@contextmanager
def listening(server: EmbeddedServer) -> Iterator[None]:
    """A hub with a subscriber, nudged as by processes that always have something to nudge for."""
    hub = notify.PostgresHub(
        lambda: db.connect(server.app_url),
        lambda events: lambda event, format: sse.encode_json(event),
    )
    nudger = notify.Nudger(lambda: db.connect(server.app_url))
    hub.start()
    nudger.start()
    hub.subscribe(notify.TopicKey(None, "items", "json"))
    stop = threading.Event()

    def nudge() -> None:
        while not stop.wait(0.002):
            nudger.nudge("e")

    thread = threading.Thread(target=nudge)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        nudger.stop()
        hub.stop()


def latency(server: EmbeddedServer, folder: Path, runs: int) -> dict[str, float]:
    """p50 and p99 in milliseconds, medians of the runs."""
    client, servers = bench.built(folder)
    rows = [
        bench.measure(client, servers["ours"], "ours", *bench.APART, server.app_url, apart=True)
        for _ in range(runs)
    ]
    found = {name: statistics.median(row[name] for row in rows) for name in ("p50_ms", "p99_ms")}
    lost = sum(row["expected"] - row["deliveries"] for row in rows)
    shown = ", ".join(
        f"{name} {value:.2f} (goal <= {GOALS[name]:g})" for name, value in found.items()
    )
    print(f"event after commit, 1,000 streams, 20 commits/s: {shown}; lost {lost}")
    print(f"of which the commit itself takes {commit_ms(server):.2f} ms")
    return found


def commit_ms(server: EmbeddedServer) -> float:
    """What one event's commit takes by itself, at the same pace; the median of a hundred."""
    took = []
    with db.connect(server.app_url) as conn:
        for number in range(100):
            time.sleep(0.05)
            clock = time.monotonic()
            notify.publish_tx(conn, notify.Event("products", "product.updated", str(number)))
            took.append(time.monotonic() - clock)
    return statistics.median(took) * 1e3


if __name__ == "__main__":
    sys.exit(main())
