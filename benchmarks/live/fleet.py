"""What waking a fleet costs: many processes that listen, and busy ones that commit all the time.

    python benchmarks/live/fleet.py [--json FILE] [--listeners 64] [--senders 16] [--seconds 10]

A busy sender nudges 200 times per second, as often as a process with much to write. Another
process publishes 20 events per second and has a hub with a subscriber. Printed are NOTIFYs per
second in the cluster, processor time of PostgreSQL and of the fleet as shares of one core, and the
milliseconds from before the commit to the subscriber.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NoReturn

from forge_min import db, notify
from forge_min.db import EmbeddedServer

GOALS = {"cores": 0.30, "p99_ms": 25.0, "notifies": 100.0}
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print each figure with its goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--listeners", type=int, default=64)
    parser.add_argument("--senders", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        url, listeners, senders = given.part
        run_fleet(url, int(listeners), int(senders))
        return
    with tempfile.TemporaryDirectory(prefix="forge-fleet-") as name:
        settings = {"max_connections": str(2 * given.listeners + 40)}
        folder = Path(name) / "pg"
        with EmbeddedServer(folder, app_role="bench_app", settings=settings) as server:
            with db.connect(server.owner_url) as conn:
                db.migrate(conn, db.FORGE_MIGRATIONS)
                db.ensure_app_role(conn, "bench_app", password=None)
            found = measure(server, folder, given)
    print(
        f"{given.listeners} listeners, {given.senders} busy senders:"
        f" {found['notifies']:.0f} NOTIFYs/s (goal <= {GOALS['notifies']:.0f}),"
        f" {found['cores']:.2f} cores (goal <= {GOALS['cores']:.2f}) and {found['programs']:.2f}"
        f" in the programs, event p50 {found['p50_ms']:.1f} ms,"
        f" p99 {found['p99_ms']:.1f} ms (goal <= {GOALS['p99_ms']:.0f})"
    )
    if given.json:
        given.json.write_text(json.dumps(found))


def measure(server: EmbeddedServer, folder: Path, given: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--part", server.app_url]
    command += [str(given.listeners), str(given.senders)]
    fleet = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert fleet.stdout is not None
    fleet.stdout.readline()
    (found,) = folder.rglob("postmaster.pid")
    postmaster = int(found.read_text().split()[0])
    time.sleep(1)
    counted: list[object] = []
    with db.connect(server.app_url) as counter:
        counter.execute("listen forge")
        counter.add_notify_handler(counted.append)
        before, began = used(postmaster), time.monotonic()
        programs = used(fleet.pid)
        latencies = probe(server.app_url, given.seconds)
        counter.execute("")  # receives the latest
        passed = time.monotonic() - began
        cores = (used(postmaster) - before) / passed
        programs = (used(fleet.pid) - programs) / passed
        notifies = len(counted) / passed
    fleet.communicate(b"\n")
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "notifies": notifies,
        "cores": cores,
        "programs": programs,
        "p50_ms": 1000 * cuts[49],
        "p99_ms": 1000 * cuts[98],
    }


def probe(url: str, seconds: float) -> list[float]:
    """Publish events, and return the seconds that each takes to a subscriber."""
    arrived = threading.Event()

    def encode(event: notify.Event, format: str) -> bytes:
        arrived.set()
        return b": encoded\n\n"

    nudger = notify.Nudger(lambda: db.connect(url))
    hub = notify.PostgresHub(lambda: db.connect(url), lambda events: encode, nudger=nudger)
    nudger.start()
    hub.start()
    hub.subscribe(notify.TopicKey(None, "items", "json"))
    found: list[float] = []
    writer = notify.Nudger(lambda: db.connect(url))  # of another process: its events take the wire
    listener = notify.Listener(["e"], nudger=writer)
    own = db.connect(url)
    listener.open()
    listener.attach(own)
    stop = threading.Event()
    threading.Thread(target=rest, args=(listener, own, stop), daemon=True).start()
    writer.start()
    with db.connect(url, nudger=writer) as conn:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            with db.transaction(conn):
                notify.publish_tx(conn, notify.Event("items", "item.created", "1", 1, ()))
            arrived.wait(5)
            found.append(time.monotonic() - began)
            arrived.clear()
            time.sleep(0.05)
    stop.set()
    writer.stop()
    hub.stop()
    nudger.stop()
    return found


def run_fleet(url: str, listeners: int, senders: int) -> None:
    """Fork processes that listen, some of them with a busy sender, until a line arrives."""
    children = []
    for n in range(listeners):
        if (child := os.fork()) == 0:
            run_process(url, is_sender=n < senders)
        children.append(child)
    time.sleep(2)
    print("ready", flush=True)
    sys.stdin.readline()
    for child in children:
        os.kill(child, signal.SIGKILL)


def run_process(url: str, is_sender: bool) -> NoReturn:
    stop = threading.Event()
    nudger = notify.Nudger(lambda: db.connect(url))
    listener = notify.Listener(["e"], nudger=nudger)
    conn = db.connect(url)
    listener.open()
    listener.attach(conn)
    nudger.start()
    if is_sender:
        threading.Thread(target=send, args=(nudger, stop), daemon=True).start()
    rest(listener, conn, stop)
    raise SystemExit


def rest(listener: notify.Listener, conn: db.Connection, stop: threading.Event) -> None:
    while not stop.is_set():  # until the server stops
        listener.rest(conn, 1.0)
        listener.clear()


def send(nudger: notify.Nudger, stop: threading.Event) -> None:
    while not stop.wait(0.005):
        nudger.nudge("e")


def used(parent: int) -> float:
    """Return the seconds of processor time of a process and its children."""
    shown = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True)
    return sum(map(cpu, [parent, *map(int, shown.stdout.split())]))


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
