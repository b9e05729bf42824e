"""The tutorial works as written: its files and commands are used, and its output is compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from artifact_runner import free_port

pytestmark = [pytest.mark.db, pytest.mark.slow]

DOCS = Path(__file__).parents[2] / "docs" / "develop"
PARTS = ("first-application.md", "permissions-and-rules.md")
MOST_SECONDS = 60.0  # until an output is as written: `dev` reloads, jobs run
DEV = "forge-min dev"
PASSWORD = "a long walk to the harbour"


class Command(NamedTuple):
    """A command and its output, as written."""

    line: str
    output: str


class File(NamedTuple):
    path: str
    text: str


def steps(page: str) -> Iterator[Command | File]:
    """The commands and files of a page, in their order."""
    for kind, body in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.M | re.S):
        first = body.partition("\n")[0]
        if kind == "console":
            for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
                line, _, output = part.partition("\n")
                yield Command(line, output.strip())
        elif match := re.fullmatch(r"# ([\w/]+\.\w+)", first):
            yield File(match[1], body)


def is_like(written: str, real: str) -> bool:
    """Whether output is as written; "…" stands for any text."""
    pattern = ".*".join(map(re.escape, written.split("…")))
    return not written or re.fullmatch(pattern, real.strip(), re.S) is not None


class Terminal:
    """A shell that a reader types into."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder, self.environ = folder, environ
        self.shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environ,
            text=True,
        )

    def run(self, line: str) -> str:
        """The output of a command."""
        assert self.shell.stdin and self.shell.stdout
        self.shell.stdin.write(
            f"{line} <<< '{PASSWORD}'\necho; echo END\n"
            if "--password" in line
            else f"{line} </dev/null\necho; echo END\n"
        )
        self.shell.stdin.flush()
        lines = []
        for read in self.shell.stdout:
            if read == "END\n":
                break
            lines.append(read)
        return "".join(lines)

    def close(self) -> None:
        self.shell.kill()
        self.shell.wait()
        assert self.shell.stdin and self.shell.stdout
        self.shell.stdin.close()
        self.shell.stdout.close()


def settle(log: Path) -> None:
    """Wait until `dev`, if it runs, has taken in a change, as a reader does who looks at it."""
    size = -1
    while (now := log.stat().st_size) != size:
        size = now
        time.sleep(1.5 if now else 0)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """In an empty folder, with the commands of this environment, and ports of its own."""
    scripts = str(Path(sys.executable).parent)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FORGE_")}
    environ |= {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "FORGE_SERVER_PORT": str(free_port()),
        "FORGE_ADMIN_PORT": str(free_port()),
        "FORGE_API_RATE_LIMIT": '{default = "1000000/1m"}',
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
    }  # fmt: skip
    opened = Terminal(tmp_path, environ)
    yield opened
    opened.close()


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_command_of_the_tutorial_prints_what_is_written(
    terminal: Terminal, tmp_path: Path
) -> None:
    written = [step for part in PARTS for step in steps((DOCS / part).read_text("utf-8"))]
    assert len(written) > 15
    port = terminal.environ["FORGE_SERVER_PORT"]
    log = (tmp_path / "dev.log").open("w")
    log_text = (tmp_path / "dev.log").read_text
    dev: subprocess.Popen[bytes] | None = None
    try:
        for step in written:
            if isinstance(step, File):
                path = tmp_path / "notes" / step.path
                path.parent.mkdir(exist_ok=True)
                path.write_text(step.text)
                settle(tmp_path / "dev.log")
            elif step.line == DEV:
                command = [sys.executable, "-m", "forge_min", "dev"]
                dev = subprocess.Popen(
                    command, cwd=tmp_path / "notes", env=terminal.environ, stdout=log, stderr=log
                )
            else:
                line = step.line.replace(":8000", f":{port}")
                deadline = time.monotonic() + MOST_SECONDS
                while not is_like(step.output, real := terminal.run(line)):
                    shown = log_text()[-2000:]
                    assert time.monotonic() < deadline, (
                        f"{line}\n{real}\n\nwritten:\n{step.output}\n{shown}"
                    )
                    assert "curl" in line or "jobs list" in line, f"{line}\n{real}\n\n{step.output}"
                    time.sleep(0.3)
                if "migrate diff" in line:
                    settle(tmp_path / "dev.log")
    finally:
        if dev is not None:
            dev.terminate()
            dev.wait()
        log.close()
