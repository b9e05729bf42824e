"""`make run`: build the artifact, start it on the embedded PostgreSQL, load its data, print where
it is.

The long-running processes are the built artifact, started without site-packages: they can only
import its own members. `--smoke` checks the site, prints the figures, and exits 0 or 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from forge_min import db
from forge_min.db import EmbeddedServer
from forge_min.ops import console

import data
import smoke

HERE = Path(__file__).resolve().parent
ARTIFACT = HERE / "dist" / "departures.pyz"
# -I and -S: no site-packages, no PYTHON* variables. The artifact has all it needs.
PYTHON = [sys.executable, "-I", "-S"]


def main() -> int:
    """Returns 0 when it was stopped by a signal or every check held, 1 otherwise."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--smoke", action="store_true", help="check everything, then exit")
    options.add_argument("--state", type=Path, default=HERE.parents[1] / ".run" / "departures")
    arguments = options.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    code = console.run(lambda: run(arguments.state, smoking=arguments.smoke))
    return 0 if code == console.INTERRUPTED else code


def run(state: Path, *, smoking: bool) -> int:
    """Build, start, load; then check (smoke) or wait."""
    figures: dict[str, float] = {}
    with _step("build", figures):
        _forge("build")
    with ExitStack() as stack:
        server = EmbeddedServer(
            state / "postgres",
            database="departures",
            owner_role="departures_owner",
            app_role="departures_app",
        )
        with _step("PostgreSQL", figures):
            server.start()
        stack.callback(server.stop)
        web, admin = (_free_port(), _free_port()) if smoking else (8000, 9090)
        environ = _environment(server, web, admin) | {"XDG_CACHE_HOME": str(state / "cache")}
        with _step("migrate", figures):
            _artifact(environ, "migrate", "up")
        serving = _start(stack, environ, "serve", "--no-jobs")
        with _step("serve", figures):
            _wait_ready(serving, admin)
        loaded = _load(server, environ, state / "data", figures)
        # serve has the admin port; a worker with the same setting would bind it too.
        del environ["FORGE_ADMIN_PORT"]
        _start(stack, environ, "worker")
        print(f"board     http://127.0.0.1:{web}/")
        print(f"API docs  http://127.0.0.1:{web}/api/docs")
        print(f"admin     http://127.0.0.1:{admin}/metrics")
        if smoking:
            return smoke.check(server.owner_url, web, admin, figures, loaded=loaded)
        print("Ctrl+C stops it; the data stays in", state, flush=True)
        smoke.keep_changing(web)
    return 0


def _environment(server: EmbeddedServer, web: int, admin: int) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FORGE_")}
    return kept | {
        "FORGE_DATABASE_URL": server.app_url,
        "FORGE_DATABASE_MIGRATE_URL": server.owner_url,
        "FORGE_SERVER_PORT": str(web),
        "FORGE_ADMIN_PORT": str(admin),
        "FORGE_JOBS_QUEUES": "{default = 2, nearest = 4}",
    }


def _load(
    server: EmbeddedServer, environ: dict[str, str], folder: Path, figures: dict[str, float]
) -> bool:
    """Through the artifact's own import; False when an earlier run has done it."""
    with db.connect(server.owner_url) as conn:
        if conn.execute("select exists (select 1 from flights)").fetchone() == (True,):
            return False
        kept = conn.execute("select count(*) from airports").fetchone()
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for topic, file in data.write_all(folder, day).items():
        if topic == "flights" or not (kept and kept[0]):
            with _step(f"import {topic}", figures):
                _artifact(environ, "import", topic, str(file))
    with _step("export airports", figures):
        _artifact(environ, "export", "airports", "-o", str(folder / "exported.csv"))
    return True


@contextmanager
def _step(name: str, figures: dict[str, float]) -> Iterator[None]:
    started = time.monotonic()
    yield
    figures[name] = time.monotonic() - started
    print(f"{name:18} {figures[name]:6.2f} s", flush=True)


def _forge(*command: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "forge_min", "--project", str(HERE), *command], check=True
    )


def _artifact(environ: dict[str, str], *command: str) -> None:
    subprocess.run([*PYTHON, str(ARTIFACT), *command], env=environ, check=True)


def _start(stack: ExitStack, environ: dict[str, str], *command: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([*PYTHON, str(ARTIFACT), *command], env=environ)
    stack.callback(_stop, process, command)
    return process


def _stop(process: subprocess.Popen[bytes], command: Sequence[str]) -> None:
    process.terminate()
    try:
        code = process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code:
        print(f"{command[0]} ended with {code}", file=sys.stderr)


def _wait_ready(process: subprocess.Popen[bytes], admin: int, deadline: float = 30.0) -> None:
    until = time.monotonic() + deadline
    while True:
        if process.poll() is not None:  # its log has the reason
            raise SystemExit(1)
        try:
            with urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=2) as answer:
                json.load(answer)
                return
        except (URLError, OSError):
            if time.monotonic() > until:
                raise SystemExit("the application did not get ready in time") from None
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
