"""How runs end where it is easy to lose one: errors that cannot be told, cancels that come early,
answers that a crash takes back, jobs that were fetched too far ahead.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from typing import Any

import pytest
from forge_min import db, jobs
from forge_min.jobs import Cancel, Discard, Job, Kind, NewJob, Snooze, control
from forge_min.jobs.worker import fetcher
from forge_min.jobs.worker.job_thread import _raise_in as raise_in

pytestmark = [pytest.mark.db, pytest.mark.slow]

AHEAD = """
import os, sys, threading
from forge_min import db, jobs

def work(job):
    if job.args["slow"]:
        os.write(1, b"began\\n")
        threading.Event().wait(100)

worker = jobs.Worker(lambda: db.connect(sys.argv[1]), {"a": work}, queues={"default": 2},
                     poll_interval=0.05, heartbeat=0.1, rescue_after=1.0)
worker.start()
threading.Event().wait()
"""


class Untellable(Exception):
    def __str__(self) -> str:
        raise SystemExit("no words")


@pytest.mark.parametrize(
    ("raised", "state"),
    [
        (Discard(ValueError("x")), "discarded"),  # type: ignore[arg-type]
        (Cancel(404), "cancelled"),  # type: ignore[arg-type]
        (Untellable(), "retryable"),
        (Snooze(Fraction(60, 1)), "scheduled"),  # type: ignore[arg-type]
        (Snooze(True), "scheduled"),
    ],
)
def test_whatever_is_raised_the_run_ends_and_its_thread_goes_on(
    shop: Any, raised: Exception, state: str
) -> None:
    def work(job: Job) -> None:
        if "good" not in job.args:
            raise raised

    shop.worker({"a": Kind("a", work, retry=lambda job, error: 60.0)}, queues={"default": 1})
    bad = shop.insert()
    shop.until(bad, state)
    shop.until(shop.insert(args={"good": 1}), "completed")


def test_a_kind_whose_curve_raises_system_exit_takes_the_usual_one(shop: Any) -> None:
    def retry(job: Job, error: BaseException) -> float:
        raise SystemExit

    def work(job: Job) -> None:
        raise ValueError

    shop.worker({"a": Kind("a", work, retry=retry)}, queues={"default": 1})
    for id in (shop.insert(), shop.insert()):
        shop.wait_for(lambda id=id: shop.row(id, "errors <> '[]'") == (True,))


def test_a_time_out_takes_the_kinds_own_curve(shop: Any) -> None:
    def work(job: Job) -> None:
        while True:
            threading.Event().wait(0.01)

    kind = Kind("a", work, timeout=0.1, retry=lambda job, error: 5000.0)
    shop.worker({"a": kind})
    id = shop.insert()
    shop.until(id, "retryable")
    assert shop.row(id, "scheduled_at > now() + interval '4000 s'") == (True,)


def test_attempts_beyond_counting_stop_nobody(shop: Any) -> None:
    """The fourth power of 20,000 is no interval that PostgreSQL has."""
    ids = [shop.insert(max_attempts=30_000) for _ in range(2)]
    shop.conn.execute("update forge_job set attempt = 20000")
    shop.conn.execute(
        "update forge_job set state = 'running', claim = 1, attempted_at = now(),"
        " worker_id = gen_random_uuid() where id = %s", [ids[0]]
    )  # fmt: skip

    def work(job: Job) -> None:
        raise ValueError

    shop.worker({"a": work})
    for id in ids:
        shop.until(id, "retryable")


@pytest.mark.parametrize("how", ["snooze", "raise"])
def test_a_run_that_is_to_be_cancelled_does_not_come_again(shop: Any, how: str) -> None:
    """Its worker has not heard of it: the next beat is far."""
    started, go = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        started.set()
        assert go.wait(10)
        raise Snooze(60) if how == "snooze" else ValueError

    id = shop.insert()
    shop.worker({"a": work}, heartbeat=30.0, rescue_after=120.0)
    assert started.wait(10)
    assert control.change_jobs(shop.conn, "cancel", [id]) == {id: "running"}
    go.set()
    shop.until(id, "cancelled")
    assert shop.row(id, "finalized_at is not null") == (True,)


def test_a_job_that_waits_in_a_worker_is_cancelled_before_it_begins(shop: Any) -> None:
    started, go, ran = threading.Event(), threading.Event(), []

    def work(job: Job) -> None:
        ran.append(job.id)
        started.set()
        assert go.wait(10)

    shop.worker({"a": work}, queues={"default": 1}, prefetch=5)
    first = shop.insert()
    assert started.wait(10)
    second = shop.insert()
    shop.until(second, "running")
    assert control.change_jobs(shop.conn, "cancel", [second]) == {second: "running"}
    time.sleep(0.5)  # a beat
    go.set()
    shop.until(second, "cancelled")
    shop.until(first, "completed")
    assert ran == [first]


@pytest.mark.parametrize("value", ["1e5000", '"deep"'])
def test_arguments_that_python_cannot_read_hold_up_no_other_job(
    shop: Any, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    def loads(text: str) -> Any:
        if "deep" in text:  # as of lists in lists, whose number depends on Python's version
            raise RecursionError("maximum recursion depth exceeded")
        return json.loads(text)

    monkeypatch.setattr(fetcher, "loads", loads)
    (bad,) = shop.conn.execute(
        f"""insert into forge_job (kind, args) values ('a', '{{"x": {value}}}') returning id"""
    ).fetchone()
    good = [shop.insert() for _ in range(3)]
    shop.worker({"a": lambda job: None})
    for id in good:
        shop.until(id, "completed")
    shop.wait_for(lambda: shop.row(bad, "errors <> '[]'") == (True,))
    (errors,) = shop.row(bad, "errors")
    assert "cannot be read" in errors[0]["error"]


def test_what_is_said_to_run_and_does_not_is_run_again_by_a_worker_that_lives(shop: Any) -> None:
    """As after a crash of the server that took back the answer: synchronous_commit off."""
    worker = shop.worker({"a": lambda job: None}, heartbeat=0.1)
    id = shop.insert()
    shop.until(id, "completed")
    shop.conn.execute(
        "update forge_job set state = 'running', finalized_at = null, worker_id = %s,"
        " claim = nextval('forge_job_claim') where id = %s", [worker.id, id]
    )  # fmt: skip
    shop.until(id, "completed")
    assert shop.row(id, "attempt", "jsonb_array_length(errors)") == (2, 1)


@pytest.mark.thorough
def test_a_worker_that_dies_costs_no_job_its_last_attempt_that_had_not_begun(shop: Any) -> None:
    """Short jobs have it fetch ahead; then come slow ones that may run once."""
    jobs.insert_many_tx(shop.conn, (NewJob("a", {"slow": False}) for _ in range(2000)))
    command = [sys.executable, "-c", AHEAD, shop.database.app_url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        shop.settle(30)
        once = [NewJob("a", {"slow": True}, max_attempts=1) for _ in range(50)]
        jobs.insert_many_tx(shop.conn, once)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["began\n"] * 2
        time.sleep(0.5)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    shop.worker({"a": lambda job: None}, rescue_after=1.0)
    shop.settle(30)
    assert shop.states() == {"completed": 2048, "discarded": 2}


def test_what_was_fetched_ahead_of_short_jobs_is_given_back_when_long_ones_run(shop: Any) -> None:
    jobs.insert_many_tx(shop.conn, (NewJob("a", {"seconds": 0.0}) for _ in range(2000)))

    def work(job: Job) -> None:
        time.sleep(job.args["seconds"])

    shop.worker({"a": work}, queues={"default": 2}, timeout=2.0)
    shop.settle(30)
    jobs.insert_many_tx(shop.conn, (NewJob("a", {"seconds": 0.6}) for _ in range(60)))
    shop.wait_for(lambda: shop.states().get("running", 0) >= 2)
    shop.wait_for(lambda: shop.states().get("running", 0) <= 4, 8)
    assert shop.states()["available"] >= 25
    shop.worker({"a": work}, queues={"default": 30})
    shop.settle(30)
    ended = "select count(*) from forge_job where attempt > 1 or errors <> '[]'"
    assert shop.conn.execute(ended).fetchone() == (0,)


def test_a_limited_queue_is_not_fetched_ahead_from(shop: Any) -> None:
    """What waits in one worker counts as running, and would hold up another."""
    control.limit(shop.conn, "default", running=4)
    go = threading.Event()
    shop.worker({"a": lambda job: go.wait(20)}, queues={"default": 1}, prefetch=8)
    for _ in range(8):
        shop.insert()
    shop.wait_for(lambda: shop.states().get("running") == 1)
    shop.worker({"a": lambda job: go.wait(20)})
    shop.wait_for(lambda: shop.states().get("running") == 4)
    time.sleep(0.3)
    assert shop.states() == {"running": 4, "available": 4}
    go.set()
    shop.settle()


def test_a_lock_on_the_tables_of_workers_does_not_stop_time_limits(shop: Any) -> None:
    started = threading.Event()
    ended: list[float] = []

    def work(job: Job) -> None:
        started.set()
        began = time.monotonic()
        try:
            while True:
                threading.Event().wait(0.01)
        finally:
            ended.append(time.monotonic() - began)

    shop.worker({"a": Kind("a", work, timeout=0.3)}, heartbeat=0.1)
    shop.insert()
    with db.connect(shop.database.owner_url) as owner:
        assert started.wait(10)
        owner.execute("begin")
        owner.execute("lock table forge_worker, forge_leader in access exclusive mode")
        shop.wait_for(lambda: bool(ended), 10)
        owner.execute("rollback")


def test_who_is_given_up_is_told_of_whoever_leads(shop: Any) -> None:
    """A leader of another release, that knows no `discarded`, rescues the job."""
    told = threading.Event()
    shop.worker({"b": lambda job: None}, rescue_after=1.0)
    kind = Kind("a", lambda job: None, discarded=lambda job: told.set())
    shop.wait_for(lambda: any(worker._heartbeat.leading for worker in shop.workers))
    shop.worker({"a": kind}, queues={"other": 1}, rescue_after=1.0)
    there = "select count(*) from forge_worker"
    shop.wait_for(lambda: shop.conn.execute(there).fetchone() == (2,))
    id = shop.insert(max_attempts=1)
    shop.conn.execute(
        "update forge_job set state = 'running', attempt = 1, claim = 1, attempted_at = now(),"
        " worker_id = gen_random_uuid() where id = %s", [id]
    )  # fmt: skip
    shop.until(id, "discarded")
    notice = "select metadata ->> 'discarded' from forge_job where metadata ? 'discarded'"
    assert shop.conn.execute(notice).fetchall() == [(str(id),)]


def test_a_time_out_that_comes_late_reaches_no_query_of_the_next_job(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who watches the time is held up where it has told the thread, and not yet the server."""
    began, late = threading.Event(), threading.Event()

    def raised(thread: threading.Thread, error: Any) -> None:
        raise_in(thread, error)
        if error is not None:
            late.set()

    class Held:
        def __init__(self) -> None:
            self._lock = threading.Lock()

        def __enter__(self) -> None:
            self._lock.acquire()

        def __exit__(self, *error: object) -> None:
            self._lock.release()
            if threading.current_thread().name == "job-timeouts" and late.is_set():
                late.clear()
                began.wait(10)

    monkeypatch.setattr("forge_min.jobs.worker.job_thread._raise_in", raised)

    def slow(job: Job) -> None:
        job.conn.execute("select 1")
        while True:
            time.sleep(0.01)

    def next_one(job: Job) -> None:
        conn = job.conn
        began.set()
        conn.execute("select pg_sleep(1)")

    worker = shop.worker({"a": Kind("a", slow, timeout=0.2), "b": next_one}, queues={"default": 1})
    for pool in worker._pools.values():
        for thread in pool.threads:
            thread._lock = Held()
    shop.insert("a", max_attempts=1)
    second = shop.insert("b", max_attempts=1)
    shop.settle()
    assert began.is_set() and shop.row(second, "state") == ("completed",)
