"""db console, reset and seed, as the project's commands, on a database of the suite's server."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
from forge_min import db
from forge_min.testing import TestDatabase
from psycopg.conninfo import conninfo_to_dict

from .conftest import Cli

pytestmark = pytest.mark.db

ODD = """
create extension pg_trgm;
create type mood as enum ('good');
create type pair as (a int, b int);
create domain small as int check (value < 10);
create function twice(n int, by int default 2) returns int language sql as 'select n * by';
create aggregate added(int) (sfunc = int4pl, stype = int);
create collation plain from "C";
create text search configuration words (copy = english);
create table "Odd ""Name" (kind mood, at pair, n small);
create view shown as select * from "Odd ""Name";
create materialized view counted as select count(*) from "Odd ""Name";
create schema elsewhere create table kept (id int);
"""


def user_of(url: str) -> str:
    return str(conninfo_to_dict(url)["user"])


@pytest.fixture
def run(cli: Cli, project: Path, fresh_database: TestDatabase) -> Cli:
    """A command in the project, on the fresh database."""
    (project / "seeds").mkdir()
    (project / "seeds" / "20-items.csv").write_text("title\nTwo\n")
    (project / "seeds" / "10-items.jsonl").write_text('{"title": "One"}\n{"title": "Next"}\n')
    (project / "seeds" / "README.md").write_text("no rows\n")
    urls = {
        "FORGE_DATABASE_URL": fresh_database.app_url,
        "FORGE_DATABASE_MIGRATE_URL": fresh_database.owner_url,
        "FORGE_DATABASE_APP_ROLE": user_of(fresh_database.app_url),
    }
    return partial(cli, cwd=project, **urls)


@pytest.fixture
def name(fresh_database: TestDatabase) -> str:
    return fresh_database.name


def test_seeds_fill_what_is_empty_and_leave_the_rest(
    run: Cli, fresh_database: TestDatabase
) -> None:
    assert run("migrate", "up").returncode == 0
    first, again = run("db", "seed", "--json"), run("db", "seed")
    assert json.loads(first.stdout) == {"items": 3}, first.stderr
    assert again.stdout == "items: has rows, left as it is\n", again.stderr
    with db.connect(fresh_database.owner_url) as conn:
        titles = conn.execute("select title from items order by title").fetchall()
    assert titles == [("Next",), ("One",), ("Two",)]


def test_a_wrong_seed_is_named_and_its_file_not_kept(run: Cli, project: Path) -> None:
    run("migrate", "up")
    (project / "seeds" / "20-items.csv").write_text('title\nTwo\n""\n')
    done = run("db", "seed")
    assert done.returncode == 1
    assert "20-items.csv:3: title" in done.stderr and "Traceback" not in done.stderr
    counted = run("db", "console", "-c", r"\pset tuples_only", "-c", "select count(*) from items")
    assert counted.stdout.split()[-1] == "2"  # of the file before it


def test_seeds_for_no_resource_or_none_at_all(run: Cli, project: Path) -> None:
    run("migrate", "up")
    for path in (project / "seeds").iterdir():
        path.unlink()
    assert "error[F535]" in run("db", "seed").stderr
    (project / "seeds" / "nowhere.csv").write_text("title\nx\n")
    assert "error[F601]" in run("db", "seed").stderr


def test_a_reset_leaves_nothing_but_extensions_and_other_schemas(
    run: Cli, name: str, fresh_database: TestDatabase
) -> None:
    run("migrate", "up")
    run("db", "seed")
    with db.connect(fresh_database.owner_url) as conn:
        conn.execute(ODD)
        conn.execute("update items set title = 'changed'")
        before = conn.execute("select last_value from forge_event_id_seq").fetchone()
    done = run("db", "reset", "--database", name, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["seeded"] == {"items": 3} and "0001_initial.sql" in answer["applied"]
    with db.connect(fresh_database.owner_url) as conn:
        assert conn.execute("select count(*) from items where title = 'changed'").fetchone() == (0,)
        assert conn.execute("select similarity('a', 'a')").fetchone() == (1.0,)
        conn.execute("select * from elsewhere.kept")
        for gone in ("mood", "pair", "small"):
            assert conn.execute("select to_regtype(%s)", (gone,)).fetchone() == (None,)
        for gone in ("shown", "counted", '"Odd ""Name"'):
            assert conn.execute("select to_regclass(%s)", (gone,)).fetchone() == (None,)
        left = conn.execute(
            "select proname from pg_proc where proname in ('twice', 'added')"
            " union all select collname from pg_collation where collname = 'plain'"
            " union all select cfgname from pg_ts_config where cfgname = 'words'"
        ).fetchall()
        after = conn.execute("select last_value from forge_event_id_seq").fetchone()
    assert left == []
    # What listened before hears of the seeds too: an event's number never comes twice.
    assert before and after and after[0] == before[0] + 3


def test_another_database_is_reset_only_by_its_name(run: Cli, fresh_database: TestDatabase) -> None:
    run("migrate", "up")
    run("db", "seed")
    for words in ([], ["--database", "other"]):
        done = run("db", "reset", *words)
        assert done.returncode == 1 and "error[F536]" in done.stderr, done.stderr
    with db.connect(fresh_database.owner_url) as conn:
        assert conn.execute("select count(*) from items").fetchone() == (3,)


def test_production_is_never_reset(run: Cli, name: str, fresh_database: TestDatabase) -> None:
    run("migrate", "up")
    run("db", "seed")
    site = {"FORGE_ENV": "production", "FORGE_AUTH_SECRET": "s" * 64}
    done = run("db", "reset", "--database", name, **site)
    assert done.returncode == 1 and "error[F536]" in done.stderr, done.stderr
    with db.connect(fresh_database.owner_url) as conn:
        assert conn.execute("select count(*) from items").fetchone() == (3,)


def test_the_console_is_the_application_or_the_owner(
    run: Cli, fresh_database: TestDatabase
) -> None:
    for options, url in (([], fresh_database.app_url), (["--owner"], fresh_database.owner_url)):
        who = user_of(url)
        asked = ["-c", r"\pset tuples_only", "-c", "select current_user", "-c", "select 1 / 1"]
        done = run("db", "console", *options, *asked)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-2:] == [who, "1"]
    failed = run("db", "console", "-c", "select 1 / 0")
    assert failed.returncode == 1 and "division by zero" in failed.stderr


def test_the_console_shows_nobody_the_password(run: Cli, tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "psql"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nfor word; do echo "word $word"; done\necho "secret $PGPASSWORD"\n')
    fake.chmod(0o755)
    url = "postgresql://who:hidden@127.0.0.1:1/shop?application_name=x"
    done = run("db", "console", FORGE_DATABASE_URL=url, FORGE_DATABASE_APP_ROLE="who",
               PATH=f"{fake.parent}{os.pathsep}{os.environ['PATH']}")  # fmt: skip
    words = [line for line in done.stdout.splitlines() if line.startswith("word ")]
    assert words[1].split()[1:] and "hidden" not in "".join(words)
    assert done.stdout.splitlines()[-1] == "secret hidden"
