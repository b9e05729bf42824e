"""A library's project with what import and export have to cope with, and its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forge_min
import pytest
from forge_min import db
from forge_min.db import EmbeddedServer
from forge_min.testing import TestDatabase, fresh_database

SCHEMAS = {
    "shelf": """
shelf = schema.define(
    "Shelf",
    schema.slug("code", primary_key=True),
    schema.string("room", required=True, max_len=10),
    plural="shelves",
)
""",
    "tag": """
tag = schema.define(
    "Tag",
    schema.string("word", required=True, unique=True, max_len=20),
    schema.belongs_to("Tag", name="wider"),
)
""",
    "book": """
book = schema.define(
    "Book",
    schema.string("title", required=True, min_len=1, max_len=30, sortable=True, filterable=True),
    schema.string("isbn", unique=True, max_len=13),
    schema.text("note"),
    schema.int("pages", min=1, sortable=True, filterable=True),
    schema.bigint("ean"),
    schema.decimal("price", precision=(10, 2), visible_to=["clerk"], writable_by=["clerk"]),
    schema.bool("lent", required=True, default=False),
    schema.datetime("seen_at"),
    schema.date("printed_on"),
    schema.enum("state", ["new", "old"], required=True, default="new", filterable=True),
    schema.json("data"),
    schema.url("site"),
    schema.email("donor"),
    schema.uuid("old_id"),
    schema.belongs_to("Shelf"),
    schema.many_to_many("Tag"),
    schema.timestamps(),
    schema.soft_delete(),
    schema.auditable(),
    schema.with_hooks(schema.Hooks(after_create=[schema.JobRef(kind="Catalogue")])),
)
""",
    "reader": """
reader = schema.define(
    "Reader",
    schema.string("name", required=True, unique=True, max_len=20),
    schema.tenant_scoped(),
    schema.permission("read", ["clerk"]),
    schema.permission("create", ["clerk"]),
)
""",
}
WORKER = '''"""The jobs of Book."""

from forge_min.jobs import Job


class Catalogue:
    kind = "Catalogue"

    def work(self, job: Job) -> None:
        pass


WORKERS = [Catalogue]
'''


class Library:
    """The project on a database of its own. `run` is its command line."""

    def __init__(self, root: Path, database: TestDatabase, folder: Path) -> None:
        self.root, self.folder = root, folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith("FORGE_")}
        self.environ = kept | {
            "PYTHONPATH": str(Path(forge_min.__file__).parents[1]),
            "PYTHONWARNINGS": "error",
            "FORGE_DATABASE_URL": database.app_url,
            "FORGE_DATABASE_MIGRATE_URL": database.owner_url,
        }
        self._owner = db.connect(database.owner_url)

    def argv(self, *command: str) -> list[str]:
        """For a process of the test's own."""
        return [sys.executable, "-m", "forge_min", "--project", str(self.root), *command]

    def run(self, *command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """One command, which must end with `code`."""
        done = subprocess.run(
            self.argv(*command),
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def load(self, topic: str, file: Path, *options: str, code: int = 0) -> dict[str, Any]:
        """`import --json`; its report."""
        answer: dict[str, Any] = json.loads(
            self.run("import", topic, str(file), *options, "--json", code=code).stdout
        )
        return answer

    def export(self, topic: str, *options: str) -> list[dict[str, Any]]:
        """`export` as JSON lines."""
        out = self.run("export", topic, *options).stdout
        return [json.loads(line) for line in out.split("\n") if line]

    def file(self, name: str, *rows: object) -> Path:
        """A file of these lines: objects as JSON, texts and bytes as they are."""
        path = self.folder / name
        with path.open("wb") as stream:
            for row in rows:
                plain = row if isinstance(row, (str, bytes)) else json.dumps(row)
                stream.write(plain.encode() if isinstance(plain, str) else plain)
                stream.write(b"\n")
        return path

    def sql(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        """Rows as the owner sees them."""
        cursor = self._owner.execute(query, params)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Idempotent."""
        self._owner.close()


@pytest.fixture(scope="session")
def library_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with gen/ and its migration; do not change it."""
    from forge_min.generate import generate, scaffold_resource
    from forge_min.migrations import diff
    from forge_min.parse import parse_project

    root = tmp_path_factory.mktemp("library")
    (root / "forge.toml").write_text('[project]\nname = "library"\n')
    (root / "app.py").write_text("from forge_min.app import App\n\napp = App()\n")
    for name, source in SCHEMAS.items():
        (root / "resources" / name).mkdir(parents=True)
        (root / "resources" / name / "schema.py").write_text(
            "from forge_min import schema\n" + source
        )
    (root / "resources" / "book" / "jobs.py").write_text(WORKER)
    parsed = parse_project(root)
    assert not parsed.diagnostics, [d.format() for d in parsed.diagnostics]
    scaffold_resource(root, *parsed.resources)
    generate(root, parsed.resources)
    first = diff(root, parsed.resources, [])
    assert first is not None
    first.write()
    return root


@pytest.fixture
def library(library_root: Path, server: EmbeddedServer, tmp_path: Path) -> Iterator[Library]:
    """Migrated and empty but for two shelves and a tag."""
    files = (*db.FORGE_MIGRATIONS, *db.read_migrations(library_root / "migrations", "app"))
    with fresh_database(server, files) as database:
        made = Library(library_root, database, tmp_path)
        try:
            made.sql("insert into shelves (code, room) values ('a', 1), ('b', 1)")
            made.sql("insert into tags (word) values ('fiction')")
            yield made
        finally:
            made.close()
