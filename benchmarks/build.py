"""The build: seconds of it, and the artifact beside what shiv and pex make of the same files.

    python benchmarks/build.py [--runs N] [--json FILE] [--peers PYTHON]

Size, and milliseconds from exec to /healthz and to a row from the database: on the first run, whose
caches are empty, and on later ones. The peers get our artifact's own members, unpacked; a run of
each takes its turn. Start-up is of the Python that is installed here, without this environment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from forge_min.db import EmbeddedServer  # noqa: E402

import run  # noqa: E402

EXAMPLE = HERE.parent / "examples" / "departures"
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"
PYTHON = getattr(sys, "_base_executable", sys.executable)
ENTRY = "forge_min.entry:main"


def example(work: Path, runs: int) -> dict[str, float]:
    """Seconds of a build of the example, from nothing and with nothing changed, as a process."""
    made = shutil.ignore_patterns("dist", "gen", "__pycache__", ".forge")
    cold: list[float] = []
    unchanged: list[float] = []
    for number in range(runs):
        root = work / f"departures-{number}"
        shutil.copytree(EXAMPLE, root, ignore=made)
        command = [sys.executable, "-m", "forge_min", "--project", str(root), "-q", "build"]
        for seconds in (cold, unchanged):
            begun = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - begun)
    same = {(work / f"departures-{n}/dist/departures.pyz").read_bytes() for n in range(runs)}
    return {
        "cold s": statistics.median(cold),
        "unchanged s": statistics.median(unchanged),
        "different artifacts": len(same),
    }


def peers(python: Path, artifact: Path, work: Path) -> dict[str, Path]:
    """What shiv and pex make of the members of our artifact, where they are installed."""
    site = work / "site"
    with zipfile.ZipFile(artifact) as archive:
        for name in archive.namelist():
            if not name.endswith((".pyc", "/")) and name != "__main__.py":
                place = site / name.removeprefix("_native/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(name))
    commands: dict[str, list[str | Path]] = {
        "shiv": ["--site-packages", site, "-p", "/usr/bin/env python3", "-e", ENTRY, "-o"],
        "pex": ["-D", site, "-e", ENTRY, "--python", sys.executable, "--no-build", "-o"],
    }
    found = {}
    for name, arguments in commands.items():
        program = python.with_name(name)
        if program.is_file():
            found[name] = work / f"{name}.pyz"
            said = subprocess.run(
                [program, *arguments, found[name]], capture_output=True, text=True
            )
            if said.returncode:
                raise SystemExit(f"{name}: {said.stderr or said.stdout}")
    return found


def ready(artifact: Path, server: EmbeddedServer, caches: Path) -> tuple[float, float]:
    """Milliseconds from exec to /healthz, and to a row."""
    port, admin = run.free_port(), run.free_port()
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FORGE_"))},
        **run.addresses(server),
        "FORGE_SERVER_PORT": str(port),
        "FORGE_ADMIN_PORT": str(admin),
        "XDG_CACHE_HOME": str(caches / "cache"),
        "SHIV_ROOT": str(caches / "shiv"),
        "PEX_ROOT": str(caches / "pex"),
    }
    begun = time.perf_counter()
    process = subprocess.Popen([PYTHON, artifact, "serve"], env=environ, stderr=subprocess.DEVNULL)
    try:
        health = run.answered(admin, "/healthz", begun)
        return health, run.answered(port, run.CASES["row"], begun)
    finally:
        process.terminate()
        process.wait(30)


def artifacts(work: Path, python: Path, runs: int) -> dict[str, dict[str, float]]:
    """Each artifact's size and readiness, in turns."""
    with EmbeddedServer(work / "postgres", app_role="shop_app") as server:
        ours = Path(run.prepare_shop(server, work)[-1])
        sides = {"ours": ours, **peers(python, ours, work)}
        rows: dict[str, dict[str, list[float]]] = {name: {} for name in sides}
        for number in range(runs):
            for name, path in sides.items():
                caches = work / f"caches-{name}-{number}"
                for turn in ("first", "warm"):
                    for what, value in zip(("healthz", "row"), ready(path, server, caches)):
                        rows[name].setdefault(f"{turn} {what}", []).append(value)
    median: Callable[[list[float]], float] = statistics.median
    return {
        name: {"MB": sides[name].stat().st_size / 1e6} | {k: median(v) for k, v in row.items()}
        for name, row in rows.items()
    }


def main() -> None:
    """Print both tables, and write them where --json says."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--json", type=Path)
    options.add_argument("--peers", type=Path, default=PEERS, help="the Python beside shiv and pex")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        seconds = example(Path(folder), arguments.runs)
        table = artifacts(Path(folder), arguments.peers, arguments.runs)
    print(
        f"build of the example: {seconds['cold s']:.2f} s (goal 5), with nothing changed "
        f"{seconds['unchanged s']:.2f} s (goal 1); of {arguments.runs} folders "
        f"{seconds['different artifacts']:.0f} different artifact"
    )
    print(f"{'':6}{'MB':>6}{'first: /healthz':>17}{'row':>7}{'warm: /healthz':>17}{'row':>7}  ms")
    for name, row in table.items():
        print(
            f"{name:6}{row['MB']:6.1f}{row['first healthz']:17.0f}{row['first row']:7.0f}"
            f"{row['warm healthz']:17.0f}{row['warm row']:7.0f}"
        )
    print("goals: 8 MB, ready at the first run within 300 ms, later within 250 ms")
    told: dict[str, Any] = {"build": seconds, "artifacts": table}
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
