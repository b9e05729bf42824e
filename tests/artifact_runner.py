"""The built example as processes: started without site-packages, on a database of the test's
own.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forge_min.testing import TestDatabase

from building import build

EXAMPLE = Path(__file__).parents[1] / "examples" / "departures"
PYTHON = [sys.executable, "-X", "faulthandler", "-I", "-S"]
DEADLINE = 120.0  # seconds: no test that passes waits for it


def built_once(factory: pytest.TempPathFactory, project: Path) -> Path:
    """The zip of a copy of this project, built by the first worker of the run that asks."""
    place = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    made = place / f"built-{project.name}"
    with (place / f"{made.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            root = factory.mktemp("build") / project.name
            ignored = shutil.ignore_patterns("dist", "gen", "__pycache__")
            shutil.copytree(project, root, ignore=ignored)
            build(root, output=root / "dist" / f"{project.name}.pyz")
            (root / "dist").rename(made)
    return made / f"{project.name}.pyz"


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's zip."""
    return built_once(tmp_path_factory, EXAMPLE)


class Process:
    """One running command of the artifact. `log` has what it wrote so far."""

    def __init__(self, argv: list[str], environ: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as stream:
            self.popen = subprocess.Popen(argv, env=environ, stdout=stream, stderr=stream)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        """Until `done`, the deadline, or the process's end."""
        end = time.monotonic() + DEADLINE
        while not done():
            if self.popen.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{what} did not happen\n{self.log}")
            time.sleep(0.02)

    def stop(self) -> int:
        """SIGTERM; the exit code. What does not end is killed, and says where it was."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.popen.send_signal(signal.SIGABRT)
            self.popen.wait(DEADLINE)
            raise AssertionError(f"it did not stop\n{self.log}") from None


class Site:
    """The artifact with a database, free ports and an environment of its own."""

    def __init__(self, artifact: Path, database: TestDatabase | None, folder: Path) -> None:
        self.artifact = artifact
        self.folder = folder
        self.port, self.admin = free_port(), free_port()
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "FORGE_SERVER_PORT": str(self.port),
            "FORGE_ADMIN_PORT": str(self.admin),
            "FORGE_LOG_FORMAT": "text",  # as on a terminal
            "FORGE_SERVER_DRAIN_DELAY": "0s",  # no load balancer is there to see it
            "FORGE_API_RATE_LIMIT": '{default = "1000000/1m"}',  # tests ask more than people do
        }
        if database is not None:
            self.environ["FORGE_DATABASE_URL"] = database.app_url
            self.environ["FORGE_DATABASE_MIGRATE_URL"] = database.owner_url
        self._processes: list[Process] = []

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        return subprocess.run(
            [*PYTHON, str(self.artifact), *command],
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self, *command: str, **environ: str) -> Process:
        """A command that stays."""
        return self.start_as(PYTHON[:1], *command, **environ)

    def start_as(self, starter: list[str], *command: str, **environ: str) -> Process:
        """The same by a program that executes Python with the arguments that it gets."""
        log = self.folder / f"{len(self._processes)}.log"
        argv = [*starter, *PYTHON[1:], str(self.artifact), *command]
        process = Process(argv, self.environ | environ, log)
        self._processes.append(process)
        return process

    def serve(self, *arguments: str, migrated: bool = False, **environ: str) -> Process:
        """Migrated, and ready to answer. migrated: the database is."""
        if not migrated:
            done = self.run("migrate", "up")
            assert done.returncode == 0, done.stderr
        process = self.start("serve", *arguments, **environ)
        process.wait_for(lambda: self.status(self.admin, "/readyz") == 200, "ready")
        return process

    def status(self, port: int, path: str) -> int:
        """The status of a GET, 0 when nobody answers."""
        try:
            return self.ask("GET", path, port=port)[0]
        except OSError:
            return 0

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        port: int = 0,
        kept: http.client.HTTPConnection | None = None,
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body). kept: a connection that stays open."""
        conn = kept or http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=30)
        try:
            sent = {k.replace("_", "-"): v for k, v in headers.items()}
            if body is not None:
                sent["Content-Type"] = "application/json"
            conn.request(method, path, None if body is None else json.dumps(body), sent)
            answer = conn.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            if kept is None:
                conn.close()

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST that must succeed; the row."""
        status, _, answer = self.ask("POST", f"/api/v1/{path}", body)
        assert status == 201, answer
        row: dict[str, Any] = json.loads(answer)
        return row

    def stop(self) -> None:
        """End what still runs."""
        for process in self._processes:
            if process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait()


@pytest.fixture
def site(artifact: Path, fresh_database: TestDatabase, tmp_path: Path) -> Iterator[Site]:
    """The artifact on a fresh database."""
    made = Site(artifact, fresh_database, tmp_path)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def homeless(artifact: Path, tmp_path: Path) -> Iterator[Site]:
    """The artifact without a database."""
    made = Site(artifact, None, tmp_path)
    try:
        yield made
    finally:
        made.stop()


SLICE = 1_250  # ports of one worker of a test run, of which there may be eight
_ports = itertools.count(os.getpid())


def free_port() -> int:
    """A port that nobody has: below those that the kernel gives to others, and another one each
    time, in every process that tests.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    for number in _ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", 20_000 + worker * SLICE + number % SLICE))
            return int(probe.getsockname()[1])
    raise AssertionError("ports do not end")
