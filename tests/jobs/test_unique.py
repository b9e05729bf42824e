"""Unique jobs: which inserts add one, what a running job absorbs, and that no change is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from forge_min import db, jobs
from forge_min.jobs import Job, JobHook, Snooze, Unique
from forge_min.jobs.control import limit, pause, resume

pytestmark = pytest.mark.db


def write(source: str) -> str:
    """A write of one document whose hook is unique."""
    hook = JobHook("Reindex", unique=True)
    job = jobs.job_fragment("row", hook, "Doc", "update", metadata_param="m")
    return (
        f"with row as ({source} returning *), job as ({job}) select %(m)s::jsonb, version from row"
    )


UPDATE = write("update docs set version = version + 1 where id = %(id)s")


@pytest.fixture
def docs(shop: Any) -> Any:
    """A shop with the table of documents and their index."""
    with db.connect(shop.database.owner_url) as owner:
        owner.execute("create table docs (id integer primary key, version bigint not null)")
        owner.execute("create table found (id integer primary key, version bigint not null)")
        owner.execute("insert into docs select n, 1 from generate_series(1, 1000) n")
        owner.execute("insert into found select id, version from docs")
    return shop


def update(conn: db.Connection, id: int) -> None:
    db.run(conn, UPDATE, {"id": id, "m": "{}"})


def insert(conn: db.Connection, id: int) -> None:
    jobs.insert_tx(conn, "Reindex", {"id": id}, unique=f"doc {id}")


@pytest.fixture(params=[update, insert])
def enqueue(request: pytest.FixtureRequest) -> Callable[[db.Connection, int], None]:
    """Both ways to insert a unique job: by a hook and by hand."""
    return request.param  # type: ignore[no-any-return]


class Held:
    """A handler whose first run waits for `go` and then ends as it says."""

    def __init__(self, end: BaseException | None = None) -> None:
        self.end = end
        self.started, self.go = threading.Event(), threading.Event()
        self.runs: list[int] = []

    def __call__(self, job: Job) -> None:
        self.runs.append(job.id)
        if len(self.runs) == 1:
            self.started.set()
            assert self.go.wait(10)
            if self.end is not None:
                raise self.end


def ids(shop: Any) -> list[int]:
    return [row[0] for row in shop.conn.execute("select id from forge_job order by id")]


def test_a_running_job_has_one_successor(docs: Any, enqueue: Any) -> None:
    work = Held()
    enqueue(docs.conn, 1)
    docs.worker({"Reindex": work}, queues={"default": 1})
    assert work.started.wait(10)
    pause(docs.conn, "default")  # or the successor is fetched ahead, and then it has begun
    for _ in range(3):
        enqueue(docs.conn, 1)
    first, second = ids(docs)
    work.go.set()
    docs.until(first, "completed")
    resume(docs.conn, "default")
    docs.settle()
    assert work.runs == [first, second] and docs.states() == {"completed": 2}


@pytest.mark.parametrize("end", [ValueError("no"), Snooze(3600)])
def test_a_job_that_is_to_run_again_gives_way_to_its_successor(
    docs: Any, enqueue: Any, end: BaseException
) -> None:
    work = Held(end)
    enqueue(docs.conn, 1)
    docs.worker({"Reindex": work}, queues={"default": 1})
    assert work.started.wait(10)
    pause(docs.conn, "default")  # or the successor is fetched ahead, and then it has begun
    enqueue(docs.conn, 1)
    first, second = ids(docs)
    work.go.set()
    docs.until(first, "cancelled")
    resume(docs.conn, "default")
    docs.settle()
    assert docs.row(first, "state", "errors -> -1 ->> 'error'") == (
        "cancelled",
        f"job {second} of the same unique key waits and does its work",
    )
    assert work.runs == [first, second] and docs.row(second, "state") == ("completed",)


def test_a_job_that_waits_for_another_attempt_absorbs_new_ones(docs: Any, enqueue: Any) -> None:
    work = Held(Snooze(3600))
    enqueue(docs.conn, 1)
    docs.worker({"Reindex": work})
    work.go.set()
    (job,) = ids(docs)
    docs.until(job, "scheduled")
    enqueue(docs.conn, 1)
    assert ids(docs) == [job]


def test_rescued_jobs_of_one_key_become_one(docs: Any, enqueue: Any) -> None:
    begin = (
        "update forge_job set state = 'running', attempt = 1, attempted_at = now(),"
        " worker_id = gen_random_uuid(), claim = nextval('forge_job_claim')"
        " where state = 'available'"
    )
    for _ in range(3):
        enqueue(docs.conn, 1)
        docs.conn.execute(begin)
    docs.worker({"Reindex": lambda job: None})
    docs.settle()
    assert docs.states() == {"cancelled": 2, "completed": 1}


@pytest.mark.parametrize("limited", [False, True])
def test_a_job_that_absorbed_a_change_waits_for_its_transaction(
    docs: Any, enqueue: Any, limited: bool
) -> None:
    seen: list[Any] = []

    def work(job: Job) -> None:
        seen.append(job.conn.execute("select version from docs where id = 1").fetchone()[0])

    if limited:
        limit(docs.conn, "default", running=5)
    enqueue(docs.conn, 1)
    (first,) = ids(docs)
    writer = docs.mine()
    with db.transaction(writer):
        writer.execute("update docs set version = 9 where id = 1")
        enqueue(writer, 1)
        other = docs.insert("b")
        docs.worker({"Reindex": work, "b": lambda job: None})
        docs.until(other, "completed")
        assert docs.row(first, "state") == ("available",)
    docs.settle()
    assert len(seen) == 1 and seen[0] >= 9 and len(ids(docs)) == 2


def test_a_job_that_counts_when_it_has_ended_counts_while_it_runs(shop: Any) -> None:
    work = Held()
    unique = Unique("report", ended=["completed"])
    job = shop.insert(unique=unique)
    shop.worker({"a": work})
    assert work.started.wait(10)
    assert shop.insert(unique=unique) == job
    work.go.set()
    shop.until(job, "completed")
    assert shop.insert(unique=unique) == job


def test_the_previous_releases_statement_finds_its_index(docs: Any) -> None:
    old = (
        "insert into forge_job (kind, unique_key) values ('a', 'k') on conflict (unique_key) where"
        " unique_key is not null and state in ('available', 'scheduled', 'running', 'retryable')"
        " do nothing"
    )
    docs.conn.execute(old)
    docs.conn.execute(old)
    (job,) = ids(docs)
    work = Held()
    docs.worker({"a": work})
    assert work.started.wait(10)
    docs.conn.execute(old)
    work.go.set()
    docs.settle()
    assert len(ids(docs)) == 2 and docs.row(job, "unique_key", "begun_key") == ("k", None)


@pytest.mark.thorough
def test_after_ten_thousand_updates_the_index_equals_the_table(docs: Any) -> None:
    def work(job: Job) -> None:
        rng = random.Random(job.claim)
        id = int(job.args["id"])
        row = job.conn.execute("select version from docs where id = %s", [id]).fetchone()
        assert row is not None
        threading.Event().wait(rng.choice([0, 0, 0.001, 0.01]))
        if rng.random() < 0.1:
            raise rng.choice([ValueError("no"), Snooze(0.01)])
        job.conn.execute("update found set version = %s where id = %s", [row[0], id])

    def updates(seed: int) -> None:
        rng = random.Random(seed)
        with db.connect(docs.database.app_url) as conn:
            id = 1
            for n in range(2_500):
                if n % 4 == 0:  # the first adds a job, which may absorb the others
                    id = rng.randint(1, 1000)
                with db.transaction(conn):
                    update(conn, id)
                    threading.Event().wait(rng.choice([0, 0, 0, 0.001, 0.005]))
                threading.Event().wait(rng.choice([0, 0, 0, 0.002]))

    limit(docs.conn, "default", per_key=1)  # a run must not overtake another one of its row
    kind = jobs.Kind("Reindex", work, retry=lambda job, error: 0.01)
    for _ in range(2):
        docs.worker({"Reindex": kind})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(updates, range(4)))
    docs.settle(60)
    differ = "select count(*) from docs join found using (id) where docs.version <> found.version"
    assert docs.conn.execute(differ).fetchone() == (0,)
    assert docs.conn.execute("select sum(version) - 1000 from docs").fetchone() == (10_000,)
    assert set(docs.states()) <= {"completed", "cancelled"}
    print(docs.states())
