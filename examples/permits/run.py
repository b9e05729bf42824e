"""`make run EXAMPLE=permits`: build the artifact, start it, load two offices, print its address.

PostgreSQL is the embedded one, and the processes are the built artifact without site-packages.
`--smoke` checks the site and exits 0 or 1.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
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
ARTIFACT = [sys.executable, "-I", "-S", str(HERE / "dist" / "permits.pyz")]
PASSWORD = "a password of the example"
# name, roles, office; "" means all offices
USERS = (
    ("ada", ["administrator", "clerk", "officer"], ""),
    ("clara", ["clerk"], "north"),
    ("oleg", ["officer"], "north"),
    ("olga", ["administrator", "clerk", "officer"], "north"),
    ("sven", ["clerk", "officer"], "south"),
)


def main() -> int:
    """Returns 0 when it was stopped by a signal or every check held, 1 otherwise."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--smoke", action="store_true", help="check everything, then exit")
    options.add_argument("--state", type=Path, default=HERE.parents[1] / ".run" / "permits")
    arguments = options.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    code = console.run(lambda: run(arguments.state, smoking=arguments.smoke))
    return 0 if code == console.INTERRUPTED else code


def run(state: Path, *, smoking: bool) -> int:
    """Build, start, load; then check (smoke) or wait."""
    subprocess.run([sys.executable, "-m", "forge_min", "--project", str(HERE), "build"], check=True)
    server = EmbeddedServer(
        state / "postgres", database="permits", owner_role="permits_owner", app_role="permits_app"
    )
    server.start()
    with ExitStack() as stack:
        stack.callback(server.stop)
        web, admin = (_free_port(), _free_port()) if smoking else (8000, 9090)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("FORGE_")}
        environ |= {
            "FORGE_DATABASE_URL": server.app_url,
            "FORGE_DATABASE_MIGRATE_URL": server.owner_url,
            "FORGE_ENV": "development",  # sign-in without TLS, on this machine
            "FORGE_SERVER_PORT": str(web),
            "FORGE_ADMIN_PORT": str(admin),
            "XDG_CACHE_HOME": str(state / "cache"),
        }
        _artifact(environ, "migrate", "up")
        with db.connect(server.owner_url) as conn:
            empty = conn.execute("select from officers limit 1").rowcount == 0
        if empty:
            _load(environ, state / "data")
        serving = subprocess.Popen([*ARTIFACT, "serve"], env=environ)
        stack.callback(_stop, serving)
        _wait_ready(serving, admin)
        keys = (
            {name: _key(environ, name, office) for name, _, office in USERS if office}
            if empty or smoking
            else {}
        )
        if empty:
            smoke.decide(web, keys)
        for name, roles, office in USERS:
            path = f"/t/{office}/" if office else "/-/people"
            print(f"site      http://localhost:{web}{path}  {name}@permits.example: {roles}")
        print(f"password  {PASSWORD}")
        print(f"API docs  http://localhost:{web}/api/docs")
        print(f"admin     http://localhost:{admin}/metrics")
        if smoking:
            return smoke.check(server.owner_url, web, keys)
        print("Ctrl+C stops it; the data stays in", state, flush=True)
        serving.wait()
    return 0


def _load(environ: dict[str, str], folder: Path) -> None:
    """Create offices and users, and import the rows of each office."""
    today = datetime.now(UTC).date()
    for office in ("north", "south"):
        name = f"Office {office.title()}"
        _artifact(environ, "auth", "create-tenant", office, "--name", name)
        for topic, file in data.write_all(folder, office, today).items():
            _artifact(environ, "import", "--tenant", office, topic, str(file))
    for name, roles, office in USERS:
        user = f"{name}@permits.example"
        create = ["auth", "create-user", user, "--name", name.title(), "--password"]
        _artifact(environ, *create, text=PASSWORD + "\n")
        place = ["--tenant", office] if office else []
        _artifact(environ, "auth", "grant", user, *roles, *place)


def _key(environ: dict[str, str], name: str, office: str) -> str:
    """Return a new API key of a user for an office."""
    create = ["auth", "create-key", f"{name}@permits.example", "--name", "example"]
    shown = _artifact(environ, *create, "--tenant", office, "--lifetime", "1d")
    return next(word for word in shown.split() if word.startswith("fmk_"))


def _artifact(environ: dict[str, str], *command: str, text: str | None = None) -> str:
    done = subprocess.run(
        [*ARTIFACT, *command],
        env=environ,
        input=text,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_ready(process: subprocess.Popen[bytes], admin: int) -> None:
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        try:
            with urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise SystemExit("the application did not get ready; its log has the reason")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
