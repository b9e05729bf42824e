"""The HTTP table: forge_min beside five peers, in one run, as a table and as JSON.

python benchmarks/http/bench.py                        hello only, with helloapp.py
python benchmarks/http/bench.py --forge forge.json     all cases, against a running application
python benchmarks/http/bench.py --forge forge.json --database postgresql://...   the peers' database
python benchmarks/http/bench.py --peers flask,granian  only some of them

forge.json: {"base": "http://127.0.0.1:8000", "pid": 123, "cases": {"hello": "/hello",
"row": "/api/v1/products/...", "list": "...", "create": ["/api/v1/products", {"name": ...}],
"html": "..."}}
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import venv
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from load import Figures, Target, load

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = ROOT / ".venv-peers"
PRODUCT = json.dumps({"name": "Thing one", "price": 12, "status": "new"})
CASES = ("hello", "row", "list", "create", "html")
GOALS = {
    "flask": (8.0, 3.0, 1.8, 1.8, 2.2),
    "django": (8.0, 4.5, 4.0, 3.0, 6.0),
    "fastapi": (3.0, 1.8, 1.3, 1.4, 1.6),
    "litestar": (1.5, 1.8, 1.2, 1.2, 1.5),
    "granian": (1.0, 1.0, 1.0, 1.0, 1.0),
}
"""Peer → how many times as fast we must be, in the order of CASES."""
GUNICORN = [
    "-m",
    "gunicorn",
    "-b",
    "127.0.0.1:{port}",
    "-w",
    "1",
    "-k",
    "gthread",
    "--threads",
    "8",
]
GUNICORN += ["--keep-alive", "30", "--log-level", "error"]
GRANIAN = ["-m", "granian", "--port", "{port}", "--log-level", "error"]
COMMANDS = {
    "flask": [*GUNICORN, "flaskapp:app"],
    "django": [*GUNICORN, "djangoapp:app"],
    "fastapi": [
        "-m", "uvicorn", "fastapp:app", "--port", "{port}", "--log-level", "error",
        "--no-access-log",
    ],
    "litestar": [*GRANIAN, "--interface", "asgi", "--no-ws", "litestarapp:app"],
    "granian": [*GRANIAN, "--interface", "wsgi", "--blocking-threads", "8", "bareapp:app"],
}  # fmt: skip
"""One process each, with eight threads or connections; none writes an access log."""
for _name in ("fastapi", "litestar"):
    # As they are without the extra package uvloop, which their own take where it is installed.
    COMMANDS[f"{_name}-asyncio"] = [*COMMANDS[_name], "--loop", "asyncio"]
    GOALS[f"{_name}-asyncio"] = GOALS[_name]
PEER_CASES = {
    "hello": Target("/hello"),
    "row": Target("/products/00000000-0000-0000-0000-000000000032"),
    "list": Target("/products?status=active&sort=-created_at"),
    "create": Target("/products", PRODUCT),
    "html": Target("/html"),
}


class Side(NamedTuple):
    """One of those that are compared. pid: of the process whose tree is measured."""

    name: str
    base: str
    pid: int
    cases: dict[str, Target]


def peers_python() -> Path:
    """The interpreter of the peers' own environment, made when it is not there."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        print("making .venv-peers ...", file=sys.stderr)
        venv.create(PEERS, with_pip=True)
        wanted = str(ROOT / "benchmarks" / "requirements-peers.txt")
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", wanted], check=True)
    return python


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def started(stack: ExitStack, command: list[str], base: str, **env: str) -> int:
    """Start a server, wait until it answers, stop it with the stack. Gives its pid."""
    process = subprocess.Popen(
        command,
        cwd=HERE / "peers",
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    stack.callback(process.wait, 60)
    stack.callback(process.send_signal, signal.SIGTERM)
    until = time.monotonic() + 20
    while True:
        try:
            urlopen(base + "/hello", timeout=2).close()
            return process.pid
        except OSError:
            if time.monotonic() > until or process.poll() is not None:
                raise
            time.sleep(0.02)


def peer(stack: ExitStack, name: str, database: str) -> Side:
    """A peer, started; without a database it only answers hello."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [str(peers_python()), *(word.format(port=port) for word in COMMANDS[name])]
    pid = started(stack, command, base, BENCH_DATABASE_URL=database)
    return Side(name, base, pid, PEER_CASES if database else {"hello": PEER_CASES["hello"]})


def hello_only(stack: ExitStack) -> Side:
    """helloapp.py: the product without a database."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(HERE / "helloapp.py"), str(port)]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    pid = started(stack, command, base, PYTHONPATH=paths)
    return Side("forge_min", base, pid, {"hello": Target("/hello")})


def from_file(path: Path) -> Side:
    """A running application, as the module's text describes it."""
    told: dict[str, Any] = json.loads(path.read_text())
    cases = {
        name: Target(case) if isinstance(case, str) else Target(case[0], json.dumps(case[1]))
        for name, case in told["cases"].items()
    }
    return Side("forge_min", told["base"].rstrip("/"), int(told["pid"]), cases)


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(item for child in children for item in tree(int(child)))]


def cpu_seconds(pid: int) -> float:
    """CPU time of the process tree so far, user and system."""
    ticks = 0
    for item in tree(pid):
        try:
            fields = Path(f"/proc/{item}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Resident memory of the process tree."""
    pages = 0
    for item in tree(pid):
        try:
            pages += int(Path(f"/proc/{item}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measured(side: Side, case: str, connections: int, seconds: float) -> tuple[Figures, float]:
    """One run, and the CPU time of one request in microseconds."""
    path, body = side.cases[case]
    before = cpu_seconds(side.pid)
    figures = load(Target(side.base + path, body), connections, seconds)
    spent = cpu_seconds(side.pid) - before
    return figures, spent / max(figures.requests, 1) * 1e6


def summary(runs: list[tuple[Figures, float]]) -> dict[str, float]:
    """Medians over the runs; failures are added up."""
    rows = [figures for figures, _ in runs]
    return {
        "per_second": round(statistics.median(row.per_second for row in rows)),
        "p50_ms": round(statistics.median(row.p50 for row in rows), 3),
        "p99_ms": round(statistics.median(row.p99 for row in rows), 3),
        "cpu_us": round(statistics.median(cpu for _, cpu in runs), 1),
        "failed": sum(row.failed for row in rows),
    }


def compare(sides: list[Side], arguments: argparse.Namespace) -> dict[str, Any]:
    """Every case that all sides have, the sides in turns."""
    table: dict[str, Any] = {}
    for case in CASES:
        if not all(case in side.cases for side in sides):
            continue
        runs: dict[str, list[tuple[Figures, float]]] = {side.name: [] for side in sides}
        for side in sides:
            measured(side, case, arguments.connections, 1)  # warm
        for _ in range(arguments.runs):
            for side in sides:
                runs[side.name].append(
                    measured(side, case, arguments.connections, arguments.seconds)
                )
        table[case] = {name: summary(done) for name, done in runs.items()}
        for side in sides[1:]:
            each = [
                ours.per_second / max(theirs.per_second, 1)
                for (ours, _), (theirs, _) in zip(runs[sides[0].name], runs[side.name])
            ]
            table[case][side.name]["ratio"] = round(statistics.median(each), 2)
    return table


def show(table: dict[str, Any], sides: list[Side]) -> None:
    """The table for people: ours, and below it each peer with the ratio and what it must be."""
    names = ("req/s", "p50 ms", "p99 ms", "CPU µs", "ratio", "goal")
    print(f"{'case':25}" + "".join(f"{name:>9}" for name in names))
    for case, row in table.items():
        for side in sides:
            item = row[side.name]
            line = f"{case:8}{side.name:17}{item['per_second']:9.0f}{item['p50_ms']:9.2f}"
            line += f"{item['p99_ms']:9.2f}{item['cpu_us']:9.1f}"
            if "ratio" in item:
                goal = GOALS[side.name][CASES.index(case)]
                line += f"{item['ratio']:8.2f}x{goal:8.1f}x" + "  below" * (item["ratio"] < goal)
            print(line + (f"  {item['failed']} failed" if item["failed"] else ""))
    for side in sides:
        print(f"{side.name}: {rss_mib(side.pid):.1f} MiB resident")


def main() -> None:
    """Run, print, and write JSON where --json says."""
    parser = argparse.ArgumentParser(description="HTTP: forge_min beside its peers")
    parser.add_argument("--forge", type=Path, help="JSON file that describes a running application")
    parser.add_argument(
        "--database", default="", help="URL of a database with schema.sql, for the peers"
    )
    parser.add_argument("--peers", default=",".join(GOALS), help="those to compare with")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        ours = from_file(arguments.forge) if arguments.forge else hello_only(stack)
        peers = [peer(stack, name, arguments.database) for name in arguments.peers.split(",")]
        table = compare([ours, *peers], arguments)
        show(table, [ours, *peers])
    text = json.dumps({"connections": arguments.connections, "cases": table}, indent=1)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
