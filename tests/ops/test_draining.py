"""From SIGTERM to the end: load balancers see it first, and no request is refused."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from forge_min.testing import TestDatabase

from artifact_runner import DEADLINE, Process, Site, free_port

pytestmark = pytest.mark.db

LIST = "/api/v1/countries"


@pytest.mark.thorough
@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_port_stays_open_while_load_balancers_look_away(site: Site, processes: str) -> None:
    process = site.serve(
        FORGE_SERVER_DRAIN_DELAY="10m",
        FORGE_SERVER_PROCESSES=processes,
        FORGE_API_RATE_LIMIT='{default = "1/1h"}',  # which does not count for the probe
    )
    for _ in range(3):
        status, headers, body = site.ask("GET", "/readyz")
        assert (status, body) == (200, b"ready\n") and headers["cache-control"] == "no-store"
    assert site.ask("HEAD", "/readyz")[0] == 200
    process.popen.terminate()
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 503, "not ready")
    # Each connection is of one of the processes.
    process.wait_for(
        lambda: all(site.status(site.port, "/readyz") == 503 for _ in range(20)), "not ready here"
    )
    status, headers, body = site.ask("GET", "/readyz")
    assert (status, body) == (503, b"not ready\n") and headers["retry-after"] == "1"
    status, headers, _ = site.ask("GET", "/api/docs")
    assert status == 200 and headers["connection"] == "close"
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(DEADLINE) == 0, process.log


def test_the_path_is_the_projects_choice(site: Site) -> None:
    site.serve(FORGE_SERVER_READY_PATH="/up/now")
    assert site.status(site.port, "/up/now") == 200
    assert site.status(site.port, "/readyz") == 404


BALANCER = """
global
    log stdout format raw local0
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    retries 0
    option http-keep-alive
frontend site
    bind 127.0.0.1:{port}
    default_backend serves
backend serves
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 500ms fall 1 rise 1
{servers}
"""


@pytest.fixture
def balanced(
    artifact: Path, fresh_database: TestDatabase, tmp_path: Path
) -> Iterator[tuple[int, list[Site]]]:
    """The port of haproxy before two sites on one database, which are not started yet."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        pytest.skip("no haproxy (Debian: haproxy)")
    sites = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        sites.append(Site(artifact, fresh_database, folder))
    servers = "".join(f"    server s{site.port} 127.0.0.1:{site.port}\n" for site in sites)
    port = free_port()
    (tmp_path / "haproxy.cfg").write_text(BALANCER.format(port=port, servers=servers))
    with (tmp_path / "haproxy.log").open("wb") as log:
        command = [program, "-db", "-f", str(tmp_path / "haproxy.cfg")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield port, sites
    finally:
        process.kill()
        process.wait()
        for site in sites:
            site.stop()


def ask_steadily(port: int, seen: Counter[int | str], stop: threading.Event) -> None:
    """50 requests a second on one connection; a status, or what was raised."""
    conn, due = http.client.HTTPConnection("127.0.0.1", port, timeout=10), time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        due += 0.02
        try:
            conn.request("GET", LIST)
            response = conn.getresponse()
            response.read()
            seen[response.status] += 1
        except (OSError, http.client.HTTPException) as err:
            seen[repr(err)] += 1
            conn.close()
    conn.close()


@pytest.mark.thorough
def test_two_sites_behind_haproxy_restart_in_turn_and_no_request_fails(
    balanced: tuple[int, list[Site]],
) -> None:
    port, sites = balanced
    delay = {"FORGE_SERVER_DRAIN_DELAY": "2s"}
    processes: list[Process] = []
    for number, site in enumerate(sites):
        processes.append(site.serve(migrated=number > 0, **delay))
    deadline = time.monotonic() + DEADLINE
    while sites[0].status(port, LIST) != 200:  # haproxy has seen that they are ready
        assert time.monotonic() < deadline
    seen: Counter[int | str] = Counter()
    stop = threading.Event()
    clients = [threading.Thread(target=ask_steadily, args=(port, seen, stop)) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(2):
            for number, site in enumerate(sites):
                asked = seen[200]
                processes[number].wait_for(lambda asked=asked: seen[200] > asked + 200, "requests")
                assert processes[number].stop() == 0, processes[number].log
                processes[number] = site.serve(migrated=True, **delay)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert set(seen) == {200}, seen
