"""A rolling deploy: the previous release goes on working on a database that is upgraded already."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import uuid
from pathlib import Path

import pytest
from forge_min import db, jobs
from forge_min.auth import Identity, as_identity
from forge_min.errors import DatabaseError
from forge_min.notify import Event, publish_tx
from forge_min.notify.eventlog import EventLogReader
from forge_min.testing import TestDatabase

pytestmark = pytest.mark.db

# Commit of an earlier release → how many of forge_min's own migrations it knows.
PREVIOUS = {"55fd120": 1, "73f5517": 3}
REPOSITORY = Path(__file__).parents[2]
DEADLINE = 30.0

# Runs on the previous release's code: writes, says so, waits for a line, reads what is new.
OLD = """
import json, sys, threading
import forge_min
from forge_min import db, jobs, notify
from forge_min.notify.eventlog import Reader

url = sys.argv[1]
conn = db.connect(url)
reader = Reader()
reader.attach(conn)
assert reader.read(conn) is None
status = {row.name: row.state for row in db.migration_status(conn, db.FORGE_MIGRATIONS)}
with db.transaction(conn):
    jobs.insert_tx(conn, "old", {"n": 1}, priority=1)
    notify.publish_tx(conn, notify.Event("items", "item.created", "old", 1, ("a",)))
print(json.dumps({"from": forge_min.__file__, "status": status}), flush=True)

sys.stdin.readline()
done, seen = threading.Event(), []

def work(job):
    seen.append([job.args, job.metadata])
    done.set()

worker = jobs.Worker(lambda: db.connect(url), {"new": work}, queues={"default": 1})
worker.start()
assert done.wait(30)
worker.stop()
events = [[e.kind, e.resource_id, str(e.tenant_id)] for e in reader.read(conn)]
print(json.dumps({"events": events, "jobs": seen}), flush=True)
"""


@pytest.fixture(scope="module", params=PREVIOUS)
def previous(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, int]:
    """The folder with an earlier release's package, and the migrations that it knows."""
    commit = request.param
    folder = tmp_path_factory.mktemp("previous")
    git = shutil.which("git")
    if git is None:
        pytest.skip(f"no git, so the previous release ({commit}) is not tried")
    archive = folder / "forge_min.tar"
    command = [git, "-C", str(REPOSITORY), "archive", "-o", str(archive), commit, "forge_min"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the previous release ({commit}) is not here: {done.stderr.strip()}")
    with tarfile.open(archive) as packed:
        packed.extraction_filter = lambda member, _: member  # before 3.11.4 there is no `filter`
        packed.extractall(folder)
    return folder, PREVIOUS[commit]


def test_two_releases_work_on_one_database_at_the_same_time(
    previous: tuple[Path, int], fresh_database: TestDatabase
) -> None:
    folder, known = previous
    url = fresh_database.app_url
    with db.connect(url) as conn:
        reader = EventLogReader()
        reader.attach(conn)
        assert reader.read(conn) is None
        process = subprocess.Popen(
            [sys.executable, "-c", OLD, url],
            env=os.environ | {"PYTHONPATH": str(folder), "FORGE_IMPL": "python"},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None
        with process:
            said = json.loads(process.stdout.readline())
            assert said["from"].startswith(str(folder))
            files = sorted(said["status"])
            assert files == [file.name for file in db.FORGE_MIGRATIONS]
            states = [said["status"][name] for name in files]
            assert states == ["applied"] * known + ["missing"] * (len(files) - known)

            # What the previous release wrote, this one reads and works.
            events = reader.read(conn) or []
            assert [(e.kind, e.resource_id, e.changed) for e in events] == [
                ("item.created", "old", ("a",))
            ]
            assert work(url, "old") == {"n": 1}

            # And the other way round.
            tenant = uuid.uuid4()
            with as_identity(Identity("ann", tenant=tenant)), db.transaction(conn):
                jobs.insert_tx(conn, "new", {"n": 2}, unique="k")
                event = Event("items", "item.restored", "new", 2, tenant_id=tenant)
                publish_tx(conn, event)
            process.stdin.write("\n")
            process.stdin.flush()
            said = json.loads(process.stdout.readline())
        assert said["events"] == [
            ["item.created", "old", "None"],
            ["item.restored", "new", str(tenant)],
        ]
        assert said["jobs"] == [[{"n": 2}, {"user": "ann", "tenant": str(tenant)}]]
        rows = conn.execute("select kind, state, attempt from forge_job order by id").fetchall()
        assert rows == [("old", "completed", 1), ("new", "completed", 1)]
        assert process.returncode == 0


def work(url: str, kind: str) -> dict[str, object]:
    """The args of the next job of this kind, worked by this release."""
    done, seen = threading.Event(), []

    def handle(job: jobs.Job) -> None:
        seen.append(job.args)
        done.set()

    worker = jobs.Worker(lambda: db.connect(url), {kind: handle}, queues={"default": 1})
    worker.start()
    try:
        assert done.wait(DEADLINE)
    finally:
        worker.stop()
    return seen[0]


def test_the_tables_go_down_and_up_again(fresh_database: TestDatabase) -> None:
    with db.connect(fresh_database.owner_url) as conn:
        new = [file.label for file in db.FORGE_MIGRATIONS[1:]]
        assert db.migrate_down(conn, db.FORGE_MIGRATIONS, len(new)) == new[::-1]
        assert conn.execute("select to_regclass('forge_audit')").fetchone() == (None,)
        assert db.migrate(conn, db.FORGE_MIGRATIONS) == new


def test_a_tenant_reads_its_own_audit_and_that_of_what_belongs_to_no_tenant(
    fresh_database: TestDatabase,
) -> None:
    one, two = uuid.uuid4(), uuid.uuid4()
    insert = (
        "insert into forge_audit (tenant_id, topic, resource_id, operation, version, changes)"
        " values (%(owner)s, 'items', %(id)s, 'create', 1, '{}')"
    )
    with db.connect(fresh_database.app_url) as conn:
        for owner, id in ((one, "1"), (two, "2"), (None, "3")):
            db.run(conn, insert, {"owner": owner, "id": id}, tenant=owner)
        select = "select resource_id from forge_audit order by id"
        assert db.run(conn, select, tenant=one) == [("1",), ("3",)]
        assert db.run(conn, select, tenant=two) == [("2",), ("3",)]
        assert db.run(conn, select) == [("3",)]
        with pytest.raises(DatabaseError):
            db.run(conn, insert, {"owner": two, "id": "4"}, tenant=one)
