"""drain_jobs, read_events: a test sees at once what would have happened soon."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from forge_min import db, jobs, notify
from forge_min.actions import Registry
from forge_min.app import Runtime
from forge_min.auth import Identity, as_identity, current_identity
from forge_min.testing import (
    Factory,
    JobsFailed,
    TestDatabase,
    assert_enqueued,
    drain_jobs,
    enqueued,
    event_position,
    read_events,
    travel,
)

pytestmark = pytest.mark.db

Work = Callable[[jobs.Job], object]


class Queue:
    """A registry with the workers that a test writes, and nothing else."""

    def __init__(self, database: db.Database) -> None:
        self.database = database
        self.registry = Registry(database, {})
        self.conn = database.connection()

    def works(self, **handlers: Work) -> None:
        for kind, work in handlers.items():
            members = {"kind": kind, "work": lambda self, job, work=work: work(job)}
            self.registry.add_workers([type(kind, (), members)])

    def insert(self, kind: str, **options: Any) -> int:
        return jobs.insert_tx(self.conn, kind, options.pop("args", {}), **options)


@pytest.fixture
def queue(fresh_database: TestDatabase) -> Iterator[Queue]:
    database = db.Database(fresh_database.app_url)
    try:
        yield Queue(database)
    finally:
        database.close()


def outcomes(done: list[Any]) -> list[tuple[str, str]]:
    return [(one.job.kind, one.outcome) for one in done]


def test_what_is_due_is_worked_and_what_that_enqueues_in_whatever_queue(queue: Queue) -> None:
    def chain(job: jobs.Job) -> None:
        if job.args["n"]:
            args = {"n": job.args["n"] - 1}
            jobs.insert_tx(job.conn, "chain", args, queue=f"q{job.args['n']}")

    queue.works(chain=chain)
    queue.insert("chain", args={"n": 3})
    queue.insert("chain", args={"n": 0}, delay=3600)
    assert outcomes(drain_jobs(queue)) == [("chain", "completed")] * 4
    assert drain_jobs(queue) == []
    states = queue.conn.execute("select state, count(*) from forge_job group by state").fetchall()
    assert dict(states) == {"completed": 4, "scheduled": 1}


def test_a_scheduled_job_that_is_due_is_worked(queue: Queue) -> None:
    queue.works(a=lambda job: None)
    queue.insert("a", delay=60)
    queue.conn.execute("update forge_job set scheduled_at = now() - interval '1 second'")
    assert outcomes(drain_jobs(queue.registry)) == [("a", "completed")]


def test_only_the_queues_that_are_asked_for_are_worked(queue: Queue) -> None:
    queue.works(a=lambda job: None)
    for name in ("mail", "default"):
        queue.insert("a", queue=name)
    assert [one.job.queue for one in drain_jobs(queue, ["mail"])] == ["mail"]
    assert [one.job.queue for one in drain_jobs(queue)] == ["default"]


def test_jobs_that_fail_fail_the_test_and_are_all_named(queue: Queue) -> None:
    def fail(job: jobs.Job) -> None:
        raise RuntimeError("no luck")

    def give_up(job: jobs.Job) -> None:
        raise jobs.Discard("no use")

    queue.works(fail=fail, give_up=give_up, good=lambda job: None)
    for kind in ("fail", "give_up", "good"):
        queue.insert(kind)
    with pytest.raises(AssertionError) as caught:
        drain_jobs(queue)
    assert isinstance(caught.value, JobsFailed) and caught.value.code == "F415"
    assert "fail (job 1): RuntimeError: no luck" in caught.value.message
    assert "give_up (job 2): no use" in caught.value.message and "good" not in caught.value.message
    # A failed job is tried later, so it is left alone.
    assert drain_jobs(queue) == []


def test_failures_are_outcomes_when_the_test_says_so(queue: Queue) -> None:
    def decide(job: jobs.Job) -> None:
        raise job.args and jobs.Cancel("on purpose") or ValueError("x")

    queue.works(decide=decide)
    queue.insert("decide")
    queue.insert("decide", args={"cancel": True})
    queue.insert("decide", max_attempts=1)
    found = outcomes(drain_jobs(queue, failures=True))
    assert [outcome for _, outcome in found] == ["retried", "cancelled", "discarded"]


def test_jobs_without_end_are_an_error_after_the_timeout(queue: Queue) -> None:
    def again(job: jobs.Job) -> None:
        raise jobs.Snooze(0)

    queue.works(again=again)
    queue.insert("again")
    with pytest.raises(JobsFailed) as caught:
        drain_jobs(queue, timeout=0.3)
    assert caught.value.code == "F415" and "default" in caught.value.message


def test_a_job_that_blocks_until_the_time_is_over_is_not_taken_for_done(queue: Queue) -> None:
    release = threading.Event()
    queue.works(block=lambda job: block(release))
    queue.insert("block")
    try:
        with pytest.raises(JobsFailed) as caught:
            drain_jobs(queue, timeout=0.2)
    finally:
        release.set()
    assert caught.value.code == "F415"


def block(release: threading.Event) -> None:
    """Wait, and do not even hear of the time-out."""
    while not release.is_set():
        with contextlib.suppress(BaseException):
            release.wait()


def test_a_job_that_no_worker_has_is_not_passed_over_in_silence(queue: Queue) -> None:
    queue.works(good=lambda job: None)
    queue.insert("good")
    queue.insert("goood")
    queue.insert("later", delay=60)
    queue.insert("elsewhere", queue="other")
    with pytest.raises(JobsFailed) as caught:
        drain_jobs(queue, ["default"])
    assert caught.value.message.splitlines()[1:] == ["goood (job 2): no worker has this kind"]
    assert drain_jobs(queue, failures=True) == []


def test_hooks_of_a_project_run_as_the_system_in_the_tenant_of_the_write(
    site: Runtime, manager: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Identity, jobs.Change]] = []
    monkeypatch.setattr(
        "resources.document.jobs.Notify.work",
        lambda self, job: seen.append((current_identity(), job.change)),
    )
    with as_identity(manager):
        order: Any = Factory.of(site, "orders").create()
        site.registry.actions["orders"].update(order.id, {"lane": "slow"}, version=order.version)
    done = drain_jobs(site)
    assert sorted(outcomes(done)) == [
        ("Notify", "completed"), ("Notify", "completed"), ("Notify", "completed"),
        ("Reindex", "completed"),
    ]  # fmt: skip
    assert {identity for identity, _ in seen} <= {
        Identity(user, tenant=manager.tenant, system=True) for user in ("ann", "system")
    }
    changes = sorted((c.operation, c.id, c.version, bool(c.before)) for _, c in seen)
    assert changes == [
        ("create", str(order.id), 1, False),
        ("update", str(order.id), 2, True),
        ("update", str(order.id), 2, True),
    ]
    before = next(c.before for _, c in seen if c.before)
    assert before["lane"] == "fast" and "forge_search" not in before


def test_events_are_read_as_they_were_published(queue: Queue) -> None:
    def publish(id: str, **more: Any) -> None:
        notify.publish_tx(queue.conn, notify.Event("items", "item.updated", id, 2, **more))

    publish("1", changed=("a", "b"), payload={"n": 1})
    position = event_position(queue.conn)
    assert read_events(queue.conn, position) == []
    with pytest.raises(ZeroDivisionError), db.transaction(queue.conn):
        publish("rolled back")
        raise ZeroDivisionError
    publish("2")
    first, second = read_events(queue.conn)
    assert (first.resource_id, first.changed, first.payload) == ("1", ("a", "b"), {"n": 1})
    assert read_events(queue.conn, position) == [second]
    assert (second.resource_id, second.version, second.changed) == ("2", 2, ())
    assert second.id > first.id and second.created_at is not None


def test_a_position_inside_a_transaction_lies_before_all_of_it(queue: Queue) -> None:
    def publish(conn: Any, id: str) -> None:
        notify.publish_tx(conn, notify.Event("items", "item.created", id))

    with db.transaction(queue.conn):
        publish(queue.conn, "first")
        with queue.database.open() as other:
            publish(other, "committed")
        position = event_position(queue.conn)
        publish(queue.conn, "second")
    assert [e.resource_id for e in read_events(queue.conn, position)] == ["first", "second"]


def test_an_event_that_was_under_way_at_the_position_is_read_after_its_commit(
    queue: Queue,
) -> None:
    late = queue.database.open()
    with late, db.transaction(late):
        notify.publish_tx(late, notify.Event("items", "item.created", "late"))
        position = event_position(queue.conn)
        notify.publish_tx(queue.conn, notify.Event("items", "item.created", "later"))
        assert [e.resource_id for e in read_events(queue.conn, position)] == ["later"]
    assert [e.resource_id for e in read_events(queue.conn, position)] == ["late", "later"]


def test_inside_a_transaction_jobs_are_worked_in_it_and_vanish_with_it(queue: Queue) -> None:
    def first(job: jobs.Job) -> None:
        assert job.conn is queue.conn
        job.conn.execute("create temporary table if not exists effect (n int) on commit drop")
        job.conn.execute("insert into effect values (1)")
        queue.insert("second", args={"of": job.id})

    def second(job: jobs.Job) -> None:
        if job.attempt == 1 and job.args.get("fails"):
            job.conn.execute("insert into effect values (2)")
            raise RuntimeError("not this time")

    queue.works(first=first, second=second)
    waiting = queue.insert("second", delay=60)
    with db.transaction(queue.conn):
        queue.insert("first")
        assert outcomes(drain_jobs(queue)) == [("first", "completed"), ("second", "completed")]
        queue.insert("second", args={"fails": True})
        done = drain_jobs(queue, failures=True)
        assert outcomes(done) == [("second", "retried")]
        assert queue.conn.execute("select n from effect").fetchall() == [(1,)]
        with pytest.raises(JobsFailed, match="not this time"):
            queue.insert("second", args={"fails": True})
            drain_jobs(queue)
        raise psycopg.Rollback
    rows = queue.conn.execute("select id, state from forge_job").fetchall()
    assert rows == [(waiting, "scheduled")]


def test_a_job_in_a_transaction_may_complete_itself_or_end_otherwise(queue: Queue) -> None:
    def work(job: jobs.Job) -> None:
        match job.args["how"]:
            case "complete":
                job.complete_tx(job.conn)
            case "snooze":
                raise jobs.Snooze(60)
            case "cancel":
                raise jobs.Cancel("no")

    queue.works(a=work)
    with db.transaction(queue.conn):
        for how in ("complete", "snooze", "cancel"):
            queue.insert("a", args={"how": how})
        found = [outcome for _, outcome in outcomes(drain_jobs(queue))]
        assert found == ["completed", "snoozed", "cancelled"]
        states = queue.conn.execute("select state, attempt from forge_job order by id").fetchall()
        assert states == [("completed", 1), ("scheduled", 0), ("cancelled", 1)]


def test_what_was_enqueued_is_told_by_its_arguments(queue: Queue) -> None:
    queue.works(a=lambda job: None)
    with db.transaction(queue.conn):
        queue.insert("a", args={"n": 1, "m": [1]}, queue="mail", priority=1)
        queue.insert("a", args={"n": 2})
        assert_enqueued(queue, "a", {"n": 1})
        assert_enqueued(queue, "a", {"n": 1}, queue="mail", priority=1, state="available")
        assert_enqueued(queue, "a", times=2)
        assert_enqueued(queue, "b", times=0)
        assert [job["args"]["n"] for job in enqueued(queue, "a")] == [1, 2]
        with pytest.raises(AssertionError, match=r"enqueued 0 times, not 1(?s:.*)'n': 2"):
            assert_enqueued(queue, "a", {"n": 3})
        with pytest.raises(AssertionError):
            assert_enqueued(queue, "a", {"n": 1}, queue="default")
    drain_jobs(queue)
    assert_enqueued(queue, "a", times=0)


def test_time_passes_for_what_waits_and_for_schedules(queue: Queue) -> None:
    hour = (datetime.now(UTC).hour + 12) % 24  # never near by, whenever this runs

    class Site:
        registry = queue.registry
        schedules = [jobs.Periodic("daily", jobs.Cron(f"0 {hour} * * *"), "a", {"n": 1})]

    ran: list[Any] = []
    queue.works(a=lambda job: ran.append(job.args))
    queue.insert("a", args={"n": 0}, delay=3600)
    drain_jobs(Site())
    assert ran == []
    travel(Site(), minutes=59)
    drain_jobs(Site())
    assert ran == []
    travel(Site(), minutes=2)
    drain_jobs(Site())
    assert ran == [{"n": 0}]
    travel(Site(), days=1)
    drain_jobs(Site())
    travel(Site(), days=1)
    drain_jobs(Site())
    assert ran.count({"n": 1}) == 2
