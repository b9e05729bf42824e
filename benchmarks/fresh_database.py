"""How long a test waits for a database of its own: making it, and dropping it, in milliseconds.

Run with the project's Python: `python benchmarks/fresh_database.py [--json] [--count 40]
[--folder FOLDER]`. The goal is 50 ms each for both together. A database is 300 files, so on a disk
its file system decides: `fast_server` keeps them in memory where it can, --folder puts them
elsewhere.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from forge_min.db import FORGE_MIGRATIONS, EmbeddedServer, MigrationFile, connect
from forge_min.testing import fast_server, fresh_database

GOAL = 50.0
# As large as a project's schema usually is: 20 tables with an index each.
TABLES = "".join(
    f"create table t{n} (id uuid primary key, name text unique, at timestamptz);" for n in range(20)
)


def measure(server: EmbeddedServer, count: int) -> list[tuple[float, float, float]]:
    """(made, used, dropped) in milliseconds for each of `count` databases."""
    migrations = [*FORGE_MIGRATIONS, MigrationFile("app", "0001_tables.sql", TABLES)]
    found = []
    for _ in range(count + 1):  # the first one makes the template
        started = time.perf_counter()
        with fresh_database(server, migrations) as database:
            made = time.perf_counter()
            with connect(database.app_url) as conn:
                conn.execute("insert into t1 values (gen_random_uuid(), 'a', now())")
            used = time.perf_counter()
        dropped = time.perf_counter()
        found.append(tuple(1000 * s for s in (made - started, used - made, dropped - used)))
    return found[1:]


def main() -> None:
    """Measure and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--folder", help="where the server's data lie, default: in memory")
    given = parser.parse_args()
    with fast_server(folder=given.folder) as server:
        rows = measure(server, given.count)
    made, used, dropped = (statistics.median(column) for column in zip(*rows))
    result = {"made_ms": round(made, 1), "used_ms": round(used, 1), "dropped_ms": round(dropped, 1)}
    result["both_ms"] = round(statistics.median(row[0] + row[2] for row in rows), 1)
    if given.json:
        print(json.dumps(result | {"goal_ms": GOAL, "count": given.count}))
    else:
        print("  ".join(f"{name} {value}" for name, value in result.items()), f" goal {GOAL:g}")


if __name__ == "__main__":
    main()
