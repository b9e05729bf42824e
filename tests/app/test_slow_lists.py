"""Lists of a large table that no index serves: how they end, and what ends it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forge_min import db
from forge_min.cli import main
from forge_min.db import EmbeddedServer
from forge_min.testing import Client, ClientResponse, TestDatabase, fresh_database, running_app

from waiting import wait_for
from wide_project import importable

pytestmark = [pytest.mark.db, pytest.mark.slow]
SCHEMA = """
from forge_min import schema

case = schema.define(
    "Case",
    schema.string("status", required=True, filterable=True, sortable=True),
    schema.int("weight", required=True, sortable=True),
)
"""
ROWS = """
insert into cases (id, status, weight)
select gen_random_uuid(), 'open', g % 977 * 307 from generate_series(1, 300000) g;
analyze cases;
"""
LIST = "/api/v1/cases?sort=status,-weight"
SLOW = "this took too long: try again with fewer conditions or a narrower range"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "resources" / "case").mkdir(parents=True)
    (tmp_path / "resources" / "case" / "schema.py").write_text(SCHEMA)
    (tmp_path / "app.py").write_text("from forge_min.app import App\n\napp = App()\n")
    (tmp_path / "forge.toml").write_text('[project]\nname = "cases"\n')
    return tmp_path


def migrations_of(root: Path) -> list[db.MigrationFile]:
    """Generate the code and the migration that is due, and return all migrations."""
    for words in (["generate"], ["migrate", "diff"]):
        assert main([*words, "--project", str(root), "-q"]) == 0
    return [*db.FORGE_MIGRATIONS, *db.read_migrations(root / "migrations", "app")]


@contextmanager
def migrated(root: Path, server: EmbeddedServer) -> Iterator[TestDatabase]:
    with fresh_database(server, migrations_of(root)) as database, importable(root):
        yield database


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "forge_min.actions"]


@pytest.mark.thorough
def test_a_list_over_the_time_of_a_read_names_the_index_that_makes_it_fast(
    root: Path,
    server: EmbeddedServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forge_min.db.database._CHECK_INTERVAL", 0.005)
    with migrated(root, server) as database, db.connect(database.owner_url) as owner:
        owner.execute(ROWS)
        owner.execute(f"alter database {database.name} set max_parallel_workers_per_gather = 0")
        settings = {"FORGE_DATABASE_READ_TIMEOUT": "30ms", "FORGE_ENV": "test"}
        with running_app(database, **settings) as running:
            client, answers = Client(running), list[ClientResponse]()

            def answer_with_hint() -> bool:
                # On a busy machine the indexes are not read within 30 ms either.
                answers.append(client.get(LIST))
                return "hint" in answers[-1].json

            wait_for(answer_with_hint)
            answer, browser = answers[-1], {"Accept": "text/html"}
            assert (answer.status, answer.json["code"]) == (503, "F642")
            assert answer.json["detail"] == SLOW
            hint = 'add schema.index("status", "-weight", "-id") to the schema of Case'
            assert answer.json["hint"] == hint
            assert f"no index serves a list of cases; hint: {hint}" in warnings_of(caplog)
            page = client.get("/cases?sort=status,-weight", headers=browser)
            assert page.status == 503 and SLOW in page.text and "schema.index" not in page.text
        (line,) = re.findall(r"schema\.index\(.*?\)", hint)
        schema = root / "resources" / "case" / "schema.py"
        schema.write_text(SCHEMA.replace("\n)\n", f"\n    {line},\n)\n"))
        db.migrate(owner, migrations_of(root))
        with running_app(database) as running:
            answer = Client(running).get(LIST)
            assert answer.status == 200 and len(answer.json["data"]) == 25
        select = 'select * from cases order by "status", "weight" desc, "id" desc limit 26'
        (plan,) = owner.execute(f"explain (format json) {select}").fetchone() or ()
        assert "cases_status_weight_id_idx" in str(plan) and plan[0]["Plan"]["Total Cost"] < 100


@pytest.mark.parametrize(
    "env, seconds, lists",
    [
        ("test", 9.0, []),
        ("development", 9.0, ['"status", "-weight"']),  # by several sort keys
        ("test", 0.0, ['"status", "-weight"', '"status", "weight"']),
    ],
    ids=["production", "development", "slow lists in production"],
)
def test_a_list_that_needs_an_index_is_named_once(
    root: Path,
    server: EmbeddedServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    env: str,
    seconds: float,
    lists: list[str],
) -> None:
    monkeypatch.setattr("forge_min.actions.reader.SLOW", seconds)
    caplog.set_level(logging.WARNING)
    with migrated(root, server) as database, running_app(database, FORGE_ENV=env) as running:
        for query in ("", "?sort=weight", "?sort=weight,id", "?status=a&sort=weight"):
            assert Client(running).get(f"/api/v1/cases{query}").status == 200
        for _ in range(2):
            assert Client(running).get(LIST).status == 200
    warnings = sorted(warnings_of(caplog))
    assert len(warnings) == len(lists)
    assert all(f"add schema.index({each}, " in line for line, each in zip(warnings, lists))
