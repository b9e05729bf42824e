"""Streaming standbys of an embedded PostgreSQL, for tests and benchmarks."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from forge_min.db import EmbeddedServer
from forge_min.db.embedded.binaries import find
from forge_min.db.embedded.launcher import GuardedProcess, find_strategy
from psycopg.conninfo import make_conninfo

from artifact_runner import free_port
from waiting import wait_for

SETTINGS = {"fsync": "off", "max_connections": "200"}


class Standby:
    """A copy of a primary that follows it.

    primary: address of its superuser.
    port: 0: any free port.
    """

    def __init__(self, primary: str, folder: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self._primary, self._folder = primary, folder
        self._process: GuardedProcess | None = None
        folder.mkdir(parents=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        (folder / "pg").mkdir(0o700)
        self._strategy = find_strategy(folder, find(), self._lock)  # sets the owner of pg
        data = ("-D", str(folder / "pg"), "-d", primary)
        self._strategy.run("pg_basebackup", *data, "-R", "-c", "fast", "--no-sync")
        self.start()

    def url(self, primary: str) -> str:
        """The address of the same role and database here."""
        return make_conninfo(primary, host="127.0.0.1", port=self.port)

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Execute a statement as the superuser."""
        with psycopg.connect(self.url(self._primary), autocommit=True) as conn:
            cursor = conn.execute(text)
            return cursor.fetchall() if cursor.description else []

    def promote(self) -> None:
        """Make it a primary. A statement that waits for that may be cancelled by the replay."""
        self.sql("select pg_promote(wait => false)")
        wait_for(lambda: self.sql("select pg_is_in_recovery()") == [(False,)])

    def pause(self) -> None:
        """Replay no later writes of the primary than those until now."""
        with psycopg.connect(self._primary) as conn:
            ((position,),) = conn.execute("select pg_current_wal_lsn()").fetchall()
        wait_for(lambda: self.sql(f"select pg_last_wal_replay_lsn() >= '{position}'") == [(True,)])
        self.sql("select pg_wal_replay_pause()")
        wait_for(lambda: self.sql("select pg_get_wal_replay_pause_state()") == [("paused",)])

    def resume(self) -> None:
        """Replay again."""
        self.sql("select pg_wal_replay_resume()")

    def start(self) -> None:
        """Start it; it accepts reads afterwards."""
        pg = self._folder / "pg"
        (pg / "postmaster.pid").unlink(missing_ok=True)
        settings = {**SETTINGS, "port": self.port, "listen_addresses": "127.0.0.1"}
        settings |= {"unix_socket_directories": ""}
        options = [f"--{name}={value}" for name, value in settings.items()]
        log = self._folder / "server.log"
        with log.open("ab") as out:
            self._process = self._strategy.start("postgres", "-D", str(pg), *options, output=out)
        self._strategy.wait_ready(self._process, log)

    def kill(self) -> None:
        """Kill all of its processes."""
        postmaster = (self._folder / "pg" / "postmaster.pid").read_text().split()[0]
        shown = subprocess.run(["pgrep", "-P", postmaster], capture_output=True, text=True)
        for pid in (postmaster, *shown.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """Stop it. Idempotent."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()


@contextmanager
def missing_standby(admin_url: str) -> Iterator[psycopg.Connection]:
    """Commits wait for a synchronous standby that does not exist; gives a superuser's connection.

    The checkpointer applies the setting some time after `pg_reload_conf`, so a thread commits until
    one of its commits waits.
    """
    ended = threading.Event()

    def commit(conn: psycopg.Connection) -> None:
        while not ended.is_set():
            conn.execute("select pg_logical_emit_message(true, '', '')")

    with (
        psycopg.connect(admin_url, autocommit=True) as admin,
        psycopg.connect(admin_url, autocommit=True) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        admin.execute("alter system set synchronous_standby_names = 'missing'")
        admin.execute("select pg_reload_conf()")
        committed = pool.submit(commit, other)
        waiting = "select 1 from pg_stat_activity where wait_event = 'SyncRep' and pid = %s"
        try:
            wait_for(lambda: admin.execute(waiting, [other.info.backend_pid]).fetchall())
            yield admin
        finally:
            ended.set()
            admin.execute("alter system reset synchronous_standby_names")
            admin.execute("select pg_reload_conf()")
            committed.result(timeout=30)


Pair = tuple[EmbeddedServer, Standby]


@contextmanager
def replicated(
    folder: Path, count: int, app_role: str = "app"
) -> Iterator[tuple[EmbeddedServer, list[Standby]]]:
    """A started primary with its standbys."""
    with ExitStack() as stack:
        server = EmbeddedServer(folder / "primary", app_role=app_role, settings=SETTINGS)
        primary = stack.enter_context(server)
        standbys = []
        for n in range(count):
            standbys.append(Standby(primary.admin_url, folder / f"standby{n}"))
            stack.callback(standbys[-1].stop)
        yield primary, standbys


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A primary and its standby, shared by the session."""
    with replicated(tmp_path_factory.mktemp("pair"), 1) as (primary, (standby,)):
        yield primary, standby
