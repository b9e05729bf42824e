"""The database of development: an embedded PostgreSQL below .forge/ while a command runs.

It is used only if database.url is empty, FORGE_ENV is development and the project is a folder. The
first command starts it and writes its addresses to a file; a second command that runs at the same
time connects to the same database.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .. import db
from ..errors import Unavailable
from . import migrate
from .project import FOLDER, NOTE, Project, embedded_addresses, load_project

_URL = "FORGE_DATABASE_URL"


@contextmanager
def with_embedded(project: Project, root: Path, *, migrated: bool) -> Iterator[Project]:
    """Yield the project in the folder `root`, connected to its embedded database.

    migrated: apply the pending migrations first.
    """
    c = project.config
    folder = root / FOLDER / "postgres"
    name = c.project.name.replace("-", "_")
    server = db.EmbeddedServer(folder, database=name, app_role=c.database.app_role)
    running = _running_project(embedded_addresses(root))
    if running is not None:
        yield running
        return
    note = root / NOTE
    server.start()
    try:
        addresses = {_URL: server.app_url, "FORGE_DATABASE_MIGRATE_URL": server.owner_url}
        db.write_private(note, json.dumps(addresses))
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


def _running_project(addresses: Mapping[str, str]) -> Project | None:
    """Return the project connected to the database of another command, None unless that answers."""
    try:
        db.connect(addresses[_URL]).close()
    except (Unavailable, KeyError):
        return None
    return load_project({**os.environ, **addresses})
