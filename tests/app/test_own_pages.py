"""Pages of a project in place of the library's, and projects that want none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forge_min import db
from forge_min.cli import main
from forge_min.db import EmbeddedServer
from forge_min.generate import scaffold_project
from forge_min.migrations import diff
from forge_min.parse import parse_project
from forge_min.testing import Client, fresh_database, running_app

from wide_project import importable

pytestmark = pytest.mark.db

APP = """
from forge_min.app import App
from forge_min.wsgi import Request, Response, check_csrf, csrf_field, redirect

app = App(resource_pages={which})

@app.page("/items/new")
def own(request: Request) -> str:
    return "<p>mine</p><form>" + csrf_field(request) + "</form>"

@app.route("POST", "/stop")
def stop(request: Request) -> Response:
    check_csrf(request)
    return redirect("/")
"""
NOTE = """
from forge_min import schema

note = schema.define("Note", schema.string("name", required=True, label="What"))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    scaffold_project(root, "shop")
    for path in root.glob("views/*.html"):
        path.unlink()
    (root / "app.py").write_text(APP.format(which=True))
    (root / "resources" / "note").mkdir()
    (root / "resources" / "note" / "schema.py").write_text(NOTE)
    return root


@contextmanager
def served(root: Path, server: EmbeddedServer) -> Iterator[Client]:
    project = ["--project", str(root), "-q"]
    assert main(["generate", *project]) == 0
    if not (root / "migrations").is_dir():
        first = diff(root, parse_project(root).resources, [])
        assert first is not None
        first.write()
    migrations = [*db.FORGE_MIGRATIONS, *db.read_migrations(root / "migrations", "app")]
    with fresh_database(server, migrations) as database, importable(root):
        with running_app(database) as running:
            yield Client(running)


def test_a_copy_of_a_page_and_a_layout_take_the_place_of_ours(
    root: Path, server: EmbeddedServer
) -> None:
    generate = ["generate", "resource", "Item", "--views", "--project", str(root)]
    assert main(generate) == 0
    page = root / "resources" / "item" / "views" / "list.html"
    page.write_text(page.read_text() + "<p>our own list</p>")
    assert main(generate) == 0
    assert "our own list" in page.read_text(), "it is the project's by now"
    (root / "views" / "layout.html").write_text("<title>${title}</title><b>us</b>${body!raw}\n")
    (root / "static" / "css").mkdir(parents=True)
    (root / "static" / "css" / "app.css").write_text("")
    with served(root, server) as client:
        items, notes = client.get("/items").text, client.get("/notes").text
        assert items.startswith("<title>Items</title><b>us</b>") and "our own list" in items
        assert notes.startswith("<title>Notes</title>") and "our own list" not in notes
    (root / "views" / "layout.html").unlink()
    with served(root, server) as client:
        assert '<link rel="stylesheet" href="/static/css/app.css">' in client.get("/items").text


def test_an_icon_of_the_project_takes_the_place_of_ours(root: Path, server: EmbeddedServer) -> None:
    with served(root, server) as client:
        ours = client.get("/favicon.ico")
        assert ours.status == 200 and ours.headers["Content-Type"] == "image/svg+xml"
        (root / "static").mkdir(exist_ok=True)
        (root / "static" / "favicon.png").write_bytes(b"\x89PNG")
        own = client.get("/favicon.ico")
        assert own.headers["Content-Type"] == "image/png" and own.body == b"\x89PNG"


def test_a_column_of_any_name_is_a_filter_of_its_own(root: Path, server: EmbeddedServer) -> None:
    with served(root, server) as client:
        for title, done in (("open one", False), ("done one", True)):
            client.post("/api/v1/items", json={"title": title, "done": done})
        text = client.get("/items?done=true").text
        assert "done one" in text and "open one" not in text
        assert "Created." not in text
        assert "open one" not in client.get("/items.csv?done=true").text


def test_a_route_of_the_projects_own_stays(root: Path, server: EmbeddedServer) -> None:
    with served(root, server) as client:
        assert client.get("/items/new").text.startswith("<p>mine</p>")
        assert client.get("/items").status == 200
        assert ">What <" in client.get("/notes/new").text
        assert '<li><a href="/notes" >Notes</a></li>' in client.get("/").text
        assert client.get("/stop").status == 405
        assert client.request("POST", "/stop").status in (403, 415)


@pytest.mark.parametrize(
    ("which", "items", "notes"), [("['notes']", 404, 200), ("False", 404, 404)]
)
def test_pages_are_made_of_the_resources_that_are_asked_for(
    root: Path, server: EmbeddedServer, which: str, items: int, notes: int
) -> None:
    (root / "app.py").write_text(APP.format(which=which))
    with served(root, server) as client:
        assert client.get("/items").status == items
        assert client.get("/notes").status == notes
        assert client.get("/").status == (200 if notes == 200 else 404)
