"""What the admin port answers before there is an admin server."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from forge_min.config import load
from forge_min.ops.early import Early, answering
from forge_min.ops.project import Project


def project(root: Path, **admin: object) -> Project:
    """One without code, whose admin server has these settings."""
    environ = {f"FORGE_ADMIN_{name.upper()}": str(value) for name, value in admin.items()}
    return Project(root, load(root, environ))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def early() -> Iterator[tuple[Early, int]]:
    """One on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    answers = Early(listener, b'{"status": "ok"}')
    try:
        yield answers, listener.getsockname()[1]
    finally:
        answers.close()


def ask(port: int, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    """Its answer, on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        client.request(method, path)  # may fail: the test may have closed the listener
        answer = client.getresponse()
        return answer, answer.read()


def test_it_lives_and_is_not_ready() -> None:
    with early() as (_, port):
        for path in ("/healthz", "/healthz?x=1"):
            answer, body = ask(port, path)
            assert answer.status == 200 and json.loads(body) == {"status": "ok"}
            assert answer.headers["Content-Type"] == "application/json"
        answer, body = ask(port, "/healthz", "HEAD")
        assert (answer.status, body, answer.headers["Content-Length"]) == (200, b"", "16")
        for method, path in (("GET", "/readyz"), ("GET", "/healthzz"), ("POST", "/healthz")):
            answer, body = ask(port, path, method)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert b"starting" in body
        for path in ("/readyz", "/readyz?x=1"):
            answer, body = ask(port, path)
            assert answer.headers["Content-Type"] == "application/json"
            assert json.loads(body) == {"ready": False, "reasons": {"server": "starting"}}


@pytest.mark.parametrize(
    "said", [b"", b"G", b"\r\n\r\n", b"\0" * 9000, b"GET /healthz HTTP/1.1\r\n"]
)
def test_who_says_nothing_useful_keeps_nobody_out(said: bytes) -> None:
    with early() as (_, port), ExitStack() as stack:
        for _ in range(3):
            other = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            other.sendall(said)
        assert ask(port, "/healthz")[0].status == 200


def test_who_vanishes_ends_nothing() -> None:
    with early() as (_, port):
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert ask(port, "/healthz")[0].status == 200


def test_the_socket_is_handed_over_and_nobody_is_refused() -> None:
    with early() as (answers, port):
        assert ask(port, "/healthz")[0].status == 200
        seen: list[int] = []
        refused: list[OSError] = []
        done = threading.Event()

        def probe() -> None:
            while not done.is_set():
                try:
                    seen.append(ask(port, "/healthz")[0].status)
                except OSError as err:
                    refused.append(err)

        threads = [threading.Thread(target=probe) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        listener = answers.hand_over()
        listener.settimeout(10)
        assert "admin-early" not in {t.name for t in threading.enumerate()}
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            client, _ = listener.accept()
            with client:
                client.settimeout(10)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.recv(1000)
                client.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        done.set()
        listener.close()
        for thread in threads:
            thread.join(30)
        assert {200, 204} == set(seen)
        # The last of each thread may find the listener closed by this test.
        assert len(refused) <= len(threads)


def test_without_a_hand_over_the_port_is_free_again() -> None:
    with early() as (answers, port):
        pass
    answers.close()
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/healthz")


def test_it_knows_what_was_built(tmp_path: Path) -> None:
    (tmp_path / "build-info.json").write_text('{"version": "7.1", "commit": "abc", "date": "now"}')
    port = free_port()
    with answering(project(tmp_path, port=port)) as answers:
        assert answers is not None
        body = json.loads(ask(port, "/healthz")[1])
    assert {**body, "impl": "c"} == {
        "status": "ok", "version": "7.1", "commit": "abc", "built": "now", "impl": "c",
    }  # fmt: skip


@pytest.mark.parametrize(
    "settings", [{"enabled": "false"}, {"host": "0.0.0.0"}, {"host": "192.0.2.1", "token": "x"}]
)
def test_there_is_none_where_the_admin_server_must_speak(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with answering(project(tmp_path, port=free_port(), **settings)) as answers:
        assert answers is None


def test_a_port_in_use_is_left_to_the_admin_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with answering(project(tmp_path, port=taken.getsockname()[1])) as answers:
            assert answers is None


def test_a_worker_answers_only_where_it_was_told_to(tmp_path: Path) -> None:
    with answering(project(tmp_path), worker=True) as answers:
        assert answers is None
    port = free_port()
    with answering(project(tmp_path, port=port), worker=True) as answers:
        assert answers is not None and ask(port, "/healthz")[0].status == 200


# Python with the artifact and its command, where http.server is not there before a file is.
HELD = """
import os, runpy, sys, time
class Held:
    def find_spec(self, name, path=None, target=None):
        if name == "http.server":
            sys.meta_path.remove(self)
            while not os.path.exists(os.environ["GO"]):
                time.sleep(0.01)
sys.meta_path.insert(0, Held())
while not sys.argv[0].endswith(".pyz"):
    del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.thorough
@pytest.mark.db
@pytest.mark.parametrize("command", ["serve", "serve --processes 2", "worker"])
def test_a_process_lives_before_it_has_loaded_what_it_serves_with(
    site: Any, tmp_path: Path, command: str
) -> None:
    assert site.run("migrate", "up").returncode == 0
    go = tmp_path / "go"
    process = site.start_as([sys.executable, "-I", "-S", "-c", HELD], *command.split(), GO=str(go))
    process.wait_for(lambda: site.status(site.admin, "/healthz") == 200, "the early answer")
    early = json.loads(site.ask("GET", "/healthz", port=site.admin)[2])
    assert site.status(site.admin, "/readyz") == 503 and site.status(site.port, "/") == 0
    with socket.create_connection(("127.0.0.1", site.admin), 10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n")  # and no more of it
        go.touch()
        process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready")
    late = json.loads(site.ask("GET", "/healthz", port=site.admin)[2])
    assert late == early and late["status"] == "ok" and late["impl"] == "c"
    assert process.stop() == 0, process.log


@pytest.mark.db
def test_who_is_told_to_end_before_all_is_loaded_ends(site: Any, tmp_path: Path) -> None:
    process = site.start_as(
        [sys.executable, "-I", "-S", "-c", HELD], "serve", GO=str(tmp_path / "never")
    )
    process.wait_for(lambda: site.status(site.admin, "/healthz") == 200, "the early answer")
    process.popen.terminate()
    assert process.popen.wait(30) == -signal.SIGTERM
