"""The parent process of an embedded PostgreSQL: a program of its own, run with `python -I -S -c`.

It becomes the right user, runs initdb once, starts postgres, and stops it when its standard input
ends: that happens when the starter calls stop() and also when the starter is killed. If this
process itself is killed, the kernel sends postgres the signal for a fast shutdown.

Only the standard library, and nothing of forge_min, may be imported here.
Input: its argument is a Task as JSON; the first line of standard input is the superuser's password.
Output: one line of JSON, {"ready": true}, {"refused": why} (try another mode) or {"failed": why}.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE_NEWUSER = 0x10000000  # unshare(2)
PR_SET_PDEATHSIG = 1  # prctl(2)
NOBODY = 65534
STAGES = "/var/tmp"
TICK = 0.005  # seconds between two looks at postmaster.pid


class Refused(Exception):
    """This mode is not possible on this machine."""


class Failed(Exception):
    """PostgreSQL itself did not start."""


def main(task: dict[str, Any]) -> int:
    """Run the server until standard input ends; the exit status is 0 after an orderly stop."""
    data = Path(task["data"])
    password = sys.stdin.readline().rstrip("\n")
    children = watch_signals()
    try:
        unstage(data)
        place = prepare(task["mode"], data, Path(task["bin"]))
        initialise(place, task["initdb"], password)
        server = launch(place, data, task)
        try:
            wait_ready(server, place.pg, children, data)
            say({"ready": True})
            wait_end(server, children)
        finally:
            stop(server, task["shutdown"])
            unstage(data)
    except Refused as err:
        say({"refused": str(err)})
        return 3
    except Failed as err:
        say({"failed": str(err)})
        return 4
    return 0


def say(answer: dict[str, object]) -> None:
    """Give the starter its one line; from then on nobody may be reading."""
    try:
        print(json.dumps(answer), flush=True)
    except BrokenPipeError:
        pass
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


# -- becoming somebody who is not root
# ---------------------------------------------------------------


class Place:
    """Where the server runs: programs, data folder, and what its processes do before exec."""

    def __init__(self, bin: Path, pg: Path, become: Callable[[], None] = lambda: None) -> None:
        self.bin, self.pg, self.become = bin, pg, become
        self.owner: tuple[int, int] | None = None


def prepare(mode: str, data: Path, bin: Path) -> Place:
    """Make `mode` true, or raise Refused."""
    if mode == "direct":
        return Place(bin, data / "pg")
    if mode == "namespace":
        own(data / "pg", (0, 0))
        enter_namespace()
        if not (os.access(bin / "postgres", os.X_OK) and os.access(data, os.W_OK | os.X_OK)):
            raise Refused("the data folder cannot be reached without root's rights")
        return Place(bin, data / "pg")
    uid, gid = nobody()
    if mode == "nobody":
        if not reachable(uid, gid, bin / "postgres", data):
            raise Refused("user nobody cannot reach the data folder or PostgreSQL's programs")
        place = Place(bin, data / "pg", lambda: drop(uid, gid))
    else:
        place = stage(data, bin, uid, gid)
    own(place.pg, (uid, gid))
    place.owner = (uid, gid)
    return place


def enter_namespace() -> None:
    """Become user 65534 of a new user namespace: the same files, and root for nobody (man 7
    user_namespaces).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise Refused(f"user namespaces: {os.strerror(ctypes.get_errno())}")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} 0 1"),
        ("gid_map", f"{NOBODY} 0 1"),
    ):
        try:
            Path("/proc/self", name).write_text(text)
        except OSError as err:
            raise Refused(f"user namespaces: {name}: {err.strerror}") from err


def nobody() -> tuple[int, int]:
    """The user and group ids of `nobody`."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise Refused("there is no user nobody") from None
    return entry.pw_uid, entry.pw_gid


def drop(uid: int, gid: int) -> None:
    """Become that user, for good."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def reachable(uid: int, gid: int, program: Path, folder: Path) -> bool:
    """Whether that user could run `program` and enter `folder`; asked by a child that became
    them.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            drop(uid, gid)
            status = 0 if os.access(program, os.X_OK) and os.access(folder, os.X_OK) else 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def own(pg: Path, ids: tuple[int, int]) -> None:
    """Give our own data folder to that user; nothing happens when it is theirs."""
    if os.geteuid() != 0 or not pg.exists() or (pg.stat().st_uid, pg.stat().st_gid) == ids:
        return
    try:
        for folder, _, names in os.walk(pg, topdown=False):
            for path in [*(os.path.join(folder, name) for name in names), folder]:
                os.chown(path, *ids, follow_symlinks=False)
    except OSError as err:
        raise Refused(f"chown: {err.strerror}") from err


# -- the third choice: a folder under /var/tmp
# ---------------------------------------------------------


def stage(data: Path, bin: Path, uid: int, gid: int) -> Place:
    """Copy what user nobody needs to a folder of its own; `unstage` brings the data back."""
    folder = Path(tempfile.mkdtemp(prefix="forge-postgres-", dir=STAGES))
    (data / "stage").write_text(str(folder))
    os.chmod(folder, 0o711)
    if not reachable(uid, gid, bin / "postgres", folder):
        bin = copy_programs(bin, folder / "install")
    if not reachable(uid, gid, bin / "postgres", folder):
        shutil.rmtree(folder)
        (data / "stage").unlink()
        raise Refused(f"user nobody cannot run programs under {STAGES}")
    if (data / "pg").exists():
        shutil.copytree(data / "pg", folder / "pg", symlinks=True)
    return Place(bin, folder / "pg", lambda: drop(uid, gid))


def copy_programs(bin: Path, target: Path) -> Path:
    """Copy an installation, and the folder of libraries that a wheel puts beside its package."""
    unused = shutil.ignore_patterns("*.a", "pgxs", "include", "doc", "__pycache__")
    root, package = bin.parent, bin.parents[1]
    copy = target / package.name / root.name
    shutil.copytree(root, copy, symlinks=True, ignore=unused)
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    for folder in (target, copy.parent, copy):
        os.chmod(folder, 0o755)
    return copy / "bin"


def unstage(data: Path) -> None:
    """Bring the data of a stage home and remove the stage; also one that a killed run left
    behind.
    """
    note = data / "stage"
    if not note.exists():
        return
    folder = Path(note.read_text())
    if (folder / "pg").exists():
        shutil.rmtree(data / "pg.new", ignore_errors=True)
        shutil.copytree(folder / "pg", data / "pg.new", symlinks=True)
        own(data / "pg.new", (0, 0))
        if (data / "pg").exists():
            (data / "pg").rename(data / "pg.old")
        (data / "pg.new").rename(data / "pg")
    if folder.parent == Path(STAGES):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(data / "pg.old", ignore_errors=True)
    note.unlink()


# -- PostgreSQL
# ---------------------------------------------------------------------------------------


def initialise(place: Place, arguments: list[list[str]], password: str) -> None:
    """Run initdb where there is no data yet. A crash leaves pg.new, which the next start
    removes.
    """
    if place.pg.exists():
        return
    new = place.pg.with_name("pg.new")
    shutil.rmtree(new, ignore_errors=True)

    def before_initdb() -> None:
        place.become()
        give_input(password)

    said = ""
    for attempt in arguments:
        new.mkdir(0o700)
        if place.owner:
            os.chown(new, *place.owner)
        done = subprocess.run(
            [place.bin / "initdb", "-D", new, "--pwfile=/dev/stdin", *attempt],
            preexec_fn=before_initdb,
            capture_output=True,
            stdin=None,
            cwd="/",
            env=environment(),
        )
        if done.returncode == 0:
            new.rename(place.pg)
            return
        said = done.stderr.decode("utf-8", "replace").strip()
        shutil.rmtree(new, ignore_errors=True)
    raise Failed(f"initdb: {said[-500:]}")


def give_input(text: str) -> None:
    """Make `text` the standard input. In the child, so that /dev/stdin belongs to its user."""
    reader, writer = os.pipe()
    os.write(writer, text.encode() + b"\n")
    os.close(writer)
    os.dup2(reader, 0)


def environment() -> dict[str, str]:
    """Only what PostgreSQL needs: no PG* variable of the caller, messages in English."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def launch(place: Place, data: Path, task: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start postgres. The lock's descriptor goes to it, so the folder stays locked while it
    lives.
    """
    # SAFETY: whoever holds the lock knows that no server runs on this folder, so the file is stale.
    # PostgreSQL would believe it where another process has the number by now.
    (place.pg / "postmaster.pid").unlink(missing_ok=True)
    log = data / "server.log"
    if log.exists():
        log.replace(data / "server.log.1")
    settings = [
        part for name, value in task["settings"].items() for part in ("-c", f"{name}={value}")
    ]

    def before_postgres() -> None:
        place.become()
        end_with_parent()

    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as out:
        return subprocess.Popen(
            [place.bin / "postgres", "-D", place.pg, *settings],
            preexec_fn=before_postgres,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            env=environment(),
            pass_fds=[task["lock"]],
        )


def end_with_parent() -> None:
    """Ask the kernel for SIGINT, a fast shutdown, when the supervisor dies. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGINT))


def watch_signals() -> int:
    """A descriptor that becomes readable when a child ends or somebody asks us to."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reader


def wait_ready(server: subprocess.Popen[bytes], pg: Path, signals: int, data: Path) -> None:
    """Return when postmaster.pid says "ready" (its 8th line, as pg_ctl reads it)."""
    while server.poll() is None:
        try:
            lines = (pg / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            lines = []
        if len(lines) >= 8 and lines[7].strip() == "ready":
            return
        if select.select([0], [], [], TICK)[0]:
            return  # the starter is gone: main goes on to the stop
    said = (data / "server.log").read_text("utf-8", "replace").strip()
    raise Failed(said[-800:])


def wait_end(server: subprocess.Popen[bytes], signals: int) -> None:
    """Return when the starter lets go, a signal asks for the end, or postgres has ended."""
    while server.poll() is None:
        ready = select.select([0, signals], [], [])[0]
        if 0 in ready and not os.read(0, 4096):
            return
        if signals in ready and set(os.read(signals, 512)) & {signal.SIGTERM, signal.SIGINT}:
            return


def stop(server: subprocess.Popen[bytes], deadline: float) -> None:
    """A fast shutdown; after `deadline` seconds an immediate one; then SIGKILL."""
    for number, seconds in (
        (signal.SIGINT, deadline),
        (signal.SIGQUIT, 5.0),
        (signal.SIGKILL, 5.0),
    ):
        if server.poll() is None:
            server.send_signal(number)
        until = time.monotonic() + seconds
        while server.poll() is None and time.monotonic() < until:
            time.sleep(TICK)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
