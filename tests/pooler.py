"""A real PgBouncer in transaction mode before a test's database. Skipped where there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from artifact_runner import free_port

DEADLINE = 15.0  # seconds
SETTINGS = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = plain
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
max_prepared_statements = {prepared}
"""


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Gives the address of a pooler before `url`. prepared: statements that it keeps track of."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no pgbouncer (Debian: pgbouncer)")
    with ExitStack() as stack:

        def start(url: str, prepared: int = 100) -> str:
            given, own = conninfo_to_dict(url), free_port()
            folder = tmp_path / f"pooler{own}"
            folder.mkdir()
            (folder / "users.txt").write_text(f'"{given["user"]}" "{given["password"]}"\n')
            settings = SETTINGS.format(
                host=given["host"], port=given["port"], own=own, folder=folder, prepared=prepared
            )
            (folder / "settings.ini").write_text(settings)
            command = [program, "-q", str(folder / "settings.ini")]
            if os.geteuid() == 0:  # it refuses to run as root, and reads its files before it goes
                command[1:1] = ["-u", "nobody"]
            log = stack.enter_context((folder / "log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(process.wait, DEADLINE)
            stack.callback(process.kill)  # at SIGTERM it waits for its clients
            end = time.monotonic() + DEADLINE
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", own)):
                    break
                said = (folder / "log").read_text()
                assert process.poll() is None and time.monotonic() < end, said
                time.sleep(0.02)
            return make_conninfo(url, host="127.0.0.1", port=own)

        yield start
