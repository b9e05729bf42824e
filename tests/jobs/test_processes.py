"""Worker processes side by side: each job done once, and nothing lost when one is killed."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forge_min import db, jobs
from forge_min.db import EmbeddedServer
from forge_min.jobs import NewJob

pytestmark = [pytest.mark.db, pytest.mark.slow]

PROCESS = """
import os, sys, time
from forge_min import db, jobs

url, mode = sys.argv[1:]
silence = 1.0 if mode == "once" else 30.0

def work(job):
    if mode == "once":
        with db.transaction(job.conn):
            job.conn.execute("insert into done (job) values (%s)", [job.id])
            time.sleep(job.args["s"])
            job.complete_tx(job.conn)
    else:
        job.conn.execute("insert into done (job) values (%s)", [job.id])

worker = jobs.Worker(lambda: db.connect(url), {"a": work}, queues={"default": 4},
                     poll_interval=0.05, heartbeat=0.1, rescue_after=silence)
worker.start()
print("started", flush=True)
sys.stdin.read()
worker.stop()
print(worker._completer.stale, flush=True)
"""

# Works jobs that end when a file tells them to, with the settings that are usual.
PATIENT = """
import sys, time
from pathlib import Path
from forge_min import db, jobs

url, folder = sys.argv[1], Path(sys.argv[2])

def work(job):
    with open(folder / "runs", "a") as runs:
        runs.write(f"{job.id}\\n")
    while not (folder / job.args["until"]).exists():
        time.sleep(0.05)
    with open(folder / "ends", "a") as ends:
        ends.write(f"{job.id}\\n")

worker = jobs.Worker(lambda: db.connect(url), {"a": work}, queues={"default": 2}, prefetch=0,
                     timeout=300.0)
worker.start()
sys.stdin.read()
worker.stop()
"""


@pytest.fixture
def spawn(shop: Any) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts worker processes; those that still run at the end are killed."""
    with db.connect(shop.database.owner_url) as owner:
        owner.execute("create table done (job bigint not null)")
    running: list[subprocess.Popen[str]] = []

    def start(mode: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, shop.database.app_url, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.thorough
def test_four_processes_on_one_queue_do_each_job_once(shop: Any, spawn: Any) -> None:
    count = 3000
    workers = [spawn("plain") for _ in range(4)]
    jobs.insert_many_tx(shop.conn, [NewJob("a", {}) for _ in range(count)])
    shop.settle(60)
    for worker in workers:
        assert worker.communicate("", timeout=30)[0] == "0\n"
    found = shop.conn.execute("select count(*), count(distinct job) from done").fetchone()
    assert found == (count, count)
    assert shop.conn.execute("select count(*) from forge_worker").fetchone() == (0,)
    used = shop.conn.execute("select count(distinct worker_id), max(attempt) from forge_job")
    workers_used, attempts = used.fetchone()
    assert workers_used >= 2 and attempts == 1


@pytest.mark.thorough
def test_a_killed_worker_loses_no_job_and_repeats_no_effect(shop: Any, spawn: Any) -> None:
    count, rng = 500, random.Random()
    workers = [spawn("once") for _ in range(2)]
    jobs.insert_many_tx(shop.conn, [NewJob("a", {"s": 0.01}) for _ in range(count)])

    def writing() -> bool:
        (found,) = shop.conn.execute(
            "select exists (select from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid() and backend_xid is not null)"
        ).fetchone()
        return bool(found)

    hit = 0
    for _ in range(4):
        threading.Event().wait(rng.uniform(0.05, 0.25))
        hit += any(writing() for _ in range(500))
        os.kill(workers[0].pid, signal.SIGKILL)
        workers = [*workers[1:], spawn("once")]
    shop.settle(90)
    assert hit >= 1, "no kill came while a transaction was open: the test shows nothing"
    assert shop.states() == {"completed": count}
    found = shop.conn.execute("select count(*), count(distinct job) from done").fetchone()
    assert found == (count, count)
    again = shop.conn.execute(
        "select count(*) from forge_job"
        " where attempt > 1 and attempt <> 1 + jsonb_array_length(errors)"
    ).fetchone()
    assert again == (0,), "every further attempt is explained by an error that was kept"


@pytest.mark.thorough
def test_a_stopped_process_that_comes_back_cannot_answer_for_rescued_jobs(
    shop: Any, spawn: Any
) -> None:
    job = shop.insert(args={"s": 2.0})
    frozen = spawn("once")
    shop.until(job, "running")
    shop.wait_for(
        lambda: (
            shop.conn.execute(
                "select count(*) from pg_stat_activity where state = 'idle in transaction'"
                " and datname = current_database()"
            ).fetchone()
            == (1,)
        )
    )
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        spawn("once")
        shop.wait_for(lambda: shop.row(job, "attempt", "state") == (2, "running"))
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    shop.until(job, "completed")
    frozen.communicate("", timeout=30)
    assert shop.conn.execute("select count(*) from done").fetchone() == (1,)


@pytest.mark.thorough
def test_an_outage_longer_than_rescue_after_discards_and_repeats_no_job(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = EmbeddedServer(tmp_path / "postgres", port=port)
    server.start()
    url = server.owner_url
    with db.connect(url) as conn:
        db.migrate(conn, db.FORGE_MIGRATIONS)
        some = [NewJob("a", {"until": "outage" if n % 2 else "end"}) for n in range(10)]
        jobs.insert_many_tx(conn, [job._replace(max_attempts=1) for job in some])
    command = [sys.executable, "-c", PATIENT, url, str(tmp_path)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(5)]

    def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited too long"
            time.sleep(0.1)

    def lines(name: str) -> list[str]:
        path = tmp_path / name
        return path.read_text().split() if path.exists() else []

    def asked(query: str) -> list[Any]:
        with db.connect(url) as conn:
            return conn.execute(query).fetchall()

    try:
        wait_for(lambda: len(lines("runs")) == 10)
        server.stop()
        (tmp_path / "outage").touch()
        wait_for(lambda: len(lines("ends")) == 5)
        threading.Event().wait(40)
        server.start()
        alive = "select count(*) from forge_worker where expires_at > now()"
        wait_for(lambda: asked(alive) == [(5,)])
        wait_for(
            lambda: asked("select count(*) from forge_job where state = 'completed'") == [(5,)]
        )
        (tmp_path / "end").touch()
        states = "select state, count(*) from forge_job group by state"
        wait_for(lambda: asked(states) == [("completed", 10)])
        assert len(lines("runs")) == 10
    finally:
        for worker in workers:
            worker.communicate("", timeout=60)
        server.stop()
