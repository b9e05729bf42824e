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
from ..db.embedded.bootstrap import write_private
from ..errors import ConfigError, Unavailable
from . import migrate
from .project import FOLDER, NOTE, Project, load_project

_ADDRESSES = ("FORGE_DATABASE_URL", "FORGE_DATABASE_MIGRATE_URL")


@contextmanager
def with_database(*, migrated: bool = True) -> Iterator[Project]:
    """The project with a database: its own, or the embedded one, brought up to date if `migrated`.

    Raises as `load_project`, and ConfigError F204 where there is none and none may be started.
    """
    project = load_project()
    c = project.config
    if c.database.url:
        yield project
        return
    if c.env != "development" or not isinstance(project.root, Path):
        hint = f"export {_ADDRESSES[0]}=postgresql://user:password@host:5432/name"
        raise ConfigError("database.url is not set", code="F204", hint=hint)
    folder, name = project.root / FOLDER, c.project.name.replace("-", "_")
    server = db.EmbeddedServer(folder / "postgres", database=name, app_role=c.database.app_role)
    note = project.root / NOTE
    if note.is_file() and (running := _answering(json.loads(note.read_text()))):
        yield running
        return
    server.start()
    try:
        addresses = dict(zip(_ADDRESSES, (server.app_url, server.owner_url)))
        write_private(note, json.dumps(addresses))
        ready = load_project({**os.environ, **addresses})
        if migrated:
            with migrate.connect_owner(ready) as conn:
                for label in db.migrate(conn, migrate.files_of(ready)):
                    print(f"applied {label}", file=sys.stderr)
                migrate.grant(ready, conn)
        yield ready
    finally:
        note.unlink(missing_ok=True)
        server.stop()


def _answering(addresses: dict[str, str]) -> Project | None:
    """The project on the database that another command has started, if that still answers."""
    try:
        db.connect(addresses[_ADDRESSES[0]]).close()
    except (Unavailable, KeyError):
        return None
    return load_project({**os.environ, **addresses})
