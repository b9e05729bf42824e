"""The queue in a person's hands: lists, retry, cancel, discard, pauses and limits."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from forge_min import db, jobs, notify
from forge_min.errors import ForgeError, Invalid
from forge_min.jobs import Job, NewJob, Unique, control

pytestmark = [pytest.mark.db, pytest.mark.slow]


def nothing(job: Job) -> None:
    pass


def test_jobs_are_listed_the_newest_first_by_what_is_asked(shop: Any) -> None:
    ids = [shop.insert("a"), shop.insert("b", tags=["x"]), shop.insert("a", queue="mail", delay=9)]

    def found(**asked: Any) -> list[int]:
        return [job["id"] for job in control.list_jobs(shop.conn, **asked)]

    assert found() == ids[::-1] and found(limit=1) == ids[2:] and found(before=ids[2]) == ids[1::-1]
    assert found(kind="b") == found(tag="x") == [ids[1]]
    assert found(queue="mail") == found(states=["scheduled"]) == [ids[2]]
    assert found(ids=ids[:1]) == ids[:1] and found(ids=[]) == []
    with pytest.raises(Invalid) as caught:
        found(states=["asleep"])
    assert caught.value.code == "F010"


def test_one_job_is_shown_with_all_that_is_known(shop: Any) -> None:
    id = shop.insert(args={"n": 1}, max_attempts=1)
    shop.worker({"a": lambda job: 1 / 0})
    shop.until(id, "discarded")
    shown = control.show_job(shop.conn, id)
    assert shown["args"] == {"n": 1} and "ZeroDivisionError" in shown["errors"][0]["error"]
    assert control.list_jobs(shop.conn)[0]["error"] == "ZeroDivisionError: division by zero"
    with pytest.raises(ForgeError) as caught:
        control.show_job(shop.conn, id + 1)
    assert caught.value.code == "F722"


@pytest.mark.parametrize("state", ["scheduled", "retryable", "completed", "discarded", "cancelled"])
def test_whatever_does_not_run_can_be_run_again(shop: Any, state: str) -> None:
    final = "now()" if state in ("completed", "discarded", "cancelled") else "null"
    id = shop.insert(max_attempts=3)
    shop.conn.execute(
        f"update forge_job set state = '{state}', attempt = 3, finalized_at = {final},"
        " scheduled_at = now() + interval '1 hour'"
    )
    assert control.change_jobs(shop.conn, "retry", [id, id + 1]) == {id: "available"}
    assert shop.row(id, "attempt", "max_attempts") == (3, 4)
    shop.worker({"a": nothing})
    shop.until(id, "completed")


def test_a_unique_job_whose_place_is_taken_cannot_be_run_again(shop: Any) -> None:
    first = shop.insert(unique="k")
    control.change_jobs(shop.conn, "cancel", [first])
    second = shop.insert(unique="k")
    free = shop.insert(unique="free", delay=9)
    states = control.change_jobs(shop.conn, "retry", [first, second, free])
    assert states == {first: "cancelled", second: "available", free: "available"}


def test_a_unique_job_that_waits_for_another_attempt_keeps_its_place(shop: Any) -> None:
    first = shop.insert(unique="k")
    control.change_jobs(shop.conn, "cancel", [first])
    second = shop.insert(unique="k")
    shop.conn.execute(
        "update forge_job set state = 'running', attempt = 1, attempted_at = now(), claim = 1,"
        " worker_id = gen_random_uuid() where id = %s", [second]
    )  # fmt: skip
    for state in ("retryable", "scheduled", "available"):
        shop.conn.execute(
            "update forge_job set state = %s, claim = null where id = %s", [state, second]
        )
        states = control.change_jobs(shop.conn, "retry", [first, second])
        assert states == {first: "cancelled", second: "available"}


def test_of_two_ended_jobs_of_one_key_a_retry_brings_one_back_and_the_others_all(shop: Any) -> None:
    twins = [shop.insert(unique="one") for _ in range(1)]
    shop.conn.execute("update forge_job set state = 'discarded', finalized_at = now()")
    twins.append(shop.insert(unique="one"))
    others = [shop.insert() for _ in range(2)]
    kept = shop.insert(unique=Unique("two", ended=["completed"]))
    shop.conn.execute("update forge_job set state = 'discarded', finalized_at = now()")
    after = shop.insert(unique=Unique("two", ended=["completed"]))
    shop.conn.execute(
        "update forge_job set state = 'completed', finalized_at = now() where id = %s", [after]
    )
    states = control.change_jobs(shop.conn, "retry", [*twins, *others, kept])
    assert states == {twins[0]: "discarded", kept: "discarded"} | dict.fromkeys(
        [twins[1], *others], "available"
    )


def test_what_there_is_is_counted_where_nobody_leads(shop: Any) -> None:
    """And not again at once: whoever scrapes may do so often."""
    shop.insert(queue="mail")
    assert control.job_counts(shop.conn) == {("mail", "available"): 1}
    (queue,) = control.stats(shop.conn)["queues"]
    assert queue["name"] == "mail" and queue["counts"]["available"] == 1
    shop.insert(queue="mail")
    assert control.job_counts(shop.conn) == {("mail", "available"): 1}
    shop.conn.execute("update forge_queue set counted_at = now() - interval '1 minute'")
    assert control.job_counts(shop.conn) == {("mail", "available"): 2}


def test_kinds_that_nobody_works_are_seen_while_they_are_not_due_too(shop: Any) -> None:
    shop.insert("lost", delay=600)
    assert control.stats(shop.conn)["unknown"] == ["lost"]


@pytest.mark.parametrize("name", ["", "q" * 101, "a\0b", "\ud800"])
def test_names_that_no_queue_can_have_are_refused(shop: Any, name: str) -> None:
    for asked in (control.pause, control.resume, control.limit):
        with pytest.raises(Invalid) as caught:
            asked(shop.conn, name)
        assert caught.value.code == "F711"
    for filter in ("queue", "kind", "tag"):
        if len(name) != 101 or filter != "kind":
            with pytest.raises(Invalid):
                control.list_jobs(shop.conn, **{filter: name})  # type: ignore[arg-type]


def test_numbers_beyond_any_job_find_none(shop: Any) -> None:
    id, huge = shop.insert(), 10**30
    assert control.change_jobs(shop.conn, "cancel", [huge]) == {}
    assert [job["id"] for job in control.list_jobs(shop.conn, before=huge, limit=huge)] == [id]
    with pytest.raises(ForgeError) as caught:
        control.show_job(shop.conn, huge)
    assert caught.value.code == "F722"


def test_times_are_shown_in_utc_whatever_the_server_has(shop: Any) -> None:
    shop.conn.execute("set timezone = 'Europe/Vienna'")
    id = shop.insert(scheduled_at=datetime(2031, 7, 1, 12, tzinfo=UTC))
    assert control.moment(control.show_job(shop.conn, id)["scheduled_at"]) == "2031-07-01 12:00:00"
    assert control.moment("10000-01-01T00:59:59+01:00") == "10000-01-01T00:59:59+01:00"


def test_what_waits_is_cancelled_at_once_and_what_ended_stays(shop: Any) -> None:
    ids = [shop.insert(), shop.insert(delay=60)]
    done = shop.insert()
    shop.conn.execute(
        "update forge_job set state = 'completed', finalized_at = now() where id = %s", [done]
    )
    states = control.change_jobs(shop.conn, "cancel", [*ids, done])
    assert states == {ids[0]: "cancelled", ids[1]: "cancelled", done: "completed"}


@pytest.mark.parametrize("how", ["checkpoint", "conn", "flag", "error", "returns"])
def test_a_running_job_ends_at_its_next_checkpoint(shop: Any, how: str) -> None:
    started, go = threading.Event(), threading.Event()
    swallowed: list[BaseException] = []

    def work(job: Job) -> None:
        started.set()
        assert go.wait(10)
        shop.wait_for(lambda: job.cancelled)
        if how == "error":
            raise RuntimeError("interrupted")
        try:
            if how == "checkpoint":
                job.checkpoint()
            elif how == "conn":
                job.conn.execute("select 1")
        except Exception as err:
            swallowed.append(err)

    id = shop.insert()
    shop.worker({"a": work}, heartbeat=0.2)
    assert started.wait(10)
    assert control.change_jobs(shop.conn, "cancel", [id]) == {id: "running"}
    go.set()
    shop.until(id, "completed" if how in ("returns", "flag") else "cancelled")
    assert swallowed == [] and shop.row(id, "attempt") == (1,)


def test_a_worker_that_listens_hears_of_a_cancelled_run_at_once(shop: Any) -> None:
    """Its next beat is a minute away."""
    started = threading.Event()

    def work(job: Job) -> None:
        started.set()
        shop.wait_for(lambda: job.cancelled)
        job.checkpoint()

    nudger = notify.Nudger(shop.open)
    nudger.start()
    id = shop.insert()
    shop.worker({"a": work}, heartbeat=60.0, rescue_after=300.0, listen=shop.open)
    assert started.wait(10)
    with db.connect(shop.database.app_url, nudger=nudger) as conn:
        assert control.change_jobs(conn, "cancel", [id]) == {id: "running"}
    shop.until(id, "cancelled")
    nudger.stop()


def test_a_job_that_is_cancelled_while_its_worker_dies_is_not_run_again(shop: Any) -> None:
    id = shop.insert()
    shop.conn.execute(
        "update forge_job set state = 'running', attempt = 1, claim = 1, attempted_at = now(),"
        " worker_id = gen_random_uuid(), cancel_requested_at = now()"
    )
    shop.worker({"a": nothing})
    shop.until(id, "cancelled")


def test_a_running_job_is_not_discarded_or_retried(shop: Any) -> None:
    started, go = threading.Event(), threading.Event()
    id = shop.insert()
    shop.worker({"a": lambda job: (started.set(), go.wait(10))})
    assert started.wait(10)
    for does in ("discard", "retry"):
        assert control.change_jobs(shop.conn, does, [id]) == {id: "running"}
    go.set()
    shop.until(id, "completed")


# -- queues ----------------------------------------------------------------------------------------


def test_a_paused_queue_waits_and_another_goes_on(shop: Any) -> None:
    control.pause(shop.conn, "default")
    waits, other = shop.insert(), shop.insert(queue="mail")
    worker = shop.worker({"a": nothing}, queues={"default": 2, "mail": 2})
    shop.until(other, "completed")
    worker._listener.notify("j:default")
    shop.conn.execute("select pg_sleep(0.3)")
    assert shop.row(waits, "state") == ("available",)
    control.resume(shop.conn, "default")
    shop.until(waits, "completed")


class Gauge:
    """How many run at once: in all, and of each key."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.started: list[float] = []

    def work(self, job: Job) -> None:
        keys = ("all", str(job.args.get("key")))
        with self.lock:
            self.started.append(time.monotonic())
            for key in keys:
                self.now[key] += 1
                self.most[key] = max(self.most[key], self.now[key])
        threading.Event().wait(0.01)
        with self.lock:
            for key in keys:
                self.now[key] -= 1


def test_a_limit_holds_over_all_workers(shop: Any) -> None:
    control.limit(shop.conn, "default", running=3)
    jobs.insert_many_tx(shop.conn, [NewJob("a") for _ in range(120)])
    gauge = Gauge()
    for _ in range(3):
        shop.worker({"a": gauge.work}, poll_interval=0.02)
    shop.settle()
    assert gauge.most["all"] == 3
    ran = shop.conn.execute("select count(distinct worker_id) from forge_job").fetchone()
    assert ran[0] > 1


def test_a_limit_per_key_lets_other_keys_pass(shop: Any) -> None:
    control.limit(shop.conn, "default", per_key=1)
    keys = ["x"] * 40 + ["y"] * 10 + [None] * 10
    shop.conn.execute("begin")
    for key in keys:
        shop.insert(args={"key": key}, limit_key=key)
    shop.conn.execute("commit")
    gauge = Gauge()
    for _ in range(2):
        shop.worker({"a": gauge.work}, poll_interval=0.02)
    shop.settle()
    assert gauge.most["x"] == gauge.most["y"] == 1
    assert gauge.most["all"] > 2 and len(gauge.started) == len(keys)


def test_a_rate_lets_so_many_start_and_then_as_many_in_its_time(shop: Any) -> None:
    control.limit(shop.conn, "default", rate=(10, 1.0))
    jobs.insert_many_tx(shop.conn, [NewJob("a") for _ in range(25)])
    gauge = Gauge()
    for _ in range(2):
        shop.worker({"a": gauge.work}, poll_interval=0.02)
    shop.settle()
    started = sorted(gauge.started)
    # The bucket held ten; the other fifteen came at ten a second, which takes a second and a half.
    assert len(started) == 25 and started[-1] - started[0] > 1.2
    for n in range(11, 25):
        assert started[n] - started[n - 11] > 0.05


@pytest.mark.parametrize("limits", [{"running": 2}, {"per_key": 1}, {"running": 3, "per_key": 2}])
def test_what_a_limit_held_back_runs_as_soon_as_it_may(shop: Any, limits: dict[str, int]) -> None:
    """In this worker and in the other: none of them looks by itself for a minute."""
    control.limit(shop.conn, "default", **limits)
    keys = ["one"] * 60 + [str(n) for n in range(40)]
    jobs.insert_many_tx(shop.conn, (NewJob("a", {}, limit_key=key) for key in keys))
    nudger = notify.Nudger(shop.open)
    nudger.start()
    workers = [
        shop.worker(
            {"a": lambda job: time.sleep(0.005)},
            poll_interval=60.0, listen=shop.open, nudger=nudger,
        )
        for _ in range(2)
    ]  # fmt: skip
    shop.settle(60)
    for worker in workers:
        worker.stop()
    nudger.stop()
    assert shop.states() == {"completed": 100}


def test_limits_are_taken_away_again(shop: Any) -> None:
    control.limit(shop.conn, "default", running=0)
    id = shop.insert()
    shop.worker({"a": nothing})
    shop.conn.execute("select pg_sleep(0.3)")
    assert shop.row(id, "state") == ("available",)
    control.limit(shop.conn, "default")
    shop.until(id, "completed")


def test_a_wrong_limit_is_refused(shop: Any) -> None:
    for wrong in ({"running": -1}, {"per_key": 0}, {"rate": (0, 1.0)}, {"rate": (1, 0.0)}):
        with pytest.raises(ForgeError):
            control.limit(shop.conn, "default", **wrong)  # type: ignore[arg-type]


def test_stats_show_queues_workers_runs_and_kinds_that_nobody_has(shop: Any) -> None:
    started, go = threading.Event(), threading.Event()
    shop.insert("future")
    id = shop.insert()
    worker = shop.worker({"a": lambda job: (started.set(), go.wait(10))}, heartbeat=0.1)
    assert started.wait(10)
    shop.wait_for(lambda: worker._heartbeat.leading)
    shop.wait_for(lambda: bool(control.job_counts(shop.conn)))
    found = control.stats(shop.conn)
    go.set()
    assert found["unknown"] == ["future"]
    (queue,) = found["queues"]
    assert queue["name"] == "default" and queue["counts"]["available"] >= 1
    (shown,) = found["workers"]
    assert shown["kinds"] == ["a"] and shown["leader"] and shown["alive"]
    assert [run["id"] for run in shown["running"]] == [id]
    assert set(found["storage"]["indexes"]) >= {"forge_job_fetch", "forge_job_state"}


# -- unique jobs -----------------------------------------------------------------------------------


def test_a_window_and_ended_jobs_count_where_that_is_asked(shop: Any) -> None:
    hour = Unique("report", within=3600.0, ended=("completed",))
    first = shop.insert(unique=hour)
    shop.conn.execute("update forge_job set state = 'completed', finalized_at = now()")
    assert shop.insert(unique=hour) == first
    again = shop.insert(unique=Unique("report", within=3600.0))
    assert again != first
    key = shop.row(first, "unique_key")[0]
    shop.conn.execute("delete from forge_job where id = %s", [again])
    # The clock of the database is moved by moving what it was asked before.
    shop.conn.execute("update forge_job set unique_key = 'report:0' where id = %s", [first])
    third = shop.insert(unique=hour)
    assert third != first and shop.row(third, "unique_key")[0] >= key


def test_a_job_is_unique_by_its_kind_and_arguments_when_no_key_is_given(shop: Any) -> None:
    first = shop.insert(args={"n": 1, "m": 2}, unique=Unique())
    assert shop.insert(args={"m": 2, "n": 1}, unique=Unique()) == first
    assert shop.insert(args={"n": 2}, unique=Unique()) != first
    long = {"text": "x" * 10_000}
    assert shop.insert(args=long, unique=Unique()) == shop.insert(args=long, unique=Unique())


def test_many_that_are_unique_are_inserted_in_one_go(shop: Any) -> None:
    given = [NewJob("a", {"n": n}, unique=Unique() if n % 2 else None) for n in (1, 2, 1, 2, 3)]
    ids = jobs.insert_many_tx(shop.conn, given, ids=True)
    assert len(ids) == 5 and ids[0] == ids[2] and len(set(ids)) == 4
    args = dict(shop.conn.execute("select id, args -> 'n' from forge_job").fetchall())
    assert [args[id] for id in ids] == [1, 2, 1, 2, 3]


@pytest.mark.parametrize(
    "unique",
    [
        Unique("k", within=0),
        Unique("k", ended=("running",)),
        Unique("k" * 501),
        Unique("k", within=-1),
    ],
)
def test_a_wrong_uniqueness_is_refused(shop: Any, unique: Unique) -> None:
    with pytest.raises(Invalid) as caught:
        shop.insert(unique=unique)
    assert [error.pointer for error in caught.value.errors] == ["/unique"]


def test_what_is_inserted_is_counted_after_its_commit(shop: Any) -> None:
    count: Counter[tuple[str, str]] = Counter()
    conn = shop.mine()
    conn.jobs = jobs.Catalogue(inserted=lambda kind, queue, n: count.update({(kind, queue): n}))
    jobs.insert_tx(conn, "a", unique="k")
    jobs.insert_tx(conn, "a", unique="k")
    jobs.insert_many_tx(conn, [NewJob("b", queue="q") for _ in range(5)])
    with pytest.raises(RuntimeError), db.transaction(conn):
        jobs.insert_tx(conn, "c")
        raise RuntimeError
    with db.transaction(conn):
        jobs.insert_tx(conn, "d")
        assert "d" not in {kind for kind, _ in count}
    assert count == {("a", "default"): 1, ("b", "q"): 5, ("d", "default"): 1}
