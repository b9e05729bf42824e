"""What the event log costs over time: its size on disk while 1,000 events a second come and go.

    python benchmarks/live/retention.py [--json FILE] [--minutes 60] [--rate 1000] [--retention 300]

Four connections of the app's role commit the events one by one, PostgresHub (same role) reads them
and deletes what is old, and beside them a transaction holds a snapshot for `--hold` seconds, then
lets go for as long. A line a minute; the last ones say what a row costs beside a table that was
just rewritten. In steady state the log holds between one and 1 1/8 times rate x retention rows,
and while a snapshot is held, what died under it besides.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from forge_min import db, notify, sse
from forge_min.db import EmbeddedServer
from forge_min.fanout import StreamWriter
from forge_min.notify import Event

WRITERS = 4
SIZE = """
select (select count(*) from forge_event), pg_table_size('forge_event'),
  pg_indexes_size('forge_event'), (select n_dead_tup from pg_stat_user_tables
  where relname = 'forge_event'),
  (select vacuum_count + autovacuum_count from pg_stat_user_tables where relname = 'forge_event')
"""


def main() -> None:
    """Write, read, delete and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--retention", type=float, default=300.0)
    parser.add_argument("--hold", type=float, default=120.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        with EmbeddedServer(Path(folder, "pg"), app_role="bench_app") as server:
            with db.connect(server.owner_url) as conn:
                db.migrate(conn, db.FORGE_MIGRATIONS)
                db.ensure_app_role(conn, "bench_app", password=None)
            rows = run(server, given)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


def run(server: EmbeddedServer, given: argparse.Namespace) -> list[dict[str, float]]:
    """One line a minute."""
    stop, took, rows = threading.Event(), [list[float]() for _ in range(WRITERS)], []
    hub = notify.PostgresHub(
        lambda: db.connect(server.app_url),
        lambda events: lambda event, format: sse.encode_json(event),
        retention=given.retention,
        ring=4096,
    )
    hub.start()
    subscription = hub.subscribe(notify.TopicKey(None, "flights", "json")).subscription
    writer, (served, client) = StreamWriter(), socket.socketpair()
    writer.start()
    writer.adopt(served.detach(), [subscription])
    heard = [0, 0]
    threads = [
        threading.Thread(target=write, args=(server, given.rate / WRITERS, took[n], stop))
        for n in range(WRITERS)
    ]
    threads.append(threading.Thread(target=hold, args=(server, given.hold, stop)))
    threads.append(threading.Thread(target=read, args=(client, heard)))
    for thread in threads:
        thread.start()
    began, published = time.monotonic(), 0
    with db.connect(server.owner_url) as conn:
        for minute in range(1, int(given.minutes) + 1):
            time.sleep(max(0.0, began + minute * 60 - time.monotonic()))
            rows.append(sample(conn, took, hub))
            published += int(rows[-1]["commits"])
            rows[-1] |= {"minute": minute, "heard": heard[0], "missed": heard[1]}
            print(*(f"{name} {value:.6g}" for name, value in rows[-1].items()), flush=True)
        stop.set()
        writer.stop()
        for thread in threads:
            thread.join()
        hub.stop()
        (before,) = (conn.execute(SIZE).fetchone(),)
        conn.execute("vacuum full forge_event")
        after = conn.execute(SIZE).fetchone()
    assert before and after
    print(f"published {published}, heard {heard[0]} and told of {heard[1]} more that fell off")
    for name, place in (("heap", 1), ("indexes", 2)):
        each, least = before[place] / before[0], after[place] / after[0]
        print(f"{name}: {each:.0f} bytes a row, {each / least:.2f}x of a table just rewritten")
    return rows


def sample(conn: db.Connection, took: list[list[float]], hub: notify.PostgresHub) -> dict[str, Any]:
    """The state of the log now, and what commits took since the last look."""
    all = sorted(each for one in took for each in one)
    for one in took:
        one.clear()
    found = conn.execute(SIZE).fetchone()
    assert found is not None
    return {
        "commits": len(all),
        "p50_ms": all[len(all) // 2] * 1e3,
        "p99_ms": all[len(all) * 99 // 100] * 1e3,
        "max_ms": all[-1] * 1e3,
        "rows": found[0],
        "heap_mb": found[1] / 1e6,
        "index_mb": found[2] / 1e6,
        "dead": found[3],
        "vacuums": found[4],
        "lag_ms": hub.lag_seconds * 1e3,
    }


def write(server: EmbeddedServer, rate: float, took: list[float], stop: threading.Event) -> None:
    """`rate` commits a second, each with one event."""
    with db.connect(server.app_url) as conn:
        began, number = time.monotonic(), 0
        while not stop.is_set():
            number += 1
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            clock = time.monotonic()
            notify.publish_tx(conn, Event("flights", "flight.updated", resource_id=str(number)))
            took.append(time.monotonic() - clock)


def hold(server: EmbeddedServer, seconds: float, stop: threading.Event) -> None:
    """Somebody's long report: a snapshot that is held, then not."""
    with db.connect(server.app_url) as conn:
        while seconds and not stop.is_set():
            with conn.transaction():
                conn.execute("set transaction isolation level repeatable read")
                conn.execute("select count(*) from forge_event")
                stop.wait(seconds)
            stop.wait(seconds)


def read(client: socket.socket, heard: list[int]) -> None:
    """Read every frame until the stream ends; heard: [frames, missed]."""
    with client, client.makefile("rb") as lines:
        for line in lines:
            if line.startswith(b"data:"):
                missed = json.loads(line[5:]).get("missed") or 0
                if missed:
                    heard[1] += missed
                else:
                    heard[0] += 1


if __name__ == "__main__":
    sys.exit(main())
