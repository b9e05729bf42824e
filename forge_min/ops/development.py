"""The database of development: an embedded PostgreSQL below .forge/, for as long as a command runs.

Only where database.url is empty, FORGE_ENV is development and the project is a folder. The first
command starts it and writes its addresses down; a second one that runs meanwhile uses the same.
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

_ADDRESSES = ("FORGE_DATABASE_URL", "FORGE_DATABASE_MIGRATE_URL")


@contextmanager
def with_embedded(project: Project, root: Path, *, migrated: bool) -> Iterator[Project]:
    """The project, in the folder `root`, with it, brought up to date if `migrated`."""
    c = project.config
    folder, name = root / FOLDER, c.project.name.replace("-", "_")
    server = db.EmbeddedServer(folder / "postgres", database=name, app_role=c.database.app_role)
    if running := _running_project(embedded_addresses(root)):
        yield running
        return
    note = root / NOTE
    server.start()
    try:
        addresses = dict(zip(_ADDRESSES, (server.app_url, server.owner_url)))
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
    """The project on the database that another command has started, if that still answers."""
    try:
        db.connect(addresses[_ADDRESSES[0]]).close()
    except (Unavailable, KeyError):
        return None
    return load_project({**os.environ, **addresses})
