"""An upgrade from the previous release: its artifact serves, its dump is restored, and the new
artifact migrates the tables while the old one writes.

The previous release is the last tag, or EARLIER until there is one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from forge_min.db import EmbeddedServer
from forge_min.db.embedded.binaries import installed
from forge_min.testing import TestDatabase, fresh_database

from artifact_runner import EXAMPLE, Site, built_once

pytestmark = [pytest.mark.db, pytest.mark.thorough]

ROOT = Path(__file__).parents[2]
EARLIER = "33e7a1d8"  # before the last migration of forge_min's own tables
# forge_migration is in each database of a test.
RESTORE = ("--clean", "--if-exists", "--no-owner", "--no-privileges", "--exit-on-error")
PLACE = {"latitude": "50", "longitude": "8"}


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)


@pytest.fixture(scope="module")
def old_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as the previous release has built it, with the Python twin of its core."""
    tag = git("describe", "--tags", "--abbrev=0", "HEAD^").stdout.decode().strip()
    archive = git("archive", tag or EARLIER)
    if archive.returncode:
        pytest.skip("NOT PROVED: this checkout has no history with the previous release")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    build = ["build", "-o", str(folder / "old.pyz"), "--project", "examples/departures"]
    code = f"import sys; from forge_min.cli import main; sys.exit(main({build}))"
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "old.pyz"


@pytest.fixture
def restored(
    old_artifact: Path, server: EmbeddedServer, tmp_path: Path
) -> Iterator[tuple[TestDatabase, dict[str, Any]]]:
    """A database restored from a dump of the old site, and the site's rows and key."""
    programs = next(found.folder for found in installed() if (found.folder / "pg_dump").exists())
    with ExitStack() as stack:
        source, target = (stack.enter_context(fresh_database(server, ())) for _ in range(2))
        old = Site(old_artifact, source, tmp_path)
        stack.callback(old.stop)
        old.serve("--no-jobs")
        country = old.create("countries", {"code": "DE", "name": "Germany"})
        airport = old.create(
            "airports", {"icao": "EDDF", "name": "F", "country_id": country["id"], **PLACE}
        )
        old.run("auth", "create-user", "anna@example.com")
        key = json.loads(old.run("auth", "create-key", "anna@example.com", "--json").stdout)["key"]
        old.stop()
        dump = tmp_path / "site.dump"
        for command in (
            ["pg_dump", "--format=custom", f"--file={dump}", source.owner_url],
            ["pg_restore", *RESTORE, f"--dbname={target.owner_url}", dump],
        ):
            subprocess.run([programs / str(command[0]), *command[1:]], check=True)
        yield target, {"airport": airport, "key": key}


class Writer(threading.Thread):
    """Changes a row of a site until it is stopped. Each refused change is kept in `refused`."""

    def __init__(self, site: Site, path: str) -> None:
        super().__init__()
        self._site, self._path, self._stopped = site, path, threading.Event()
        self.changes, self.longest, self.refused = 0, 0.0, list[object]()

    def run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                status, _, body = self._site.ask("PATCH", self._path, {"city": f"C{self.changes}"})
                if status != 200:
                    self.refused.append((status, body))
            except OSError as err:
                self.refused.append(err)
            self.longest = max(self.longest, time.monotonic() - began)
            self.changes += 1

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def test_the_new_artifact_takes_over_while_the_old_one_writes(
    old_artifact: Path,
    restored: tuple[TestDatabase, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database, rows = restored
    artifact = built_once(tmp_path_factory, EXAMPLE)
    old, new = (
        Site(a, database, tmp_path_factory.mktemp("site")) for a in (old_artifact, artifact)
    )
    path = f"/api/v1/airports/{rows['airport']['id']}"
    try:
        old.serve("--no-jobs")
        pending = new.run("migrate", "status")
        assert pending.returncode == 1 and "pending" in pending.stdout
        writer = Writer(old, path)
        writer.start()
        done = new.run("migrate", "up")
        process = new.serve(migrated=True)
        writer.stop()
        assert done.returncode == 0, done.stderr
        assert writer.refused == [] and writer.changes > 5
        with capsys.disabled():
            print(f" [{writer.changes} changes, the longest took {writer.longest:.3f} s] ", end="")

        for site in (old, new):  # both serve the newer tables
            status, _, body = site.ask("GET", path, Authorization=f"Bearer {rows['key']}")
            assert status == 200 and json.loads(body)["city"] == f"C{writer.changes - 1}"
        assert new.ask("GET", path, Authorization="Bearer fmk_wrong")[0] == 401

        def states() -> set[str]:
            with psycopg.connect(database.owner_url) as conn:
                query = "select state from forge_job where kind = 'FindNearest'"
                return {state for (state,) in conn.execute(query)}

        process.wait_for(lambda: states() == {"completed"}, "the job of the old site has run")
        assert new.run("doctor").returncode == 0
    finally:
        old.stop()
        new.stop()
