"""A real cluster on this machine: etcd, and PostgreSQL servers under Patroni with deploy's file.

Needs Debian's patroni, python3-etcd, etcd-server and postgresql; tests are skipped without them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from artifact_runner import free_port

DEADLINE = 90.0  # seconds
BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
MEMORY = Path("/dev/shm")  # pg_rewind and starts wait for the disk for seconds
USER = "postgres"  # as whom root runs the programs


class Cluster:
    """Two servers, of which Patroni makes one the primary and the other a synchronous standby.

    config: the text of patroni.yml.
    strict: the primary confirms no commit without a standby.
    """

    def __init__(self, folder: Path, config: str, *, strict: bool = False) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd, peer = free_port(), free_port()
        client, other = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{peer}"
        self._run("etcd", [
            "etcd", "--data-dir", f"{folder}/etcd", "--unsafe-no-fsync",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", other, "--initial-advertise-peer-urls", other,
            "--initial-cluster", f"default={other}",
        ])  # fmt: skip
        self.ports = {name: free_port() for name in ("n1", "n2")}
        self._apis = {name: free_port() for name in self.ports}
        # The tests run beside other servers, as any user.
        own = f"\n  parameters: {{unix_socket_directories: {folder}, shared_buffers: 64MB}}"
        config = config.replace("\npostgresql:", f"\npostgresql:{own}")
        if strict:
            sync = "synchronous_mode: true\n"
            config = config.replace(sync, f"{sync}    synchronous_mode_strict: true\n")
        config = config.replace("loop_wait: 2", "loop_wait: 1")  # it reacts sooner
        (folder / "patroni.yml").write_text(config)
        for name in self.ports:
            self.start(name)

    def url(self, user: str, database: str, *names: str) -> str:
        """The address of these servers, of all without names; the password is the user's name."""
        hosts = ",".join(f"127.0.0.1:{self.ports[name]}" for name in names or self.ports)
        return f"postgresql://{user}:{user}@{hosts}/{database}?target_session_attrs=read-write"

    def start(self, name: str) -> None:
        """Start Patroni of this server, which starts PostgreSQL."""
        if name in self._processes:
            self._processes[name].wait(DEADLINE)
        api, postgres = (f"127.0.0.1:{ports[name]}" for ports in (self._apis, self.ports))
        program = ["/usr/bin/python3", "/usr/bin/patroni", f"{self.folder}/patroni.yml"]
        self._run(
            name,
            program,
            PATRONI_NAME=name,
            PATRONI_ETCD3_HOSTS=f"127.0.0.1:{self._etcd}",
            PATRONI_RESTAPI_LISTEN=api,
            PATRONI_RESTAPI_CONNECT_ADDRESS=api,
            PATRONI_POSTGRESQL_LISTEN=postgres,
            PATRONI_POSTGRESQL_CONNECT_ADDRESS=postgres,
            PATRONI_POSTGRESQL_DATA_DIR=f"{self.folder}/{name}",
            PATRONI_POSTGRESQL_BIN_DIR=str(BIN[-1]),
            PATRONI_POSTGRESQL_PGPASS=f"{self.folder}/{name}.pgpass",
            PATRONI_SUPERUSER_USERNAME="postgres",
            PATRONI_SUPERUSER_PASSWORD="postgres",
            PATRONI_REPLICATION_USERNAME="replicator",
            PATRONI_REPLICATION_PASSWORD="replicator",
            PATRONI_REWIND_USERNAME="rewinder",
            PATRONI_REWIND_PASSWORD="rewinder",
        )

    def primary(self) -> str:
        """The name of the primary, once there is one and a synchronous standby."""
        found: list[str] = []

        def look() -> bool:
            members = next(filter(None, map(self._members, self.ports)), [])
            roles = {each["role"]: each for each in members}
            found[:] = [roles["leader"]["name"]] if "leader" in roles else []
            return {"leader", "sync_standby"} <= {*roles} and all(
                each["state"] in ("running", "streaming") for each in members
            )

        self.wait(look, "primary and standby")
        return found[0]

    def is_primary(self, name: str) -> bool:
        """Whether this server says so."""
        return any(
            each["name"] == name and each["role"] == "leader" and each["state"] == "running"
            for each in self._members(name)
        )

    def switch_over(self) -> None:
        """Ask Patroni to exchange the two."""
        leader = self.primary()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._apis[leader]}/switchover",
            json.dumps({"leader": leader}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200

    def configure(self, **parameters: str) -> None:
        """Set parameters of PostgreSQL on all servers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._apis[self.primary()]}/config",
            json.dumps({"postgresql": {"parameters": parameters}}).encode(),
            method="PATCH",
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200
        time.sleep(3)  # a round of Patroni

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send Patroni and all processes of this PostgreSQL a signal."""
        postmaster = int((self.folder / name / "postmaster.pid").read_text().split()[0])
        pids = [*_children(self._processes[name].pid), postmaster, *_children(postmaster)]
        for pid in [self._processes[name].pid, *pids]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Until `done`; fails with the logs."""
        end = time.monotonic() + DEADLINE
        while not done():
            if time.monotonic() > end:
                logs = "\n".join(p.read_text()[-2000:] for p in self.folder.glob("*.log"))
                raise AssertionError(f"{what} did not happen\n{logs}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill everything."""
        for name in self.ports:
            with suppress(OSError):
                self.signal(name, signal.SIGKILL)
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _members(self, name: str) -> list[dict[str, Any]]:
        with suppress(OSError, ValueError):
            url = f"http://127.0.0.1:{self._apis[name]}/cluster"
            with urllib.request.urlopen(url, timeout=2) as answer:
                members: list[dict[str, Any]] = json.load(answer)["members"]
                return members
        return []

    def _run(self, name: str, command: list[str], **more: str) -> None:
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", *command]
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8", **more}
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env=environ, start_new_session=True
            )


def _children(pid: int) -> list[int]:
    shown = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return list(map(int, shown.stdout.split()))


@contextmanager
def cluster(config: str, *, strict: bool = False) -> Iterator[Cluster]:
    """A started cluster with this patroni.yml."""
    programs = ("patroni", "etcd", "setpriv")
    if not BIN or not all(map(shutil.which, programs)):
        pytest.skip("no cluster (Debian: patroni python3-etcd etcd-server postgresql)")
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 << 30
    folder = Path(tempfile.mkdtemp(prefix="forge-failover-", dir=MEMORY if has_room else None))
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
    made = Cluster(folder, config, strict=strict)
    try:
        made.primary()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
