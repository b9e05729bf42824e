"""`make bench`: every comparison of this folder, one after the other, each with its peer in the
same run.

    python benchmarks/run.py [--json FOLDER]

http: the built artifact of http/shop beside Flask, Django, FastAPI, Litestar and a bare
application on granian, all on one embedded PostgreSQL; a page beside Jinja2.
(http/endurance.py, a million requests, is run by itself.)
live: the stream beside Go's net/http, sse-starlette and plain C; a topic beside asyncio's queues;
what an event costs its commit. (live/retention.py, which takes an hour, is run by itself.)
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
from contextlib import ExitStack
from pathlib import Path
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
CASES = {
    "hello": "/hello",
    "row": "/api/v1/products/00000000-0000-0000-0000-000000000032",
    "list": "/api/v1/products?status=active&sort=-created_at&page=1&per_page=25",
    "create": ["/api/v1/products", {"name": "Thing one", "price": 12, "status": "new"}],
    "html": "/html",
}


def main() -> int:
    """0 when every comparison ran."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, help="a folder for the figures")
    folder = options.parse_args().json
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forge-bench-")))
        server = stack.enter_context(EmbeddedServer(work / "postgres", app_role="shop_app"))
        forge = serve_shop(stack, server, work)
        peer = peer_database(server)
        bench("http/bench.py", folder, "--forge", str(forge), "--database", peer)
    bench("http/render.py", folder)
    for script in ("live/topics.py", "live/bench.py", "live/commits.py"):
        bench(script, folder)
    for script in ("jobs/bench.py", "jobs/backlog.py"):
        bench(script, folder)
    bench("observe/traces.py", folder)
    bench("observe/metrics.py", folder)
    for script in ("build.py", "limiter.py", "writes.py", "generate.py", "transfer.py"):
        bench(script, folder)
    bench("fresh_database.py", None)
    return 0


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


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
