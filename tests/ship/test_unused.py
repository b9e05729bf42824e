"""Artifacts without the parts of forge_min that their projects do not use."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forge_min.cli import main
from forge_min.db import EmbeddedServer
from forge_min.generate import scaffold_project
from forge_min.manifest import read_members
from forge_min.ship.artifact.unused import FILES, files_of, unused_parts
from forge_min.testing import fresh_database

from artifact_runner import Site
from building import build

PLAIN = b"""
from forge_min.app import App
from forge_min.wsgi import Request

app = App(resource_pages=False)


@app.page("/")
def home(request: Request) -> str:
    return "<p>hello</p>"
"""
SCHEMA = """
from forge_min import schema

note = schema.define("Note", schema.string("name", required=True))
"""
PAGES = "resource pages"


def make(root: Path) -> None:
    """gen/, the files that are the project's own, and its first migration."""
    assert main(["generate", "-q", "--project", str(root)]) == 0
    assert main(["migrate", "diff", "-q", "--project", str(root)]) == 0


@contextmanager
def served(root: Path, server: EmbeddedServer) -> Iterator[Site]:
    artifact = build(root).path
    with fresh_database(server, ()) as database:
        site = Site(artifact, database, root)
        try:
            yield site
        finally:
            site.stop()


@pytest.mark.thorough
@pytest.mark.db
@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_project_without_jobs_sign_in_and_pages_serves_without_their_code(
    server: EmbeddedServer, tmp_path: Path, processes: str
) -> None:
    (tmp_path / "resources" / "note").mkdir(parents=True)
    (tmp_path / "resources" / "note" / "schema.py").write_text(SCHEMA)
    (tmp_path / "forge.toml").write_text('[project]\nname = "notes"\n')
    (tmp_path / "app.py").write_bytes(PLAIN)
    make(tmp_path)
    with served(tmp_path, server) as site:
        process = site.serve(FORGE_SERVER_PROCESSES=processes)
        assert site.ask("GET", "/")[2] == b"<p>hello</p>"
        assert site.create("notes", {"name": "first"})["name"] == "first"
        for path in ("/notes", "/account/sign-in", "/account"):
            assert site.ask("GET", path, Accept="text/html")[0] == 404
        assert site.ask("GET", "/", port=site.admin)[0] == 200
        status, _, body = site.ask("GET", "/jobs", port=site.admin)
        assert status == 404 and b"has no jobs page" in body
        assert site.run("jobs", "list").returncode == 0
        assert site.run("auth", "create-user", "ann@example.com").returncode == 0
        assert site.run("auth", "reset-password", "ann@example.com").returncode == 0
        assert process.stop() == 0
        assert "Traceback" not in process.log
        members = read_members(site.artifact)
    assert json.loads(members["build-info.json"])["left_out"] == sorted(FILES)
    assert not [name for name in members if name.startswith(files_of(*FILES))]


@pytest.mark.thorough
@pytest.mark.db
@pytest.mark.slow
def test_a_project_with_jobs_and_sign_in_has_their_pages(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    scaffold_project(tmp_path, "shop", admin="ann@example.com")
    make(tmp_path)
    with served(tmp_path, server) as site:
        process = site.serve()
        assert site.ask("GET", "/account/sign-in")[0] == 200
        assert site.ask("GET", "/items")[0] in (200, 401)
        assert site.ask("GET", "/jobs", port=site.admin)[0] == 200
        assert process.stop() == 0
        info = json.loads(read_members(site.artifact)["build-info.json"])
    assert info["left_out"] == []
    assert 0 < info["lines"]["project"] < info["lines"]["forge_min"]


def test_the_parts_name_files_of_the_package() -> None:
    package = Path(main.__code__.co_filename).parent
    names = [path.relative_to(package.parent).as_posix() for path in package.rglob("*.*")]
    for file in files_of(*FILES):
        assert any(name.startswith(file) for name in names), file


def test_the_parts_have_all_modules_of_pages_that_no_other_part_imports() -> None:
    code = "import sys, forge_min.app, forge_min.html\nprint(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, check=True, text=True)
    package = Path(main.__code__.co_filename).parent
    files = [path.relative_to(package.parent) for path in (package / "html").rglob("*.py")]
    names = [file.as_posix() for file in files if file.stem != "__init__"]
    lazy = {n for n in names if n[:-3].replace("/", ".") not in loaded.stdout.split()}
    assert lazy
    parts = files_of(*FILES)
    shared = {"forge_min/html/history.py", "forge_min/html/templates/index.py"}
    assert {name for name in lazy if not name.startswith(parts)} == shared


def test_pages_of_accounts_and_of_administrators_need_no_pages_of_resources() -> None:
    html = Path(main.__code__.co_filename).parent / "html"
    for path in [*(html / "account").glob("*.py"), html / "history.py"]:
        for name in re.findall(r"from (?:\.\.templates|\.+) import (.+)", path.read_text()):
            for module in name.split(", "):
                file = f"forge_min/html/templates/{module}."
                assert not file.startswith(files_of("resource pages")), (path.name, module)


@pytest.mark.parametrize(
    ("name", "text", "used"),
    [
        ("app.py", b"", set()),
        ("app.py", b"app.sign_in()", {"account pages"}),
        ("app.py", b"app.signs_in = True", {"account pages"}),
        ("auth.py", b'getattr(app, "sign_in")()', {"account pages"}),
        ("auth.py", b"from forge_min.html import AccountPages", {"account pages", PAGES}),
        ("app.py", b"app.periodic('sweep', 60, 'Sweep')", {"jobs page"}),
        ("mail.py", b"from forge_min import jobs", {"jobs page"}),
        ("gen/note/resource.py", b'JobHook("Told", "default")', {"jobs page"}),
        ("resources/note/jobs.py", b"WORKERS = []", {"jobs page"}),
        ("migrations/0002_more.sql", b"insert into forge_job (kind) values ('x')", {"jobs page"}),
        ("static/notes.txt", b"jobs, sign_in, resource_pages", set()),
        ("other.py", b"app = App()", {PAGES}),
        ("other.py", b"app.resource_pages = True", {PAGES}),
        ("other.py", b"from forge_min.app import App as Site", {PAGES}),
        ("other.py", b"from forge_min import (schema,\n html)", {PAGES}),
    ],
)
def test_a_part_is_used_if_a_file_of_code_has_its_word(
    name: str, text: bytes, used: set[str]
) -> None:
    project = {"app.py": PLAIN}
    project[name] = project.get(name, b"") + b"\n" + text
    assert set(FILES) - set(unused_parts(project)) == used


@pytest.mark.parametrize(
    "call",
    [
        "App()",
        "App(resource_pages=True)",
        "App(resource_pages=WHICH)",
        "App(resource_pages=[])",
        "App(resource_pages=(False or True))",
        "App(resource_pages=False, title='x')",
        "[App(resource_pages=False), App(make())]",
    ],
)
def test_resource_pages_are_left_out_only_for_the_literal_false(call: str) -> None:
    assert PAGES not in unused_parts({"app.py": f"app = {call}\n".encode()})


@pytest.mark.parametrize(
    "call", ["App( resource_pages = False, )", "app.App(resource_pages=False)"]
)
def test_the_call_may_be_written_in_any_format(call: str) -> None:
    assert PAGES in unused_parts({"app.py": f"app = {call}\n".encode()})


@pytest.mark.thorough
@pytest.mark.slow
def test_an_artifact_has_the_manual_if_it_is_wanted(tmp_path: Path) -> None:
    scaffold_project(tmp_path, "shop")
    make(tmp_path)
    index = "forge_min/_manual/index.html"
    assert index not in read_members(build(tmp_path, output=tmp_path / "without.pyz").path)
    path = build(tmp_path, output=tmp_path / "with.pyz", with_manual=True).path
    assert index in read_members(path)
