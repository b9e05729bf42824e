"""What docs/operate/backup.md says: pg_dump, another cluster, pg_restore, migrate, serve."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from forge_min.db import EmbeddedServer
from forge_min.db.embedded.binaries import installed
from forge_min.testing import TestDatabase, fast_server
from psycopg.conninfo import make_conninfo

from artifact_runner import Site

pytestmark = [pytest.mark.db, pytest.mark.slow]

COUNTRY = {"code": "DE", "name": "Germany"}
PLACE = {"latitude": "50", "longitude": "8"}
TAKEN = """
update forge_job set state = 'running', attempt = 1, attempted_at = now(),
  claim = nextval('forge_job_id_seq'), worker_id = gen_random_uuid() where kind = %s
"""
QUICK = {"FORGE_JOBS_HEARTBEAT": "200ms", "FORGE_JOBS_RESCUE_AFTER": "1s"}
QUICK["FORGE_JOBS_QUEUES"] = "{nearest = 2}"


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of pg_dump and pg_restore."""
    for found in installed():
        if (found.folder / "pg_dump").exists():
            return found.folder
    pytest.skip("no pg_dump (Debian: postgresql-client)")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[EmbeddedServer]:
    """A cluster that has nothing of the first one, the app's role neither."""
    with fast_server() as server:
        yield server


@pytest.fixture
def restored(
    site: Site,
    fresh_database: TestDatabase,
    elsewhere: EmbeddedServer,
    programs: Path,
    tmp_path: Path,
) -> Iterator[tuple[Site, dict[str, Any]]]:
    """A site on what was dumped of another one, which had a waiting job and a running one."""
    site.serve("--no-jobs")
    country = site.create("countries", COUNTRY)
    airport = site.create(
        "airports", {"icao": "EDDF", "name": "F", "country_id": country["id"], **PLACE}
    )
    with psycopg.connect(fresh_database.owner_url) as conn:
        assert conn.execute(TAKEN, ["FindNearest"]).rowcount == 1
    site.create("airports", {"icao": "EDDH", "name": "H", "country_id": country["id"], **PLACE})
    dump = tmp_path / "site.dump"
    pg(programs / "pg_dump", "--format=custom", f"--file={dump}", fresh_database.owner_url)
    with psycopg.connect(elsewhere.owner_url, autocommit=True) as conn:
        conn.execute("create database restored")
    owner = make_conninfo(elsewhere.owner_url, dbname="restored")
    how = ("--no-owner", "--no-privileges", "--exit-on-error", f"--dbname={owner}")
    pg(programs / "pg_restore", *how, dump)
    app = make_conninfo(owner, user="departures_app", password="secret")
    folder = tmp_path / "restored"
    folder.mkdir()
    made = Site(site.artifact, TestDatabase("restored", owner, app), folder)
    try:
        yield made, airport
    finally:
        made.stop()
        # The superuser, because autovacuum may be at work there.
        with psycopg.connect(elsewhere.admin_url, autocommit=True) as conn:
            conn.execute("drop database restored with (force)")


def pg(program: Path, *arguments: str | Path) -> None:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_a_restored_site_serves_its_rows_and_ends_its_jobs(
    restored: tuple[Site, dict[str, Any]],
) -> None:
    site, airport = restored
    process = site.serve(**QUICK)
    status, _, body = site.ask("GET", f"/api/v1/airports/{airport['id']}")
    assert status == 200 and b"EDDF" in body

    def states() -> set[tuple[str, int]]:
        with psycopg.connect(site.environ["FORGE_DATABASE_MIGRATE_URL"]) as conn:
            query = "select state, attempt from forge_job where kind = 'FindNearest'"
            return set(conn.execute(query).fetchall())

    process.wait_for(lambda: {state for state, _ in states()} == {"completed"}, "all jobs done")
    assert states() == {("completed", 1), ("completed", 2)}  # what ran was run again
    again = {"icao": "EDDM", "name": "M", "country_id": airport["country_id"], **PLACE}
    assert site.create("airports", again)["icao"] == "EDDM"


@pytest.mark.thorough
def test_a_browser_that_comes_back_after_a_restore_reads_anew(
    restored: tuple[Site, dict[str, Any]],
) -> None:
    site, _ = restored
    site.serve("--no-jobs")
    with socket.create_connection(("127.0.0.1", site.port), timeout=15) as sock:
        sock.sendall(
            b"GET /events?topic=airports HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1.1\r\n\r\n"
        )
        seen = b""
        while b"event: refresh" not in seen:
            chunk = sock.recv(65536)
            assert chunk and b"created" not in seen, seen
            seen += chunk
    assert b"created" not in seen


def test_the_applications_role_cannot_make_a_backup(
    site: Site, fresh_database: TestDatabase, programs: Path, tmp_path: Path
) -> None:
    site.run("migrate", "up")
    dump = [programs / "pg_dump", "--file", tmp_path / "dump", fresh_database.app_url]
    done = subprocess.run(dump, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "row-level security" in done.stderr
