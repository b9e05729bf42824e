"""Launch strategies for PostgreSQL, which does not run as root.

As root two strategies are tried in turn: a user namespace in which this user is 65534; user 65534
itself, which keeps the right to enter every folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ...errors import Unavailable
from ...resources import files
from .binaries import Binaries

OWNERS = {"direct": "", "namespace": "0:0", "nobody": "65534:65534"}  # of the data, by mode
START_TIMEOUT = 60.0  # seconds
TICK = 0.005  # seconds between two reads of postmaster.pid


@dataclass(frozen=True, slots=True)
class LaunchStrategy:
    """How to run PostgreSQL's programs.

    mode: a key of OWNERS; the first argument of process_guard.py.
    binaries: the programs.
    data: folder that contains `pg`.
    lock: file descriptor that all programs inherit.
    """

    mode: str
    binaries: Binaries
    data: Path
    lock: int

    @property
    def pg(self) -> Path:
        """PostgreSQL's data folder."""
        return self.data / "pg"

    def start(self, program: str, *arguments: str, output: int | IO[bytes]) -> GuardedProcess:
        """Start a program of PostgreSQL; it ends when the stdin of its process guard is closed."""
        code = (files(__package__ or "") / "process_guard.py").read_text("utf-8")
        command = [str(self.binaries.folder / program), *arguments]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, self.mode, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C goes to the starter, which then stops the server
            pass_fds=[self.lock],
            cwd="/",
            # Without the caller's PG* variables, and with messages in English.
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
        )

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL to its end. Raises Unavailable F422 if it fails."""
        with self.start(program, *arguments, output=subprocess.PIPE) as process:
            output = process.stdout.read() if process.stdout else b""
        if process.returncode != 0:
            raise launch_error(program, output.decode("utf-8", "replace"))

    def prepare(self) -> None:
        """Check that the strategy works and change the owner of the data. Raises F422 if not."""
        check = 'cd "$0" && exec "$1" --version'
        program = str(self.binaries.folder / "postgres")
        self.run("/bin/sh", "-c", check, str(self.data), program)
        self._chown(self.pg)

    def _chown(self, path: Path) -> None:
        owner = OWNERS[self.mode]
        if owner and path.exists():
            command = ["chown", "-hR", owner, str(path)]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                raise launch_error("chown", result.stderr)

    def initialise(self, password: str, *, for_tests: bool) -> None:
        """Run initdb unless the data exists; a crash leaves pg.new, which the next start removes.

        password: of the superuser.
        for_tests: hash passwords once instead of 4,096 times; they are random.

        The locale is C.UTF-8, of PostgreSQL itself if it has one.
        """
        if self.pg.exists():
            return
        new = self.data / "pg.new"
        secret = self.data / "pg.password"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(0o700)
        write_private(secret, password + "\n")
        locale = ["--locale=C.UTF-8"]
        if self.binaries.major >= 17:
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        common = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]
        if self.binaries.major >= 16 and for_tests:
            common.append("--set=scram_iterations=1")
        try:
            self._chown(new)
            self._chown(secret)
            self.run("initdb", f"--pgdata={new}", f"--pwfile={secret}", *common, *locale)
        finally:
            secret.unlink()
        new.rename(self.pg)

    def wait_ready(self, server: GuardedProcess, log: Path) -> None:
        """Wait until line 8 of postmaster.pid is "ready", as pg_ctl does.

        Raises Unavailable F422 if the server ends, or after START_TIMEOUT.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while self._state() != "ready":
            if server.poll() is not None or time.monotonic() > deadline:
                raise launch_error("postgres", log.read_text("utf-8", "replace"))
            time.sleep(TICK)  # PostgreSQL only writes the file; pg_ctl polls it too

    def _state(self) -> str:
        try:
            lines = (self.pg / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return ""
        if len(lines) < 8:
            return ""
        return lines[7].strip()


GuardedProcess = subprocess.Popen[bytes]


def launch_error(program: str, output: str) -> Unavailable:
    """Return the error of a failed program, with the end of its output."""
    return Unavailable(f"{Path(program).name} failed: {output.strip()[-800:]}", code="F422")


def find_strategy(data: Path, binaries: Binaries, lock: int) -> LaunchStrategy:
    """Return the first strategy that works here, prepared. Raises Unavailable F421 if none does."""
    if os.geteuid() != 0:
        return LaunchStrategy("direct", binaries, data, lock)
    refusals = []
    for mode in ("namespace", "nobody"):
        strategy = LaunchStrategy(mode, binaries, data, lock)
        try:
            strategy.prepare()
            return strategy
        except Unavailable as err:
            refusals.append(f"{mode}: {err.message.splitlines()[-1]}")
    raise Unavailable(
        "PostgreSQL cannot run here as root (" + "; ".join(refusals) + ")",
        code="F421",
        hint="run as another user, or set FORGE_DATABASE_URL to the URL of a running server",
    )


def write_private(path: Path, text: str) -> None:
    """Write a file that has mode 0600 from the beginning."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
