"""Where and as whom PostgreSQL runs. It refuses to be root: then three ways are tried in turn.

A user namespace in which we are nobody; user nobody itself; user nobody with a copy of all it needs
in a folder of its own under /var/tmp, the stage, from which the data comes home at the stop.
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
TICK = 0.005  # seconds between two looks at postmaster.pid


@dataclass(frozen=True, slots=True)
class LaunchStrategy:
    """How PostgreSQL's programs are run. user: as `keeper` takes it. owner: of the data, "" = as it
    is. home: the folder that holds `pg`. lock: a descriptor that all programs inherit.
    """

    mode: str
    user: str
    owner: str
    binaries: Binaries
    home: Path
    lock: int

    @property
    def pg(self) -> Path:
        """PostgreSQL's data."""
        return self.home / "pg"

    def start(self, program: str, *arguments: str, output: int | IO[bytes]) -> GuardedProcess:
        """Start one of PostgreSQL's programs; it ends when the keeper's stdin is closed."""
        code = (files(__package__ or "") / "process_guard.py").read_text("utf-8")
        command = [str(self.binaries.folder / program), *arguments]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, self.user, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the starter, which then stops us in its order
            pass_fds=[self.lock],
            cwd="/",
            # No PG* variable of the caller, messages in English.
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
        )

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs to its end. Raises Unavailable F422."""
        with self.start(program, *arguments, output=subprocess.PIPE) as process:
            said = process.stdout.read() if process.stdout else b""
        if process.returncode != 0:
            raise launch_error(program, said.decode("utf-8", "replace"))

    def prepare(self) -> None:
        """Try it, and give the data to its user. Raises Unavailable F422."""
        look = 'cd "$0" && exec "$1" --version'
        program = str(self.binaries.folder / "postgres")
        self.run("/bin/sh", "-c", look, str(self.home), program)
        self._chown(self.pg)

    def _chown(self, path: Path) -> None:
        """Make a file or folder of our own the user's. Raises Unavailable F422."""
        if self.owner and path.exists():
            command = ["chown", "-hR", self.owner, str(path)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise launch_error("chown", done.stderr)

    def initialise(self, password: str) -> None:
        """Run initdb where there is no data. A crash leaves pg.new, which the next start removes.

        Letters follow the rules of UTF-8, PostgreSQL's own where it has them.
        """
        if self.pg.exists():
            return
        new, secret = self.home / "pg.new", self.home / "pg.password"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(0o700)
        write_private(secret, password + "\n")
        rules = ["--locale=C.UTF-8"]
        if self.binaries.major >= 17:
            rules = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        common = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]
        try:
            self._chown(new)
            self._chown(secret)
            self.run("initdb", f"--pgdata={new}", f"--pwfile={secret}", *common, *rules)
        finally:
            secret.unlink()
        new.rename(self.pg)

    def wait_ready(self, server: GuardedProcess, log: Path) -> None:
        """Wait until postmaster.pid says "ready" (its 8th line, as pg_ctl reads it).

        Raises Unavailable F422.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while self._state() != "ready":
            if server.poll() is not None or time.monotonic() > deadline:
                raise launch_error("postgres", log.read_text("utf-8", "replace"))
            time.sleep(TICK)  # PostgreSQL only writes a file; pg_ctl polls it as well

    def _state(self) -> str:
        try:
            lines = (self.pg / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return ""
        return lines[7].strip() if len(lines) > 7 else ""


GuardedProcess = subprocess.Popen[bytes]


def launch_error(program: str, said: str) -> Unavailable:
    """The error of a program that ended, with the last of what it said."""
    return Unavailable(f"{Path(program).name} failed: {said.strip()[-800:]}", code="F422")


def find_strategy(data: Path, binaries: Binaries, lock: int) -> LaunchStrategy:
    """The best place that works here. Raises Unavailable F421 when none does."""
    if os.geteuid() != 0:
        return LaunchStrategy("direct", "", "", binaries, data, lock)
    refusals = []
    for place in _root_strategies(data, binaries, lock):
        try:
            place.prepare()
            return place
        except Unavailable as err:
            refusals.append(f"{place.mode}: {err.message.splitlines()[-1]}")
    raise Unavailable(
        "PostgreSQL cannot run here as root (" + "; ".join(refusals) + ")",
        code="F421",
        hint="run as another user, or set FORGE_DATABASE_URL to a server that runs",
    )


def _root_strategies(data: Path, binaries: Binaries, lock: int) -> Iterator[LaunchStrategy]:
    yield LaunchStrategy("namespace", "namespace", "0:0", binaries, data, lock)
    yield LaunchStrategy("nobody", NOBODY, NOBODY, binaries, data, lock)
    stage = _stage(data)
    yield LaunchStrategy("staged", NOBODY, NOBODY, binaries, stage, lock)
    copied = Binaries(_copy_programs(binaries.folder, stage / "install"), binaries.major)
    yield LaunchStrategy("staged", NOBODY, NOBODY, copied, stage, lock)


def _stage(data: Path) -> Path:
    """A folder of its own with a copy of the data; the note is there before it is."""
    stage = STAGES / f"forge-postgres-{os.urandom(8).hex()}"
    (data / "stage").write_text(str(stage))
    stage.mkdir()
    stage.chmod(0o711)
    if (data / "pg").exists():
        shutil.copytree(data / "pg", stage / "pg", symlinks=True)
    return stage


def _copy_programs(bin: Path, target: Path) -> Path:
    """Copy a wheel's package, and the folder of libraries that lies beside it."""
    package = bin.parents[1]
    for folder in (package, package.with_name(package.name + ".libs")):
        if folder.is_dir():
            shutil.copytree(folder, target / folder.name, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", target], check=True)
    return target / bin.relative_to(package.parent)


def collect_data(data: Path) -> None:
    """Bring the data of a stage home and remove the stage, also one that a killed run left behind.

    No server may run in it. Every step may be interrupted and done again.
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
    """Write a file of mode 0600, from its first byte on."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
