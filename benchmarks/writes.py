"""What a row's audit entry, event and job cost: the actions' create beside the bare insert.

    python benchmarks/writes.py [--json FILE] [--seconds 3] [--runs 3] [--clients 1]

Every client is a process with a connection of its own, on one embedded PostgreSQL, each write one
commit and one round trip. One client measures how long a write takes; as many as fill the
processors, how much of them it takes. Bare: the same row by a plain INSERT through psycopg, with
RETURNING of all its columns as a create has to answer; beside it one that asks for nothing. One of
them commits with a tenant: a pipeline of set_config and the statement, under row-level security.
The clients' own Python time is part of both, so the database's share is larger than these ratios
say; `statement` takes the Python of the actions out: their statement sent by psycopg with ready
values.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from forge_min import db
from forge_min.actions import uuid7
from forge_min.auth import Identity, as_identity
from forge_min.db import EmbeddedServer
from forge_min.generate import generate, scaffold_resource
from forge_min.migrations import diff
from forge_min.parse import parse_project

PARTS = """
    schema.auditable(),
    schema.timestamps(),
    schema.string("name", required=True, max_len=80),
    schema.int("price", required=True, min=0),
    schema.enum("status", ["new", "sold"], required=True, default="new"),
    schema.with_hooks(schema.Hooks(after_create=[schema.JobRef("Greet")])),
)
"""
SCHEMAS = {
    "item": f'from forge_min import schema\n\nitem = schema.define(\n    "Item",{PARTS}',
    "part": 'from forge_min import schema\n\npart = schema.define(\n    "Part",\n'
    f"    schema.tenant_scoped(),{PARTS}",
}
TENANT = UUID("018f0000-0000-7000-8000-000000000001")
DATA = {"name": "Thing one", "price": 12, "status": "new"}
BARE = 'insert into "items" ("id", "name", "price", "status") values (%s, %s, %s, %s)'
RETURNING = ' returning "id", "name", "price", "status", "version", "created_at", "updated_at"'
# case → (goal with sync commit on, off): times that the bare insert takes
GOALS = {"statement": (1.25, 1.4), "statement, tenant": (1.6, 1.8)}
CASES = ("bare", "bare, no answer", "statement", "statement, tenant", "create", "create, tenant")


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--clients", type=int, default=1)
    given = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with project() as (root, server):
        for sync in ("on", "off"):
            with db.connect(server.admin_url) as conn:
                conn.execute(f"alter system set synchronous_commit = {sync}")
                conn.execute("select pg_reload_conf()")
            rates: dict[str, list[float]] = {case: [] for case in CASES}
            for _ in range(given.runs):
                for case in CASES:
                    rates[case].append(rate(case, root, server.app_url, given))
            found[sync] = {case: statistics.median(all) for case, all in rates.items()}
    print("writes per second, and how often the bare insert's time (goal)")
    for case in CASES:
        row = [f"{case:18}"]
        for n, sync in enumerate(("on", "off")):
            times = found[sync]["bare"] / found[sync][case]
            goal = f" ({GOALS[case][n]:g})" if case in GOALS else ""
            row.append(f"sync {sync}: {found[sync][case]:7.0f}  {times:4.2f}x{goal}")
        print("  ".join(row))
    if given.json:
        given.json.write_text(json.dumps(found))


@contextmanager
def project(schemas: Mapping[str, str] = SCHEMAS) -> Iterator[tuple[Path, EmbeddedServer]]:
    """A generated project and a migrated database for it. schemas: folder → text."""
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        root = Path(folder, "project")
        for name, text in schemas.items():
            path = root / "resources" / name / "schema.py"
            path.parent.mkdir(parents=True)
            path.write_text(text)
        resources = parse_project(root).resources
        scaffold_resource(root, *resources)
        generate(root, resources)
        first = diff(root, resources, [])
        assert first is not None
        first.write()
        with EmbeddedServer(Path(folder, "pg"), app_role="bench_app") as server:
            with db.connect(server.owner_url) as conn:
                files = db.read_migrations(root / "migrations", "app")
                db.migrate(conn, [*db.FORGE_MIGRATIONS, *files])
                db.ensure_app_role(conn, "bench_app", password=None)
            yield root, server


def rate(case: str, root: Path, url: str, given: argparse.Namespace) -> float:
    """Writes per second of all clients together."""
    context = multiprocessing.get_context("spawn")
    gate, counts = context.Barrier(given.clients), context.Queue()
    clients = [
        context.Process(target=client, args=(case, root, url, given.seconds, gate, counts))
        for _ in range(given.clients)
    ]
    for one in clients:
        one.start()
    total = sum(counts.get() for _ in clients)
    for one in clients:
        one.join()
    return float(total) / float(given.seconds)


def client(case: str, root: Path, url: str, seconds: float, gate: Any, counts: Any) -> None:
    """Write until the time is over."""
    sys.path.insert(0, str(root))
    tenant = TENANT if case.endswith("tenant") else None
    with as_identity(Identity("bench", tenant=tenant)):
        write = writer(case, url, tenant)
        for _ in range(20):
            write()
        gate.wait()
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            write()
            count += 1
    counts.put(count)


def writer(case: str, url: str, tenant: UUID | None) -> Callable[[], object]:
    """One write of this case."""
    from forge_min.actions import Registry

    from gen.registry import register

    database = db.Database(url)
    conn = database.connection()
    if case == "bare, no answer":
        return lambda: conn.execute(BARE, (uuid7(), *DATA.values()))
    if case == "bare":
        return lambda: conn.execute(BARE + RETURNING, (uuid7(), *DATA.values())).fetchall()
    registry = Registry(database, {})
    register(registry, "")
    actions = registry.actions["parts" if tenant else "items"]
    if case.startswith("create"):
        return lambda: actions.create(DATA)
    sent: list[tuple[str, dict[str, Any]]] = []

    def catch(conn: Any, sql: str, params: dict[str, Any], **_: object) -> list[Any]:
        sent.append((sql, params))
        raise LookupError

    actions._run = catch
    try:
        actions.create(DATA)
    except LookupError:
        del actions._run
    ((sql, params),) = sent
    if tenant:
        params = params | {"forge_tenant": tenant}
    return lambda: db.run(conn, sql, params | {"id": uuid7()}, tenant=tenant)


if __name__ == "__main__":
    main()
