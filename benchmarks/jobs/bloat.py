"""Sizes of the event log and of the jobs while both are written, read and deleted for a long time.

    python benchmarks/jobs/bloat.py [--json FILE] [--rate 5000] [--minutes 30] [--retention 120]

One process inserts `rate` jobs a second, each with an event; `--workers` processes run them; a hub
reads the events. Both delete what is older than `retention` seconds, by the rules of the product,
and autovacuum has the settings of its migrations. Every 30 s a line shows the sizes, the dead rows
and the latency: `pickup` from the insert of a job to its run, `fetch` of the statement that finds
waiting jobs, with its buffers. The last lines compare the second half of the time after the
retention with the first: sizes have stopped growing if they differ by at most a tenth.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from forge_min import db, jobs, notify, sse
from forge_min.db import EmbeddedServer
from ours import Site

SAMPLE = 30.0  # seconds
BATCHES = 10  # inserts per second
GROWTH = 1.1
WRITE = f"""
with written as (
  select n::text as id, 1::bigint as version from generate_series(1, %(count)s::integer) n
)
{notify.event_fragment("written", "flights", "flight.updated")}
"""
SIZES = """
select c.relname, pg_total_relation_size(c.oid) / 1e6, pg_table_size(c.oid) / 1e6, n_live_tup,
  n_dead_tup, n_tup_del, autovacuum_count
from pg_class c join pg_stat_user_tables s on s.relid = c.oid
where c.relname in ('forge_event', 'forge_job') order by 1
"""
PICKUP = """
select count(*), coalesce(percentile_cont(array[0.5, 0.99]) within group (
  order by extract(epoch from attempted_at - created_at) * 1000), '{0,0}')
from forge_job
where state = 'completed' and coalesce(finalized_at, scheduled_at) > now() - interval '5 seconds'
"""
# As the statement `pick`; it locks nothing, so that it does not disturb the workers.
FETCH = """
explain (analyze, buffers, format json)
select id from forge_job
where state = 'available' and queue = 'default' and kind = any('{noop}')
order by priority, scheduled_at, id limit 20
"""
STATES = """
select count(*) filter (where state = 'available'), count(*) filter (where state = 'completed')
from forge_job
"""


def main() -> int:
    """Run, print the samples and return 0 if the sizes have stopped growing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--retention", type=float, default=120.0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forge-bloat-") as folder:
        with EmbeddedServer(Path(folder, "pg"), app_role="bench_app") as server:
            with db.connect(server.owner_url) as conn:
                db.migrate(conn, db.FORGE_MIGRATIONS)
                db.ensure_app_role(conn, "bench_app", password=None)
            samples = run(server, given)
    if given.json:
        given.json.write_text(json.dumps(samples, indent=1))
    return report(samples, given.retention)


def run(server: EmbeddedServer, given: argparse.Namespace) -> list[dict[str, float]]:
    """Return a sample for each 30 s."""
    context = multiprocessing.get_context("spawn")
    stop, inserted = context.Event(), context.Value("q", 0)
    processes = [
        context.Process(target=insert, args=(server.app_url, given.rate, stop, inserted)),
        context.Process(target=read, args=(server.app_url, given.retention, stop)),
        *(
            context.Process(target=work, args=(server.app_url, given.retention, stop))
            for _ in range(given.workers)
        ),
    ]
    for process in processes:
        process.start()
    samples: list[dict[str, float]] = []
    began, before = time.monotonic(), 0
    try:
        with db.connect(server.owner_url) as conn:
            conn.execute("set enable_seqscan = off")  # as the connections of workers
            for number in range(1, round(given.minutes * 60 / SAMPLE) + 1):
                time.sleep(max(0.0, began + number * SAMPLE - time.monotonic()))
                count = inserted.value
                rate = (count - before) / SAMPLE
                samples.append({"seconds": number * SAMPLE, "per_s": rate, **sample(conn)})
                before = count
                print(*(f"{n} {value:.6g}" for n, value in samples[-1].items()), flush=True)
    finally:
        stop.set()
        for process in processes:
            process.join(30)
    return samples


def sample(conn: db.Connection) -> dict[str, float]:
    """Return the figures of now: sizes in MB, latencies in ms."""
    found: dict[str, float] = {}
    ((found["fetch_ms"], found["fetch_buffers"]),) = [fetch(conn)]
    ((_, (found["pickup_p50"], found["pickup_p99"])),) = conn.execute(PICKUP).fetchall()
    ((found["waiting"], found["ended"]),) = conn.execute(STATES).fetchall()
    for table, total, heap, live, dead, deleted, vacuums in conn.execute(SIZES).fetchall():
        name = table.removeprefix("forge_")
        found |= {f"{name}_mb": float(total), f"{name}_heap_mb": float(heap)}
        found |= {f"{name}_live": live, f"{name}_dead": dead, f"{name}_deleted": deleted}
        found |= {f"{name}_vacuums": vacuums}
    return found


def fetch(conn: db.Connection) -> tuple[float, int]:
    """Return the milliseconds and the buffers of one fetch."""
    ((plans,),) = conn.execute(FETCH).fetchall()
    plan = plans[0]["Plan"]
    return plans[0]["Execution Time"], plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def insert(url: str, rate: int, stop: Event, inserted: Any) -> None:
    """Insert jobs and events, as many in each second as `rate`, or as many as possible."""
    site = Site(url)
    conn, count = site.database.connection(), rate // BATCHES
    due = time.monotonic()
    while not stop.is_set():
        with db.transaction(conn):
            db.run(conn, WRITE, {"count": count})
            jobs.insert_many_tx(conn, [jobs.NewJob("noop", {"k": -1})] * count)
        inserted.value += count
        due = max(due + 1 / BATCHES, time.monotonic() - 1)  # catch up for at most a second
        time.sleep(max(0.0, due - time.monotonic()))


def work(url: str, retention: float, stop: Event) -> None:
    """Run jobs and delete ended ones."""
    kept = jobs.Retention(completed=retention, discarded=retention)
    with Site(url).working(1, retention=kept):
        stop.wait()


def read(url: str, retention: float, stop: Event) -> None:
    """Read events for a client and delete old ones."""
    hub = notify.PostgresHub(
        lambda: db.connect(url),
        lambda events: lambda event, format: sse.encode_json(event),
        retention=retention,
        ring=4096,
    )
    hub.start()
    hub.subscribe(notify.TopicKey(None, "flights", "json"))
    stop.wait()
    hub.stop()


def report(samples: list[dict[str, float]], retention: float) -> int:
    """Compare the halves of the time in which rows are deleted; return 0 without growth."""
    # Jobs are deleted every 30 s, events by eighths of the retention.
    steady = [s for s in samples if s["seconds"] > retention * 9 / 8 + SAMPLE]
    if len(steady) < 10:  # autovacuum runs once a minute
        print(f"growth: unknown, {len(steady)} samples after the retention of {retention:g} s")
        return 0
    half, grows = len(steady) // 2, False
    for name in ("event_mb", "job_mb"):
        first, second = (max(s[name] for s in part) for part in (steady[:half], steady[half:]))
        stopped = second <= first * GROWTH
        grows = grows or not stopped
        verdict = "has stopped growing" if stopped else "GROWS"
        print(f"{name}: at most {first:.0f}, then {second:.0f}: {verdict}")
    return int(grows)


if __name__ == "__main__":
    sys.exit(main())
