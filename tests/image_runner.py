"""buildah in chroot isolation with a store of its own, and images of it, run without a runtime."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

PATIENCE = 900  # seconds
# What a build needs on a machine without a container runtime of its own.
RUN = ["--isolation", "chroot", "--network", "host"]
LIMITS = ["--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:8192"]
# In a mount namespace: nothing of the image can be written, /tmp neither.
ROOM = """set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --rbind /sys "$1/sys"
root=$1 user=$2 cwd=$3; shift 3
exec chroot --userspec="$user" --groups= "$root" /usr/bin/env -i -C "$cwd" "$@"
"""

# A machine of its own but for the network, whose first process is systemd.
BOOT = """set -e
root=$1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for name in run tmp; do mount -t tmpfs tmpfs "$root/$name"; done
mount --rbind /dev "$root/dev"
exec chroot "$root" /usr/bin/env -i container=forge \\
  /usr/lib/systemd/systemd --unit=multi-user.target
"""
NAMESPACES = ["--mount", "--pid", "--cgroup", "--ipc", "--uts"]


def url(conninfo: str) -> str:
    """The same address as a URL."""
    to = conninfo_to_dict(conninfo)
    return f"postgresql://{to['user']}:{to['password']}@{to['host']}:{to['port']}/{to['dbname']}"


class Buildah:
    """A store of images in one folder."""

    def __init__(self, folder: Path) -> None:
        self._store = ["--root", str(folder / "root"), "--runroot", str(folder / "run")]
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, *arguments: str | Path, alone: bool = False) -> str:
        """What it prints. alone: in a network namespace that leads nowhere. An error is shown."""
        argv = ["buildah", *self._store, "--storage-driver", "vfs", *map(str, arguments)]
        argv = ["unshare", "--net", *argv] if alone else argv
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, (
            f"{shlex.join(argv)}\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
        )
        return done.stdout.strip()

    def build(self, context: Path, tag: str, *options: str, alone: bool = False) -> None:
        """An image in Docker's format: OCI's holds no HEALTHCHECK."""
        how = [*RUN, *LIMITS, "--format", "docker", "--tag", tag, *options]
        self("build", *how, context, alone=alone)

    def has(self, tag: str) -> bool:
        return tag in self("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()

    @contextmanager
    def mounted(self, tag: str) -> Iterator[Image]:
        """The image's files in a folder, and its configuration."""
        container = self("from", "--pull-never", tag)
        try:
            told = json.loads(self("inspect", "--type", "image", tag))
            yield Image(Path(self("mount", container)), told["Docker"]["config"])
        finally:
            self("rm", container)


@dataclass(frozen=True)
class Image:
    """An image's root, and its configuration as Docker names it."""

    root: Path
    config: Mapping[str, Any]

    def argv(self, command: Sequence[str], environ: Mapping[str, str]) -> list[str]:
        """Starts a command as the image's user, as process 1, on a root that is read-only."""
        said = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        said |= dict(entry.split("=", 1) for entry in self.config["Env"] or ())
        pairs = [f"{name}={value}" for name, value in {**said, **environ}.items()]
        place = [str(self.root), self.config["User"], self.config["WorkingDir"]]
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return [*own, "sh", "-c", ROOM, "sh", *place, *pairs, *command]

    def run(
        self, command: Sequence[str], environ: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        argv = self.argv(command, environ)
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)

    def entry(self, *command: str) -> list[str]:
        """What a container of it executes: its entrypoint, and these words or its own."""
        return [*self.config["Entrypoint"], *(command or self.config["Cmd"])]

    def added(self, base: Image) -> int:
        """Bytes of the files that it has and its base has not, or has otherwise."""
        own, others = self._files(), base._files()
        return sum(size for path, (size, when) in own.items() if others.get(path) != (size, when))

    def _files(self) -> dict[str, tuple[int, int]]:
        """path → (bytes, second of its last change)."""
        found = {str(path.relative_to(self.root)): path.lstat() for path in self.root.rglob("*")}
        files = {path: told for path, told in found.items() if not stat.S_ISDIR(told.st_mode)}
        return {path: (told.st_size, int(told.st_mtime)) for path, told in files.items()}


class Container:
    """A command of an image that stays, as `Image.argv` starts it."""

    def __init__(
        self, image: Image, command: list[str], environ: dict[str, str], log: Path
    ) -> None:
        self._image, self._log = image, log
        with log.open("wb") as stream:
            argv = image.argv(command, environ)
            self._popen = subprocess.Popen(argv, stdout=stream, stderr=stream)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def ended(self) -> bool:
        return self._popen.poll() is not None

    @property
    def pid(self) -> int:
        """Of its first process, seen from here."""
        parent = self._popen.pid
        return int(Path(f"/proc/{parent}/task/{parent}/children").read_text())

    def stop(self) -> int:
        """Sends what the image wants to be stopped with; the exit code."""
        if not self.ended:
            os.kill(self.pid, signal.Signals[self._image.config["StopSignal"]])
        return self._popen.wait(60)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()


class Machine:
    """systemd, running in an image's folder; its network is this machine's."""

    def __init__(self, root: Path, log: Path) -> None:
        own = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
        with log.open("wb") as stream:
            argv = [*own, "sh", "-c", BOOT, "sh", str(root)]
            self._popen = subprocess.Popen(argv, stdout=stream, stderr=stream)
        self._await_boot(log)

    def _await_boot(self, log: Path) -> None:
        end = time.monotonic() + 60
        while "running" not in (said := self("systemctl", "is-system-running", "--wait").stdout):
            if "degraded" in said:  # some unit of Debian's finds no such device here
                return
            assert time.monotonic() < end and self._popen.poll() is None, log.read_text()
            time.sleep(0.2)

    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]:
        """One command on it, to its end."""
        children = Path(f"/proc/{self._popen.pid}/task/{self._popen.pid}/children")
        into = ["nsenter", "--target", children.read_text().strip(), "--root", "--wd", *NAMESPACES]
        argv = [*into, "env", "-i", "PATH=/usr/bin:/usr/sbin", *command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)

    def stop(self) -> None:
        """As a machine is switched off; by force, where that takes long."""
        self("systemctl", "poweroff")
        try:
            self._popen.wait(60)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
