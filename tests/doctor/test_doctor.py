"""`doctor`: what it says of events and pages, and that it says so from the artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from forge_min import db, doctor, jobs
from forge_min.errors import ForgeError
from forge_min.testing import TestDatabase

from artifact_runner import Site

pytestmark = pytest.mark.db


def test_a_listener_that_hears_is_well(fresh_database: TestDatabase) -> None:
    (found,) = doctor.check_events(lambda: db.connect(fresh_database.app_url), True, 1.0)
    assert (found.subject, found.state) == ("events", "ok")


def test_a_pooler_is_told_with_what_it_costs(
    fresh_database: TestDatabase, pooled: Callable[..., str]
) -> None:
    url = pooled(fresh_database.app_url)
    (found,) = doctor.check_events(lambda: db.connect(url), True, 2.5)
    assert found.state == "warning" and "pooler" in found.message and "2.5 s" in found.message
    assert "database.direct_url" in found.hint


def test_polling_by_choice_is_told_too_and_no_database_fails(
    fresh_database: TestDatabase,
) -> None:
    (found,) = doctor.check_events(lambda: db.connect(fresh_database.app_url), False, 1.0)
    assert found.state == "warning" and "notify.listen" in found.message
    away = "postgresql://nobody@127.0.0.1:1/none"
    (found,) = doctor.check_events(lambda: db.connect(away), True, 1.0)
    assert found.state == "failed"


def test_a_refusal_of_the_database_is_a_finding(fresh_database: TestDatabase) -> None:
    def refusing() -> db.Connection:
        conn = db.connect(fresh_database.app_url)
        conn.execute("begin")
        with pytest.raises(psycopg.Error):
            conn.execute("select 1 / 0")
        return conn

    (found,) = doctor.check_events(refusing, True, 1.0)
    assert found.state == "failed" and "aborted" in found.message


def test_pages_that_evaluate_are_named() -> None:
    assert [one.state for one in doctor.check_pages([])] == ["ok"]
    (found,) = doctor.check_pages(["/a", "/b"])
    assert found.state == "warning" and "/a, /b" in found.message


def test_the_artifact_has_its_doctor(site: Site, pooled: Callable[..., str]) -> None:
    assert site.run("migrate", "up").returncode == 0
    well = site.run("doctor")
    assert well.returncode == 0 and "LISTEN hears a notification" in well.stdout, well.stderr
    straight = site.environ["FORGE_DATABASE_URL"]
    url = pooled(straight)
    told = site.run("doctor", "--json", FORGE_DATABASE_URL=url)
    found: list[dict[str, Any]] = json.loads(told.stdout)
    assert told.returncode == 0 and found[0]["state"] == "warning"
    direct = {
        "FORGE_DATABASE_URL": url,
        "FORGE_DATABASE_DIRECT_URL": site.environ["FORGE_DATABASE_URL"],
    }
    assert "LISTEN hears" in site.run("doctor", **direct).stdout
    away = site.run("doctor", FORGE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert away.returncode == 1 and away.stdout.startswith("failed  events: ")


def test_jobs_that_nobody_works_and_paused_queues_are_named(fresh_database: TestDatabase) -> None:
    def check(*kinds: str) -> list[tuple[str, str]]:
        known = {kind: jobs.Kind(kind) for kind in kinds}
        found = doctor.check_jobs(lambda: db.connect(fresh_database.app_url), lambda: known)
        return [(one.state, one.message) for one in found]

    assert [state for state, _ in check("a")] == ["ok"]
    with db.connect(fresh_database.app_url) as conn:
        jobs.insert_tx(conn, "a", queue="mail")
        jobs.insert_tx(conn, "gone")
        jobs.control.pause(conn, "slow")
    told = {message: state for state, message in check("a")}
    assert told["jobs of kind gone wait for nobody"] == "failed"
    assert told["jobs of kind a wait, and no worker that lives has it"] == "warning"
    assert told["jobs of the queue mail wait, and no worker that lives works it"] == "warning"
    assert any("the queue slow is paused" in message for message in told)


def test_a_hook_without_a_worker_is_a_finding(fresh_database: TestDatabase) -> None:
    def wrong() -> dict[str, jobs.Kind]:
        raise ForgeError("flights enqueues X, and no worker class has this kind", code="F702")

    (found,) = doctor.check_jobs(lambda: db.connect(fresh_database.app_url), wrong)
    assert found.state == "failed" and "flights enqueues X" in found.message
