"""What breaks around a worker: threads that hang, memory, clocks, the server itself, its disk."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from forge_min import db, jobs
from forge_min.db import EmbeddedServer
from forge_min.errors import ForgeError
from forge_min.jobs import Job, Kind, NewJob, Snooze
from forge_min.jobs.job import Result
from forge_min.jobs.maintenance.loop import RESCUE
from forge_min.jobs.worker.completer import record_results

pytestmark = pytest.mark.db
DEADLINE = 30.0

# The end of a process as `worker` has it: ops/serve.py.
STUCK = """
import sys, threading, time
from forge_min import db, jobs
from forge_min.jobs.worker import job_thread
from forge_min.ops.serve import StopSignal

job_thread.GRACE = 0.1
ended = StopSignal()

def work(job):
    if job.args["hangs"]:
        time.sleep(1000)  # in C: no exception reaches it

worker = jobs.Worker(lambda: db.connect(sys.argv[1]), {"a": work}, queues={"default": 3},
                     timeout=0.2, heartbeat=0.1, poll_interval=0.05, on_stuck=ended.set_stuck)
worker.start()
ended.wait()
worker.stop(2.0)
sys.exit(ended.exit_code())
"""

LEAKS = """
import resource, sys
from forge_min import db, jobs

held = []

def work(job):
    if job.args["leaks"]:
        while True:
            held.append(bytearray(10_000_000))

most = 600 << 20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
worker = jobs.Worker(lambda: db.connect(sys.argv[1]), {"a": work}, queues={"default": 2},
                     heartbeat=0.2, poll_interval=0.05, rescue_after=5.0)
worker.start()
print("started", flush=True)
sys.stdin.read()
worker.stop()
"""

# A machine whose clock is a year behind or ahead.
CLOCK = """
import datetime, sys, time
shift, real = float(sys.argv[2]), time.time
time.time = lambda: real() + shift

class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(real() + shift, tz)

datetime.datetime = Shifted
from forge_min import db, jobs

conn = db.connect(sys.argv[1])
ids = [jobs.insert_tx(conn, "a", {"n": 1}), jobs.insert_tx(conn, "a", {"n": 2}, delay=1.0)]
many = [jobs.NewJob("a", {"n": 3}), jobs.NewJob("a", {"n": 4}, delay=1.0)]
ids += jobs.insert_many_tx(conn, many, ids=True)
ran = []
worker = jobs.Worker(lambda: db.connect(sys.argv[1]), {"a": lambda job: ran.append(job.args["n"])},
                     queues={"default": 2}, poll_interval=0.05, heartbeat=0.2)
worker.start()
end = time.monotonic() + 20
while len(ran) < 4 and time.monotonic() < end:
    time.sleep(0.01)
worker.stop()
print(sorted(ran))
"""


def run(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.thorough
def test_after_three_threads_that_hang_the_process_hands_back_the_rest_and_exits_with_75(
    shop: Any,
) -> None:
    hangs = [shop.insert(args={"hangs": True}, max_attempts=1, priority=1) for _ in range(3)]
    jobs.insert_many_tx(shop.conn, [NewJob("a", {"hangs": True}, priority=4) for _ in range(20)])
    process = run(STUCK, shop.database.app_url)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 75, errors
    assert [shop.row(id, "state") for id in hangs] == [("discarded",)] * 3
    for id in hangs:
        assert "does not return" in shop.row(id, "errors")[0][0]["error"]
    rest = shop.conn.execute(
        "select state, count(*) from forge_job where priority = 4 group by state"
    )
    states = dict(rest.fetchall())
    assert set(states) <= {"available", "retryable"} and states["available"] >= 14
    assert shop.conn.execute(
        "select max(attempt) from forge_job where state = 'available'"
    ).fetchone() == (0,)


def test_a_job_that_leaks_fails_and_its_process_works_on(shop: Any) -> None:
    leak = shop.insert(args={"leaks": True}, max_attempts=1, priority=1)
    process = run(LEAKS, shop.database.app_url)
    try:
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        shop.until(leak, "discarded", DEADLINE)
        error = shop.row(leak, "errors")[0][0]["error"]
        assert "MemoryError" in error or "died" in error
    finally:
        process.kill()
        process.communicate()
    good = shop.insert(args={"leaks": False})
    shop.worker({"a": lambda job: None})
    shop.until(good, "completed")


@pytest.mark.parametrize("years", [-1, 1])
def test_a_clock_that_is_a_year_off_changes_nothing(shop: Any, years: int) -> None:
    process = run(CLOCK, shop.database.app_url, str(years * 365 * 86_400))
    out, errors = process.communicate(timeout=DEADLINE)
    assert out == "[1, 2, 3, 4]\n", errors
    off = shop.conn.execute(
        "select max(abs(extract(epoch from now() - scheduled_at)))::float8,"
        " bool_and(attempted_at >= scheduled_at) from forge_job"
    ).fetchone()
    assert off[0] < 60 and off[1]


def test_a_stale_answer_after_a_snooze_and_another_fetch_changes_nothing(shop: Any) -> None:
    """The first run's answer is written when the job runs for the second time."""
    go, second = threading.Event(), threading.Event()
    runs: list[int] = []

    def work(job: Job) -> None:
        runs.append(job.claim)
        if len(runs) == 1:
            raise Snooze(0)
        second.set()
        go.wait(10)

    id = shop.insert(args={"n": 1})
    worker = shop.worker({"a": work})
    assert second.wait(10)
    (claim,) = shop.row(id, "claim")
    stale = shop.conn.execute(
        jobs.job.SQL["complete"], {"ids": [id], "claims": runs[:1], "worker": worker.id}
    ).fetchall()
    assert claim == runs[1] != runs[0]
    assert stale == [] and shop.row(id, "state") == ("running",)
    go.set()
    shop.until(id, "completed")


def test_a_connection_that_is_cut_in_the_middle_of_a_batch_loses_no_answer(shop: Any) -> None:
    """The acknowledger's backend ends while its statement waits for a lock."""
    jobs.insert_many_tx(shop.conn, [NewJob("a", {}) for _ in range(200)])
    lock = shop.mine()
    lock.execute("begin")
    lock.execute("lock table forge_job in share row exclusive mode")
    worker = shop.worker({"a": lambda job: None}, heartbeat=0.2)
    lock.execute("commit")
    for _ in range(5):
        lock.execute("begin")
        lock.execute("lock table forge_job in share row exclusive mode")
        waiting = (
            "select pid from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock' and query like 'update forge_job j set state%'"
        )
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            for (pid,) in shop.conn.execute(waiting).fetchall():
                shop.conn.execute("select pg_terminate_backend(%s)", [pid])
                end = 0.0
        lock.execute("commit")
    shop.settle()
    assert shop.states() == {"completed": 200} and worker._completer.stale == 0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that may be killed."""
    server = EmbeddedServer(tmp_path / "postgres", settings={"synchronous_commit": "on"})
    server.start()
    with db.connect(server.owner_url) as owner:
        for _ in db.migrate(owner, db.FORGE_MIGRATIONS):
            pass
        owner.execute("create table done (job bigint not null)")
    yield server
    server.stop()


@pytest.mark.slow
@pytest.mark.thorough
def test_a_server_that_is_killed_again_and_again_loses_no_job_and_repeats_no_effect(
    own_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = own_server.owner_url
    count = 600

    def work(job: Job) -> None:
        with db.transaction(job.conn):
            job.conn.execute("insert into done values (%s)", [job.id])
            threading.Event().wait(0.005)
            job.complete_tx(job.conn)

    with db.connect(url) as conn:
        jobs.insert_many_tx(conn, [NewJob("a", {}) for _ in range(count)])
    worker = jobs.Worker(
        lambda: db.connect(url),
        {"a": Kind("a", work, retry=lambda job, error: 0.0)},
        queues={"default": 8}, poll_interval=0.05, heartbeat=0.2, rescue_after=2.0,
    )  # fmt: skip
    worker.start()
    try:
        for _ in range(3):
            threading.Event().wait(0.3)
            until_back(url)
            with db.connect(url) as conn:
                # A backend killed so makes the server restart itself, as after a crash.
                (pid,) = conn.execute(
                    "select pid from pg_stat_activity where backend_xid is not null"
                    " and pid <> pg_backend_pid() limit 1"
                ).fetchone() or (None,)
                pid = pid or conn.info.backend_pid
                kill(own_server, pid)
            until_back(url)
        end = time.monotonic() + 60
        while True:
            until_back(url)
            with db.connect(url) as conn:
                states = dict(
                    conn.execute("select state, count(*) from forge_job group by state").fetchall()
                )
            if set(states) <= {"completed", "discarded"}:
                break
            assert time.monotonic() < end, states
            time.sleep(0.1)
    finally:
        worker.stop(5.0)
    with db.connect(url) as conn:
        assert states == {"completed": count}
        found = conn.execute("select count(*), count(distinct job) from done").fetchone()
        assert found == (count, count)
        unexplained = conn.execute(
            "select count(*) from forge_job where attempt > 1 and errors = '[]'"
        ).fetchone()
        assert unexplained == (0,)
    told = [record.getMessage() for record in caplog.records]
    assert told and not any("does not exist" in message for message in told), told


@pytest.mark.thorough
def test_a_crash_of_the_server_between_jobs_costs_no_attempt(own_server: EmbeddedServer) -> None:
    """All connections end as by `pg_ctl restart -m immediate`."""
    url = own_server.owner_url
    worker = jobs.Worker(
        lambda: db.connect(url),
        {"a": lambda job: job.conn.execute("insert into done values (%s)", [job.id])},
        queues={"default": 4}, poll_interval=0.05, heartbeat=0.2,
    )  # fmt: skip
    worker.start()
    try:
        for n in range(1, 4):
            with db.connect(url) as conn:
                some = [NewJob("a", {}, max_attempts=1) for _ in range(20)]
                jobs.insert_many_tx(conn, some)
                end = time.monotonic() + DEADLINE
                ended = "select count(*) from forge_job where state = 'completed' and attempt = 1"
                while conn.execute(ended).fetchone() != (20 * n,):
                    assert time.monotonic() < end
                    time.sleep(0.05)
                kill(own_server, conn.info.backend_pid)
            until_back(url)
    finally:
        worker.stop(5.0)


def kill(server: EmbeddedServer, pid: int) -> None:
    """SIGKILL a server process, which may live in a namespace of its own under another number."""
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            text = path.read_text()
        except OSError:
            continue
        numbers = next((x.split()[1:] for x in text.splitlines() if x.startswith("NSpid:")), [])
        if str(pid) in numbers and "postgres" in text.splitlines()[0]:
            command = (path.parent / "cmdline").read_bytes().replace(b"\0", b" ")
            parent = next(x.split()[1] for x in text.splitlines() if x.startswith("PPid:"))
            main = (Path("/proc") / parent / "cmdline").read_bytes()
            if str(server.data).encode() in main or str(server.data).encode() in command:
                os.kill(int(path.parent.name), signal.SIGKILL)
                return
    raise AssertionError(f"no server process {pid}")


def until_back(url: str) -> None:
    end = time.monotonic() + DEADLINE
    while True:
        try:
            with psycopg.connect(url, connect_timeout=2) as conn:
                conn.execute("select 1")
                return
        except psycopg.Error:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_disk_that_is_full_costs_no_job(shop: Any) -> None:
    """The server refuses to write for a while, as with no space left (SQLSTATE 53100)."""
    with db.connect(shop.database.owner_url) as owner:
        owner.execute(
            "create function full_disk() returns trigger language plpgsql as $$ begin"
            " raise exception 'could not extend file: No space left on device'"
            " using errcode = 'disk_full'; end $$"
        )
        owner.execute(
            "create trigger full_disk before update on forge_job execute function full_disk()"
        )
        owner.execute("alter table forge_job disable trigger full_disk")
        ran: list[int] = []
        jobs.insert_many_tx(shop.conn, [NewJob("a", {"n": n}) for n in range(300)])

        def work(job: Job) -> None:
            ran.append(job.args["n"])
            threading.Event().wait(0.002)

        worker = shop.worker({"a": work}, heartbeat=0.2)
        for _ in range(3):
            shop.wait_for(lambda: len(ran) > 20 or shop.states() == {"completed": 300})
            owner.execute("alter table forge_job enable trigger full_disk")
            threading.Event().wait(0.3)
            owner.execute("alter table forge_job disable trigger full_disk")
        shop.settle()
    assert shop.states() == {"completed": 300}
    assert sorted(set(ran)) == list(range(300)) and worker._completer.stale == 0
    assert json.dumps(sorted(ran)) == json.dumps(list(range(300))), "none ran twice"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m,mode=0777", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.xfail("whoever runs this may not mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_file_system_without_space_costs_no_job(small_disk: Path) -> None:
    """The server's own one, under a worker and a client, three times; it may go down over that."""
    settings = {"min_wal_size": "32MB", "max_wal_size": "48MB"}
    server = EmbeddedServer(small_disk / "postgres", settings=settings)
    server.start()
    ran: list[int] = []
    done: list[int] = []

    def work(job: Job) -> None:
        ran.append(job.args["n"])
        with db.transaction(job.conn):
            job.conn.execute("insert into done values (%s)", [job.id])
            job.complete_tx(job.conn)

    worker = jobs.Worker(
        lambda: db.connect(server.owner_url),
        {"a": Kind("a", work, retry=lambda job, error: 0.05)},
        queues={"default": 4}, poll_interval=0.05, heartbeat=0.2, rescue_after=2.0,
    )  # fmt: skip
    try:
        with db.connect(server.owner_url) as owner:
            list(db.migrate(owner, db.FORGE_MIGRATIONS))
            owner.execute("create table done (job bigint not null)")
        worker.start()
        refused = 0
        for n in range(3):
            with db.connect(server.owner_url) as conn:
                text = "".join(map(chr, range(0x4E00, 0x4E00 + 700)))  # 2 KB, hardly compressible
                many = [NewJob("a", {"n": n, "text": text}) for _ in range(200)]
                done += jobs.insert_many_tx(conn, many, ids=True)
                ballast = small_disk / "ballast"
                with suppress(OSError), ballast.open("wb", buffering=0) as file:
                    while True:
                        file.write(b"x" * 65_536)
                before, end = refused, time.monotonic() + 30
                while refused == before:
                    assert time.monotonic() < end, "the disk never filled"
                    try:
                        done += jobs.insert_many_tx(conn, many[:50], ids=True)
                    except ForgeError:
                        refused += 1
            threading.Event().wait(1.0)
            ballast.unlink()
            end = time.monotonic() + DEADLINE
            while True:
                try:
                    until_back(server.owner_url)
                    break
                except AssertionError:
                    assert time.monotonic() < end
                    server.stop()
                    server.start()
        end = time.monotonic() + 60
        with db.connect(server.owner_url) as conn:
            while True:
                query = "select state, count(*) from forge_job group by state"
                states = dict(conn.execute(query).fetchall())
                if set(states) <= {"completed"}:
                    break
                assert time.monotonic() < end, states
                time.sleep(0.1)
            there = "(select from forge_job j where j.id = told.id)"
            lost = f"select count(*) from unnest(%s::bigint[]) told(id) where not exists {there}"
            assert conn.execute(lost, [done]).fetchone() == (0,)
            effects = (
                "select count(*), count(distinct job), (select count(*) from forge_job) from done"
            )
            each, different, all_jobs = conn.execute(effects).fetchone() or (0, 0, 0)
            assert each == different == all_jobs >= len(done) > 0
            unexplained = "select count(*) from forge_job where attempt > 1 and errors = '[]'"
            assert conn.execute(unexplained).fetchone() == (0,)
    finally:
        worker.stop(5.0)
        server.stop()


def test_answers_of_two_runs_of_one_job_are_written_in_one_go(shop: Any) -> None:
    """One that was snoozed and ran again, before its first answer was written."""
    id, other = shop.insert(), shop.insert()
    me = uuid.uuid4()

    def taken(job: int, claim: int) -> Job:
        shop.conn.execute(
            "update forge_job set state = 'running', attempt = 1, attempted_at = now(),"
            " claim = %s, worker_id = %s where id = %s",
            [claim, me, job],
        )
        now = datetime.datetime.now(datetime.UTC)
        return Job(job, "a", "default", {}, 1, 25, claim, {}, now, now)

    first, second = taken(id, 1), taken(other, 2)
    third = taken(id, 3)
    results = [
        Result(first, "snoozed", "scheduled", refund=1, delay=3600.0),
        Result(second, "retried", "retryable", delay=60.0, error='{"error": "no"}'),
        Result(third, "cancelled", "cancelled", error='{"error": "enough"}'),
    ]
    assert record_results(shop.conn, me, [], results) == results[:1], "the first was taken away"
    assert shop.row(id, "state", "jsonb_array_length(errors)") == ("cancelled", 1)
    assert shop.row(other, "state", "errors -> 0 ->> 'error'") == ("retryable", "no")
    id = shop.insert()
    fourth, fifth = taken(id, 4), taken(id, 5)
    results = [Result(fourth, "completed", "completed"), Result(fifth, "completed", "completed")]
    assert record_results(shop.conn, me, [], results) == results[:1]
    assert shop.row(id, "state") == ("completed",)


def running(shop: Any) -> tuple[int, uuid.UUID]:
    """A job that runs with the claim 2, and its worker."""
    id, worker = shop.insert(), uuid.uuid4()
    shop.conn.execute(
        "update forge_job set state = 'running', attempt = 1, attempted_at = now(),"
        " claim = 2, worker_id = %s where id = %s",
        [worker, id],
    )
    return id, worker


@pytest.mark.parametrize(
    "state", ["completed", "retryable", "scheduled", "available", "discarded", "cancelled"]
)
def test_only_the_run_that_has_a_job_ends_it(shop: Any, state: str) -> None:
    """A result of an earlier run of the same worker, or of another worker, changes nothing."""
    id, me = running(shop)
    now = datetime.datetime.now(datetime.UTC)
    stored = shop.row(id, "to_jsonb(forge_job)")
    for claim, worker in ((1, me), (2, uuid.uuid4())):
        job = Job(id, "a", "default", {}, 1, 25, claim, {}, now, now)
        stale = Result(job, state, state, delay=60.0, error='{"error": "no"}')
        assert record_results(shop.conn, worker, ["a"], [stale]) == [stale]
        assert shop.row(id, "to_jsonb(forge_job)") == stored
        assert shop.states() == {"running": 1}
    job = Job(id, "a", "default", {}, 1, 25, 2, {}, now, now)
    valid = Result(job, state, state, delay=60.0, error='{"error": "no"}')
    assert record_results(shop.conn, me, [], [valid]) == []
    assert shop.row(id, "state") == (state,)


@pytest.mark.parametrize("statement", ["release", "strays", "complete_tx"])
def test_only_the_claim_of_a_run_gives_it_back(shop: Any, statement: str) -> None:
    """A fetch without a response, a run that its worker does not know, and one's own completion."""
    id, me = running(shop)
    sql = RESCUE["strays"] if statement == "strays" else jobs.job.SQL[statement]
    others = [(1, me)] if statement == "complete_tx" else [(1, me), (2, uuid.uuid4())]
    stored = shop.row(id, "to_jsonb(forge_job)")
    for claim, worker in (*others, (2, me)):
        assert shop.row(id, "to_jsonb(forge_job)") == stored
        params = {"id": id, "ids": [id], "claim": claim, "claims": [claim], "worker": worker}
        db.run(shop.conn, sql, params | {"why": "", "discarded_kinds": [], "output": "{}"})
    assert shop.row(id, "state") != ("running",)
