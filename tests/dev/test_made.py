"""What development makes by itself, and what it leaves to a person: whatever could lose data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from forge_min import db
from forge_min.config import load
from forge_min.dev.rebuild import apply_migrations, attempt, compare_schemas, write_gen
from forge_min.migrations import Decisions, diff
from forge_min.ops.project import Project
from forge_min.parse import parse_project
from forge_min.ship import refresh_stylesheet
from forge_min.testing import TestDatabase

pytestmark = pytest.mark.db
ITEMS = "resources/item/schema.py"


@pytest.fixture
def project(new_project: Path, tmp_path: Path, fresh_database: TestDatabase) -> Project:
    root = Path(shutil.copytree(new_project, tmp_path / "shop"))
    environ = {
        "FORGE_DATABASE_URL": fresh_database.app_url,
        "FORGE_DATABASE_MIGRATE_URL": fresh_database.owner_url,
    }
    return Project(root, load(root, environ))


@pytest.fixture
def said(project: Project) -> list[str]:
    return []


@pytest.fixture
def owner(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    with db.connect(fresh_database.owner_url) as conn:
        yield conn


def change(project: Project, name: str, old: str, new: str) -> None:
    path = Path(str(project.root), name)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def migration(project: Project, name: str, sql: str) -> None:
    Path(str(project.root), "migrations", name).write_text(sql)


def test_what_is_pending_is_applied_and_told(
    project: Project, said: list[str], owner: db.Connection
) -> None:
    assert apply_migrations(project, said.append) == []
    assert said == ["applied 0001_initial.sql"]
    migration(project, "0002_more.sql", "alter table items add extra text;")
    assert apply_migrations(project, said.append) == []
    assert said[1:] == ["applied 0002_more.sql"]
    with db.connect(project.config.database.url) as conn:  # the role was granted what is new
        conn.execute("select extra from items")


@pytest.mark.parametrize(
    "sql",
    [
        "alter table items drop column title;",
        "alter table items drop title;",
        "ALTER TABLE items\n  DROP\n  title;",
        "drop table items;",
        "truncate items;",
        "delete from items where done;",
    ],
)
def test_what_would_lose_rows_waits_for_a_person_and_what_follows_it_too(
    project: Project, said: list[str], owner: db.Connection, sql: str
) -> None:
    apply_migrations(project, said.append)
    owner.execute("insert into items (title) values ('dear')")
    migration(project, "0002_more.sql", "alter table items add extra text;")
    migration(project, "0003_less.sql", sql)
    migration(project, "0004_more.sql", "alter table items add other text;")
    (problem,) = apply_migrations(project, said.append)
    assert problem.notice and problem.title == "0003_less.sql would lose data, so it waits"
    assert "migrate up" in problem.text
    assert said == ["applied 0001_initial.sql", "applied 0002_more.sql"]
    assert owner.execute("select title from items").fetchall() == [("dear",)]


@pytest.mark.parametrize(
    "sql",
    [
        "drop index items_done_idx;",
        "alter table items alter column title drop not null;",
        "alter table items drop constraint items_title_min_len;",
        "create table dropped (x int);\n-- forge: down\ndrop table dropped;",
        "create temporary table items (x int) on commit drop;\ndrop table pg_temp.items;",
    ],
)
def test_what_loses_no_row_does_not_wait(project: Project, said: list[str], sql: str) -> None:
    apply_migrations(project, said.append)
    migration(project, "0002_x.sql", sql)
    assert apply_migrations(project, said.append) == []
    assert said[-1] == "applied 0002_x.sql"


def test_a_generated_rename_does_not_wait(project: Project, said: list[str]) -> None:
    apply_migrations(project, said.append)
    change(project, ITEMS, '"done"', '"closed"')
    root = Path(str(project.root))
    renames = diff(
        root,
        parse_project(root).resources,
        db.read_migrations(root / "migrations", "app"),
        base=db.FORGE_MIGRATIONS,
        scratch=partial(db.scratch_database, project.config.database.migrate_url),
        decisions=Decisions(renames=["items.done=closed"]),
    )
    assert renames is not None
    renames.write()
    assert apply_migrations(project, said.append) == []
    assert said[-1].startswith("applied 0002_rename_column_done_of_items_to")


def test_a_database_without_rows_gets_everything(project: Project, said: list[str]) -> None:
    migration(project, "0002_less.sql", "alter table items drop column done;")
    assert apply_migrations(project, said.append) == []
    assert said == ["applied 0001_initial.sql", "applied 0002_less.sql"]


def test_a_file_that_fails_is_told_and_may_be_corrected(project: Project, said: list[str]) -> None:
    apply_migrations(project, said.append)
    migration(project, "0002_x.sql", "alter table items add a text;\nalter table itms add b text;")
    root = Path(str(project.root))
    (problem,) = attempt(root, apply_migrations, project, said.append)
    assert problem.title.startswith("error[F322]: 0002_x.sql: ") and not problem.notice
    migration(project, "0002_x.sql", "alter table items add a text;")
    assert apply_migrations(project, said.append) == []


def test_schemas_are_compared_and_nothing_is_written(project: Project, said: list[str]) -> None:
    assert compare_schemas(project) == []
    change(project, ITEMS, "schema.timestamps", 'schema.text("extra"), schema.timestamps')
    (problem,) = compare_schemas(project)
    assert problem.notice and "migrate diff" in problem.title
    assert problem.text == "add column extra to items"
    change(project, ITEMS, '"title"', '"name"')
    (problem,) = compare_schemas(project)
    assert "F335" in problem.text and "--rename items.title=name" in problem.text
    assert len(list(Path(str(project.root), "migrations").iterdir())) == 1


def test_gen_is_made_and_files_of_new_resources_are_told(project: Project, said: list[str]) -> None:
    root = Path(str(project.root))
    assert write_gen(root, said.append) == [] and said == []
    pet = 'from forge_min import schema\n\npet = schema.define("Pet", schema.string("name"))\n'
    (root / "resources" / "pet").mkdir()
    (root / "resources" / "pet" / "schema.py").write_text(pet)
    assert write_gen(root, said.append) == []
    assert said == ["wrote resources/pet/actions.py: yours to edit"]
    assert (root / "gen" / "pet" / "routes.py").is_file()


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        (ITEMS, "schema.bool", "schema.bol", "error[F105]: "),
        (ITEMS, "schema.bool(", "schema.bool((", "error[F1"),
        ("views/home.html", "<main>", "<main>${", "error[F3"),
    ],
)
def test_a_mistake_is_told_and_gen_stays(
    project: Project, said: list[str], name: str, old: str, new: str, told: str
) -> None:
    root = Path(str(project.root))
    before = {p: p.read_bytes() for p in (root / "gen").rglob("*") if p.is_file()}
    change(project, name, old, new)
    (problem, *_) = attempt(root, write_gen, root, said.append)
    assert problem.title.startswith(told) and name in problem.title + problem.text
    assert {p: p.read_bytes() for p in (root / "gen").rglob("*") if p.is_file()} == before


def test_a_stylesheet_is_made_where_tailwind_is_asked_for(project: Project) -> None:
    root = Path(str(project.root))
    assert attempt(root, refresh_stylesheet, root) == [] and not (root / "static").exists()
    (root / "static" / "css").mkdir(parents=True)
    (root / "static" / "css" / "input.css").write_text('@import "tailwindcss";\n')
    change(project, "views/home.html", "<main>", '<main class="underline">')
    assert attempt(root, refresh_stylesheet, root) == []
    assert ".underline" in (made := root / "static" / "css" / "app.css").read_text()
    stamp = made.stat().st_mtime_ns
    assert attempt(root, refresh_stylesheet, root) == [] and made.stat().st_mtime_ns == stamp
    (root / "static" / "css" / "other.css").write_text('@import "https://x.example/a.css";')
    (problem,) = attempt(root, refresh_stylesheet, root)
    assert "F343" in problem.title or "F348" in problem.title
