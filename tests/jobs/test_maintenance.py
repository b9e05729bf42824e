"""What the leader does: who it is, schedules, retention, figures, rescue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from forge_min import db, jobs
from forge_min.errors import ForgeError
from forge_min.jobs import Catalogue, Cron, Interval, Job, Kind, Periodic, Retention
from forge_min.jobs.maintenance.loop import RESCUE, store_counts
from forge_min.jobs.maintenance.periodic import SQL, insert_due, register_periodic
from forge_min.notify import PostgresHub
from psycopg import Rollback

pytestmark = pytest.mark.db


def nothing(job: Job) -> None:
    pass


def fails(job: Job) -> None:
    raise ValueError


def leaders(shop: Any) -> list[tuple[Any, ...]]:
    return list(shop.conn.execute("select worker_id, term from forge_leader"))


def test_one_of_many_workers_leads_and_another_when_it_stops(shop: Any) -> None:
    workers = [shop.worker({"a": nothing}, heartbeat=0.1) for _ in range(4)]
    shop.wait_for(lambda: sum(worker._heartbeat.leading for worker in workers) == 1)
    (leader,) = (worker for worker in workers if worker._heartbeat.leading)
    assert leaders(shop) == [(leader.id, 1)]
    leader.stop()
    rest = [worker for worker in workers if worker is not leader]
    shop.wait_for(lambda: sum(worker._heartbeat.leading for worker in rest) == 1)


WORKER = """
import sys
from forge_min import db, jobs
worker = jobs.Worker(
    lambda: db.connect(sys.argv[1]), {"a": lambda job: None}, queues={"default": 1},
    heartbeat=0.1, rescue_after=1.0, poll_interval=0.1,
)
worker.start()
print(worker.id, flush=True)
sys.stdin.read()
"""


def test_a_leader_that_stands_still_is_replaced_and_does_nothing_when_it_wakes(shop: Any) -> None:
    """A process is stopped, which holds its lease beyond its time, and then let go on."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, shop.database.app_url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        first = process.stdout.readline().strip()
        shop.wait_for(lambda: [str(row[0]) for row in leaders(shop)] == [first])
        os.kill(process.pid, signal.SIGSTOP)
        second = shop.worker({"a": nothing}, heartbeat=0.5, rescue_after=3.0)
        shop.wait_for(lambda: second._heartbeat.leading)
        assert leaders(shop) == [(second.id, 2)]
        due = shop.insert("later", delay=0.01)
        os.kill(process.pid, signal.SIGCONT)
        shop.wait_for(lambda: shop.row(due, "state") == ("available",))
        shop.conn.execute("select pg_sleep(0.5)")
        assert leaders(shop) == [(second.id, 2)]
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.communicate()


def test_no_statement_of_workers_and_hubs_is_compiled(shop: Any) -> None:
    """With `jit` on, PostgreSQL's default, the rescue took up to 2 s, each read of events 0.3 s."""
    with db.connect(shop.database.owner_url) as owner:
        name = owner.info.dbname
        owner.execute(f"alter role {shop.conn.info.user} in database {name} set jit = on")
    hub = PostgresHub(shop.open, lambda events: lambda event, form: b"")
    hub.start()
    try:
        shop.worker({"a": nothing, "b": fails}, periodic=[])
        shop.insert("b", max_attempts=1)
        shop.settle()
        # The leader counts after its first rescue and its first deletion.
        shop.wait_for(lambda: shop.conn.execute("select from forge_queue").rowcount > 0)
        shop.wait_for(lambda: hub.ready[0])
        sessions = "select pid from pg_stat_activity where datname = current_database()"
        pids = [pid for (pid,) in shop.conn.execute(sessions + " and leader_pid is null")]
        assert len(pids) > 4
        # PostgreSQL loads the compiler into a session that compiles its first statement.
        assert not [pid for pid in pids if "llvmjit" in Path(f"/proc/{pid}/maps").read_text()]
    finally:
        hub.stop()


def test_without_the_lead_nothing_is_made_due_rescued_or_deleted(shop: Any) -> None:
    shop.conn.execute(
        "insert into forge_leader (name, worker_id, expires_at)"
        " values ('jobs', gen_random_uuid(), now() + interval '1 hour')"
    )
    due = shop.insert("b", delay=0.01)
    lost = shop.insert("b")
    shop.conn.execute(
        "update forge_job set state = 'running', attempt = 1, claim = 1, attempted_at = now(),"
        " worker_id = gen_random_uuid() where id = %s",
        [lost],
    )
    worker = shop.worker({"a": nothing}, heartbeat=0.1, retention=Retention(0.0, 0.0))
    done = shop.insert()
    shop.until(done, "completed")
    shop.conn.execute("select pg_sleep(0.6)")
    assert not worker._heartbeat.leading
    assert shop.row(due, "state") == ("scheduled",) and shop.row(lost, "state") == ("running",)


LEASES = {
    "no leader": "delete from forge_leader",
    "another leader": "update forge_leader set worker_id = gen_random_uuid()",
    "an expired lease": "update forge_leader set expires_at = now()",
}
KEPT = "forge_job", "forge_worker", "forge_periodic", "forge_queue", "forge_job_minute"
HOURLY = Periodic("hourly", Interval(3600), "b")


def stored(shop: Any) -> dict[str, list[Any]]:
    """All that the leader changes."""
    sql = "select to_jsonb(t) from {} t order by 1"
    return {table: shop.conn.execute(sql.format(table)).fetchall() for table in KEPT}


def statements(shop: Any, me: UUID) -> dict[str, Callable[[], object]]:
    """Each action of the leader, as the worker `me`."""
    params = {"worker": me, "discarded_kinds": [], "batch": 100, "why": "silent"}
    params |= Retention(0.0, 0.0, 0.0)._asdict() | {"queues": ["default"], "kinds": ["b"]}
    return {
        "poll": lambda: db.run(shop.conn, jobs.job.SQL["poll"], params),
        "rescue": lambda: db.run(shop.conn, RESCUE["silent"], params),
        "sweep": lambda: db.run(shop.conn, SQL["sweep"], params),
        "insert_due": lambda: insert_due(shop.conn, me, [HOURLY]),
        "store_counts": lambda: store_counts(shop.conn, me),
    }


def test_each_statement_of_the_leader_checks_its_lease(shop: Any) -> None:
    """A worker that has lost its lease may not know it yet: a pause may be before any statement."""
    me = uuid4()
    for sql in (
        "insert into forge_job (kind, state, scheduled_at)"
        " values ('b', 'scheduled', now() - interval '1 s')",
        "insert into forge_job (kind, state, attempt, claim, attempted_at, worker_id)"
        " values ('b', 'running', 1, 1, now(), gen_random_uuid())",
        "insert into forge_job (kind, state, finalized_at)"
        " values ('b', 'completed', now() - interval '1 hour'),"
        " ('b', 'discarded', now() - interval '1 hour')",
        "insert into forge_worker (id, host, pid, queues, expires_at)"
        " values (gen_random_uuid(), 'h', 1, '{}', now() - interval '1 hour')",
        "insert into forge_periodic values ('hourly', '', now() - interval '1 min')",
        "insert into forge_queue (name) values ('empty')",
        "insert into forge_job_minute (queue, minute) values ('a', now() - interval '1 day')",
        f"insert into forge_leader (name, worker_id, expires_at) values ('jobs', '{me}', now())",
    ):
        shop.conn.execute(sql)
    for name, call in statements(shop, me).items():
        for lease, sql in LEASES.items():
            with db.transaction(shop.conn):
                shop.conn.execute("update forge_leader set expires_at = now() + interval '1 hour'")
                before = stored(shop)
                shop.conn.execute(sql)
                call()
                assert stored(shop) == before, (name, lease)
                raise Rollback
        with db.transaction(shop.conn):
            shop.conn.execute("update forge_leader set expires_at = now() + interval '1 hour'")
            call()
            changed = stored(shop)
            raise Rollback
        assert changed != stored(shop), name


def test_ended_jobs_are_kept_as_long_as_retention_says_and_no_longer(shop: Any) -> None:
    for state, age in (("completed", 100), ("completed", 10), ("cancelled", 100), ("cancelled", 10),
                       ("discarded", 100), ("discarded", 1000)):  # fmt: skip
        shop.conn.execute(
            "insert into forge_job (kind, state, finalized_at, tags)"
            " values ('x', %s, now() - %s * interval '1 second', %s)",
            [state, age, [f"{state} {age}"]],
        )
    waiting = shop.insert("x")
    shop.conn.execute("update forge_job set scheduled_at = now() - interval '1 year' where id = %s",
                      [waiting])  # fmt: skip
    shop.worker({"a": nothing}, heartbeat=0.1, retention=Retention(50.0, 500.0))
    shop.wait_for(lambda: sum(shop.states().values()) == 4)
    tags = shop.conn.execute("select tags[1] from forge_job where state <> 'available' order by 1")
    assert [row[0] for row in tags] == ["cancelled 10", "completed 10", "discarded 100"]


@pytest.mark.slow
def test_a_large_retention_goes_in_batches(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forge_min.jobs.maintenance.loop.BATCH", 100)
    shop.conn.execute(
        "insert into forge_job (kind, state, finalized_at)"
        " select 'x', 'completed', now() - interval '1 day' from generate_series(1, 1050)"
    )
    shop.worker({"a": nothing}, heartbeat=0.1, retention=Retention(10.0))
    shop.wait_for(lambda: shop.states() == {})


def test_the_leader_counts_by_queue_and_state_without_reading_it_all(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_min.jobs.maintenance.loop.MOST_COUNTED", 100)
    with db.connect(shop.database.owner_url) as owner:
        owner.execute(
            "insert into forge_job (kind, queue) select 'x', 'long' from generate_series(1, 5000)"
        )
        owner.execute("analyze forge_job")
    for _ in range(3):
        shop.insert("x", queue="short")
    shop.insert("x", queue="short", delay=60)
    done = shop.insert()
    shop.worker({"a": nothing}, heartbeat=0.1)
    shop.until(done, "completed")
    shop.wait_for(lambda: ("short", "scheduled") in jobs.control.job_counts(shop.conn))
    found = jobs.control.job_counts(shop.conn)
    assert found["short", "available"] == 3 and found["short", "scheduled"] == 1
    assert 4000 < found["long", "available"] < 6000


# -- periodic --------------------------------------------------------------------------------------


def test_a_periodic_job_is_inserted_when_it_is_due_and_carries_its_time(shop: Any) -> None:
    seen: list[Job] = []
    every = Periodic("tick", Interval(1), "a", {"n": 1}, options={"priority": 1, "tags": ["t"]})
    shop.worker({"a": seen.append}, heartbeat=0.1, periodic=[every])
    shop.wait_for(lambda: len(seen) >= 3)
    times = [datetime.fromisoformat(job.metadata["due_at"]) for job in seen]
    assert times == [times[0] + timedelta(seconds=n) for n in range(len(times))]
    assert seen[0].args == {"n": 1} and seen[0].metadata["periodic"] == "tick"
    assert seen[0].priority == 1 and seen[0].created_at >= times[0]


@pytest.mark.thorough
def test_a_run_is_inserted_once_however_many_believe_to_lead(shop: Any) -> None:
    """Each has the lease in its turn, and all look at the same moments."""
    conns = [shop.mine() for _ in range(4)]
    every = [Periodic("tick", Interval(1), "a"), Periodic("tock", Cron("* * * * *"), "b")]
    for conn in conns:
        register_periodic(conn, every)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        for conn in conns:
            ((worker,),) = conn.execute(
                "insert into forge_leader as l (name, worker_id, expires_at)"
                " values ('jobs', gen_random_uuid(), now() + interval '1 minute')"
                " on conflict (name) do update set worker_id = excluded.worker_id"
                " returning worker_id"
            )
            insert_due(conn, worker, every)
    rows = shop.conn.execute(
        "select count(*), count(distinct metadata ->> 'due_at') from forge_job where kind = 'a'"
    ).fetchone()
    assert rows[0] == rows[1] >= 2


@pytest.mark.parametrize(
    ("missed", "wanted"), [("skip", []), ("once", [5]), ("all", [1, 2, 3, 4, 5])]
)
def test_what_was_missed_is_dealt_with_as_asked(missed: Any, wanted: list[int]) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    each = Periodic("p", Cron("0 * * * *"), "a", missed=missed)
    now = start + timedelta(hours=5, minutes=30)
    runs, due = each.runs(start + timedelta(hours=1), now)
    assert [(run - start) // timedelta(hours=1) for run in runs] == wanted
    assert due == start + timedelta(hours=6)


@pytest.mark.parametrize(("missed", "count"), [("all", 1000), ("once", 1), ("skip", 1)])
def test_a_year_of_missed_seconds_is_bounded(missed: Any, count: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    now = start + timedelta(days=1, milliseconds=300)
    runs, due = Periodic("p", Interval(1), "a", missed=missed).runs(start, now)
    assert len(runs) == count and due == start + timedelta(days=1, seconds=1)
    if missed == "once":
        assert runs == [start + timedelta(days=1)]


def test_a_late_run_within_a_minute_was_not_missed() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    each = Periodic("p", Cron("0 * * * *"), "a", missed="skip")
    assert each.runs(start, start + timedelta(seconds=59))[0] == [start]


def test_a_changed_schedule_begins_anew_and_a_paused_one_waits(shop: Any) -> None:
    def row() -> Any:
        return shop.conn.execute("select schedule, due_at, now() from forge_periodic").fetchone()

    register_periodic(shop.conn, [Periodic("p", Interval(86_400), "a")])
    far = row()
    register_periodic(shop.conn, [Periodic("p", Interval(86_400), "a")])
    assert row()[:2] == far[:2]
    register_periodic(shop.conn, [Periodic("p", Interval(1), "a")])
    assert row()[0] == "every 1 s" and row()[1] < far[1]
    shop.conn.execute("update forge_periodic set paused_at = now()")
    shop.worker({"a": nothing}, heartbeat=0.1, periodic=[Periodic("p", Interval(1), "a")])
    shop.conn.execute("select pg_sleep(1.5)")
    assert shop.states() == {}


def test_a_periodic_job_that_cannot_be_inserted_holds_up_no_other(shop: Any) -> None:
    bad = Periodic("bad", Interval(1), "a", {"x": object()})
    shop.worker({"a": nothing}, heartbeat=0.1, periodic=[bad, Periodic("good", Interval(1), "a")])
    shop.wait_for(lambda: shop.states().get("completed", 0) >= 2)


def test_schedules_are_checked_before_anything_starts() -> None:
    kinds = Catalogue({"a": Kind("a")})
    jobs.check_periodic([Periodic("p", Interval(1), "a")], kinds)
    wrong: list[tuple[list[Periodic], str]] = [
        ([Periodic("p", Interval(1), "a"), Periodic("p", Interval(2), "a")], "F718"),
        ([Periodic("p", Interval(1), "b")], "F716"),
        ([Periodic("p", Interval(1), "a", [1])], "F711"),
    ]
    for periodic, code in wrong:
        with pytest.raises(ForgeError) as caught:
            jobs.check_periodic(periodic, kinds)
        assert caught.value.code == code


# -- figures ---------------------------------------------------------------------------------------


def test_what_ended_is_counted_by_minute(shop: Any) -> None:
    work: Callable[[Job], object] = lambda job: 1 / job.args["n"]  # noqa: E731
    for n in (1, 1, 0):
        shop.insert(args={"n": n}, max_attempts=1)
    worker = shop.worker({"a": work}, heartbeat=0.1)
    shop.settle()
    worker.stop()
    rows = [row for rows in jobs.control.minutes(shop.conn).values() for row in rows]
    assert [sum(row[1] for row in rows), sum(row[2] for row in rows)] == [2, 1]
    (queue,) = jobs.control.stats(shop.conn)["queues"] or [{}]
    assert (queue["completed_per_hour"], queue["failed_per_hour"]) == (2, 1), json.dumps(queue)
