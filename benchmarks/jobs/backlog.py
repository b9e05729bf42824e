"""A million waiting jobs beside ten thousand: jobs a second until all are written down; then beside
a session that holds an old snapshot, and with a job whose transaction stays open meanwhile.

    python benchmarks/jobs/backlog.py [--json FILE] [--runs 3] [--jobs 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
from common import left
from forge_min import db, jobs
from forge_min.db import EmbeddedServer

HERE = Path(__file__).resolve().parent
SMALL = 10_000
GOAL = 0.7
LATE = "select count(*) from forge_job where 'late' = any(tags) and state <> 'completed'"


def main() -> int:
    """0 when every job was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    given = parser.parse_args()
    found: dict[str, list[float]] = {"small": [], "large": [], "large, old snapshot": []}
    late = True
    with tempfile.TemporaryDirectory(prefix="forge-backlog-") as folder:
        with EmbeddedServer(Path(folder) / "postgres") as server:
            with db.connect(server.owner_url) as conn:
                for _ in db.migrate(conn, db.FORGE_MIGRATIONS):
                    pass
            for _ in range(given.runs):
                found["small"].append(drain(server.owner_url, SMALL))
                found["large"].append(drain(server.owner_url, given.jobs))
                rate, seen = beside_a_snapshot(server.owner_url, given.jobs)
                found["large, old snapshot"].append(rate)
                late = late and seen
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    for name, rate in medians.items():
        print(f"{name:20}  {rate:.0f} jobs/s  {rate / medians['small']:.2f}x (goal >= {GOAL:g})")
    print("the job of the transaction that stayed open was", "found" if late else "LOST")
    if given.json:
        given.json.write_text(json.dumps(medians, indent=1))
    return 0 if late else 1


def drain(url: str, count: int) -> float:
    """Jobs a second of a worker in a process of its own."""
    with db.connect(url) as conn:
        conn.execute("truncate forge_job, forge_worker, forge_leader")
        jobs.insert_many_tx(conn, (jobs.NewJob("noop", {"k": -1}) for _ in range(count)))
        conn.execute("vacuum analyze forge_job")
    command = [sys.executable, str(HERE / "ours.py"), url, "drain", "1", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, env=os.environ)
    if not done.stdout:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1])["drain_per_second"])


def beside_a_snapshot(url: str, count: int) -> tuple[float, bool]:
    """The same while a snapshot from before is held; and whether a job was found that a transaction
    from before inserted and committed after it all.
    """
    with (
        psycopg.connect(url) as old,
        psycopg.connect(url) as slow,
        psycopg.connect(url, autocommit=True) as conn,
    ):
        old.execute("set transaction isolation level repeatable read")
        old.execute("select count(*) from forge_worker")
        conn.execute("delete from forge_worker")  # `old` keeps anybody from truncating it
        conn.execute("delete from forge_job")
        jobs.insert_tx(slow, "noop", {"k": -1}, tags=["late"])
        with db.connect(url) as own:
            jobs.insert_many_tx(own, (jobs.NewJob("noop", {"k": -1}) for _ in range(count)))
        command = [sys.executable, str(HERE / "ours.py"), url, "drain", "1", str(count)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE)
        assert worker.stdout is not None
        rate = float(json.loads(worker.stdout.readlines()[-1])["drain_per_second"])
        worker.wait()
        # A second worker finds what is committed only now, a minute after its insert or more.
        slow.commit()
        command[-1] = "1"
        subprocess.run(command, capture_output=True, cwd=HERE, timeout=60)
        return rate, left(url, LATE) == 0


if __name__ == "__main__":
    sys.exit(main())
