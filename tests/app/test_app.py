"""A new project from the command line, with everything that an app.py may declare, served for
real.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forge_min import db
from forge_min.testing import TestDatabase

from artifact_runner import Process, Site

pytestmark = pytest.mark.db

APP = '''
"""Everything that can be declared."""

from pathlib import Path

from forge_min.app import App
from forge_min.wsgi import Handler, Request, Response, json_response
from resources.item.actions import ItemActions

app = App()
NOTES = Path(__file__).parent / "notes.txt"


class Notes:
    def add(self, text: str) -> None:
        with NOTES.open("a") as file:
            file.write(text + "\\n")


app.provide(notes=Notes())


@app.on_start
def begin(notes: Notes, items: ItemActions) -> None:
    notes.add(f"start {items.list().rows}")


@app.on_stop
def end(notes: Notes, items: ItemActions) -> None:
    notes.add(f"stop {len(items.list().rows)}")


@app.middleware
def stamp(request: Request, handler: Handler) -> Response:
    response = handler(request)
    response.headers.append(("X-Stamp", request.method))
    return response


@app.route("GET", "/count", name="count")
def count(request: Request, items: ItemActions, notes: Notes, limit: int = 7) -> Response:
    """How many items there are."""
    notes.add("count")
    return json_response({"items": len(items.list().rows), "limit": limit})


@app.page("/hello/{name}")
def hello(request: Request) -> str:
    return f"<!doctype html><title>{len(request.params['name'])}</title>"


@app.verb("items", "finish")
def finish(id, request, items):
    """Mark it as done."""
    return items.update(id, {"done": True, "title": items.get(id).title + "!"})
'''

JOBS = '''
"""The jobs of Item."""


class ItemCreated:
    kind = "ItemCreated"

    def __init__(self, notes, items) -> None:
        self.notes, self.items = notes, items

    def work(self, job) -> None:
        self.notes.add(f"job {self.items.get(job.args['id'], conn=job.conn).title}")


WORKERS = [ItemCreated]
'''


def forge(folder: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command of the command line in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "forge_min", *command],
        cwd=folder,
        env=environ or None,
        capture_output=True,
        text=True,
        timeout=60,
    )


class Project(Site):
    """A project's folder, served from its sources."""

    def start(self, *command: str, **environ: str) -> Process:
        argv = [sys.executable, "-m", "forge_min", "--project", str(self.folder / "shop"), *command]
        process = Process(argv, self.environ | environ, self.folder / "serve.log")
        self._processes.append(process)
        return process

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return forge(self.folder / "shop", *command, **self.environ, **environ)


@pytest.fixture
def shop(tmp_path: Path, fresh_database: TestDatabase) -> Iterator[Project]:
    """A project made by init, whose app.py and jobs.py are the ones above."""
    made = forge(tmp_path, "init", "shop")
    assert made.returncode == 0, made.stderr
    (tmp_path / "shop" / "app.py").write_text(APP)
    (tmp_path / "shop" / "resources" / "item" / "jobs.py").write_text(JOBS)
    project = Project(tmp_path / "unused", fresh_database, tmp_path)
    try:
        yield project
    finally:
        project.stop()


def notes(shop: Project) -> list[str]:
    file = shop.folder / "shop" / "notes.txt"
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.thorough
def test_routes_pages_verbs_middleware_hooks_and_dependencies_work(shop: Project) -> None:
    process = shop.serve()
    assert notes(shop) == ["start []"]
    item = shop.create("items", {"title": "One"})
    status, headers, body = shop.ask("GET", "/count")
    assert (status, json.loads(body)) == (200, {"items": 1, "limit": 7})
    assert headers["x-stamp"] == "GET"
    status, headers, body = shop.ask("GET", "/hello/abc")
    assert (
        status == 200 and b"<title>3<" in body and headers["content-type"].startswith("text/html")
    )
    status, _, body = shop.ask("POST", f"/api/v1/items/{item['id']}/finish")
    assert status == 200 and json.loads(body)["done"] is True and json.loads(body)["version"] == 2
    assert shop.ask("POST", "/api/v1/items/42/finish")[0] == 404
    path = f"/api/v1/items/{item['id']}/finish"
    done = [shop.ask("POST", path, Idempotency_Key="once") for _ in range(3)]
    assert [status for status, _, _ in done] == [200] * 3 and done[0][2] == done[2][2]
    assert [headers.get("idempotency-replayed") for _, headers, _ in done] == [None, "true", "true"]
    assert len({headers["etag"] for _, headers, _ in done}) == 1
    assert shop.ask("POST", path, {"other": 1}, Idempotency_Key="once")[0] == 422
    other = shop.create("items", {"title": "Two"})
    path = f"/api/v1/items/{other['id']}/finish"
    assert "idempotency-replayed" not in shop.ask("POST", path, Idempotency_Key="once")[1]
    process.wait_for(lambda: any(n.startswith("job One") for n in notes(shop)), "the job")
    _, _, body = shop.ask("GET", "/api/openapi.json")
    assert json.loads(body)["paths"]["/count"]["get"]["summary"] == "How many items there are."
    assert process.stop() == 0, process.log
    assert notes(shop)[-1] == "stop 2"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("app.provide(notes=Notes())", "", "error[F703]"),
        ('@app.verb("items"', '@app.verb("wings"', "wings"),
        ('"GET", "/count"', '"GET", "/events"', "error[F505]"),
        ("app = App()", "app = 7\n\nclass _A(App): pass\n\nother = App()", "error"),
        ("WORKERS = [ItemCreated]", "WORKERS = []", "error[F716]"),
    ],
)
@pytest.mark.thorough
def test_a_mistake_in_a_declaration_is_one_error(
    shop: Project, old: str, new: str, expected: str
) -> None:
    for file in ("app.py", "resources/item/jobs.py"):
        path = shop.folder / "shop" / file
        path.write_text(path.read_text().replace(old, new))
    assert shop.run("migrate", "up").returncode == 0
    done = shop.run("serve")
    assert done.returncode == 1 and expected in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.thorough
def test_a_field_is_added_as_the_tutorial_says(shop: Project) -> None:
    assert shop.run("migrate", "up").returncode == 0
    schema = shop.folder / "shop" / "resources" / "item" / "schema.py"
    line = '    schema.int("price", min=0, sortable=True, filterable=True),\n    schema.timestamps'
    schema.write_text(schema.read_text().replace("    schema.timestamps", line))
    assert shop.run("generate", "--check").returncode == 1
    assert shop.run("generate").returncode == 0
    done = shop.run("migrate", "diff")
    assert done.returncode == 0, done.stderr
    assert shop.run("migrate", "diff").stdout.startswith("nothing to do")
    process = shop.serve()
    shop.create("items", {"title": "cheap", "price": 5})
    shop.create("items", {"title": "dear", "price": 50})
    _, _, body = shop.ask("GET", "/api/v1/items?price[gte]=10&sort=-price")
    assert [row["title"] for row in json.loads(body)["data"]] == ["dear"]
    status, _, body = shop.ask("POST", "/api/v1/items", {"title": "x", "price": -1})
    assert status == 422 and json.loads(body)["errors"][0]["pointer"] == "/price"
    assert process.stop() == 0


@pytest.mark.thorough
def test_a_change_that_the_running_release_cannot_survive_is_announced(shop: Project) -> None:
    """By diff, by status and by up, before the requests fail; exit codes stay as they are."""
    first = shop.run("migrate", "up")
    assert first.returncode == 0 and "F427" not in first.stderr
    shop.serve()
    item = shop.create("items", {"title": "One"})
    schema = shop.folder / "shop" / "resources" / "item" / "schema.py"
    schema.write_text(schema.read_text().replace('"title"', '"name"'))
    done = shop.run("migrate", "diff", "--rename", "items.title=name")
    assert done.returncode == 0 and "rename column" in done.stdout
    warning = "0002_rename_column_title_of_items_to_name.sql may break the running release: "
    warning += "alter table items rename column title to name\nhint: "
    assert f"warning[F427]: {warning}" in done.stderr and "develop/migrations" in done.stderr
    status = shop.run("migrate", "status", "--json")
    assert status.returncode == 1 and json.loads(status.stdout)[-1]["state"] == "pending"
    assert warning in status.stderr
    assert shop.ask("GET", f"/api/v1/items/{item['id']}")[0] == 200
    done = shop.run("migrate", "up")
    assert done.returncode == 0 and warning in done.stderr
    assert shop.ask("GET", f"/api/v1/items/{item['id']}")[0] == 500
    again = shop.run("migrate", "up")
    assert again.stdout == "nothing to apply\n" and again.stderr == ""


@pytest.mark.thorough
def test_a_broken_schema_writes_nothing(shop: Project) -> None:
    folder = shop.folder / "shop"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    schema = folder / "resources" / "item" / "schema.py"
    broken = schema.read_text().replace("schema.bool(", "schema.boole(").replace("120", "max()")
    schema.write_text(broken)
    before[schema] = broken.encode()
    for command in (["generate"], ["build"], ["migrate", "diff", "x"]):
        done = shop.run(*command)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert done.stderr.count("error[F1") == 2 and "resources/item/schema.py:" in done.stderr
        assert "^" in done.stderr and "hint:" in done.stderr
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert after == before


@pytest.mark.thorough
def test_development_gets_a_database_of_its_own(tmp_path: Path) -> None:
    assert forge(tmp_path, "init", "shop").returncode == 0
    project = Project(tmp_path / "unused", None, tmp_path)
    try:
        process = project.start("serve")
        process.wait_for(lambda: project.status(project.admin, "/readyz") == 200, "ready")
        project.create("items", {"title": "One"})
        addresses: dict[str, Any] = json.loads(
            (tmp_path / "shop" / ".forge" / "database.json").read_text()
        )
        assert (tmp_path / "shop" / ".forge" / "database.json").stat().st_mode & 0o777 == 0o600
        status = project.run("migrate", "status")
        assert status.returncode == 0 and "applied" in status.stdout, status.stderr
        with db.connect(addresses["FORGE_DATABASE_URL"]) as conn:
            assert conn.execute("select title from items").fetchall() == [("One",)]
        assert process.stop() == 0, process.log
        assert not (tmp_path / "shop" / ".forge" / "database.json").exists()
    finally:
        project.stop()
