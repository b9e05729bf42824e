"""What traces cost: a hello with none, 1 % and all of them, beside Flask on gunicorn without any; a
thread that exports 5,000 spans a second; and how soon a process answers after exec.

    python benchmarks/observe/traces.py [--runs N] [--json FILE]

The collector is a process of its own that takes what comes and answers at once.
"""

from __future__ import annotations

import argparse
import http.client
import http.server
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "http")]

from forge_min import observe  # noqa: E402
from forge_min.db import EmbeddedServer  # noqa: E402

import run  # noqa: E402
from load import Client, fastest_program  # noqa: E402
from sides import from_file, measured, peer  # noqa: E402

RATE, SECONDS = 5000, 10.0


class Receiver(http.server.BaseHTTPRequestHandler):
    """Reads a batch and takes it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer as a collector does."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def collect(port: int) -> None:
    """The life of the collector."""
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()


def requests(stack: ExitStack, server: EmbeddedServer, work: Path, runs: int) -> dict[str, Any]:
    """hello, all sides in turns: requests a second, and each one's ratio to the first."""
    port = run.free_port()
    collector = multiprocessing.get_context("spawn").Process(target=collect, args=(port,))
    collector.start()
    stack.callback(collector.join)
    stack.callback(collector.terminate)
    command = run.prepare_shop(server, work)
    endpoint = {"FORGE_OBSERVE_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    settings = {
        "none": {},
        "sampled 1 %": endpoint | {"FORGE_OBSERVE_SAMPLE_RATIO": "0.01"},
        "sampled 100 %": endpoint | {"FORGE_OBSERVE_SAMPLE_RATIO": "1"},
    }
    sides = [
        from_file(run.serve_again(stack, command, server, work, **more))._replace(name=name)
        for name, more in settings.items()
    ]
    sides.append(peer(stack, "flask", ""))
    got: dict[str, list[tuple[float, float]]] = {side.name: [] for side in sides}
    client = Client(fastest_program(), 16)
    for side in sides:
        measured(side, "hello", client, 2)
    for _ in range(runs):
        for side in sides:
            one = measured(side, "hello", client, 3)
            got[side.name].append((one.figures.per_second, one.cpu_us))
    table = {}
    for name, rows in got.items():
        table[name] = {
            "per_second": statistics.median(row[0] for row in rows),
            "cpu_us": statistics.median(row[1] for row in rows),
            "of_none": statistics.median(a[0] / b[0] for a, b in zip(rows, got["none"])),
            "of_flask": statistics.median(a[0] / b[0] for a, b in zip(rows, got["flask"])),
        }
    return table


def export() -> dict[str, float]:
    """5,000 spans a second, in the shape of a request and its statement; the share of one core that
    the exporting thread takes.
    """
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    port = collector.server_port
    collector.server_close()
    process = multiprocessing.get_context("spawn").Process(target=collect, args=(port,))
    process.start()
    while True:
        with suppress(OSError):
            http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
            break
        time.sleep(0.05)
    telemetry = observe.setup("bench", exporter=observe.OTLPExporter(f"http://127.0.0.1:{port}"))
    thread = next(t for t in threading.enumerate() if t.name == "otlp-export")
    attributes = {
        "http.request.method": "GET", "url.path": "/api/v1/products/1", "url.scheme": "http",
        "http.route": "/api/v1/products/{id}", "http.response.status_code": 200,
        "server.address": "shop.example", "client.address": "192.0.2.1",
    }  # fmt: skip
    statement = {
        "db.system.name": "postgresql", "db.namespace": "shop", "db.operation.name": "SELECT",
        "db.query.text": "select id, name, price from products where id = %(id)s",
        "server.address": "db.example", "server.port": 5432, "db.response.returned_rows": 1,
    }  # fmt: skip
    before, started, made = _cpu(thread), time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < SECONDS:
        while made < passed * RATE:
            with observe.span("GET /api/v1/products/{id}", kind="server", attributes=attributes):
                with observe.span("SELECT", kind="client", attributes=statement):
                    pass
            made += 2
        time.sleep(0.005)
    spent, passed = _cpu(thread) - before, time.perf_counter() - started
    telemetry.tracer_provider.force_flush()
    dropped = sum(telemetry.dropped.values())
    telemetry.shutdown()
    process.terminate()
    process.join()
    return {"spans": made, "dropped": dropped, "share": spent / passed}


def _cpu(thread: threading.Thread) -> float:
    """Seconds that a thread of this process ran (proc(5), schedstat)."""
    text = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
    return int(text.split()[0]) / 1e9


def start(server: EmbeddedServer, work: Path, runs: int) -> dict[str, float]:
    """Milliseconds from exec to /healthz, and to a page with a row from the database."""
    environ = os.environ | run.addresses(server)
    command = [sys.executable, "-I", "-S", str(work / "shop.pyz"), "serve"]
    health, page = [], []
    for _ in range(runs):
        port, admin = run.free_port(), run.free_port()
        more = {"FORGE_SERVER_PORT": str(port), "FORGE_ADMIN_PORT": str(admin)}
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environ | more, stderr=subprocess.DEVNULL)
        try:
            health.append(run.answered(admin, "/healthz", started))
            page.append(run.answered(port, run.CASES["row"], started))
        finally:
            process.terminate()
            process.wait(30)
    return {"healthz_ms": statistics.median(health), "page_ms": statistics.median(page)}


def main() -> None:
    """Print all three, and write them where --json says."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--json", type=Path)
    arguments = options.parse_args()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forge-bench-")))
        server = stack.enter_context(EmbeddedServer(work / "postgres", app_role="shop_app"))
        with ExitStack() as inner:
            table = requests(inner, server, work, arguments.runs)
        begun = start(server, work, arguments.runs)
    sent = export()
    print(f"{'traces':16}{'req/s':>9}{'CPU µs':>9}{'of none':>9}{'of Flask':>10}")
    for name, row in table.items():
        print(
            f"{name:16}{row['per_second']:9.0f}{row['cpu_us']:9.1f}"
            f"{row['of_none']:8.2f}x{row['of_flask']:9.2f}x"
        )
    print("goals: 1 % at least 0.90x of none, 100 % at least 4x of Flask")
    print(
        f"export of {RATE} spans/s: {sent['share']:.1%} of one core (goal 20 %), "
        f"{sent['dropped']:.0f} of {sent['spans']:.0f} dropped"
    )
    print(
        f"after exec: /healthz {begun['healthz_ms']:.0f} ms (goal 100), "
        f"a row {begun['page_ms']:.0f} ms (goal 350)"
    )
    if arguments.json:
        told = {"requests": table, "export": sent, "start": begun}
        arguments.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
