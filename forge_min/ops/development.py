"""The database of development: an embedded PostgreSQL below .forge/, for as long as a command runs.

Only where database.url is empty, FORGE_ENV is development and the project is a folder. The first
command starts it and writes its addresses down; a second one that runs meanwhile uses the same.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import db
from ..errors import ConfigError, Unavailable
from . import migrate
from .project import Project, load_project

FOLDER = ".forge"


@contextmanager
def with_database(project: Project, *, migrated: bool = True) -> Iterator[Project]:
    """The project with a database: its own, or the embedded one, brought up to date if `migrated`.

    Raises ConfigError F204 where there is none and none may be started.
    """
    c = project.config
    if c.database.url:
        yield project
        return
    if c.env != "development" or not isinstance(project.root, Path):
        raise ConfigError(
            "database.url is not set",
            code="F204",
            hint="export FORGE_DATABASE_URL=postgresql://user:password@host:5432/name",
        )
    name = c.project.name.replace("-", "_")
    server = db.EmbeddedServer(
        project.root / FOLDER / "postgres", database=name, app_role=c.database.app_role
    )
    note = project.root / FOLDER / "database.json"
    if note.is_file() and (running := _answering(json.loads(note.read_text()))):
        yield running
        return
    server.start()
    try:
        addresses = {
            "FORGE_DATABASE_URL": server.app_url,
            "FORGE_DATABASE_MIGRATE_URL": server.owner_url,
        }
        _write_private(note, json.dumps(addresses))
        ready = _with_addresses(addresses)
        if migrated:
            _bring_up(ready)
        yield ready
    finally:
        note.unlink(missing_ok=True)
        server.stop()


def _answering(addresses: dict[str, str]) -> Project | None:
    """The project on the database that another command has started, if that still answers."""
    try:
        db.connect(addresses["FORGE_DATABASE_URL"]).close()
    except (Unavailable, KeyError):
        return None
    return _with_addresses(addresses)


def _with_addresses(addresses: dict[str, str]) -> Project:
    return load_project({**os.environ, **addresses})


def _bring_up(project: Project) -> None:
    with migrate.connect_owner(project) as conn:
        for label in db.migrate(conn, migrate.files_of(project)):
            print(f"applied {label}", file=sys.stderr)
        migrate.grant(project, conn)


def _write_private(path: Path, text: str) -> None:
    """0600 from the first byte: the text holds passwords."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
