"""The servers that are compared: how each is started, and one measurement of it.

Peers are in `peers/` and have an environment of their own, .venv-peers. Each runs one process with
eight threads or connections and writes no access log.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.request import urlopen

from load import Client, Figures, Target, load
from usage import least_busy, processor_times, usage

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = ROOT / ".venv-peers"
PRODUCT = json.dumps({"name": "Thing one", "price": 12, "status": "new"})
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
"""Peer → arguments of its Python."""
for _name in ("fastapi", "litestar"):
    # As they are without the extra package uvloop, which their own take where it is installed.
    COMMANDS[f"{_name}-asyncio"] = [*COMMANDS[_name], "--loop", "asyncio"]
PEER_CASES = {
    "hello": Target("/hello"),
    "row": Target("/products/00000000-0000-0000-0000-000000000032"),
    "list": Target("/products?status=active&sort=-created_at"),
    "create": Target("/products", PRODUCT),
    "html": Target("/html"),
}


class Side(NamedTuple):
    """A running server.

    base: URL without a path.
    pid: of the process whose tree is measured.
    cases: case → path and body.
    """

    name: str
    base: str
    pid: int
    cases: dict[str, Target]


class Run(NamedTuple):
    """One measurement of a server.

    cpu_us, voluntary, involuntary: CPU time and context switches per request.
    busy: share of the time, 0 to 1, in which the least busy processor worked.
    """

    figures: Figures
    cpu_us: float
    voluntary: float
    involuntary: float
    busy: float


T = TypeVar("T")


def peers_python() -> Path:
    """Return the interpreter of the peers' environment, which is created if missing."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        print("making .venv-peers ...", file=sys.stderr)
        venv.create(PEERS, with_pip=True)
        wanted = str(ROOT / "benchmarks" / "requirements-peers.txt")
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", wanted], check=True)
    return python


def free_port() -> int:
    """Return a port that is not in use."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def started(stack: ExitStack, command: list[str], base: str, **env: str) -> int:
    """Start a server, wait until it responds, stop it with the stack; return its pid."""
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
    """Start a peer. Without the URL of a database it has only the case hello."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [str(peers_python()), *(word.format(port=port) for word in COMMANDS[name])]
    pid = started(stack, command, base, BENCH_DATABASE_URL=database)
    return Side(name, base, pid, PEER_CASES if database else {"hello": PEER_CASES["hello"]})


def hello_only(stack: ExitStack) -> Side:
    """Start helloapp.py, the product without a database."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(HERE / "helloapp.py"), str(port)]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    pid = started(stack, command, base, PYTHONPATH=paths)
    return Side("forge_min", base, pid, {"hello": Target("/hello")})


def from_file(path: Path) -> Side:
    """Return a running application from the file that describes it (the head of bench.py)."""
    told: dict[str, Any] = json.loads(path.read_text())
    cases = {
        name: Target(case) if isinstance(case, str) else Target(case[0], json.dumps(case[1]))
        for name, case in told["cases"].items()
    }
    return Side("forge_min", told["base"].rstrip("/"), int(told["pid"]), cases)


def measured(side: Side, case: str, client: Client, seconds: float) -> Run:
    """Ask a server for one case, and return what it used."""
    target = side.cases[case]
    times, before = processor_times(), usage(side.pid)
    figures = load(target._replace(url=side.base + target.url), client, seconds)
    after, busy = usage(side.pid), least_busy(times, processor_times())
    cpu, voluntary, involuntary = (
        (end - start) / max(figures.requests, 1) for start, end in zip(before, after)
    )
    return Run(figures, cpu * 1e6, voluntary, involuntary, busy)


def in_turns(
    label: str, measurements: Mapping[str, Callable[[], T]], runs: int
) -> dict[str, list[T]]:
    """Call each measurement `runs` times, interleaved; each round begins with another one."""
    results: dict[str, list[T]] = {name: [] for name in measurements}
    names = list(measurements)
    for number in range(runs):
        print(f"{label}: round {number + 1} of {runs}", file=sys.stderr)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(measurements[name]())
    return results


def median_of(runs: list[T], value: Callable[[T], float]) -> float:
    """Return the median of a value over the runs."""
    return statistics.median(value(run) for run in runs)


def median_ratio(ours: list[T], theirs: list[T], value: Callable[[T], float]) -> float:
    """Return the median of the ratios of a value in the same rounds."""
    return statistics.median(value(a) / max(value(b), 1e-9) for a, b in zip(ours, theirs))
