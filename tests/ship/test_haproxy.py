"""haproxy.cfg of `deploy`, with the real haproxy."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from forge_min.ship import deploy

from artifact_runner import free_port


class Echo(BaseHTTPRequestHandler):
    """Responds with the headers of the request."""

    def do_GET(self) -> None:
        body = str(self.headers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def balancer(project: Path, tmp_path: Path) -> Iterator[int]:
    """The port of haproxy before a server that responds with the headers it receives."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no haproxy (Debian: haproxy)")
    deploy(project, base="alpine", also=["haproxy"])
    port = free_port()
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        places = {"LISTEN": f"127.0.0.1:{port}", "HOST_A": host, "HOST_B": host}
        command = [program, "-db", "-f", str(project / "haproxy" / "haproxy.cfg")]
        with (tmp_path / "haproxy.log").open("wb") as log:
            process = subprocess.Popen(command, env=os.environ | places, stdout=log, stderr=log)
        try:
            yield port
        finally:
            process.kill()
            process.wait()
            server.shutdown()


def received(port: int, headers: dict[str, str]) -> list[str]:
    """The forwarding headers that the server receives, sorted."""
    deadline = time.monotonic() + 20
    while True:
        conn = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            conn.request("GET", "/", headers=headers)
            response = conn.getresponse()
            body = response.read().decode()
            if response.status == 200:
                return sorted(line for line in body.lower().split("\n") if "forwarded" in line)
        except OSError:
            if time.monotonic() > deadline:
                raise
        finally:
            conn.close()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_forwarding_headers_of_clients_are_replaced(balancer: int) -> None:
    forged = {
        "Host": "shop.example:8080",
        "Forwarded": "for=192.0.2.1;proto=https;host=evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
    }
    assert received(balancer, forged) == [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: shop.example:8080",
        "x-forwarded-proto: http",
    ]
