"""`export` reads from a standby that has all earlier commits, else from the primary."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from forge_min import db
from forge_min.testing import fresh_database

from standbys import Pair, Standby
from waiting import wait_for

from .conftest import Library

pytestmark = [pytest.mark.db, pytest.mark.slow]

SCANNED = "select relname from pg_stat_user_tables where seq_scan + coalesce(idx_scan, 0) > 0"


class Followed(Library):
    """The library with one standby."""

    def follow(self, standby: Standby, url: str, lag: str) -> None:
        self.standby, self._url = standby, standby.url(url)
        self.environ |= {
            "FORGE_DATABASE_REPLICA_URLS": json.dumps([self._url]),
            "FORGE_DATABASE_REPLICA_MAX_LAG": lag,
        }

    def scanned(self) -> set[str]:
        """The tables that ended sessions have read on the standby."""
        with psycopg.connect(self._url) as conn:
            return {name for (name,) in conn.execute(SCANNED).fetchall()}

    def add(self, title: str) -> None:
        """Commit a book with a tag on the primary."""
        self.load("books", self.file("book.jsonl", {"title": title, "shelf_id": "a"}))


@pytest.fixture
def library(library_root: Path, pair: Pair, tmp_path: Path) -> Iterator[Followed]:
    files = (*db.FORGE_MIGRATIONS, *db.read_migrations(library_root / "migrations", "app"))
    primary, standby = pair
    with fresh_database(primary, files) as database:
        made = Followed(library_root, database, tmp_path)
        made.follow(standby, database.app_url, "20s")
        made.sql("insert into shelves (code, room) values ('a', 1)")
        yield made
        standby.resume()
        made.close()


def titles(out: str) -> list[str]:
    return [json.loads(line)["title"] for line in out.splitlines()]


@pytest.mark.thorough
def test_an_export_waits_for_a_standby_to_have_what_was_committed_before(
    library: Followed,
) -> None:
    library.standby.pause()
    library.add("One")
    command = library.argv("export", "books", "--related", "shelf.code")
    with subprocess.Popen(
        command, env=library.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        library.standby.resume()
        assert titles(process.communicate(timeout=20)[0]) == ["One"]
    wait_for(lambda: library.scanned() == {"books", "tags", "shelves"})


def test_an_export_reads_from_the_primary_if_no_standby_is_close_enough(
    library: Followed,
) -> None:
    library.environ["FORGE_DATABASE_REPLICA_MAX_LAG"] = "500ms"
    library.standby.pause()
    library.add("One")
    assert titles(library.run("export", "books").stdout) == ["One"]
    assert library.scanned() == set()
