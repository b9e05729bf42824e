"""What the log says of runs that fail: as a site's own handler writes it."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from forge_min import db, observe
from forge_min.app.telemetry import JobSpan
from forge_min.jobs import Cancel, Discard, Job, Kind, Snooze, control

pytestmark = pytest.mark.db
Lines = Callable[[], list[dict[str, Any]]]

UNLESS = ", unless the transaction that completed it is committed"


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The log's lines of jobs so far."""
    stream = io.StringIO()
    handler = observe.new_handler(stream, format="json", queued=False)
    logger = logging.getLogger("forge_min.jobs")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.setLevel(level)
    logger.removeHandler(handler)


def at_once(job: Job, error: BaseException) -> float:
    return 0.0


def test_each_attempt_that_fails_is_a_line_with_the_ids_and_the_last_one_an_error(
    shop: Any, lines: Lines
) -> None:
    tenant, trace = str(uuid4()), "ab" * 16
    metadata = {"traceparent": f"00-{trace}-{'cd' * 8}-01", "user": "ann", "tenant": tenant}

    def work(job: Job) -> None:
        job.conn.execute("create temp table if not exists t (x int check (x > 0))")
        job.conn.execute("insert into t values (%s)", [job.args["n"]])

    shop.worker({"a": Kind("a", work, retry=at_once)}, around=JobSpan)
    job = shop.insert(args={"n": -778899}, max_attempts=2, metadata=metadata)
    shop.until(job, "discarded")
    first, last = lines()
    assert first["level"] == "warning" and last["level"] == "error"
    assert first["message"] == f"job {job} (a) failed at attempt 1 of 2, and runs again in 0 s"
    assert last["message"] == f"job {job} (a) was discarded after attempt 2"
    for number, line in enumerate((first, last), 1):
        assert (line["job_id"], line["job_kind"], line["attempt"]) == (job, "a", number)
        assert (line["user_id"], line["tenant_id"]) == ("ann", tenant)
        assert "in work" in line["exception"] and "CheckViolation" in line["exception"]
        assert "778899" not in line["exception"], "a row of the database"
    assert first["trace_id"] == trace != last["trace_id"]
    assert first["span_id"] != last["span_id"]


def test_the_line_of_a_lost_connection_says_that_the_attempt_is_not_counted(
    shop: Any, lines: Lines
) -> None:
    def work(job: Job) -> None:
        if not job.failures:
            job.conn.execute("select pg_terminate_backend(pg_backend_pid())")

    shop.worker({"a": Kind("a", work, retry=at_once)})
    job = shop.insert()
    shop.until(job, "completed")
    assert [line["message"] for line in lines() if line.get("job_id") == job] == [
        f"job {job} (a) failed at attempt 1 of 25, and runs again in 0 s"
        " (its connection was lost; the attempt is not counted)"
    ]


def only(shop: Any, lines: Lines, raised: Exception) -> tuple[int, dict[str, Any]]:
    """A job that raised this and ended, and the one line of it."""

    def work(job: Job) -> None:
        raise raised

    shop.worker({"a": work})
    job = shop.insert()
    shop.settle()
    (line,) = lines()
    return job, line


@pytest.mark.parametrize(
    ("raised", "level", "said"),
    [
        (Discard("no such card"), "error", "was discarded after attempt 1: no such card"),
        (Discard(), "error", "was discarded after attempt 1"),
        (Cancel("gone"), "info", "was cancelled: gone"),
    ],
)
def test_what_a_job_decides_itself_is_told_with_its_reason_alone(
    shop: Any, lines: Lines, raised: Exception, level: str, said: str
) -> None:
    job, line = only(shop, lines, raised)
    assert (line["level"], line["message"]) == (level, f"job {job} (a) {said}")
    assert "exception" not in line


def test_a_snooze_is_no_failure(shop: Any, lines: Lines) -> None:
    seen = []

    def work(job: Job) -> None:
        seen.append(job)
        if len(seen) == 1:
            raise Snooze(0)

    shop.worker({"a": work})
    shop.insert()
    shop.settle()
    assert len(seen) == 2 and not lines()


@pytest.mark.slow
def test_one_that_takes_too_long_is_told_whether_it_reacts_or_not(
    shop: Any, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_min.jobs.worker.job_thread.GRACE", 0.2)
    let_go = threading.Event()

    def deaf(job: Job) -> None:
        while not let_go.is_set():
            try:
                let_go.wait(0.01)
            except BaseException:
                continue

    def reacts(job: Job) -> None:
        let_go.wait(0.01)
        while True:
            pass

    shop.worker({"deaf": deaf, "reacts": reacts}, timeout=0.2)
    jobs = [shop.insert(kind, max_attempts=1) for kind in ("deaf", "reacts")]
    shop.settle()
    let_go.set()
    told = {line["job_id"]: line for line in lines() if "job_id" in line}
    assert sorted(told) == jobs and len(lines()) == 3  # and that a thread was replaced
    assert "TimeoutError: the job took too long and does not return" in told[jobs[0]]["exception"]
    assert "TimeoutError: the job took longer than 0.2 s" in told[jobs[1]]["exception"]


def test_who_cancels_a_job_finds_that_in_the_log(shop: Any, lines: Lines) -> None:
    """Of the one that runs, and of the one that its worker holds behind it."""
    began, go = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        began.set()
        while not go.wait(0.01):
            job.checkpoint()

    shop.worker({"a": work}, queues={"default": 1}, prefetch=5)
    jobs = [shop.insert()]
    assert began.wait(20)
    jobs.append(shop.insert())
    shop.until(jobs[1], "running")
    control.change_jobs(shop.conn, "cancel", jobs)
    shop.settle()
    assert shop.states() == {"cancelled": 2}
    told = [(line["level"], line["message"]) for line in lines()]
    assert told == [("info", f"job {job} (a) was cancelled") for job in jobs]


@pytest.mark.parametrize("commits", [True, False])
def test_one_that_raises_after_it_completed_itself_is_told_as_what_is_known(
    shop: Any, lines: Lines, commits: bool
) -> None:
    def work(job: Job) -> None:
        if job.attempt == 1:
            with db.transaction(job.conn):
                job.complete_tx(job.conn)
                if not commits:
                    raise RuntimeError("in it")
            raise RuntimeError("after it")

    shop.worker({"a": Kind("a", work, retry=at_once)})
    job = shop.insert()
    shop.settle()
    shop.wait_for(lines)
    assert shop.row(job, "attempt") == (1 if commits else 2,)
    (line,) = lines()
    assert line["message"].endswith(
        "runs again in 0 s, unless the transaction that completed it is committed"
    )


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RuntimeError("x"), f"was discarded after attempt 1{UNLESS}"),
        (Discard("no"), f"was discarded after attempt 1{UNLESS}: no"),
        (Cancel("no"), f"was cancelled{UNLESS}: no"),
    ],
)
def test_one_that_completed_itself_is_not_told_as_given_up_for_sure(
    shop: Any, lines: Lines, raised: Exception, said: str
) -> None:
    def work(job: Job) -> None:
        with db.transaction(job.conn):
            job.complete_tx(job.conn)
        raise raised

    shop.worker({"a": work})
    job = shop.insert(max_attempts=1)
    shop.until(job, "completed")
    shop.wait_for(lines)
    (line,) = lines()
    assert line["message"] == f"job {job} (a) {said}"


def test_a_log_that_raises_ends_no_thread(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bad(logging.Filter):
        asked = 0

        def filter(self, record: logging.LogRecord) -> bool:
            self.asked += 1
            raise RuntimeError("no")

    def work(job: Job) -> None:
        if job.attempt == 1:
            raise ValueError("x")

    bad = Bad()
    logger = logging.getLogger("forge_min.jobs")
    logger.addFilter(bad)
    try:
        shop.worker({"a": Kind("a", work, retry=at_once)}, queues={"default": 1})
        shop.insert()
        shop.settle()
    finally:
        logger.removeFilter(bad)
    assert bad.asked == 1 and shop.states() == {"completed": 1}


@pytest.mark.parametrize(
    ("most", "cancels", "level", "said"),
    [
        (2, False, "warning", "was rescued"),
        (1, False, "error", "was discarded after attempt 1"),
        (1, True, "info", "was cancelled"),
    ],
)
def test_who_rescues_a_job_tells_what_became_of_it(
    shop: Any, lines: Lines, most: int, cancels: bool, level: str, said: str
) -> None:
    """Its own process was killed, and said nothing."""
    job = shop.insert(max_attempts=most)
    shop.conn.execute(
        "update forge_job set state = 'running', attempt = 1, attempted_at = now(),"
        " worker_id = gen_random_uuid(), claim = nextval('forge_job_claim'),"
        " cancel_requested_at = case when %s then now() end",
        [cancels],
    )
    shop.worker({"a": lambda job: None})
    shop.wait_for(lines)
    (line,) = lines()
    told = f"job {job} (a) {said}: the worker died or sent no heartbeat"
    assert (line["level"], line["message"]) == (level, told)
    assert (line["job_id"], line["job_kind"], line["attempt"]) == (job, "a", 1)


@pytest.mark.parametrize("linked", [True, False])
def test_a_reason_repeats_no_row_of_the_database_in_the_log_nor_in_the_jobs_row(
    shop: Any, lines: Lines, linked: bool
) -> None:
    def work(job: Job) -> None:
        try:
            job.conn.execute("select 'patient-77'::uuid")
        except Exception as err:
            raise Discard(f"not read: {err}; token=hunter22" if linked else err) from err

    shop.worker({"a": work})
    job = shop.insert()
    shop.settle()
    (line,) = lines()
    (errors,) = shop.row(job, "errors")
    for told in (line["message"], errors[0]["error"]):
        assert "invalid input syntax for type uuid: ***" in told
        assert "patient-77" not in told and "hunter22" not in told


class Refused(Discard):
    def __init__(self, card: str) -> None:
        self.card = card


class Numbered(Discard):
    def __init__(self, number: int) -> None:
        self.reason = number  # type: ignore[assignment]


class Unspoken(Discard):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("raised", [Refused("1234"), Numbered(51), Unspoken("long " * 1000)])
def test_a_discard_of_a_class_of_the_sites_is_one_and_told(
    shop: Any, lines: Lines, raised: Discard
) -> None:
    job, line = only(shop, lines, raised)
    assert line["message"].startswith(f"job {job} (a) was discarded after attempt 1")
    assert len(line["message"]) < 1100 and shop.row(job, "attempt") == (1,)
