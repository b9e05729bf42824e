"""The same application under waitress, gunicorn (gthread) and granian: the stream is the body."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifact_runner import free_port
from waiting import wait_for

DEADLINE = 20.0
COMMANDS = {
    "waitress": ["-m", "waitress", "--host=127.0.0.1", "--port={port}", "--threads=6",
                 "--send-bytes=1", "--channel-timeout=1", "other_server:app"],
    "gunicorn": ["-m", "gunicorn", "-k", "gthread", "--threads=6", "-b", "127.0.0.1:{port}",
                 "other_server:app"],
    "granian": ["-m", "granian", "--interface=wsgi", "--host=127.0.0.1", "--port={port}",
                "--blocking-threads=6", "other_server:app"],
}  # fmt: skip


class Served:
    """The application on a port."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str) -> bytes:
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            conn.request(method, path)
            answer = conn.getresponse()
            assert answer.status == 200
            return answer.read()
        finally:
            conn.close()

    def stream(self, extra: str = "") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        sock.sendall(f"GET /events?topic=flights HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode())
        return sock


@pytest.fixture(params=COMMANDS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """A process of one such server."""
    pytest.importorskip(request.param)
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, *(word.format(port=port) for word in COMMANDS[request.param])]
    here = Path(__file__).parent
    environ = os.environ | {
        "PYTHONPATH": f"{here}:{here.parent}:{here.parents[1]}",
        "HOME": str(log.parent),
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=here, env=environ, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_for(lambda: answers(port) or process.poll() is not None, DEADLINE)
        assert process.poll() is None, log.read_text()
        yield Served(port)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with the workers that it started
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def read_until(sock: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        got = sock.recv(65536)
        assert got, data
        data += got
    return data


def test_streams_are_live_resume_and_give_their_place_back(served: Served) -> None:
    one, two = served.stream(), served.stream()
    for sock in (one, two):
        head = read_until(sock, b"retry: ")
        assert head.startswith(b"HTTP/1.1 200") and b"text/event-stream" in head
    assert served.ask("GET", "/active") == b"2"
    served.ask("POST", "/publish?id=first")
    data = read_until(one, b'"first"')
    read_until(two, b'"first"')
    read_until(one, b": hb")
    one.close()  # noticed at a heartbeat: these servers tell their application nothing
    wait_for(lambda: served.ask("GET", "/active") == b"1", DEADLINE)
    served.ask("POST", "/publish?id=second")
    read_until(two, b'"second"')
    found = re.search(rb"id: (\S+)", data)
    assert found
    again = served.stream(f"Last-Event-ID: {found[1].decode()}\r\n")
    resumed = read_until(again, b'"second"')
    assert b"refresh" not in resumed and b'"first"' not in resumed
    for sock in (again, two):
        sock.close()
    wait_for(lambda: served.ask("GET", "/active") == b"0", DEADLINE)
