"""Which requests a standby answers. Its replay is paused, so that it shows an older state."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID
from wsgiref.util import setup_testing_defaults

import pytest
from forge_min import db
from forge_min.app import Runtime
from forge_min.auth import Identity, as_identity
from forge_min.html.lists.many_rows import insert_operation
from forge_min.testing import Client, TestDatabase, drain_jobs, fresh_database, running_app
from psycopg.conninfo import make_conninfo

from standbys import Pair, Standby, missing_standby, replicated
from waiting import wait_for
from wide_project import Migrations

pytestmark = [pytest.mark.db, pytest.mark.slow]

API = "/api/v1/courses"
OLD, NEW = "03:47:13", "04:58:26"  # two courses by their time
EVENTUAL = {"Forge-Consistency": "eventual"}
ADMIN = {"X-Test-User": "ann", "X-Test-Roles": "manager,member"}
ADMIN["X-Test-Tenant"] = "0190c0de-0000-7000-8000-000000000001"
# The standby's clock is an hour behind that of the primary, which is a day behind.
WRONG_CLOCK = """
create function public.{name}() returns timestamptz stable language sql as $$
  select pg_catalog.clock_timestamp() - interval '1 day'
    - case when pg_is_in_recovery() then interval '1 hour' else interval '0' end $$;
"""
USE_IT = """do $$ begin execute format(
  'alter database %I set search_path = public, pg_catalog', current_database()); end $$"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample is used for longer, because the machine may be busy."""
    monkeypatch.setattr("forge_min.db.replicas.FRESH", 30.0)


class Followed:
    """The started wide project with one standby."""

    def __init__(self, running: Runtime, standby: Standby) -> None:
        self.running, self.standby = running, standby
        self.client = Client(running)

    def write(self, at: str) -> dict[str, str]:
        """Create a course; the headers of a client that must see it."""
        body = {"time": at, "length": "PT90M", "tags": ["a"], "float": 1.5}
        headers = ADMIN | {"Cookie": "a=b"}
        response = self.client.post(API, json=body, headers=headers)
        assert response.status == 201, response.text
        cookie = str(response.headers["Set-Cookie"]).partition(";")[0]
        return {"Forge-Position": str(response.headers["Forge-Position"]), "Cookie": cookie}

    def shows(self, time: str, path: str = API, **headers: str) -> bool:
        """Whether a response contains the course."""
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        response = self.client.get(path, headers=ADMIN | sent)
        assert response.status == 200, response.text
        return time in response.text

    def answers(self) -> bool:
        """Whether a standby answers reads."""
        token = db.consistency.set(db.Consistency(db.ANY_POSITION))
        try:
            return self.running.database.reader()[1] is not None
        finally:
            db.consistency.reset(token)

    def catch_up(self) -> None:
        """Until the standby answers, with everything that the primary has."""
        with self.running.database.standby_reads():
            assert self.running.database.reader()[1] is not None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The standby replays nothing in the block."""
        self.catch_up()
        self.standby.pause()
        try:
            yield
        finally:
            self.standby.resume()


@contextmanager
def followed(
    pair: Pair,
    migrations: Migrations,
    address: Callable[[str], str] = lambda url: url,
    prepare: str = "select 1",
) -> Iterator[Followed]:
    primary, standby = pair
    with fresh_database(primary, migrations) as database:
        with db.connect(database.owner_url) as conn:
            conn.execute(prepare)
        urls = json.dumps([address(standby.url(database.app_url))])
        settings = {"FORGE_DATABASE_REPLICA_URLS": urls, "FORGE_DATABASE_REPLICA_MAX_LAG": "60s"}
        with running_app(database, **settings) as running:
            yield Followed(running, standby)


@pytest.fixture
def site(wide_code: Path, wide_migrations: Migrations, pair: Pair) -> Iterator[Followed]:
    with followed(pair, wide_migrations) as result:
        yield result


@pytest.mark.parametrize(
    "path",
    [
        API,
        f"{API}/-/aggregate?group=time&measure=count",
        "/courses",
        "/courses.csv",
        "/courses/-/aggregate.csv?group=time&measure=count",
        "/-/reports/lengths.csv",
    ],
)
def test_lists_and_their_csv_are_read_from_a_standby_that_has_the_position(
    site: Followed, path: str
) -> None:
    before = site.write(OLD)
    with site.paused():
        now = site.write(NEW)
        for headers in (EVENTUAL, {"Forge-Position": before["Forge-Position"]}):
            assert site.shows(OLD, path, **headers) and not site.shows(NEW, path, **headers)
        for headers in ({}, {"Forge-Position": now["Forge-Position"]}, {"Cookie": now["Cookie"]}):
            assert site.shows(NEW, path, **headers), headers
    site.catch_up()
    assert site.shows(NEW, path, Forge_Position=now["Forge-Position"])


@pytest.mark.thorough
def test_a_write_with_an_unknown_result_is_looked_for_on_the_primary(
    site: Followed, pair: Pair
) -> None:
    """It is saved, but not confirmed by a standby (F409)."""
    site.write(OLD)
    body = {"time": NEW, "length": "PT90M", "tags": ["a"], "float": 1.5}
    with site.paused():
        with missing_standby(pair[0].admin_url):
            response = site.client.post(API, json=body, headers=ADMIN | {"Cookie": "a=b"})
        assert (response.status, response.json["code"]) == (503, "F409")
        assert "repeat the request with its Idempotency-Key" in response.json["detail"]
        cookie = str(response.headers["Set-Cookie"]).partition(";")[0]
        assert site.shows(NEW, Cookie=cookie)
        assert site.shows(NEW, Forge_Position=str(response.headers["Forge-Position"]))


def test_the_list_shows_what_a_job_on_its_rows_has_done(site: Followed) -> None:
    old = site.write(OLD)["Cookie"]
    tenant = UUID(ADMIN["X-Test-Tenant"])
    ann = Identity("ann", frozenset({"manager", "member"}), tenant=tenant)
    with site.paused():
        courses = site.running.registry.actions["courses"]
        with as_identity(ann):
            rows = {row.id: row.version for row in courses.stream()}
            job = insert_operation(courses, rows, "delete", {"_once": ["a token"]})
        drain_jobs(site.running)
        done = site.client.get(f"/courses/-/selected/{job}", headers=ADMIN | {"Cookie": old})
        assert "Done for" in done.text and site.shows(OLD, Cookie=old)
        sent = [value for name, value in done.headers.items() if name == "Set-Cookie"]
        (cookie,) = (value.partition(";")[0] for value in sent if "position" in value)
        assert not site.shows(OLD, Cookie=cookie)


def test_only_the_cookie_that_the_site_has_signed_allows_a_standby(site: Followed) -> None:
    cookie = site.write(OLD)["Cookie"]
    name, _, value = cookie.partition("=")
    cluster, timeline, lsn, signature = value.split(".")
    other = "0" * len(signature) if signature[0] != "0" else "1" * len(signature)
    with site.paused():
        site.write(NEW)
        assert not site.shows(NEW, Cookie=cookie)
        for altered in (
            f"{cluster}.{timeline}.1.{signature}",
            f"{cluster}.{timeline}.{lsn}.{other}",
            f"{cluster}.{timeline}.{lsn}",
            f"{cluster}.{timeline}.{lsn}.é",
            "",
        ):
            assert site.shows(NEW, Cookie=f"{name}={altered}"), altered


def test_a_position_of_another_cluster_or_timeline_is_read_from_the_primary(
    site: Followed,
) -> None:
    position = site.write(OLD)["Forge-Position"]
    cluster, timeline, lsn = position.split(".")
    with site.paused():
        site.write(NEW)
        assert not site.shows(NEW, Forge_Position=position)
        for other in (f"1{cluster}.{timeline}.1", f"{cluster}.0000000F.1", f"{cluster}.1", "x"):
            assert site.shows(NEW, Forge_Position=other), other


def test_a_pooler_may_be_in_front_of_a_standby(
    wide_code: Path,
    wide_migrations: Migrations,
    pair: Pair,
    pooled: Callable[..., str],
) -> None:
    with followed(pair, wide_migrations, pooled) as site:
        site.write(OLD)
        with site.paused():
            site.write(NEW)
            for _ in range(20):  # the statement is prepared from the fifth on
                assert not site.shows(NEW, **EVENTUAL)
                assert site.shows(NEW)


def test_clocks_of_servers_may_differ(
    wide_code: Path, wide_migrations: Migrations, pair: Pair
) -> None:
    names = ("now", "clock_timestamp", "pg_last_xact_replay_timestamp")
    wrong = "".join(WRONG_CLOCK.format(name=name) for name in names) + USE_IT
    with followed(pair, wide_migrations, prepare=wrong) as site:
        late = "select pg_catalog.now() - now() > interval '23 hours'"
        assert site.running.database.connection().execute(late).fetchone() == (True,)
        site.write(OLD)
        with site.paused():
            site.write(NEW)
            assert not site.shows(NEW, **EVENTUAL)


def batches(site: Followed, path: str, headers: dict[str, str]) -> Iterator[str]:
    """The parts of a response as the application computes them."""
    environ: dict[str, Any] = {f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items()}
    target, _, query = path.partition("?")
    environ |= {"REQUEST_METHOD": "GET", "PATH_INFO": target, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    result = site.running.application(environ, lambda *_: lambda _: None)
    return (part.decode() for part in result)


@pytest.mark.thorough
def test_a_stream_continues_on_the_primary_when_its_standby_is_killed(site: Followed) -> None:
    with db.connect(site.running.database.url) as conn:
        conn.execute(
            "insert into documents (string, bool, settings, slug, int)"
            " select 'Row', true, '{}', 'r' || n, n from generate_series(1, 4500) n"
        )
        with site.paused():
            conn.execute("update documents set string = 'Changed'")
            parts = batches(site, "/documents.csv?sort=int", EVENTUAL)
            text = "".join(next(parts) for _ in range(4))  # the mark, the head and two batches
            site.standby.kill()
            text += next(parts)
            site.standby.start()
            site.catch_up()  # it could answer again
            text += "".join(parts)
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["slug"] for row in rows] == [f"r{n}" for n in range(1, 4501)]
    changed = [n for n, row in enumerate(rows) if row["string"] == "Changed"]
    assert changed == list(range(2000, 4500))


@pytest.mark.thorough
def test_a_promoted_standby_is_not_used_and_a_new_one_takes_its_place(
    wide_code: Path, wide_migrations: Migrations, tmp_path: Path
) -> None:
    with replicated(tmp_path / "servers", 1) as (primary, (standby,)), ExitStack() as stack:
        admin, port = primary.admin_url, primary.port
        with db.connect(primary.owner_url) as conn:
            db.migrate(conn, wide_migrations)
            db.ensure_app_role(conn, "app", password=None)
        servers = make_conninfo(
            primary.app_url,
            host="127.0.0.1,127.0.0.1",
            port=f"{port},{standby.port}",
            target_session_attrs="read-write",
        )
        urls = json.dumps([standby.url(primary.app_url), primary.app_url])
        settings = {"FORGE_DATABASE_REPLICA_URLS": urls, "FORGE_DATABASE_REPLICA_MAX_LAG": "60s"}
        database = TestDatabase("app", primary.owner_url, servers)
        site = Followed(stack.enter_context(running_app(database, **settings)), standby)
        site.write(OLD)
        site.catch_up()

        primary.stop()
        standby.promote()
        wait_for(lambda: site.client.get("/courses", headers=ADMIN).status == 200)
        position = site.write(NEW)["Forge-Position"]
        assert site.shows(NEW, **EVENTUAL) and site.shows(NEW, Forge_Position=position)
        wait_for(lambda: not site.answers())  # the promoted standby is the primary

        site.standby = Standby(standby.url(admin), tmp_path / "new", port)
        stack.callback(site.standby.stop)
        site.write("05:05:05")
        with site.paused():
            site.write("06:06:06")
            assert site.shows("05:05:05", **EVENTUAL) and not site.shows("06:06:06", **EVENTUAL)


@pytest.mark.thorough
def test_a_standby_that_is_promoted_by_mistake_does_not_replace_the_primary(
    wide_code: Path, wide_migrations: Migrations, tmp_path: Path
) -> None:
    with replicated(tmp_path / "servers", 1) as (primary, (standby,)), ExitStack() as stack:
        with db.connect(primary.owner_url) as conn:
            db.migrate(conn, wide_migrations)
            db.ensure_app_role(conn, "app", password=None)
        settings = {"FORGE_DATABASE_REPLICA_URLS": json.dumps([standby.url(primary.app_url)])}
        database = TestDatabase("app", primary.owner_url, primary.app_url)
        site = Followed(stack.enter_context(running_app(database, **settings)), standby)
        standby.promote()
        sessions = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'"
        standby.sql(sessions)  # every process connects to it again
        for n in range(20):
            site.write(f"05:05:{n:02}")
            assert site.shows(f"05:05:{n:02}", **EVENTUAL)
            time.sleep(0.1)
