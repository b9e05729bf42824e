"""Columns whose names the composed statements use themselves, and a resource that refers to
itself.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from forge_min import db
from forge_min.cli import main
from forge_min.testing import TestDatabase

from artifact_runner import Process, Site

pytestmark = pytest.mark.db

SCHEMA = """
from forge_min import schema

item = schema.define(
    "Item",
    schema.string("t"),
    schema.string("prior"),
    schema.string("given"),
    schema.string("row"),
    schema.string("event"),
    schema.string("job_0"),
    schema.string("select"),
    schema.date("date"),
    schema.belongs_to("Item", name="parent"),
    schema.with_hooks(
        schema.Hooks(
            after_create=[schema.JobRef(kind="ItemCreated")],
            after_update=[schema.JobRef(kind="ItemCreated")],
            after_delete=[schema.JobRef(kind="ItemCreated")],
        )
    ),
)
"""
VALUES = {name: name[0] for name in ("t", "prior", "given", "row", "event", "job_0", "select")}


@pytest.fixture
def names(tmp_path: Path, fresh_database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A served project with that schema."""
    import sys

    shop = tmp_path / "shop"
    assert main(["--project", str(tmp_path), "init", "shop"]) == 0
    (shop / "resources" / "item" / "schema.py").write_text(SCHEMA)
    (shop / "app.py").write_text("from forge_min.app import App\n\napp = App()\n")
    for page in (shop / "views").iterdir():
        page.unlink()
    (shop / "migrations" / "0001_initial.sql").unlink()
    assert main(["--project", str(shop), "generate"]) == 0
    assert main(["--project", str(shop), "migrate", "diff"]) == 0

    class Project(Site):
        def argv(self, *command: str) -> list[str]:
            return [sys.executable, "-m", "forge_min", "--project", str(shop), *command]

        def start(self, *command: str, **environ: str) -> Process:
            process = Process(self.argv(*command), self.environ | environ, self.folder / "log")
            self._processes.append(process)
            return process

        def run(self, *command: str, **environ: str) -> Any:
            import subprocess

            return subprocess.run(
                self.argv(*command), env=self.environ | environ, capture_output=True, text=True
            )

    site = Project(tmp_path, fresh_database, tmp_path)
    try:
        site.serve("--no-jobs")
        yield site
    finally:
        site.stop()


def test_columns_may_be_called_like_the_parts_of_our_statements(names: Any) -> None:
    made = names.create("items", VALUES)
    url = f"/api/v1/items/{made['id']}"
    changed = {name: value + "2" for name, value in VALUES.items()}
    status, _, body = names.ask("PATCH", url, changed)
    assert status == 200 and json.loads(body)["row"] == "r2", body
    assert names.ask("DELETE", url)[0] == 204
    with db.connect(names.environ["FORGE_DATABASE_MIGRATE_URL"]) as conn:
        rows = conn.execute("select args from forge_job order by id").fetchall()
    before = [args.get("before") for (args,) in rows]
    assert before[1]["t"] == "t" and before[1]["prior"] == "p"
    assert before[2]["t"] == "t2" and before[2]["version"] == 2


def test_a_row_that_its_own_table_refers_to_is_not_deleted(names: Any) -> None:
    parent = names.create("items", {"t": "parent"})
    names.create("items", {"t": "child", "parent_id": parent["id"]})
    status, _, body = names.ask("DELETE", f"/api/v1/items/{parent['id']}")
    assert status == 409, body
    status, _, body = names.ask("POST", "/api/v1/items", {"parent_id": made_up(parent["id"])})
    assert status == 422 and json.loads(body)["errors"][0]["pointer"] == "/parent_id"


def made_up(id: str) -> str:
    return id[:-4] + ("0000" if id[-4:] != "0000" else "1111")


def test_the_second_of_two_deletions_finds_nothing(names: Any) -> None:
    made = names.create("items", {"t": "x"})
    seen: list[int] = []
    with db.connect(names.environ["FORGE_DATABASE_MIGRATE_URL"]) as conn:
        with db.transaction(conn):
            conn.execute("delete from items where id = %s", [made["id"]])
            other = threading.Thread(
                target=lambda: seen.append(names.ask("DELETE", f"/api/v1/items/{made['id']}")[0])
            )
            other.start()
            waiting = "select count(*) from pg_locks where not granted"
            with db.connect(names.environ["FORGE_DATABASE_MIGRATE_URL"]) as watch:
                names._processes[0].wait_for(
                    lambda: watch.execute(waiting).fetchone() >= (1,), "the second to wait"
                )
    other.join(10)
    assert seen == [404]


@pytest.mark.thorough
@pytest.mark.parametrize("day", ["2026-W01-1", "20260101", "2026-1-1", "2026-13-01", "٢٠٢٦-٠١-٠١"])
def test_a_date_has_one_form(names: Any, day: str) -> None:
    assert names.ask("POST", "/api/v1/items", {"date": day})[0] == 422
    assert names.create("items", {"date": "2026-01-01"})["date"] == "2026-01-01"


@pytest.mark.thorough
def test_down_goes_back_by_a_positive_number(names: Any) -> None:
    for steps in ("-1", "0", "x"):
        assert names.run("migrate", "down", "--steps", steps).returncode == 2
    assert names.run("migrate", "status").returncode == 0
