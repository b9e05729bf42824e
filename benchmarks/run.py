"""Every comparison of this folder, one after the other, each with its peer in the same run.

    python benchmarks/run.py [--only PREFIX] [--json FOLDER]
    python benchmarks/run.py --only http/bench --json figures     only that script

`make bench` runs all of it.

http: the built artifact of http/shop beside Flask, Django, FastAPI, Litestar and a bare
application on granian, all on one embedded PostgreSQL; a second process, PostgreSQL's own limit,
the start and slow handlers; a million requests and a thousand idle connections; a page beside
Jinja2; a list from two standbys beside the same from the primary; a row beside ten attacks.
live: the stream beside Go's net/http, sse-starlette and plain C; what a publish costs on both
twins, and an event its commit. (live/retention.py, which takes an hour, is run by itself.)
jobs: inserting, draining and picking up beside procrastinate, pgqueuer, chancy, oban; a backlog of
a million beside one of ten thousand.
observe: what traces cost a request, what their export costs, how soon a process answers.
limiter: acquire and release on both twins. writes: a create's statement beside the bare insert.
observe: what metrics cost a request, and a scrape, beside prometheus_client, on both twins.
build: seconds of a build; the artifact's size and start beside shiv's and pex's of the same files.
generate, transfer, fresh_database: seconds and memory of making gen/, of import and export, of a
test's database, each beside its goal.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from forge_min import db
from forge_min.db import EmbeddedServer

HERE = Path(__file__).resolve().parent
SHOP = HERE / "http" / "shop"
ROWS = """
insert into products (id, name, price, status, created_at)
select ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid,
       'Product <' || n || '> & more', n % 1000,
       (array['active', 'draft', 'sold', 'archived'])[1 + n % 4], now() - n * interval '1 minute'
from generate_series(1, 2000) n;
create index on products (status, created_at desc);
analyze products;
"""
CASES: dict[str, Any] = {
    "hello": "/hello",
    "row": "/api/v1/products/00000000-0000-0000-0000-000000000032",
    "list": "/api/v1/products?status=active&sort=-created_at&page=1&per_page=25",
    "create": ["/api/v1/products", {"name": "Thing one", "price": 12, "status": "new"}],
    "html": "/html",
    "sleep": "/sleep/20",
}


SCRIPTS = (
    "http/bench.py", "http/limits.py", "http/endurance.py", "http/render.py",
    "http/replicas.py", "http/attacks.py",
    "live/topics.py", "live/bench.py", "live/commits.py",
    "jobs/bench.py", "jobs/backlog.py",
    "observe/traces.py", "observe/metrics.py",
    "build.py", "limiter.py", "writes.py", "generate.py", "transfer.py", "fresh_database.py",
)  # fmt: skip
WITHOUT_FILE = ("fresh_database.py",)  # its --json takes no path


def main() -> int:
    """Return 0 if every comparison ran."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="a folder for the figures")
    parser.add_argument(
        "--only", default="", metavar="PREFIX", help="scripts that begin with it, such as http/"
    )
    options = parser.parse_args()
    scripts = [script for script in SCRIPTS if script.startswith(options.only)]
    if not scripts:
        parser.error(f"--only {options.only}: no such script; they are {', '.join(SCRIPTS)}")
    if options.json:
        options.json.mkdir(parents=True, exist_ok=True)
    for script in scripts:
        folder = None if script in WITHOUT_FILE else options.json
        if script == "http/bench.py":
            bench_shop(script, folder)
        else:
            bench(script, folder)
    return 0


def bench_shop(script: str, folder: Path | None) -> None:
    """Run the comparison that needs a running artifact and the peers' database."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forge-bench-")))
        server = stack.enter_context(EmbeddedServer(work / "postgres", app_role="shop_app"))
        forge = serve_shop(stack, server, work)
        bench(script, folder, "--forge", str(forge), "--database", peer_database(server))


def bench(script: str, folder: Path | None, *arguments: str) -> None:
    """Run one comparison; its figures go to a file of its own."""
    print(f"== {script}", flush=True)
    name = script.removesuffix(".py").replace("/", "-")
    more = ["--json", str(folder / f"{name}.json")] if folder else []
    subprocess.run([sys.executable, str(HERE / script), *arguments, *more], check=True)


def serve_shop(stack: ExitStack, server: EmbeddedServer, work: Path, **settings: str) -> Path:
    """Build and start the artifact; the file that describes it to http/bench.py. settings: of the
    environment.
    """
    return serve_again(stack, prepare_shop(server, work), server, work, **settings)


def prepare_shop(server: EmbeddedServer, work: Path) -> list[str]:
    """Build the artifact and fill its database; the command that runs it."""
    artifact = work / "shop.pyz"
    command = [sys.executable, "-m", "forge_min", "--project", str(SHOP)]
    subprocess.run([*command, "-q", "build", "-o", str(artifact)], check=True, stdout=sys.stderr)
    run = [sys.executable, "-I", "-S", str(artifact)]
    environ = os.environ | addresses(server)
    subprocess.run([*run, "migrate", "up"], env=environ, check=True, stdout=sys.stderr)
    with db.connect(server.owner_url) as conn:
        conn.execute(ROWS)
    return run


def addresses(server: EmbeddedServer) -> dict[str, str]:
    """Of the database, as the environment has them."""
    return {
        "FORGE_DATABASE_URL": server.app_url,
        "FORGE_DATABASE_MIGRATE_URL": server.owner_url,
        "FORGE_ENV": "production",
        "FORGE_AUTH_SECRET": "0" * 64,
    }


def serve_again(
    stack: ExitStack, run: list[str], server: EmbeddedServer, work: Path, **settings: str
) -> Path:
    """Start what `prepare_shop` made, once more; as `serve_shop`."""
    port, admin = free_port(), free_port()
    environ = os.environ | {
        **addresses(server),
        "FORGE_SERVER_PORT": str(port),
        "FORGE_ADMIN_PORT": str(admin),
        "FORGE_API_RATE_LIMIT": '{default = "100000000/1m"}',  # counted, and never reached
        "FORGE_SERVER_MAX_PER_CLIENT": "8",  # all threads: all load comes from one address
        **settings,
    }
    log = stack.enter_context((work / f"serve-{port}.log").open("wb"))
    process = subprocess.Popen([*run, "serve"], env=environ, stdout=log, stderr=log)
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)
    wait_for(f"http://127.0.0.1:{admin}/readyz")
    at = "http://127.0.0.1:"
    told = {"base": f"{at}{port}", "admin": f"{at}{admin}", "pid": process.pid, "cases": CASES}
    path = work / f"forge-{port}.json"
    path.write_text(json.dumps(told))
    return path


def peer_database(server: EmbeddedServer) -> str:
    """A database with the peers' tables."""
    with db.connect(server.admin_url) as conn:
        conn.execute("create database peers")
    url = server.admin_url.rpartition("/")[0] + "/peers"
    with db.connect(url) as conn:
        conn.execute((HERE / "http" / "schema.sql").read_text(encoding="utf-8"))
    return url


def wait_for(url: str) -> None:
    """Until it answers 200."""
    until = time.monotonic() + 30
    while True:
        try:
            urlopen(url, timeout=2).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def answered(port: int, path: str, begun: float) -> float:
    """Milliseconds since `begun`, of time.perf_counter, when the path has answered 200."""
    while time.perf_counter() - begun < 60:
        with suppress(OSError, HTTPException):
            with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return (time.perf_counter() - begun) * 1e3
        time.sleep(0.001)
    raise TimeoutError(f"{path} has no answer")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
