"""jobs: the queue from a terminal, by the built artifact."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest
from forge_min import db, jobs
from forge_min.testing import TestDatabase

pytestmark = [pytest.mark.db, pytest.mark.slow]


@pytest.fixture
def queue(site: Any, fresh_database: TestDatabase) -> Any:
    """The artifact's command `jobs`, and a connection to insert with."""
    assert site.run("migrate", "up").returncode == 0

    class Queue:
        conn = db.connect(fresh_database.app_url)

        def __call__(self, *arguments: str, code: int = 0) -> str:
            done = site.run("jobs", *arguments)
            assert done.returncode == code, done.stderr + done.stdout
            self.errors = done.stderr
            return str(done.stdout)

        def json(self, *arguments: str, code: int = 0) -> Any:
            return json.loads(self(*arguments, "--json", code=code))

    yield Queue()
    Queue.conn.close()


@pytest.mark.thorough
def test_a_person_finds_and_changes_jobs(queue: Any) -> None:
    ids = [jobs.insert_tx(queue.conn, kind, {"n": 1}, tags=["t"]) for kind in ("A", "A", "B")]
    assert queue("list").splitlines()[0].split() == [
        "id", "state", "kind", "queue", "priority", "attempt", "scheduled_at", "error"
    ]  # fmt: skip
    assert [job["id"] for job in queue.json("list", "--kind", "A")] == ids[1::-1]
    (older,) = queue.json("list", "--tag", "t", "--limit", "1", "--before", str(ids[2]))
    assert older["id"] == ids[1]
    assert queue.json("show", str(ids[0]))["args"] == {"n": 1}
    assert "args          {'n': 1}" in queue("show", str(ids[0]))
    assert queue.json("cancel", str(ids[0])) == [{"id": ids[0], "state": "cancelled"}]
    assert queue.json("cancel", str(ids[0]))[0]["state"] == "cancelled"
    assert queue.json("retry", str(ids[0]), "999", code=1) == [
        {"id": ids[0], "state": "available"}, {"id": 999, "state": "missing"},
    ]  # fmt: skip
    # Everything that the filters find.
    found = queue.json("discard", "--kind", "A")
    assert {(row["id"], row["state"]) for row in found} == {(id, "discarded") for id in ids[:2]}
    assert queue.json("list", "--state", "available")[0]["id"] == ids[2]


@pytest.mark.thorough
def test_queues_are_paused_limited_and_shown(queue: Any) -> None:
    assert queue.json("pause", "mail")[0]["paused_at"]
    queue("limit", "mail", "--running", "2", "--per-key", "1", "--rate", "100/1m")
    line = next(x for x in queue("stats").splitlines() if x.startswith("mail"))
    assert "paused, 2 at once, 1 a key, 100 in 60 s" in line
    (shown,) = queue.json("resume", "mail")
    assert shown["paused_at"] is None and shown["rate_seconds"] == 60
    queue("limit", "mail")
    stats = queue.json("stats")
    assert [q["max_running"] for q in stats["queues"]] == [None] or stats["queues"] == []
    assert set(stats) == {"queues", "workers", "unknown", "unworked", "periodic", "storage"}


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["show", "x"], 2, "'x' is not a job id"),
        (["show"], 2, "needs a job id"),
        (["show", "7"], 1, "error[F722]"),
        (["retry"], 2, "needs ids, or --state"),
        (["pause"], 2, "needs a queue"),
        (["limit", "mail", "--rate", "soon"], 2, "is not jobs/time"),
        (["list", "--state", "asleep"], 1, "error[F010]"),
        (["frobnicate"], 2, "invalid choice"),
        (["show", "9" * 5000], 1, "error[F722]"),
        (["show", "0" * 20 + "7"], 1, "job 7 was not found"),
        (["pause", ""], 1, "error[F711]"),
        (["pause", "q" * 101], 1, "error[F711]"),
        (["pause", "\udcff"], 1, "error[F711]"),
        (["list", "--kind", "\udcff"], 1, "error[F711]"),
        (["limit", "mail", "--running", "-1"], 1, "error[F711]"),
        (["limit", "mail", "--rate", "5/0s"], 1, "error[F711]"),
        (["limit", "mail", "--rate", "9" * 5000 + "/1s"], 2, "is not jobs/time"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(
    queue: Any, arguments: list[str], code: int, hint: str
) -> None:
    queue(*arguments, code=code)
    assert hint in queue.errors and "Traceback" not in queue.errors


@pytest.mark.thorough
def test_stats_go_on_while_they_are_watched(queue: Any, site: Any) -> None:
    process = site.start("jobs", "stats", "--watch", "--json")
    process.wait_for(lambda: process.log.count('"queues"') >= 2, "two answers")
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(20) == 130


@pytest.mark.thorough
def test_the_metrics_count_jobs(site: Any) -> None:
    process = site.serve(FORGE_JOBS_QUEUES="{default = 2, nearest = 2}")
    country = site.create("countries", {"code": "DE", "name": "Germany"})
    for icao in ("AAAA", "BBBB"):
        place = {"icao": icao, "name": icao, "latitude": "51", "longitude": "8"}
        site.create("airports", place | {"country_id": country["id"]})

    def metrics() -> str:
        return str(site.ask("GET", "/metrics", port=site.admin)[2].decode())

    done = (
        'forge_job_duration_seconds_count{kind="FindNearest",queue="nearest",outcome="completed"} 2'
    )
    process.wait_for(lambda: done in metrics(), "two jobs")
    text = metrics()
    assert 'forge_jobs_inserted_total{kind="FindNearest",queue="nearest"} 2' in text
    assert 'forge_job_wait_seconds_count{queue="nearest"} 2' in text
    # The leader counts at its start, when the jobs may not have run, and every 15 s.
    counted = r'forge_jobs\{queue="nearest",state="completed"\} 2\b'
    process.wait_for(lambda: re.search(counted, metrics()) is not None, "the leader's count")


def test_a_job_of_a_kind_is_run_now_with_its_arguments(queue: Any, site: Any) -> None:
    queue("run", "FindNearst", code=1)
    assert "FindNearst" in queue.errors and "Traceback" not in queue.errors
    for wrong in (["run"], ["run", "A", "B"], ["run", "FindNearest", "--args", "{"]):
        queue(*wrong, code=2)
        assert "hint: " in queue.errors
    made = queue.json("run", "NotifyGate", "--args", '{"resource": "Flight", "id": "x"}')
    (job,) = queue.json("list", "--kind", "NotifyGate")
    assert (job["id"], job["state"]) == (made["id"], "available")
    assert queue.json("show", str(made["id"]))["args"]["resource"] == "Flight"
