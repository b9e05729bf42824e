"""Import and export of the example's 28,298 airports, beside psycopg alone on the same server.

    python benchmarks/transfer.py [--json FILE]

import: a child process from its start to its end: JSON lines through the actions, each row with its
checks, event and job. Its peer is psycopg's executemany of the same rows into a bare table, without
any of these. Memory is the child's greatest resident set.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forge_min import db
from forge_min.db import EmbeddedServer

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent / "examples" / "departures"
GOAL = 10.0  # seconds for the import
PEER = "create table peer (like airports including defaults)"


def main() -> int:
    """0 when it ran, whatever the figures say."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--json", type=Path, help="a file for the figures as well")
    file = options.parse_args().json
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        work = Path(folder)
        project = work / "departures"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("dist", "__pycache__"))
        with EmbeddedServer(work / "postgres", app_role="departures_app") as server:
            result = measure(server, project, work)
    print(table(result))
    if file:
        file.write_text(json.dumps(result) + "\n")
    return 0


def measure(server: EmbeddedServer, project: Path, work: Path) -> dict[str, dict[str, float]]:
    """step → {"seconds", "MB"}."""
    sys.path.insert(0, str(EXAMPLE))
    import data

    files = data.write_all(work / "data", datetime.now(UTC))
    environ = os.environ | {
        "FORGE_DATABASE_URL": server.app_url,
        "FORGE_DATABASE_MIGRATE_URL": server.owner_url,
    }

    def run(*command: str) -> dict[str, float]:
        argv = [sys.executable, "-m", "forge_min", "--project", str(project), *command]
        return child(argv, environ, work / "out")

    run("generate")
    run("migrate", "up")
    run("import", "countries", str(files["countries"]))
    out = str(work / "airports.jsonl")
    return {
        "psycopg": {"seconds": peer(server, files["airports"])},
        "import": run("import", "airports", str(files["airports"])),
        "export": run("export", "airports", "-o", out),
        "again": run("import", "airports", out, "--update", "icao"),
    }


def child(argv: list[str], environ: dict[str, str], log: Path) -> dict[str, float]:
    """Run it to its end. Raises RuntimeError with what it said when it fails."""
    started = time.perf_counter()
    with log.open("wb") as out:
        actions: Any = [(os.POSIX_SPAWN_DUP2, out.fileno(), n) for n in (1, 2)]
        pid = os.posix_spawn(argv[0], argv, environ, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(log.read_text())
    return {"seconds": time.perf_counter() - started, "MB": usage.ru_maxrss / 1024}


def peer(server: EmbeddedServer, file: Path) -> float:
    """Seconds that psycopg alone takes."""
    with db.connect(server.owner_url) as conn:
        conn.execute(PEER)
        rows = [json.loads(line) for line in file.open(encoding="utf-8")]
        names = list(rows[0])
        marks = ", ".join(f"%({name})s" for name in names)
        started = time.perf_counter()
        with conn.transaction(), conn.cursor() as cursor:
            cursor.executemany(f"insert into peer ({', '.join(names)}) values ({marks})", rows)
        took = time.perf_counter() - started
        conn.execute("drop table peer")
    return took


def table(result: dict[str, dict[str, float]]) -> str:
    """For people."""
    base = result["psycopg"]["seconds"]
    lines = [f"{'28,298 airports':18} {'seconds':>8} {'MB':>6} {'of psycopg':>11}"]
    for name, of in result.items():
        memory = f"{of['MB']:.0f}" if "MB" in of else ""
        ratio = f"{of['seconds'] / base:.2f}x"
        lines.append(f"{name:18} {of['seconds']:8.2f} {memory:>6} {ratio:>11}")
    verdict = "met" if result["import"]["seconds"] <= GOAL else "MISSED"
    return "\n".join([*lines, f"goal: import in at most {GOAL:.0f} s: {verdict}"])


if __name__ == "__main__":
    sys.exit(main())
