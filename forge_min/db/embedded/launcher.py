"""Launch strategies for PostgreSQL, which does not run as root.

As root three strategies are tried in turn: a user namespace in which this user is 65534; user 65534
itself; user 65534 with a copy of the data, and if necessary of the programs, in a folder under
/var/tmp, the stage. At the stop the data is copied back from it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ...errors import Unavailable
from ...resources import files
from .binaries import Binaries

STAGES = Path("/var/tmp")
NOBODY = "65534:65534"
START_TIMEOUT = 60.0  # seconds
TICK = 0.005  # seconds between two reads of postmaster.pid


@dataclass(frozen=True, slots=True)
class LaunchStrategy:
    """How to run PostgreSQL's programs.

    mode: name of the strategy: "direct", "namespace", "nobody" or "staged".
    user: first argument of process_guard.py.
    owner: "uid:gid" to own the data; "": unchanged.
    binaries: the programs.
    home: folder that contains `pg`.
    lock: file descriptor that all programs inherit.
    """

    mode: str
    user: str
    owner: str
    binaries: Binaries
    home: Path
    lock: int

    @property
    def pg(self) -> Path:
        """PostgreSQL's data folder."""
        return self.home / "pg"

    def start(self, program: str, *arguments: str, output: int | IO[bytes]) -> GuardedProcess:
        """Start a program of PostgreSQL; it ends when the stdin of its process guard is closed."""
        code = (files(__package__ or "") / "process_guard.py").read_text("utf-8")
        command = [str(self.binaries.folder / program), *arguments]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, self.user, *command],
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
        self.run("/bin/sh", "-c", check, str(self.home), program)
        self._chown(self.pg)

    def _chown(self, path: Path) -> None:
        if self.owner and path.exists():
            command = ["chown", "-hR", self.owner, str(path)]
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
        new, secret = self.home / "pg.new", self.home / "pg.password"
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
        return lines[7].strip() if len(lines) > 7 else ""


GuardedProcess = subprocess.Popen[bytes]


def launch_error(program: str, output: str) -> Unavailable:
    """Return the error of a failed program, with the end of its output."""
    return Unavailable(f"{Path(program).name} failed: {output.strip()[-800:]}", code="F422")


def find_strategy(data: Path, binaries: Binaries, lock: int) -> LaunchStrategy:
    """Return the first strategy that works here, prepared. Raises Unavailable F421 if none does."""
    if os.geteuid() != 0:
        return LaunchStrategy("direct", "", "", binaries, data, lock)
    refusals = []
    for strategy in _root_strategies(data, binaries, lock):
        try:
            strategy.prepare()
            return strategy
        except Unavailable as err:
            refusals.append(f"{strategy.mode}: {err.message.splitlines()[-1]}")
    raise Unavailable(
        "PostgreSQL cannot run here as root (" + "; ".join(refusals) + ")",
        code="F421",
        hint="run as another user, or set FORGE_DATABASE_URL to the URL of a running server",
    )


def _root_strategies(data: Path, binaries: Binaries, lock: int) -> Iterator[LaunchStrategy]:
    yield LaunchStrategy("namespace", "namespace", "0:0", binaries, data, lock)
    yield LaunchStrategy("nobody", NOBODY, NOBODY, binaries, data, lock)
    stage = _stage(data)
    yield LaunchStrategy("staged", NOBODY, NOBODY, binaries, stage, lock)
    copied = Binaries(_copy_programs(binaries.folder, stage / "install"), binaries.major)
    yield LaunchStrategy("staged", NOBODY, NOBODY, copied, stage, lock)


def _stage(data: Path) -> Path:
    """Create a stage with a copy of the data; its path is recorded in `stage` first."""
    stage = STAGES / f"forge-postgres-{os.urandom(8).hex()}"
    (data / "stage").write_text(str(stage))
    stage.mkdir()
    stage.chmod(0o711)
    if (data / "pg").exists():
        shutil.copytree(data / "pg", stage / "pg", symlinks=True)
    return stage


def _copy_programs(bin: Path, target: Path) -> Path:
    """Copy a wheel's package and the folder of libraries beside it; return the new bin folder."""
    package = bin.parents[1]
    for folder in (package, package.with_name(package.name + ".libs")):
        if folder.is_dir():
            shutil.copytree(folder, target / folder.name, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", target], check=True)
    return target / bin.relative_to(package.parent)


def collect_data(data: Path) -> None:
    """Copy the data back from the stage, if any, and remove the stage, also after a killed run.

    No server may run in it. If a step is interrupted, the next call repeats it.
    """
    note = data / "stage"
    if not note.exists():
        return
    stage = Path(note.read_text())
    if stage.parent == STAGES:
        if (stage / "pg").exists():
            shutil.rmtree(data / "pg.new", ignore_errors=True)
            shutil.copytree(stage / "pg", data / "pg.new", symlinks=True)
            shutil.rmtree(data / "pg", ignore_errors=True)
            (data / "pg.new").rename(data / "pg")
            (stage / "pg").rename(stage / "home")
        shutil.rmtree(stage, ignore_errors=True)
    note.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a file that has mode 0600 from the beginning."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
