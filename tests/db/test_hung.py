"""A server that stands still: it keeps its connections and says nothing."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forge_min import db
from forge_min.db import Database, EmbeddedServer
from forge_min.errors import Unavailable

pytestmark = [pytest.mark.db, pytest.mark.alone]


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedServer]:
    """A server of this module's own, since others would stand still with it."""
    with tempfile.TemporaryDirectory(prefix="forge-hung-") as folder:
        with EmbeddedServer(Path(folder) / "postgres", settings={"fsync": "off"}) as started:
            yield started


@contextmanager
def frozen(database: Database) -> Iterator[None]:
    """PostgreSQL with all of its processes stands still."""
    ((pid,),) = db.run(database.connection(), "select pg_backend_pid()")
    above = parent(pid)
    below = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    processes = [above, *(p for p in below if parent(p) == above)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize("cursor", [True, False])
def test_a_statement_without_an_answer_is_cut(
    own: EmbeddedServer, patient: bool, cursor: bool
) -> None:
    database = Database(own.app_url, patience=1.0)
    conn = database.connection()
    conn.may_block = patient
    with frozen(database):
        with pytest.raises(Unavailable), db.errors_translated():
            if cursor:
                conn.execute("select 1")
            else:
                db.run(conn, "select 1")
    assert database.connection() is not conn
    assert db.run(database.connection(), "select 1") == [(1,)]
    database.close()


def test_what_is_answered_in_time_is_left_alone(own: EmbeddedServer) -> None:
    database = Database(own.app_url, patience=1.0)
    conn = database.connection()
    for _ in range(4):
        assert db.run(conn, "select 1 from pg_sleep(0.3)") == [(1,)]
    time.sleep(1.1)  # nobody waits for anything
    assert database.connection() is conn
    database.close()


@pytest.mark.thorough
def test_while_it_stands_still_one_thread_waits_and_the_others_are_told(
    own: EmbeddedServer,
) -> None:
    database = Database(own.app_url + "?connect_timeout=2", patience=1.0)
    told: list[float] = []
    held = threading.Barrier(8)

    def work() -> None:
        conn = database.connection()
        held.wait()
        held.wait()
        with pytest.raises(Unavailable):
            db.run(conn, "select 1")
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(Unavailable):
                database.connection()
            told.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for _ in range(7)]
    for thread in threads:
        thread.start()
    held.wait()
    with frozen(database):
        held.wait()
        for thread in threads:
            thread.join()
    # Most were answered at once: at any moment only one waits for the server.
    assert len(told) == 21
    assert sorted(told)[14] < 2.0, "a connect_timeout, which only one waits for"
    assert db.run(database.connection(), "select 1") == [(1,)]
    database.close()
