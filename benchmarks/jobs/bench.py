"""Jobs beside the Python peers, each a process of its own on one server: inserting, draining,
picking up.

    python benchmarks/jobs/bench.py [--json FILE] [--runs 3] [--only NAME,...]

one: inserts, one a transaction. bulk: 10,000 at once. drain: 10,000 jobs that do nothing, until the
last is written down, with each one's usual settings. deep: with many fetched ahead. pickup:
from the commit to the handler's first line, while nothing else is to be done. Medians, peers
interleaved, synchronous_commit off and on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from forge_min import db
from forge_min.db import EmbeddedServer

HERE = Path(__file__).resolve().parent
PEERS_PYTHON = HERE.parents[1] / ".venv-peers" / "bin" / "python"
PEERS = ("procrastinate", "pgqueuer", "chancy", "oban")
DEEP = {"ours": ["50"], "pgqueuer": ["500"]}
# figure → how our median compares with the best peer's
GOALS = {
    "one_per_second, sync off": (">=", 1.5),
    "bulk_per_second, sync off": (">=", 3.0),
    "bulk_per_second, sync on": (">=", 3.0),
    "drain_per_second, sync on": (">=", 1.0),
    "deep_per_second, sync on": (">=", 1.8),
    "pickup_p50_ms, sync on": ("<=", 0.7),
    "pickup_p99_ms, sync on": ("<=", 1.0),
}
INSERTS = 3  # of each run
MEMORY = 60  # MiB of a worker process, at most

Figures = dict[str, dict[str, list[float]]]


def main() -> int:
    """0 when all ran; the ratios are judged by whoever reads them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(("ours", *PEERS)))
    given = parser.parse_args()
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="forge-jobs-") as folder:
        with EmbeddedServer(Path(folder) / "postgres") as server:
            sides = [Side(server, name) for name in given.only.split(",")]
            for _ in range(given.runs):
                for sync in ("off", "on"):
                    with db.connect(server.admin_url) as conn:
                        conn.execute(f"alter system set synchronous_commit = {sync}")
                        conn.execute("select pg_reload_conf()")
                    # A bulk takes as long as a hiccup of the machine: several, close together.
                    rounds = [Side.insert] * INSERTS + [Side.run]
                    for figures, side in ((case(side), side) for case in rounds for side in sides):
                        for figure, value in figures.items():
                            key = f"{figure}, sync {sync}"
                            found.setdefault(key, {}).setdefault(side.name, []).append(value)
    medians = {
        figure: {name: statistics.median(values) for name, values in by_name.items()}
        for figure, by_name in sorted(found.items())
    }
    report(medians)
    if given.json:
        given.json.write_text(json.dumps(medians, indent=1))
    return 0


class Side:
    """Ours or a peer, with a database of its own."""

    def __init__(self, server: EmbeddedServer, name: str) -> None:
        self.name = name
        with db.connect(server.admin_url) as conn:
            conn.execute(f"create database bench_{name}")
        self.url = server.admin_url.rpartition("/")[0] + f"/bench_{name}"
        if name == "ours":
            self.command = [sys.executable, str(HERE / "ours.py"), self.url]
            with db.connect(self.url) as conn:
                for _ in db.migrate(conn, db.FORGE_MIGRATIONS):
                    pass
        else:
            self.command = [str(PEERS_PYTHON), str(HERE / "peers.py"), name, self.url]
            self.ask("setup")

    def insert(self) -> dict[str, float]:
        """The cases of inserting once."""
        found = {}
        for verb in ("one", "bulk"):
            self.clear()
            found |= self.ask(verb)
        return found

    def run(self) -> dict[str, float]:
        """The cases of working once."""
        self.clear()
        self.ask("bulk")
        found = self.ask("drain")
        if self.name in DEEP:
            self.clear()
            self.ask("bulk")
            found["deep_per_second"] = self.ask("drain", *DEEP[self.name])["drain_per_second"]
        self.clear()
        return found | self.pickup()

    def clear(self) -> None:
        """Without jobs again, and vacuumed."""
        if self.name == "ours":
            with db.connect(self.url) as conn:
                conn.execute("truncate forge_job, forge_worker, forge_leader")
        else:
            self.ask("clear")
        with db.connect(self.url) as conn:
            conn.execute("vacuum analyze")

    def ask(self, *verb: str) -> dict[str, Any]:
        """The figures of one verb, in a process of its own."""
        done = subprocess.run(
            [*self.command, *verb], capture_output=True, text=True, timeout=180, cwd=HERE
        )
        if not done.stdout:
            raise SystemExit(f"{self.name} {verb}: {done.stderr}")
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures

    def pickup(self) -> dict[str, float]:
        """One process works, another inserts."""
        worker = subprocess.Popen(
            [*self.command, "pickup"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, cwd=HERE,
        )  # fmt: skip
        assert worker.stdout is not None and worker.stdin is not None
        worker.stdout.readline()
        committed = self.ask("insert")["committed"]
        worker.stdin.write("\n")
        worker.stdin.flush()
        seen = json.loads(worker.stdout.read().splitlines()[-1])["seen"]
        worker.wait(30)
        times = sorted(1000 * (seen[key] - at) for key, at in committed.items() if key in seen)
        return {
            "pickup_p50_ms": times[len(times) // 2],
            "pickup_p99_ms": times[int(len(times) * 0.99)],
            "pickup_lost": len(committed) - len(times),
        }


def report(medians: dict[str, dict[str, float]]) -> None:
    """A table, and our figure beside the best peer's."""
    for figure, by_name in medians.items():
        print(f"{figure:28}", *(f"{name} {value:.6g}" for name, value in by_name.items()), sep="  ")
    for figure, (sign, goal) in GOALS.items():
        by_name = dict(medians.get(figure, {}))
        ours = by_name.pop("ours", None)
        if ours is not None and by_name:
            best = (max if sign == ">=" else min)(by_name.values())
            print(f"{figure}: {ours / best:.2f}x of the best peer (goal {sign} {goal:g})")
    memory = medians.get("rss_mib, sync on", {}).get("ours")
    if memory:
        print(f"a worker process: {memory:.0f} MiB (goal <= {MEMORY})")


if __name__ == "__main__":
    sys.exit(main())
