"""The worker: outcomes, retries, fencing, time limits, rescue, stopping."""

from __future__ import annotations

import ctypes
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from forge_min import db, jobs
from forge_min.auth import SYSTEM, Identity, as_identity, current_identity
from forge_min.errors import ForgeError, Unavailable
from forge_min.jobs import Cancel, Change, Discard, Job, Kind, NewJob, Snooze, StaleClaim, control
from forge_min.jobs.job import MOST_REFUNDS
from forge_min.jobs.worker import job_thread

from round_trips import counting_proxy

pytestmark = pytest.mark.db


def nothing(job: Job) -> None:
    pass


def test_a_job_runs_once_with_its_arguments_and_is_completed(shop: Any) -> None:
    seen: list[Job] = []
    job = shop.insert(args={"n": 1}, metadata={"k": "v"})
    shop.worker({"a": seen.append})
    shop.until(job, "completed")
    (run,) = seen
    assert (run.id, run.args, run.metadata, run.attempt) == (job, {"n": 1}, {"k": "v"}, 1)
    assert shop.row(job, "claim", "attempt", "errors", "finalized_at is null") == (
        None, 1, [], False,
    )  # fmt: skip


def test_a_job_runs_as_the_system_in_the_name_and_tenant_of_who_caused_it(shop: Any) -> None:
    seen: list[Identity] = []
    tenant = uuid.uuid4()
    with as_identity(Identity("ann", frozenset({"editor"}), tenant)):
        shop.insert()
    shop.insert()
    shop.worker({"a": lambda job: seen.append(current_identity())}, queues={"default": 1})
    shop.settle()
    assert seen == [Identity("ann", tenant=tenant, system=True), SYSTEM]


def test_a_job_whose_tenant_is_none_does_not_run_as_everybodys(shop: Any) -> None:
    ran: list[Job] = []
    job = shop.insert(metadata={"tenant": "all"}, max_attempts=1)
    shop.worker({"a": ran.append})
    shop.until(job, "discarded")
    assert ran == [] and "ValueError" in shop.row(job, "errors")[0][0]["error"]


def test_a_hooks_job_tells_of_its_change_and_another_has_none(shop: Any) -> None:
    seen: list[Any] = []

    def work(job: Job) -> None:
        try:
            seen.append(job.change)
        except ForgeError as err:
            seen.append(err.code)

    told = {"resource": "Flight", "id": "1", "operation": "update", "version": 2}
    for args in (told, {**told, "before": {"gate": None}, "later": 1}, {"id": "1"}, {}):
        shop.insert(args=args)
    shop.worker({"a": work}, queues={"default": 1})
    shop.settle()
    bare = Change("Flight", "1", "update", 2)
    assert seen == [bare, bare._replace(before={"gate": None}), "F712", "F712"]


def test_priority_comes_before_age(shop: Any) -> None:
    order: list[int] = []
    jobs.insert_many_tx(shop.conn, [NewJob("a", {"n": n}, priority=4 - n % 4) for n in range(40)])
    shop.worker({"a": lambda job: order.append(job.args["n"])}, queues={"default": 1}, prefetch=0)
    shop.settle()
    assert order == sorted(order, key=lambda n: (4 - n % 4, n))


def test_a_job_that_was_committed_late_is_found_behind_those_that_were_taken(shop: Any) -> None:
    """It lies below where the last fetch ended: only a look from the beginning finds it."""
    slow = shop.mine()
    slow.execute("begin")
    late = [jobs.insert_tx(slow, "a", {"n": n}, priority=p) for n, p in enumerate((1, 2, 2, 4))]
    jobs.insert_many_tx(
        shop.conn, [NewJob("a", {"n": n}, priority=1 + n % 4) for n in range(2_000)]
    )
    shop.worker({"a": nothing}, poll_interval=0.3)
    shop.settle()
    assert shop.conn.execute("select sum(attempt), count(*) from forge_job").fetchone() == (
        2_000,
        2_000,
    )
    slow.execute("commit")
    for job in late:
        shop.until(job, "completed")


def test_a_failed_run_is_retried_later_with_its_error_kept(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SAFETY: pytest-xdist cannot send half a surrogate pair, which pytest's log would hold.
    monkeypatch.setattr(logging.getLogger("forge_min.jobs"), "propagate", False)
    job = shop.insert()

    def fail(job: Job) -> None:
        if job.attempt == 1:
            raise RuntimeError("no\0pe \ud800")

    shop.worker({"a": fail})
    shop.wait_for(lambda: shop.row(job, "errors <> '[]'") == (True,))
    seconds, (error,) = shop.row(
        job,
        "extract(epoch from scheduled_at - (errors -> 0 ->> 'at')::timestamptz)::float8",
        "errors",
    )
    assert 0.85 <= seconds <= 1.15
    assert error["error"].startswith("RuntimeError: no") and "Traceback" in error["trace"]
    assert error["attempt"] == 1 and "at" in error
    shop.until(job, "completed")
    assert shop.row(job, "attempt") == (2,)


def test_the_last_attempt_discards(shop: Any) -> None:
    job = shop.insert(max_attempts=1)
    shop.worker({"a": lambda job: 1 / 0})
    shop.until(job, "discarded")
    assert shop.row(job, "errors")[0][0]["error"] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("raised", "state", "attempt"),
    [
        (Cancel("gone"), "cancelled", 1),
        (Discard("useless"), "discarded", 1),
        (Snooze(3600), "scheduled", 0),
        (Snooze(float("inf")), "scheduled", 0),
        (Snooze(float("nan")), "completed", 1),
        (SystemExit(3), "retryable", 1),
        (KeyboardInterrupt(), "retryable", 1),
    ],
)
def test_what_a_handler_raises_says_how_its_run_ends(
    shop: Any, raised: BaseException, state: str, attempt: int
) -> None:
    runs: list[int] = []

    def work(job: Job) -> None:
        runs.append(job.id)
        if len(runs) == 1:
            raise raised

    job = shop.insert()
    shop.worker({"a": Kind("a", work, retry=lambda job, error: 3600.0)})
    shop.until(job, state)
    assert shop.row(job, "attempt") == (attempt,)


def test_a_huge_traceback_is_bounded(shop: Any) -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("x" * 100_000)

    job = shop.insert()
    shop.worker({"a": Kind("a", lambda job: deep(500), retry=lambda job, error: 3600.0)})
    shop.until(job, "retryable")
    assert shop.row(job, "length((errors -> 0)::text) < 8000") == (True,)


def test_a_kind_without_a_handler_waits_and_holds_up_nobody(shop: Any) -> None:
    unknown = [shop.insert("future") for _ in range(5)]
    known = shop.insert("a", priority=4)
    shop.worker({"a": nothing})
    shop.until(known, "completed")
    assert [shop.row(job, "state", "attempt") for job in unknown] == [("available", 0)] * 5


def test_a_queue_without_threads_here_waits(shop: Any) -> None:
    other = shop.insert(queue="mail")
    done = shop.insert()
    shop.worker({"a": nothing})
    shop.until(done, "completed")
    assert shop.row(other, "state") == ("available",)


def test_a_delayed_job_runs_when_it_is_due_and_not_before(shop: Any) -> None:
    job = shop.insert(delay=0.3)
    shop.worker({"a": nothing})
    shop.until(job, "completed")
    took = "attempted_at - scheduled_at"
    assert shop.row(job, f"{took} >= '0'", f"{took} < '20 s'") == (True, True)


def test_waking_is_quicker_than_polling(shop: Any) -> None:
    worker = shop.worker({"a": nothing}, poll_interval=30.0)
    shop.wait_for(lambda: worker._heartbeat.registered.is_set())
    started = time.monotonic()
    for _ in range(5):
        job = shop.insert()
        worker._listener.notify("j:default")
        shop.until(job, "completed")
        worker._listener.notify("j:no such queue")
    assert time.monotonic() - started < 29, "less than one poll_interval"


def test_complete_tx_commits_effect_and_completion_together(shop: Any) -> None:
    def work(job: Job) -> None:
        with db.transaction(job.conn):
            jobs.insert_tx(job.conn, "effect", {"of": job.id})
            job.complete_tx(job.conn)

    job = shop.insert()
    worker = shop.worker({"a": work})
    shop.until(job, "completed")
    worker.stop()
    assert shop.states() == {"completed": 1, "available": 1} and worker._completer.stale == 0


def test_a_completion_that_a_crash_undoes_is_not_acknowledged_and_its_job_runs_again(
    shop: Any,
) -> None:
    runs: list[int] = []

    def work(job: Job) -> None:
        runs.append(job.attempt)
        with db.transaction(job.conn):
            jobs.insert_tx(job.conn, "effect", {"of": job.id})
            job.complete_tx(job.conn)
        if job.attempt == 1:  # as after the crash: claim and worker are what they were
            with db.transaction(job.conn):
                job.conn.execute("delete from forge_job where kind = 'effect'")
                job.conn.execute(
                    "update forge_job set state = 'running', claim = %s, finalized_at = null"
                    " where id = %s", [job.claim, job.id]
                )  # fmt: skip

    job, ended = shop.insert(), []
    shop.worker({"a": work}, heartbeat=0.1, observer=lambda job, outcome, _: ended.append(outcome))
    shop.wait_for(lambda: len(runs) == 2)
    shop.until(job, "completed")
    shop.wait_for(lambda: ended == ["completed"] * 2)
    assert runs == [1, 2]
    assert shop.states() == {"completed": 1, "available": 1}
    assert "does not know" in shop.row(job, "errors")[0][0]["error"]


def test_after_a_completion_that_was_rolled_back_the_return_completes_the_job(shop: Any) -> None:
    def work(job: Job) -> None:
        with db.transaction(job.conn):
            job.complete_tx(job.conn)
            raise psycopg.Rollback

    job = shop.insert(max_attempts=1)
    worker = shop.worker({"a": work}, heartbeat=0.1)
    shop.until(job, "completed")
    assert shop.row(job, "attempt", "errors") == (1, []) and worker._completer.stale == 0


def test_complete_tx_is_refused_while_another_run_has_the_job(shop: Any) -> None:
    caught: list[Exception] = []

    def work(job: Job) -> None:
        shop.mine().execute(
            "update forge_job set claim = nextval('forge_job_claim') where id = %s", [job.id]
        )
        try:
            with db.transaction(job.conn):
                jobs.insert_tx(job.conn, "effect", {})
                job.complete_tx(job.conn)
        except StaleClaim as err:
            caught.append(err)

    job = shop.insert()
    worker = shop.worker({"a": work}, heartbeat=60.0)
    shop.wait_for(lambda: worker._completer.stale == 1)
    assert len(caught) == 1 and shop.states() == {"running": 1}
    assert shop.row(job, "state") == ("running",)


def test_a_stale_claim_rolls_the_effect_back(shop: Any) -> None:
    caught: list[Exception] = []

    def work(job: Job) -> None:
        if job.attempt > 1:
            return
        shop.mine().execute(  # a rescue happens in the middle of the run
            "update forge_job set state = 'available', claim = null where id = %s", [job.id]
        )
        try:
            with db.transaction(job.conn):
                jobs.insert_tx(job.conn, "effect", {})
                job.complete_tx(job.conn)
        except StaleClaim as err:
            caught.append(err)

    job = shop.insert()
    worker = shop.worker({"a": work})
    shop.until(job, "completed")
    shop.wait_for(lambda: worker._completer.stale == 1)
    assert len(caught) == 1 and shop.states() == {"completed": 1}


def test_a_late_answer_of_an_earlier_run_never_completes_a_later_one(shop: Any) -> None:
    """The attempt is the same after a snooze; only the claim tells the runs apart."""
    gate, started = threading.Event(), threading.Event()
    runs: list[Job] = []

    def work(job: Job) -> None:
        runs.append(job)
        if len(runs) == 1:
            started.set()
            gate.wait(10)
        else:
            raise Snooze(3600)

    job = shop.insert()
    worker = shop.worker({"a": work})
    assert started.wait(10)
    shop.conn.execute(
        "update forge_job set state = 'available', claim = null, attempt = 0 where id = %s", [job]
    )
    shop.until(job, "scheduled")
    gate.set()
    shop.wait_for(lambda: worker._completer.stale == 1)
    assert runs[0].attempt == runs[1].attempt and runs[0].claim != runs[1].claim
    assert shop.row(job, "state") == ("scheduled",)


def test_a_transaction_left_open_is_a_failure_and_never_half_committed(shop: Any) -> None:
    def work(job: Job) -> None:
        if job.attempt == 1:
            job.conn.execute("begin")
            jobs.insert_tx(job.conn, "effect", {})

    job = shop.insert()
    shop.worker({"a": work})
    shop.until(job, "completed")
    assert "left a transaction open" in shop.row(job, "errors")[0][0]["error"]
    assert shop.states() == {"completed": 1}


def test_what_a_jobs_actions_leave_open_or_running_is_found_too(shop: Any) -> None:
    database = db.Database(shop.database.app_url)  # as app/runtime.py: a thread has one connection

    def leave(job: Job) -> None:
        if job.attempt == 1:
            database.connection().execute("begin")
            jobs.insert_tx(database.connection(), "effect", {})

    def hang(job: Job) -> None:
        database.connection().execute("select pg_sleep(60)")

    left, hanging = shop.insert(), shop.insert("b", max_attempts=1)
    worker = jobs.Worker(
        database.connection, {"a": leave, "b": hang}, queues={"default": 2}, timeout=0.5
    )
    worker.start()
    try:
        shop.until(left, "completed")
        shop.until(hanging, "discarded")
        active = (
            "select from pg_stat_activity where query like '%pg_sleep(60)' and state = 'active'"
        )
        shop.wait_for(lambda: shop.conn.execute(active).rowcount == 0)
    finally:
        worker.stop()
        database.close()
    assert "left a transaction open" in shop.row(left, "errors")[0][0]["error"]
    assert shop.states() == {"completed": 1, "discarded": 1}


def by_cursor(conn: db.Connection, sql: str) -> None:
    conn.execute(sql)


@pytest.mark.parametrize("execute", [by_cursor, db.run])
def test_a_broken_connection_of_a_job_is_replaced_for_the_next_one(shop: Any, execute: Any) -> None:
    def work(job: Job) -> None:
        if job.args["first"]:
            execute(job.conn, "select pg_terminate_backend(pg_backend_pid())")
        job.conn.execute("select 1")

    first = shop.insert(args={"first": True}, max_attempts=1)
    second = shop.insert(args={"first": False})
    shop.worker({"a": Kind("a", work, retry=lambda job, error: 0.0)}, queues={"default": 1})
    shop.until(second, "completed")
    shop.until(first, "discarded")  # it may break its connection some times, but not for ever
    attempt, errors = shop.row(first, "attempt", "errors")
    assert (attempt, len(errors)) == (1, 1 + MOST_REFUNDS)
    assert [error["refunded"] for error in errors] == [*[True] * MOST_REFUNDS, False]
    shown, last = control.describe_attempt(errors[0]), control.describe_attempt(errors[-1])
    at = f", recorded at {errors[0]['at']}: "
    assert shown.startswith(f"Attempt 1 (its connection was lost; not counted){at}")
    assert last.startswith("Attempt 1, recorded at ")


@pytest.mark.thorough
def test_connections_that_end_between_jobs_cost_no_attempt(shop: Any) -> None:
    def work(job: Job) -> None:
        job.conn.execute("select 1")
        ready.wait(10)

    ready = threading.Barrier(4)
    shop.worker({"a": work})
    for _ in range(3):
        some = [NewJob("a", {}, max_attempts=1) for _ in range(4)]  # one on each connection
        jobs.insert_many_tx(shop.conn, some)
        shop.settle()
        shop.conn.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and usename = user"
        )
    assert shop.states() == {"completed": 12}


@pytest.mark.thorough
def test_a_job_without_a_connection_is_handed_back(shop: Any) -> None:
    refused: list[int] = []
    ran: list[int] = []

    def connect() -> db.Connection:
        if threading.current_thread().name == "job-1" and len(refused) < 3:
            refused.append(1)
            raise Unavailable("too many connections", code="F401")
        return shop.open()

    def work(job: Job) -> None:
        ran.append(job.attempt)
        job.conn.execute("select 1")

    worker = jobs.Worker(
        connect, {"a": work}, queues={"default": 1}, heartbeat=0.2, poll_interval=0.05
    )
    shop.workers.append(worker)
    job = shop.insert(max_attempts=1)
    worker.start()
    shop.until(job, "completed")
    assert len(refused) == 3 and ran == [1] and shop.row(job, "attempt", "errors") == (1, [])


def test_every_connection_of_the_worker_may_be_terminated_at_any_time(shop: Any) -> None:
    count = 400
    jobs.insert_many_tx(shop.conn, [NewJob("a", {}) for _ in range(count)])
    seen: list[int] = []

    def work(job: Job) -> None:
        seen.append(job.id)
        threading.Event().wait(0.002)

    shop.worker({"a": work}, heartbeat=0.1, rescue_after=1.0)
    while shop.states().get("completed", 0) < count:
        shop.conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and usename = user"
        )
        threading.Event().wait(0.3)
    assert set(shop.states()) == {"completed"} and len(set(seen)) == count


def test_a_job_that_takes_too_long_is_ended_and_counted_as_a_failed_attempt(shop: Any) -> None:
    def spin(job: Job) -> None:
        while True:
            pass

    job = shop.insert(max_attempts=1)
    worker = shop.worker({"a": spin, "b": nothing}, timeout=0.2, queues={"default": 1})
    shop.until(job, "discarded")
    assert "longer than 0.2 s" in shop.row(job, "errors")[0][0]["error"]
    after = shop.insert("b")
    shop.until(after, "completed")
    assert worker._completer.stale == 0


def test_a_query_that_takes_too_long_is_cancelled(shop: Any) -> None:
    def query(job: Job) -> None:
        try:
            job.conn.execute("select pg_sleep(60)")
        except psycopg.Error as err:
            raise RuntimeError("translated by the user") from err

    job = shop.insert(max_attempts=1)
    shop.worker({"a": query}, timeout=0.2)
    shop.until(job, "discarded")
    assert "longer than 0.2 s" in shop.row(job, "errors")[0][0]["error"]
    active = "select from pg_stat_activity where query like '%pg_sleep(60)' and state = 'active'"
    shop.wait_for(lambda: shop.conn.execute(active).rowcount == 0)


def test_a_job_that_does_not_react_to_its_time_out_costs_its_thread_only(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_thread, "GRACE", 0.2)
    libc = ctypes.CDLL(None)
    job = shop.insert(max_attempts=1)
    shop.worker(
        {"a": lambda job: libc.usleep(3_000_000), "b": nothing}, timeout=0.2, queues={"default": 1}
    )
    shop.until(job, "discarded")
    assert "does not return" in shop.row(job, "errors")[0][0]["error"]
    after = shop.insert("b")
    shop.until(after, "completed", 2.0)


@contextmanager
def behind_a_proxy(shop: Any, work: Any, **options: Any) -> Iterator[tuple[jobs.Worker, Any]]:
    """A worker whose job threads, and no others, reach the database through a proxy."""
    with counting_proxy(shop.database.app_url) as proxy:

        def connect() -> db.Connection:
            is_job = threading.current_thread().name[4:].isdigit()
            return db.connect(proxy.url) if is_job else shop.open()

        kind = Kind("a", work, retry=lambda job, error: 0.0)
        worker = jobs.Worker(connect, {"a": kind}, heartbeat=0.2, poll_interval=0.05, **options)
        shop.workers.append(worker)
        yield worker, proxy


@pytest.mark.parametrize("execute", [by_cursor, db.run])
def test_threads_that_wait_for_a_database_that_stands_still_are_cut(
    shop: Any, monkeypatch: pytest.MonkeyPatch, execute: Any
) -> None:
    monkeypatch.setattr(job_thread, "CUT", 0.3, raising=False)
    stuck: list[int] = []

    def work(job: Job) -> None:
        runs.append(job.id)
        if len(runs) <= 3:
            all_run.wait(10)
        execute(job.conn, "select 1")

    runs: list[int] = []
    options = {"queues": {"default": 3}, "timeout": 0.5, "on_stuck": lambda: stuck.append(1)}
    with behind_a_proxy(shop, work, **options) as (worker, proxy):
        all_run = threading.Barrier(3, proxy.freeze)
        some = [NewJob("a", {}, max_attempts=1) for _ in range(3)]
        jobs.insert_many_tx(shop.conn, some)
        worker.start()
        shop.settle()
        assert len(runs) == 6 and not stuck and not any(p.stuck for p in worker._pools.values())
        assert "longer than" in shop.row(runs[0], "errors")[0][0]["error"]
        states = shop.conn.execute("select state, attempt from forge_job").fetchall()
        assert states == [("completed", 1)] * 3


def test_no_job_begins_on_a_connection_that_stands_still(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_IDLE_AFTER", "_STALE_AFTER"):
        monkeypatch.setattr(f"forge_min.db.connection.{name}", 0.0)
    runs: list[int] = []

    def work(job: Job) -> None:
        runs.append(job.id)
        job.conn.execute("select 1")

    with behind_a_proxy(shop, work, queues={"default": 1}, timeout=5.0) as (worker, proxy):
        worker.start()
        first = shop.insert()
        shop.until(first, "completed")
        proxy.freeze()
        second = shop.insert(max_attempts=1)
        shop.until(second, "completed")
        assert runs == [first, second] and shop.row(second, "errors") == ([],)


@pytest.mark.slow
@pytest.mark.thorough
def test_time_outs_never_hit_the_next_job(shop: Any) -> None:
    """Jobs that end about when their time is over: each ends one way, and the threads live on."""
    end = 0.05
    jobs.insert_many_tx(
        shop.conn, [NewJob("a", {"s": end + n / 20_000}, max_attempts=1) for n in range(-100, 100)]
    )

    def busy(job: Job) -> None:
        until = time.monotonic() + job.args["s"]
        while time.monotonic() < until:
            pass

    worker = shop.worker({"a": busy, "b": nothing}, timeout=end, queues={"default": 2})
    shop.settle(60)
    last = [shop.insert("b") for _ in range(20)]
    for job in last:
        shop.until(job, "completed")
    found = shop.states()
    assert found["completed"] + found.get("discarded", 0) == 220 and worker._completer.stale == 0


def test_the_observer_and_the_context_hear_of_every_run(shop: Any) -> None:
    heard: list[tuple[int, str]] = []
    inside: list[int] = []

    @contextmanager
    def around(job: Job) -> Any:
        inside.append(job.id)
        yield

    def observe(job: Job, outcome: str, seconds: float) -> None:
        heard.append((job.id, outcome))
        assert seconds >= 0
        raise RuntimeError("an observer must not matter")

    good, bad = shop.insert("a"), shop.insert("b", max_attempts=1)
    shop.worker({"a": nothing, "b": lambda job: 1 / 0}, observer=observe, around=around)
    shop.settle()
    assert sorted(heard) == [(good, "completed"), (bad, "discarded")]
    assert sorted(inside) == [good, bad]


def test_a_soft_stop_hands_back_what_has_not_started_without_costing_an_attempt(shop: Any) -> None:
    gate, started, before = threading.Event(), threading.Event(), set(threading.enumerate())

    def work(job: Job) -> None:
        started.set()
        gate.wait(10)

    jobs.insert_many_tx(shop.conn, [NewJob("a", {}) for _ in range(10)])
    worker = shop.worker({"a": work}, queues={"default": 1}, prefetch=5)
    assert started.wait(10)
    shop.wait_for(lambda: shop.states()["running"] >= 2)
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    shop.wait_for(lambda: shop.states() == {"running": 1, "available": 9})
    gate.set()
    stopper.join(10)
    assert shop.states() == {"completed": 1, "available": 9}
    assert shop.conn.execute(
        "select max(attempt) from forge_job where state <> 'completed'"
    ).fetchone() == (0,)
    assert shop.conn.execute("select count(*) from forge_worker").fetchone() == (0,)
    assert not set(threading.enumerate()) - before


def test_a_hard_stop_counts_the_attempt_and_refuses_the_late_answer(shop: Any) -> None:
    gate, started = threading.Event(), threading.Event()
    heard: list[tuple[int, str, bool]] = []

    def work(job: Job) -> None:
        started.set()
        gate.wait(30)

    def observe(job: Job, outcome: str, seconds: float) -> None:
        heard.append((job.id, outcome, seconds >= 0.2))

    job = shop.insert()
    worker = shop.worker({"a": work}, observer=observe)
    assert started.wait(10)
    worker.stop(0.2)
    assert shop.row(job, "state", "attempt") == ("retryable", 1)
    assert heard == [(job, "retried", True)]
    gate.set()
    assert "stopped before" in shop.row(job, "errors")[0][0]["error"]


def test_starting_and_stopping_twice_is_harmless(shop: Any) -> None:
    worker = shop.worker({"a": nothing})
    worker.start()
    job = shop.insert()
    shop.until(job, "completed")
    worker.stop()
    worker.stop()
    with pytest.raises(RuntimeError):
        worker.start()
    worker.stop()


def test_jobs_of_a_worker_that_fell_silent_are_rescued_and_poison_is_discarded(shop: Any) -> None:
    ok, poison = shop.insert(), shop.insert(max_attempts=1)
    shop.conn.execute(
        "update forge_job set state = 'running', attempt = 1, attempted_at = now(),"
        " worker_id = gen_random_uuid(), claim = nextval('forge_job_claim')"
    )
    shop.worker({"a": nothing})
    shop.until(poison, "discarded")
    shop.until(ok, "completed")
    assert shop.row(ok, "attempt") == (2,) and shop.row(poison, "attempt") == (1,)
    for job in (ok, poison):
        (error,) = shop.row(job, "errors")[0]
        assert "died" in error["error"]


def test_a_job_whose_worker_died_is_available_at_once_whatever_its_class_says(shop: Any) -> None:
    job = shop.insert()
    shop.conn.execute(
        "update forge_job set state = 'running', attempt = 9, attempted_at = now(),"
        " worker_id = gen_random_uuid(), claim = nextval('forge_job_claim')"
    )
    shop.worker({"a": Kind("a", nothing, retry=lambda job, error: 3600.0)})
    shop.until(job, "completed")
    assert shop.row(job, "attempt") == (10,)


def test_after_a_gap_in_the_lease_nobody_is_rescued_before_workers_could_report(shop: Any) -> None:
    dead = shop.insert()
    shop.conn.execute(
        "update forge_job set state = 'running', attempt = 1, attempted_at = now(),"
        " worker_id = gen_random_uuid(), claim = nextval('forge_job_claim')"
    )
    shop.conn.execute(
        "insert into forge_leader (name, worker_id, expires_at)"
        " values ('jobs', gen_random_uuid(), now() - interval '1 hour')"
    )
    worker = shop.worker({"a": nothing}, heartbeat=0.1, rescue_after=3600.0)
    shop.wait_for(lambda: worker._heartbeat.leading)
    shop.until(shop.insert(delay=0.001), "completed")  # the leader does its other work
    worker.stop()
    shop.conn.execute("delete from forge_queue")
    shop.worker({"a": nothing}, heartbeat=0.1, rescue_after=3600.0)
    counted = "select from forge_queue"  # which a leader does after it has rescued
    shop.wait_for(lambda: shop.conn.execute(counted).rowcount > 0)
    assert shop.row(dead, "state") == ("running",)  # its grace has outlived the leader
    shop.conn.execute("update forge_leader set rescues_from = now()")
    shop.until(dead, "completed")


def test_a_long_job_of_a_living_worker_is_never_rescued(shop: Any) -> None:
    gate, runs = threading.Event(), []

    def work(job: Job) -> None:
        runs.append(job.attempt)
        gate.wait(10)

    job = shop.insert()
    shop.worker({"a": work}, heartbeat=0.1, rescue_after=0.5)
    shop.worker({"a": work}, heartbeat=0.1, rescue_after=0.5)
    shop.wait_for(lambda: len(runs) == 1)
    shop.conn.execute("select pg_sleep(1.5)")
    assert shop.row(job, "state", "errors") == ("running", [])
    gate.set()
    shop.until(job, "completed")
    assert runs == [1]


def test_a_worker_whose_heartbeat_has_run_out_fetches_nothing(shop: Any) -> None:
    worker = shop.worker({"a": nothing}, heartbeat=60.0, rescue_after=0.3)
    first = shop.insert()
    shop.until(first, "completed")
    shop.conn.execute("select pg_sleep(0.5)")
    job = shop.insert()
    worker._listener.notify("j:default")
    shop.conn.execute("select pg_sleep(0.3)")
    assert shop.row(job, "state") == ("available",)


class Deaf:
    """A connection whose fetches are done by the server, and whose answers get lost at times."""

    def __init__(self, conn: db.Connection, lose: list[int]) -> None:
        self._conn = conn
        self._lose = lose

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    def cursor(self, **options: Any) -> Any:
        cursor = self._conn.cursor(**options)
        plain = cursor.execute

        def execute(query: str, *args: Any) -> Any:
            found = plain(query, *args)
            if "picked as" in query and found.rowcount and self._lose:
                self._lose.pop()
                self._conn.close()
                raise psycopg.OperationalError("the answer was lost")
            return found

        cursor.execute = execute
        return cursor


def test_a_fetch_whose_answer_was_lost_is_taken_back_without_costing_an_attempt(shop: Any) -> None:
    lose = [1, 2, 3]
    jobs.insert_many_tx(shop.conn, [NewJob("a", {}) for _ in range(50)])
    worker = jobs.Worker(
        lambda: Deaf(shop.open(), lose),  # type: ignore[arg-type, return-value]
        {"a": nothing},
        queues={"default": 4},
        poll_interval=0.05,
    )
    shop.workers.append(worker)
    worker.start()
    shop.settle()
    assert lose == [] and shop.states() == {"completed": 50}
    assert shop.conn.execute("select max(attempt) from forge_job").fetchone() == (1,)


def test_a_worker_without_a_database_waits_and_stops_in_time(shop: Any) -> None:
    def connect() -> db.Connection:
        raise Unavailable("away", code="F401")

    worker = jobs.Worker(connect, {"a": nothing}, queues={"default": 10})
    worker.start()
    started = time.monotonic()
    worker.stop(2.0)
    assert time.monotonic() - started < 30


def test_what_a_job_did_is_written_down_once_the_database_is_back(shop: Any) -> None:
    away, ran = threading.Event(), threading.Event()

    def connect() -> db.Connection:
        if away.is_set():
            raise Unavailable("away", code="F401")
        return shop.open()

    def work(job: Job) -> None:
        away.set()
        shop.conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and usename = user"
        )
        ran.set()

    job = shop.insert()
    worker = jobs.Worker(connect, {"a": work}, queues={"default": 1}, poll_interval=0.05)
    shop.workers.append(worker)
    worker.start()
    assert ran.wait(10)
    threading.Event().wait(0.2)
    assert shop.row(job, "state") == ("running",)
    away.clear()
    shop.until(job, "completed")
    assert shop.row(job, "attempt") == (1,)


@pytest.mark.thorough
def test_a_plan_from_an_empty_table_does_not_read_a_full_one(shop: Any) -> None:
    """A table that was vacuumed while it was empty counts as one of no pages, until autovacuum
    looks at it again: a minute.
    """
    with db.connect(shop.database.owner_url) as owner:
        owner.execute("alter table forge_job set (autovacuum_enabled = off)")
        owner.execute("vacuum analyze forge_job")
    ran: list[int] = []
    worker = shop.worker({"a": lambda job: ran.append(job.id)})
    for _ in range(15):
        shop.until(shop.insert(), "completed")
        time.sleep(0.06)

    def read() -> int:
        shop.conn.execute("select pg_stat_clear_snapshot()")
        query = "select seq_tup_read from pg_stat_user_tables where relname = 'forge_job'"
        return int(shop.conn.execute(query).fetchone()[0])

    before = read()
    with db.transaction(shop.conn):
        jobs.insert_many_tx(shop.conn, (NewJob("a", {}) for _ in range(20_000)))
    shop.wait_for(lambda: len(ran) >= 20_015, 60)
    worker.stop()
    assert read() - before < 200_000  # each fetch reads 20,000 otherwise
