"""`forge-min dev` as a person runs it: a process, a new project, files saved as editors do it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import forge_min
import pytest
from forge_min.testing import TestDatabase

from artifact_runner import Process, free_port
from person import Page, Person

DEADLINE = 30.0  # seconds
SOURCES = str(Path(forge_min.__file__).parents[1])


def clean_environment(**more: str) -> dict[str, str]:
    """This process's, without what would configure a project."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("FORGE_", "DATABASE_URL"))}
    if "FORGE_IMPL" in os.environ:
        environ["FORGE_IMPL"] = os.environ["FORGE_IMPL"]
    return {**environ, "PYTHONPATH": SOURCES, "FORGE_LOG_FORMAT": "text", **more}


def command(*words: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command of forge-min to its end."""
    return subprocess.run(
        [sys.executable, "-m", "forge_min", *words],
        cwd=cwd, env=clean_environment(**environ), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


class Dev:
    """The project at `root` in development, on this database or on its own."""

    def __init__(self, root: Path, **environ: str) -> None:
        self.root, self.environ = root, environ
        self.port, self.admin = free_port(), free_port()
        self.process: Process | None = None

    def start(self, argv: list[str] | None = None, **more: str) -> Process:
        """Begin; returns when something answers. argv: another command."""
        ports = {"FORGE_SERVER_PORT": str(self.port), "FORGE_ADMIN_PORT": str(self.admin)}
        environ = clean_environment(**{**ports, **self.environ, **more})
        argv = argv or [sys.executable, "-m", "forge_min", "--project", str(self.root), "dev"]
        self.process = Process(argv, environ, self.root.parent / "dev.log")
        self.process.wait_for(lambda: self.get("/").status > 0, "an answer")
        return self.process

    @property
    def log(self) -> str:
        """What the terminal shows."""
        assert self.process is not None
        return self.process.log

    def get(self, path: str = "/") -> Page:
        """A page, as a browser asks for it; its status is 0 where nobody answers."""
        try:
            return Person(self.port).get(path)
        except OSError:
            return Page(0, HTTPMessage(), b"")

    def save(self, name: str, change: Callable[[str], str] | str) -> None:
        """As most editors do: beside, and then in its place."""
        path = self.root / name
        text = change if isinstance(change, str) else change(path.read_text())
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(text)
        beside.replace(path)

    def until(self, true: Callable[[], Any], what: str = "it") -> Any:
        """What it gives, once it is true."""
        end = time.monotonic() + DEADLINE
        while not (value := true()):
            assert self.process is not None and self.process.popen.poll() is None, self.log
            assert time.monotonic() < end, f"{what} did not come true\n{self.log[-3000:]}"
            time.sleep(0.01)
        return value

    def shows(self, text: str, path: str = "/") -> Page:
        """The page, once it has this text."""
        return self.until(
            lambda: page if text in (page := self.get(path)).body.decode() else None, text
        )

    def says(self, pattern: str) -> re.Match[str]:
        """What the terminal shows, once it does."""
        return self.until(lambda: re.search(pattern, self.log, re.M), pattern)

    def pids(self) -> list[int]:
        """The processes of this project: of dev, and of its database."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = (
                    (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                if str(self.root) in line and str(os.getpid()) != place.name:
                    found.append(int(place.name))
        return found

    def interrupt(self) -> int:
        """Ctrl-C; the exit code. What the terminal showed is printed where it is not 0."""
        assert self.process is not None
        self.process.popen.send_signal(signal.SIGINT)
        code = self.process.popen.wait(DEADLINE)
        if code:
            print(self.log[-5000:])
        return code

    def stop(self) -> None:
        """End what still runs. Idempotent."""
        if self.process is not None:
            self.process.stop()


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `init shop` makes; do not change it."""
    folder = tmp_path_factory.mktemp("new")
    done = command("init", "shop", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "shop"


@pytest.fixture
def new_dev(new_project: Path, tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    """Makes a project in development; it does not run yet."""
    made: list[Dev] = []

    def make(**environ: str) -> Dev:
        root = Path(shutil.copytree(new_project, tmp_path / f"dev{len(made)}" / "shop"))
        made.append(Dev(root, **environ))
        return made[-1]

    yield make
    for dev in made:
        dev.stop()


@pytest.fixture
def stopped(fresh_database: TestDatabase, new_dev: Callable[..., Dev]) -> Iterator[Dev]:
    """On a database of the test's own; it does not run yet."""
    made = new_dev(
        FORGE_DATABASE_URL=fresh_database.app_url,
        FORGE_DATABASE_MIGRATE_URL=fresh_database.owner_url,
    )
    yield made
    made.stop()  # before its database goes


@pytest.fixture
def dev(stopped: Dev) -> Dev:
    """It runs."""
    stopped.start()
    stopped.shows("<h1>shop</h1>")
    return stopped
