"""What rules and questions cost: a capacity, an aggregate beside psql, and a large `generate`.

    python benchmarks/rules.py [--json FILE] [--seconds 3] [--runs 5] [--rows 1000000]

* Creates of 16 clients (processes): without a rule, and with the capacity of docs/develop/rules.md
  over 100 wards, and over one ward, on which all of them wait for each other.
* An aggregate by two fields: `Actions.aggregate` beside the same SQL in psql, in turns.
* `generate` of 100 resources with 20 fields, checks, states and a report each, as a command.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forge_min import db
from forge_min.actions import Actions, AggregateQuery, Registry, RowChange
from forge_min.actions.aggregate import statement
from forge_min.auth import Identity, as_identity
from forge_min.db import EmbeddedServer
from forge_min.db.embedded import binaries

from writes import project

CLIENTS = 16
SCHEMAS = {
    "ward": """from forge_min import schema

schema.define("Ward", schema.string("code", required=True), schema.int("beds", required=True))
""",
    "stay": """from forge_min import schema

schema.define(
    "Stay",
    schema.belongs_to("Ward", required=True, aggregatable=True),
    schema.string("patient", required=True, max_len=80),
    schema.datetime("admitted_at", required=True, aggregatable=True),
    schema.datetime("discharged_at"),
    schema.decimal("cost", precision=(9, 2), aggregatable=True),
    schema.index("ward_id", "discharged_at"),
)
""",
}
FIELDS = "\n".join(f'    schema.int("field_{n}", required=True, default={n}),' for n in range(17))
WIDE = """from forge_min import schema

schema.define(
    "{name}",
    schema.string("name", required=True, max_len=80, filterable=True),
    schema.datetime("begins_at", required=True, aggregatable=True),
    schema.datetime("ends_at"),
{fields}
    schema.check("ends_at >= begins_at", "It ends after its beginning."),
    schema.check("field_1 + field_2 <= 100", "The sum is too large."),
    schema.states(
        "status",
        initial="draft",
        transitions={{
            "draft": {{"submit": "submitted"}},
            "submitted": {{"approve": "approved", "reject": "draft"}},
            "approved": {{}},
        }},
    ),
    schema.report("{report}", ["month(begins_at)", "status"]),
)
"""


def main() -> None:
    """Measure, and print the ratios with their goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    figures: dict[str, float] = {}
    with project(SCHEMAS) as (root, server):
        figures |= creates(root, server, given)
        figures |= aggregates(root, server, given)
    figures["generate, s"] = generate_many(given.runs)
    goals = {
        "capacity over 100 wards / no rule": "≥ 0.5",
        "aggregate / psql": "≤ 1.2",
        "generate, s": "≤ 2.5",
    }
    for name, value in figures.items():
        print(f"{name:36} {value:10.3f}  {goals.get(name, '')}")
    if given.json:
        given.json.write_text(json.dumps(figures))


def creates(root: Path, server: EmbeddedServer, given: argparse.Namespace) -> dict[str, float]:
    """Creates per second of all clients, in turns, and their ratios."""
    with db.connect(server.owner_url) as conn:
        conn.execute(
            "insert into wards (code, beds) select 'W' || n, 1000000 from generate_series(1, 100) n"
        )
    rates: dict[str, list[float]] = {case: [] for case in ("no rule", "100 wards", "1 ward")}
    for _ in range(given.runs):
        for case, all in rates.items():
            all.append(rate(case, root, server.app_url, given.seconds))
    found = {case: statistics.median(all) for case, all in rates.items()}
    ratio = [statistics.median(a / b for a, b in zip(rates[c], rates["no rule"])) for c in rates]
    return {f"creates/s, {case}": value for case, value in found.items()} | {
        "capacity over 100 wards / no rule": ratio[1],
        "capacity of one ward / no rule": ratio[2],
    }


def rate(case: str, root: Path, url: str, seconds: float) -> float:
    """Creates per second of all clients together."""
    context = multiprocessing.get_context("spawn")
    gate, counts = context.Barrier(CLIENTS), context.Queue()
    clients = [
        context.Process(target=client, args=(case, root, url, seconds, n, gate, counts))
        for n in range(CLIENTS)
    ]
    for one in clients:
        one.start()
    total = sum(counts.get() for _ in clients)
    for one in clients:
        one.join()
    return float(total) / seconds


class Capacity:
    """The rule of docs/develop/rules.md."""

    def rule(self, changes: Sequence[RowChange[Any]], conn: db.Connection) -> None:
        """A ward has no more open stays than beds."""
        entered = {c.after.ward_id: c for c in changes if c.after and not c.after.discharged_at}
        wards = conn.lock_rows("wards", entered)
        counts = dict(
            conn.execute(
                "select ward_id, count(*) from stays where ward_id = any(%s)"
                " and discharged_at is null group by 1",
                [list(entered)],
            ).fetchall()
        )
        for ward in wards:
            if counts.get(ward["id"], 0) > ward["beds"]:
                entered[ward["id"]].error("ward_id", "full", "this ward has no free bed")


def registry_of(url: str, root: Path, *, ruled: bool) -> Registry:
    """The actions of the project, with the capacity or without."""
    sys.path.insert(0, str(root))
    from gen.registry import register

    registry = Registry(db.Database(url), {})
    register(registry, "")
    if ruled:
        base = type(registry.actions["stays"])
        rule: Any = type("Ruled", (Capacity, base), {})
        registry.add(rule)
    return registry


def client(
    case: str, root: Path, url: str, seconds: float, number: int, gate: Any, counts: Any
) -> None:
    """Create and discharge until the time is over; a discharged stay needs no bed."""
    chance = random.Random(number)
    registry = registry_of(url, root, ruled=case != "no rule")
    stays: Actions[Any, Any, Any] = registry.actions["stays"]
    with as_identity(Identity("bench")):
        rows = registry.database.connection().execute("select id from wards order by code")
        wards = [str(id) for (id,) in rows.fetchall()][: 1 if case == "1 ward" else 100]

        def create() -> None:
            moment = "2026-01-01T00:00:00Z"
            stays.create(
                {
                    "ward_id": chance.choice(wards),
                    "patient": "Somebody",
                    "admitted_at": moment,
                    "discharged_at": moment if chance.random() < 0.9 else None,
                }
            )

        for _ in range(20):
            create()
        gate.wait()
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            create()
            count += 1
    counts.put(count)
    registry.database.close()


def aggregates(root: Path, server: EmbeddedServer, given: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of an aggregate by the actions and by psql."""
    with db.connect(server.owner_url) as conn:
        conn.execute("truncate stays")
        conn.execute(
            "insert into stays (ward_id, patient, admitted_at, cost)"
            " select w[1 + n %% 100], 'p' || n, timestamptz '2025-01-01' + n * interval '20 s',"
            " n %% 1000"
            " from generate_series(1, %s) n, (select array_agg(id) w from wards) all_wards",
            [given.rows],
        )
        conn.execute("vacuum analyze stays")
    registry = registry_of(server.app_url, root, ruled=False)
    stays = registry.actions["stays"]
    query = AggregateQuery(
        group=("ward_id", "month(admitted_at)"), measures=("count", "sum(cost)", "avg(cost)")
    )
    sql, params = statement(stays.resource, query)
    sql = sql % {name: f"'{value}'" for name, value in params.items()}
    program = str(binaries.find().folder / "psql")
    psql = [program, server.app_url, "-XqAt", "-o", os.devnull, "-c", sql]
    ours, theirs, start = [], [], []
    with as_identity(Identity("bench")):
        for _ in range(given.runs):
            began = time.perf_counter()
            groups = stays.aggregate(query)
            ours.append(time.perf_counter() - began)
            began = time.perf_counter()
            subprocess.run(psql, check=True)
            theirs.append(time.perf_counter() - began)
            began = time.perf_counter()
            subprocess.run([*psql[:-1], "select 1"], check=True)
            start.append(time.perf_counter() - began)
    registry.database.close()
    # psql connects each time; the seconds of a statement that does nothing are taken off.
    pairs = zip(ours, theirs, start)
    return {
        "groups": len(groups),
        "aggregate, ms": statistics.median(ours) * 1000,
        "psql, ms": statistics.median(t - s for t, s in zip(theirs, start)) * 1000,
        "aggregate / psql": statistics.median(o / (t - s) for o, t, s in pairs),
    }


def generate_many(runs: int) -> float:
    """Seconds of the command for 100 resources with 20 fields, from an empty gen/."""
    times = []
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        for n in range(100):
            name = f"Thing{chr(65 + n // 26)}{chr(97 + n % 26)}"
            path = Path(folder, "resources", f"thing_{name[5:].lower()}", "schema.py")
            path.parent.mkdir(parents=True)
            text = WIDE.format(name=name, fields=FIELDS, report=f"report_{n}")
            path.write_text(text, "utf-8")
        Path(folder, "forge.toml").write_text('[project]\nname = "wide"\n', "utf-8")
        command = [sys.executable, "-m", "forge_min", "--project", folder, "generate"]
        for _ in range(runs):
            subprocess.run(["rm", "-rf", f"{folder}/gen"], check=True)
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
